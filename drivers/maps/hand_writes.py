"""Writes what a device map lets a person write by hand: `[write.NAME]` with `by_hand = true`, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping

from drivers.maps.decoding import number_of, registers_for
from drivers.maps.named_writes import registers_of_word
from drivers.maps.schema import DeviceMap, NamedWrite
from drivers.modbus.errors import ReadbackMismatch
from drivers.modbus.transport import ModbusLink
from drivers.register_view import WrittenValue

HOLDING = 3  # the function that reads registers which can be written


def by_hand(device_map: DeviceMap) -> list[str]:
    """The names of what may be written."""
    return [name for name, write in device_map.writes.items() if write.by_hand]


async def write_by_hand(
    link: ModbusLink, device_map: DeviceMap, units: Mapping[str, int], name: str, value: float | str, on: int
) -> WrittenValue:
    """Write one of them over the connection `on`, and read it back.

    Raises ValueError for what it cannot hold, LookupError for another name, DeviceError, ReadbackMismatch among them.
    """
    if name not in by_hand(device_map):
        raise LookupError(f"map {device_map.name} lets nobody write {name} by hand")
    write = device_map.writes[name]
    words = _registers(device_map, name, write, value)
    unit = units[write.at]
    before = await link.read(unit, write.address, len(words), HOLDING)
    await link.write(unit, write.address, words, on, device_map.write_function_of(write))
    held = await link.read(unit, write.address, len(words), HOLDING)
    was, now = (_shown(device_map, write, raw) for raw in (before, held))
    if held != words:
        where = f"{link.device} at {link.at} unit {unit}, register {write.address}"
        raise ReadbackMismatch(where, f"wrote {value}, reads back {now}")
    return WrittenValue(name, was, now)


def _registers(device_map: DeviceMap, name: str, write: NamedWrite, value: float | str) -> list[int]:
    """The registers of a value as a person gives it. Raises ValueError."""
    if write.words:
        try:
            return registers_of_word(device_map, write, str(value))
        except LookupError:
            raise ValueError(f"{name} = {value}: expected one of {', '.join(write.words.values())}") from None
    low, high = write.min or 0.0, write.max or 0.0  # a map without them is refused
    unit = "" if write.unit == "1" else f" {write.unit}"
    expected = f"a number from {low:g} to {high:g}{unit}"
    if isinstance(value, str) or not low <= value <= high:
        raise ValueError(f"{name} = {value}: expected {expected}")
    raw = round(value / write.scale, 6)
    if not write.type.startswith("f") and raw != round(raw):
        raise ValueError(f"{name} = {value}: expected {expected}, in steps of {write.scale:g}")
    return registers_for(write.type, raw, device_map.order_of(write))


def _shown(device_map: DeviceMap, write: NamedWrite, raw: list[int]) -> float | str:
    """Registers as a person would give the value; a number where no word stands for it."""
    number = number_of(write.type, raw, device_map.order_of(write))
    if write.words:
        return write.words.get(int(number), f"{number:g}")
    return round(number * write.scale, 6)
