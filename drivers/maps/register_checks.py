"""Checks where a device map reads and writes: units, sizes, overlaps, protected registers, values written in part."""

from __future__ import annotations

from collections.abc import Iterator

from drivers.maps.lines import Key
from drivers.maps.schema import DEVICE, SIZES, DeviceMap, Heartbeat, Identity, NamedWrite, ReadBack, Step, Value
from drivers.modbus.frames import MAX_WRITE

Fault = tuple[Key, str, str]  # key, what, expected
Placed = tuple[str, int, int, Key]  # unit, first register, the one behind the last, key


def _unit(key: Key, at: str, device_map: DeviceMap) -> Iterator[Fault]:
    known = (DEVICE, *device_map.units)
    if at not in known:
        yield (*key, "at"), f"{at!r} is not known", f"{' or '.join(known)}, as in [units]"


def read_faults(
    key: Key, item: Identity | Value | ReadBack, kind: str, address: int, device_map: DeviceMap
) -> Iterator[Fault]:
    """Where something is read: its unit, its size, its last address."""
    yield from _unit(key, item.at, device_map)
    count, size = item.registers, getattr(item, "size", 0)
    if kind in SIZES and size not in (0, SIZES[kind]):
        yield (*key, "size"), f"{size}", f"{SIZES[kind]}, which {kind} takes, or no size"
    if kind in ("enum", "bits") and size not in (0, 1, 2, 4):
        yield (*key, "size"), f"{size}", "1, 2 or 4 registers"
    if kind == "string" and not size:
        yield key, "a string without size", "size, in registers"
    if count > device_map.access.max_registers:
        yield key, f"{count} registers", f"at most max_registers, {device_map.access.max_registers}"
    if address + count > 1 << 16:
        yield (*key, "address"), f"{address}", f"the last of its {count} registers at 65535 or below"


def write_faults(key: Key, item: Step | Heartbeat | NamedWrite, device_map: DeviceMap) -> Iterator[Fault]:
    """Where something is written: its unit, its size, and that nobody protected it."""
    yield from _unit(key, item.at, device_map)
    first, last = item.address, item.address + item.registers - 1
    if not 1 <= item.registers <= MAX_WRITE:
        yield key, f"{item.registers} registers", f"1..{MAX_WRITE} in one request"
    if last >= 1 << 16:
        yield (*key, "address"), f"{first}", "the last of its registers at 65535 or below"
    if (item.function or device_map.access.write_function) == 6 and item.registers > 1:
        yield key, f"{item.registers} registers by function 6", "function 16: its values must arrive together"
    for low, high, why in device_map.protected.ranges:
        if first <= high and low <= last:
            yield (*key, "address"), f"writes {first}..{last}, protected {low}..{high} ({why})", "other registers"


def overlap_faults(device_map: DeviceMap) -> Iterator[Fault]:
    """Two values that share a register, unless both are bits or words of the very same ones."""
    taken: dict[tuple[str, int], list[tuple[int, int, str, bool]]] = {}
    for name, value in device_map.values.items():
        if value.address is None:
            continue
        place = taken.setdefault((value.at, device_map.function_of(value)), [])
        place.append((value.address, value.address + value.registers, name, value.type in ("enum", "bits")))
        if value.scale_register is not None:
            place.append((value.scale_register, value.scale_register + 1, "", True))
    for place in taken.values():
        yield from _overlaps_of_unit(sorted(place))


def _overlaps_of_unit(place: list[tuple[int, int, str, bool]]) -> Iterator[Fault]:
    widest = place[0]  # the one before that reaches furthest
    for one in place[1:]:
        first, end, name, shares = widest
        other_first, other_end, other, also = one
        same = shares and also and (first, end) == (other_first, other_end)
        if other_first < end and not same:
            with_ = f"those of {name or 'a scale register'}, {first}..{end - 1}"
            key: Key = ("value", other or name, "address")
            yield key, f"registers {other_first}..{other_end - 1} overlap {with_}", "registers of its own"
        widest = max(widest, one, key=lambda item: item[1])


def protection_faults(device_map: DeviceMap) -> Iterator[Fault]:
    """Protected ranges that are none, or that say no reason."""
    for first, last, why in device_map.protected.ranges:
        if first > last or not why.strip():
            yield ("protected", "ranges"), f"[{first}, {last}, {why!r}]", "first, last, why; first at most last"


def alignment_faults(device_map: DeviceMap) -> Iterator[Fault]:
    """Written values and read-backs that cover a part of another value, not the whole of it."""
    read = [
        (value.at, value.address, value.address + value.registers, ("value", name))
        for name, value in device_map.values.items()
        if value.address is not None and device_map.function_of(value) == 3
    ]
    written = list(_written_values(device_map))
    for at, first, end, key in written:
        for other_at, other_first, other_end, other in (*read, *written):
            apart = at != other_at or end <= other_first or other_end <= first
            if not apart and (first, end) != (other_first, other_end) and other != key:
                name = ".".join(map(str, other))
                yield (
                    key,
                    f"{first}..{end - 1} covers a part of {name}, {other_first}..{other_end - 1}",
                    "the whole of it",
                )


def _written_values(device_map: DeviceMap) -> Iterator[Placed]:
    """Where each single value is written, or read back."""
    for name, write in device_map.writes.items():
        yield write.at, write.address, write.address + write.registers, ("write", name)
    if (recipe := device_map.recipe) is None:
        return
    for part in ("enter", "set", "renew", "leave"):
        for n, step in enumerate(getattr(recipe, part)):
            address = step.address
            for value in step.values:
                yield step.at, address, address + value.registers, ("recipe", part, n)
                address += value.registers
    if (beat := recipe.heartbeat) is not None:
        yield beat.at, beat.address, beat.address + beat.registers, ("recipe", "heartbeat")
