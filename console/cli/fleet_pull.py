"""`skerry fleet pull`: copies the history of sites to this machine."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import click

from console.cli.failures import Failure
from console.cli.fleet_sites import chosen_sites, mbit_option, sites_option, ssh_option
from console.cli.json_output import json_text
from console.value_parsers import json_option
from fleet.pull import Pace, Pulled
from fleet.pulling import FleetPull, hub_name
from fleet.sites import SiteAddress
from fleet.store import FILE, HubFile, NotAHub
from fleet.transport import open_link
from gateway import exit_codes
from gateway.site.paths import state_root

hub_option = click.option(
    "--hub",
    "hub",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Directory of the history. Default: skerry/fleet in $XDG_STATE_HOME or ~/.local/state.",
)


@click.command()
@click.argument("names", metavar="[SITE]...", nargs=-1)
@hub_option
@mbit_option("At most so many Mbit/s, all sites together.")
@click.option(
    "--current",
    "current",
    multiple=True,
    metavar="SITE",
    help="Read SITE although another incarnation followed it, or another site has the same identity.",
)
@sites_option
@ssh_option
@json_option
def pull(
    names: tuple[str, ...],
    hub: Path | None,
    mbit: float,
    current: tuple[str, ...],
    file: Path | None,
    ssh: str | None,
    as_json: bool,
) -> int:
    """Copy what is new of the sites' history into DIR/fleet.db: roll-ups of quarter hours first, then packed blocks.

    Goes on where it was ended, at any moment. Also collects the heads of the sites' audits, with which `skerry verify
    --against DIR` shows an audit whose end was rewritten. Exit code 1 if something of a site was not pulled.
    """
    found, command = chosen_sites(names, file, ssh)
    directory = hub or state_root() / "fleet"
    try:
        store = HubFile(directory)
        with closing(store):
            listed = [site.name for site in found]
            pulling = FleetPull(listed, store, Pace(mbit * 1e6 / 8), current=current, hub=hub_name(directory))
            done = asyncio.run(_all(found, command, pulling))
    except NotAHub as error:
        raise Failure(str(error)) from None
    except sqlite3.Error as error:
        raise Failure(
            f"{directory / FILE}: {error}; what is in it stays, and the next pull goes on from there"
        ) from None
    if as_json:
        click.echo(json_text(done))
    else:
        click.echo("\n".join(line for result in done for line in _lines(result)))
        click.echo(f"skerry: in {store.path}", err=True)
    return exit_codes.FAILED if any(result.kind for result in done) else exit_codes.OK


async def _all(sites: tuple[SiteAddress, ...], ssh: tuple[str, ...], pulling: FleetPull) -> list[Pulled]:
    """Every site, some at a time."""
    return await asyncio.gather(*(pulling.pull(site.name, partial(open_link, site, ssh)) for site in sites))


def _lines(result: Pulled) -> list[str]:
    counts = f"{result.blocks} blocks, {result.quarters} roll-ups, {result.bytes / 1e6:.1f} MB"
    lost = f", {result.lost} blocks are lost" if result.lost else ""
    lines = [f"{result.name}: {counts}{lost}"]
    lines += [f"{result.name}: note: {remark}" for remark in result.remarks]
    return lines + ([f"{result.name}: NOT all pulled: {result.trouble}"] if result.trouble else [])
