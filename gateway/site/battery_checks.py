"""Checks of a `[[battery]]` whose BMS is a device of its own."""

from __future__ import annotations

from collections.abc import Iterator

from dispatch.config.cross_checks import Finding
from drivers.config import BatteryDevice
from gateway.site.schema import Site


def battery_device(site: Site, n: int, battery: BatteryDevice) -> Iterator[Finding]:
    """Map and url belong together; the twin is the BMS of a battery whose PCS it is, too."""
    key, url = f"battery[{n}]", battery.url
    if battery.map and not url:
        yield f"{key}.url", url, "where the BMS is, such as tcp://192.168.1.40:502, because map is given"
    if url and not battery.map:
        yield f"{key}.map", battery.map, "the device map by which the BMS at its url is read"
    if battery.serial and not battery.map:
        yield (
            f"{key}.serial",
            battery.serial,
            "no such key without map: it is that of its [[pcs]], or of the BMS at url",
        )
    if url == "twin" and not any((pcs.url, pcs.battery) == ("twin", battery.id) for pcs in site.pcs):
        yield f"{key}.url", url, "the address of a BMS, or a [[pcs]] of this battery that is the twin's, too"
