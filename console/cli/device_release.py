"""`skerry devices release`: ends what a gateway left in the PCS, the PV and the switch of a site."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from console.cli.device_registers import with_devices
from console.cli.failures import Failure
from console.cli.json_output import json_text
from console.value_parsers import json_option
from drivers.maps.found_modes import FoundModes
from gateway import exit_codes
from gateway.commissioning.release import Released, release
from gateway.commissioning.state_owner import not_the_owner
from gateway.found_mode_record import open_found_modes
from gateway.register_access import RegisterAccess
from gateway.site import paths
from gateway.site.loader import load
from gateway.site.schema import Site

OTHER_DIRECTORY = "if the gateway ran with --state-dir, set STATE_DIRECTORY to that"


@click.command("release")
@click.argument("site", type=click.Path(path_type=Path))
@json_option
def release_devices(site: Path, as_json: bool) -> int:
    """End what a gateway left in the PCS: after it was killed, the service runs this before it starts anew.

    A PCS of a device map is left in the mode in which it was found. A SunSpec setpoint is left to its own timer, and
    switched off where none runs. A limit of PV is lifted, whether a timer would end it or not. A PCS that forms the
    grid, or any while a switch at the PCC is not known to be closed, is left alone. A transfer switch that was put into
    remote control for an order is set back to automatic, once it is on the grid. It refuses while a gateway runs. A cut
    cable it cannot help: what a device without a timer then holds, it holds.

    How a PCS was found is in the state directory. Where the gateway ran with --state-dir, or as a service, set
    STATE_DIRECTORY to that directory.

    Exit code 0: nothing is left; 1: something is, as said; 5: a gateway runs.
    """

    loaded = load(site)
    if line := not_the_owner(loaded):
        raise Failure(line)
    modes = _found_modes(loaded)
    untouched = set() if modes.unknown else {p.id for p in loaded.pcs if p.map and p.id not in modes.devices}

    async def ask(_: RegisterAccess, drivers: dict[str, Any]) -> list[Released]:
        return await release(drivers.values(), untouched)

    found = with_devices(loaded, ask, modes)
    if as_json:
        click.echo(json_text(found))
    else:
        for one in found:
            click.echo(f"{one.id}  {one.text}")
    if untouched:
        click.echo(f"state directory {paths.state_dir(loaded)}; {OTHER_DIRECTORY}", err=True)
    return exit_codes.OK if all(one.ok for one in found) else exit_codes.FAILED


def _found_modes(site: Site) -> FoundModes:
    """How the PCS were found. Raises Failure where no gateway has kept that."""
    directory = paths.state_dir(site)
    if any(p.map for p in site.pcs) and not directory.is_dir():
        line = f"no gateway has kept records in {directory}: how a PCS was found is not known"
        raise Failure(f"{line}; {OTHER_DIRECTORY}")
    modes, note = open_found_modes(directory)
    if note:
        click.echo(f"skerry: warning: {note}", err=True)
    return modes
