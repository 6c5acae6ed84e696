"""Releases PCS that a gateway which was killed has left under command: writes what their maps leave behind.

What was found before the first write stands in the state directory. A cut cable or a dead machine it does not cover.
"""

from __future__ import annotations

from pathlib import Path

from drivers.devices import Resolve, make_drivers
from drivers.maps.found_modes import FoundModes
from drivers.maps.pcs import MapPcs
from drivers.modbus.errors import DeviceError
from gateway.found_mode_record import open_found_modes
from gateway.site.schema import Site


async def release(site: Site, state_dir: Path, resolve: Resolve) -> list[tuple[str, str]]:
    """Release every PCS that is on record as commanded. Returns id and what went wrong ("": nothing) of each.

    Where the record cannot be read, those that never revert by themselves are released with their map's own values.
    No gateway of the site may run meanwhile.
    """
    found, remark = open_found_modes(state_dir)
    mapped = [pcs for pcs in site.pcs if pcs.map]
    drivers = make_drivers([], mapped, [], [], [], site.io, resolve, beside=site.path, found_modes=found)
    results = [("", remark)] if remark else []
    for driver in drivers:
        if isinstance(driver, MapPcs) and _is_due(driver, found):
            results.append((driver.id, await _released(driver)))
        await driver.close()
    return results


def _is_due(driver: MapPcs, found: FoundModes) -> bool:
    return driver.id in found.devices or (bool(found.unknown) and driver.never_reverts)


async def _released(driver: MapPcs) -> str:
    try:
        await driver.release()
    except DeviceError as error:
        return str(error)
    return ""
