"""Checks of devices that are read by a device map: that it is there, fits the device, may be written, tells the SoC."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from dispatch.config.cross_checks import Finding
from drivers.config import PcsDevice, PvDevice
from drivers.maps.schema import DeviceMap
from drivers.maps.vocabulary import PV_POWER
from drivers.modbus.address import place_of
from drivers.twin.config import PCS_FAMILIES, SWITCHES
from gateway.site.schema import Site
from gateway.site.unread import MISSING_KEY, Unreadable, text


def map_without_errors(name: str, path: Path) -> DeviceMap | None:
    """The device map that a site file at `path` names; None: it cannot be read, as `maps` tells."""
    from drivers.maps.loader import MapError, load  # here: most sites have SunSpec devices only

    try:
        return load(name, path)
    except MapError:
        return None


def maps(site: Site) -> Iterator[Finding]:
    """Device maps that are named, and the units that they need. Only these files are opened."""
    for section in ("meter", "pcs", "battery", "pv", "switch"):
        for n, item in enumerate(getattr(site, section)):
            with suppress(Unreadable):
                if name := getattr(item, "map", ""):
                    yield from _map(f"{section}[{n}]", section, item, name, site.path)


def _map(where: str, section: str, item: Any, name: str, path: Path) -> Iterator[Finding]:
    from drivers.maps.loader import MapError, load  # here: most sites have SunSpec devices only

    try:
        device_map = load(name, path)
    except MapError as error:
        for fault in error.faults:
            yield f"{where}.map", name, f"a device map without errors; {fault}"
        return
    if section == "pv":
        yield from _pv_map(where, item, device_map)
    elif device_map.info.kind != section:
        yield f"{where}.map", name, f"a map of kind {section}; this is one of kind {device_map.info.kind}"
    yield from _keys(where, item, device_map)
    for unit in item.units.keys() - device_map.units.keys():
        known = ", ".join(device_map.units) or "none"
        yield f"{where}.units.{unit}", item.units[unit], f"a unit of the map {device_map.name}: {known}"
    for unit, number in device_map.units.items():
        if not number and unit not in item.units:
            yield f"{where}.units", MISSING_KEY, f"units = {{ {unit} = ... }}: map {device_map.name} needs it"
    if item.url == "twin":
        yield from _twins_map(where, section, item, device_map)
    if section == "pcs":
        yield from _recipe(where, item, device_map)


def _keys(where: str, item: Any, device_map: DeviceMap) -> Iterator[Finding]:
    """Keys that mean nothing beside this map."""
    if getattr(item, "instance", None) is not None:
        yield f"{where}.instance", item.instance, "no such key beside map: it counts SunSpec models"
    if item.serial and "serial" not in device_map.values:
        yield f"{where}.serial", item.serial, f"no such key: map {device_map.name} reads no serial number to compare"


def _twins_map(where: str, section: str, item: Any, device_map: DeviceMap) -> Iterator[Finding]:
    """What the twin needs to be the device of a map."""
    if section == "pcs" and device_map.name not in PCS_FAMILIES:
        yield f"{where}.map", item.map, f"a PCS that the twin can be: {', '.join(PCS_FAMILIES)}, or none for SunSpec"
    if section == "switch" and device_map.name not in SWITCHES:
        yield f"{where}.map", item.map, f"a switch that the twin can be: {', '.join(SWITCHES)}"
    ids = [number for number in {**device_map.units, **item.units}.values() if number]
    if len(set(ids)) < len(ids):
        yield f"{where}.units", dict(item.units), "a unit id of its own for each unit of the map"


def _pv_map(where: str, pv: PvDevice, device_map: DeviceMap) -> Iterator[Finding]:
    """A hybrid's PV is read by the map of its PCS. Only a map with the write pv_limit limits PV."""
    kind = device_map.info.kind
    if PV_POWER.get(kind) not in device_map.values:
        yield f"{where}.map", pv.map, f"a map of kind pv, or of a hybrid with a value pv_w; this is one of kind {kind}"
    if pv.curtail and "pv_limit" not in device_map.writes:
        yield f"{where}.curtail", True, f"false: map {device_map.name} has no write pv_limit, so it takes no limit"


def _recipe(where: str, pcs: PcsDevice, device_map: DeviceMap) -> Iterator[Finding]:
    """What the owner of a PCS that keeps its last setpoint for ever must have said."""
    recipe = device_map.recipe
    if recipe is None:
        yield f"{where}.map", pcs.map, "the map of a PCS with a [recipe]: this one can only be read"
        return
    if recipe.revert_s or recipe.asks_revert_s:
        return
    if not pcs.accept_no_revert:
        why = "true: by this map the PCS keeps its last setpoint for ever when Skerry or the network fails"
        yield f"{where}.accept_no_revert", pcs.accept_no_revert, why
    if pcs.cap_w is None:
        yield f"{where}.cap_w", MISSING_KEY, "a cap of its power, as it never reverts by itself"
    if "soc_pct" not in device_map.values:
        yield f"{where}.map", pcs.map, "a map that reads the SoC, as the PCS never reverts by itself"


def written_twice(site: Site) -> Iterator[Finding]:
    """PCS by maps that write the same register: each would end what the other has set, and find what it has written."""
    written: dict[tuple[object, int, int], str] = {}
    for n, pcs in enumerate(site.pcs):
        with suppress(Unreadable):
            places = _written_places(pcs, site.path) if pcs.map else set()
            for place in sorted(places & written.keys(), key=str)[:1]:
                what = f"register {place[2]} of unit {place[1]}"
                yield f"pcs[{n}].url", pcs.url, f"a device of its own: {written[place]} writes {what}, too"
            written.update(dict.fromkeys(places, pcs.id))


def _written_places(pcs: PcsDevice, path: Path) -> set[tuple[object, int, int]]:
    """Line, unit and register of everything that the recipe of its map writes; nothing of a map that cannot be read."""
    if (device_map := map_without_errors(pcs.map, path)) is None:
        return set()
    units = {**device_map.units, **pcs.units}
    steps = device_map.recipe.steps if device_map.recipe is not None else ()
    line = place_of(text(pcs.url))
    return {(line, units.get(s.at, pcs.unit), s.address + r) for s in steps for r in range(s.registers)}


def hybrids(site: Site) -> Iterator[Finding]:
    """A PCS and a PV inverter that are one device are read the same way, or its PV may count twice, or not at all."""
    for n, pv in enumerate(site.pv):
        for m, pcs in enumerate(site.pcs):
            with suppress(Unreadable):
                here = pv.url != "twin" and (place_of(text(pv.url)), pv.unit) == (place_of(text(pcs.url)), pcs.unit)
                if here and bool(pv.map) != bool(pcs.map):
                    wanted = f"map = {pcs.map!r}" if pcs.map else "no map"
                    yield f"pv[{n}].map", pv.map, f"{wanted}, as pcs[{m}] has, which is the same device"
        with suppress(Unreadable):
            yield from _twins_hybrid(f"pv[{n}]", pv, site.pcs)


def _twins_hybrid(where: str, pv: PvDevice, all_pcs: Sequence[PcsDevice]) -> Iterator[Finding]:
    """A simulated PV inverter with a map is the PV of a simulated hybrid, and no other."""
    if pv.url == "twin" and pv.map:
        same = [pcs.id for pcs in all_pcs if (pcs.url, pcs.map, pcs.unit) == (pv.url, pv.map, pv.unit)]
        if len(same) != 1:
            expected = f"no map, or that of one [[pcs]] with unit {pv.unit}, whose PV it is; {len(same)} have it"
            yield f"{where}.map", pv.map, expected


def soc_source(site: Site, n: int, pcs: PcsDevice) -> Iterator[Finding]:
    """A PCS whose map tells no SoC needs a battery with a BMS of its own, or it would only ever go towards 0 W."""
    store = next((b for b in site.battery if b.id == pcs.battery), None)
    if not pcs.map or store is None or store.map:
        return
    device_map = map_without_errors(pcs.map, site.path)
    if device_map is not None and "soc_pct" not in device_map.values:
        m = site.battery.index(store)
        wanted = f"a device map of kind battery, with url: map {pcs.map} of pcs[{n}] tells no SoC"
        yield f"battery[{m}].map", store.map, wanted
