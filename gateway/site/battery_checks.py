"""Checks of a `[[battery]]` whose BMS is a device of its own, and that every battery has somebody who tells its SoC."""

from __future__ import annotations

from collections.abc import Iterator

from dispatch.config.cross_checks import Finding
from drivers.config import BatteryDevice, PcsDevice
from gateway.site.schema import Site


def battery_device(site: Site, n: int, battery: BatteryDevice) -> Iterator[Finding]:
    """Map and url belong together; the twin is the BMS of a battery whose PCS it is, too."""
    key, url = f"battery[{n}]", battery.url
    if battery.map and not url:
        yield f"{key}.url", url, "where the BMS is, such as tcp://192.168.1.40:502, because map is given"
    if url and not battery.map:
        yield f"{key}.map", battery.map, "the device map by which the BMS at its url is read"
    if url == "twin" and not any((pcs.url, pcs.battery) == ("twin", battery.id) for pcs in site.pcs):
        yield f"{key}.url", url, "the address of a BMS, or a [[pcs]] of this battery that is the twin's, too"


def soc_source(site: Site, n: int, pcs: PcsDevice) -> Iterator[Finding]:
    """A PCS whose map tells no SoC needs a battery with a BMS of its own, or it would only ever go towards 0 W."""
    from drivers.maps.loader import MapError, load  # here: most sites have SunSpec devices only

    store = next((b for b in site.battery if b.id == pcs.battery), None)
    if not pcs.map or store is None or store.map:
        return
    try:
        values = load(pcs.map, site.path).values
    except MapError:
        return  # told elsewhere
    if "soc_pct" not in values:
        m = site.battery.index(store)
        wanted = f"a device map of kind battery, with url: map {pcs.map} of pcs[{n}] tells no SoC"
        yield f"battery[{m}].map", store.map, wanted
