"""Checks what a map of a switch lets it be told, and what must be read for that."""

from __future__ import annotations

from collections.abc import Iterator

from drivers.maps.register_checks import Fault
from drivers.maps.schema import DeviceMap
from drivers.maps.vocabulary import SWITCH_WRITES


def switch_faults(device_map: DeviceMap) -> Iterator[Fault]:
    """Faults of its writes, and of contacts that tell the source only together."""
    for name, write in device_map.writes.items():
        words = SWITCH_WRITES.get(name)
        if words is None:
            yield ("write", name), "no such write of a switch", f"one of {', '.join(SWITCH_WRITES)}"
            continue
        for word in write.words.values():
            if word not in words:
                yield ("write", name, "words"), f"{word!r}", f"one of {', '.join(sorted(words))}"
    for name, needed in (("command", {"open", "close"}), ("control", {"remote", "automatic"})):
        if name in device_map.writes and not needed <= set(device_map.writes[name].words.values()):
            yield ("write", name, "words"), "not all words", " and ".join(sorted(needed))
    if "control" in device_map.writes and "control" not in device_map.values:
        yield ("write", "control"), "its mode is not read", "[value.control], by which it is read back"
    yield from _contact_faults(device_map)


def _contact_faults(device_map: DeviceMap) -> Iterator[Fault]:
    if "off_contact" in device_map.values and "grid_contact" not in device_map.values:
        yield ("value", "off_contact"), "without the other contacts", "grid_contact and genset_contact as well"
    if ("grid_contact" in device_map.values) != ("genset_contact" in device_map.values):
        yield ("value",), "one of grid_contact and genset_contact", "both: together they tell the source"
