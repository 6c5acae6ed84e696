"""`skerry uplink`: sends the history of a site to the hubs of a fleet."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from console.cli.bus_options import broker_of, bus_options, until_ended
from console.cli.fleet_sites import mbit_option
from console.value_parsers import site_option


@click.command()
@bus_options
@mbit_option("At most so many Mbit/s.")
@site_option
def uplink(url: str, ca: Path | None, cert: Path | None, key: Path | None, mbit: float, site: str | None) -> int:
    """Send the figures of now, roll-ups, events, heads of the audit and blocks of a site to a bus, until it is ended.

    It asks the gateway of the site and can only read; it dials out, and nobody connects to it. What no hub has stored
    is sent again. Run it as a user of its own, see docs/fleet.md.
    """
    from fleet.bus import Bus
    from fleet.pull import Pace
    from fleet.sites import SiteAddress
    from fleet.transport import open_link
    from fleet.uplink import inbox_of, run_for_ever

    broker = broker_of(url, ca, cert, key)
    address = SiteAddress("site", site=site or "")
    run = partial(
        run_for_ever,
        partial(open_link, address, ()),
        lambda identity: Bus.connect(broker, "skerry uplink", inbox_of(identity)),
        Pace(mbit * 1e6 / 8),
    )
    return until_ended(run, f"Sending the history of {site or 'the site'} to {url}.")
