"""Says what the registers of a mapped device mean, of those that were read anyway."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from drivers.maps.decoding import decode
from drivers.maps.schema import DeviceMap, Value
from drivers.maps.vocabulary import UNITS
from drivers.modbus.traffic import Place
from drivers.register_view import RegisterValue, Words, taken


def explain(device_map: DeviceMap, units: Mapping[str, int], words: Words, now_s: float) -> Iterator[RegisterValue]:
    """The values of the map whose registers are all among `words`, in the vocabulary's units and signs."""
    for name, value in device_map.values.items():
        if value.address is not None:
            yield from _value(
                device_map, name, value, Place(units[value.at], device_map.function_of(value), 0), words, now_s
            )


def _value(
    device_map: DeviceMap, name: str, value: Value, base: Place, words: Words, now_s: float
) -> Iterator[RegisterValue]:
    address = value.address or 0
    found = taken(words, base._replace(address=address), value.registers, now_s)
    if found is None:
        return
    raw, age_s = found
    held = {(value.at, base.function, address + n): word for n, word in enumerate(raw)}
    if value.scale_register is not None:
        scale = taken(words, base._replace(address=value.scale_register), 1, now_s)
        if scale is None:
            return
        held[value.at, base.function, value.scale_register] = scale[0][0]
    decoded = decode(device_map, held, [name])[name]
    shown = ", ".join(decoded) or "none" if isinstance(decoded, tuple) else decoded
    unit = UNITS[value.unit][0] if value.unit else ""
    yield RegisterValue(base.unit, base.function, address, raw, age_s, name, shown, "" if unit == "1" else unit)
