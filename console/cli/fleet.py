"""`skerry fleet`: several sites on one screen, as text or as JSON. It reads; a signed limit is all that it sends."""

from __future__ import annotations

import asyncio
import errno
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from console.cli.bus_options import broker_of, tls_options
from console.cli.failures import Failure
from console.cli.fleet_limit import key, limit
from console.cli.fleet_pull import pull
from console.cli.fleet_report import report
from console.cli.fleet_sites import chosen_sites, listed_sites, sites_option, ssh_option
from console.cli.fleet_where import where
from console.cli.json_output import json_text
from console.display.fleet_text import document, table_lines
from console.language_option import language_option
from console.value_parsers import duration, json_option
from fleet.sites import SiteAddress
from gateway import exit_codes

if TYPE_CHECKING:
    from fleet.bus import Broker
    from fleet.watch import Followed

DEFAULT = "show"
LOOK = "10s"  # for the first answers, where the fleet is only printed


class FleetGroup(click.Group):
    """`skerry fleet SITE...` is `skerry fleet show SITE...`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the default command in where none is given."""
        known = args and (args[0] in self.commands or args[0] in ("-h", "--help"))
        return super().parse_args(ctx, args if known else [DEFAULT, *args])


@click.group(cls=FleetGroup)
def fleet() -> None:
    """Several sites on one screen: `skerry fleet SITE...`, the same as `skerry fleet show SITE...`.

    A SITE is the name or a tag of a site in fleet.toml; user@host, host: or host:/path/to/SITE.toml, reached by SSH; or
    a site file of this machine. Nothing here commands a site, but for a signed `limit`: for that open its own console,
    with Enter.
    """


@fleet.command()
@click.argument("names", metavar="[SITE]...", nargs=-1)
@click.option("--once", is_flag=True, help="Print the sites once, as text.")
@click.option(
    "--wait",
    "wait_s",
    type=duration,
    default=LOOK,
    metavar="TIME",
    help="For the first answers, where it only prints. [10s]",
)
@click.option(
    "--hub",
    "url",
    metavar="URL",
    help="Show all sites that send to this bus, tls://HOST:4222, and ask none; fleet.toml says how to reach one.",
)
@tls_options
@language_option
@sites_option
@ssh_option
@json_option
def show(
    names: tuple[str, ...],
    once: bool,
    wait_s: float,
    url: str | None,
    ca: Path | None,
    cert: Path | None,
    key: Path | None,
    file: Path | None,
    ssh: str | None,
    as_json: bool,
) -> int:
    """Show the sites, the worst first. Without SITE: those of fleet.toml.

    A site that does not answer keeps what was last known of it, with its age. With --once or --json, and where the
    output is no terminal, the sites are printed once: exit code 3 if none has answered.
    """
    on_screen = not (once or as_json) and sys.stdout.isatty()
    if url is not None:
        if names:
            raise click.UsageError("--hub shows all sites of the bus; filter them with / on the screen")
        return _of_hub(broker_of(url, ca, cert, key), listed_sites(file, ssh), on_screen, wait_s, as_json)
    from fleet.watch import Watch

    found, command = chosen_sites(names, file, ssh)
    if on_screen:
        from console import launcher

        return launcher.fleet(found, command)
    return asyncio.run(_print(Watch(found, command), wait_s, as_json))


def _of_hub(
    broker: Broker,
    listed: tuple[tuple[SiteAddress, ...], tuple[str, ...]],
    on_screen: bool,
    wait_s: float,
    as_json: bool,
) -> int:
    """The sites of a bus. `listed`: those of fleet.toml, and the program that opens links."""
    from fleet.bus import Bus, NotInstalled
    from fleet.hub_watch import INBOX, HubWatch

    addresses = {site.name: site for site in listed[0]}
    watch = HubWatch(lambda: Bus.connect(broker, "skerry fleet", INBOX), addresses)

    def console(site: SiteAddress) -> Sequence[str]:
        if site.name not in addresses:
            raise OSError(errno.ENOENT, "fleet.toml has no site of this name that says how to reach it")
        return launcher.site_console(listed[1], site)

    try:
        if on_screen:
            from console import launcher

            return launcher.followed_fleet(watch, console)
        code = asyncio.run(_print(watch, wait_s, as_json))
    except NotInstalled as error:
        raise Failure(str(error)) from None
    if watch.trouble:
        raise Failure(watch.trouble, exit_codes.NO_GATEWAY)
    return code


async def _print(watch: Followed, wait_s: float, as_json: bool) -> int:
    from fleet.table import rows_of, sums_of

    watch.start()
    try:
        await watch.all_looked(wait_s)
        rows = rows_of(watch.states, watch.monotonic())
    finally:
        await watch.stop()
    sums = sums_of(rows)
    said: Any = document(rows, sums, time.time())
    click.echo(json_text(said) if as_json else "\n".join(table_lines(rows, sums)))
    return exit_codes.OK if sums.live else exit_codes.NO_GATEWAY


fleet.add_command(pull)
fleet.add_command(report)
fleet.add_command(where)
fleet.add_command(limit)
fleet.add_command(key)
