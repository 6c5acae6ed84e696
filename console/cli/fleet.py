"""`skerry fleet`: several sites on one screen, as text or as JSON. It reads, and commands no site."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import click

from console.cli.fleet_pull import pull
from console.cli.fleet_report import report
from console.cli.fleet_sites import chosen_sites, sites_option, ssh_option
from console.cli.fleet_where import where
from console.cli.json_output import json_text
from console.display.fleet_text import document, table_lines
from console.value_parsers import duration, json_option
from fleet.sites import SiteAddress
from gateway import exit_codes

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
    a site file of this machine. Nothing here commands a site: for that open its own console, with Enter.
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
@sites_option
@ssh_option
@json_option
def show(names: tuple[str, ...], once: bool, wait_s: float, file: Path | None, ssh: str | None, as_json: bool) -> int:
    """Show the sites, the worst first. Without SITE: those of fleet.toml.

    A site that does not answer keeps what was last known of it, with its age. With --once or --json, and where the
    output is no terminal, the sites are printed once: exit code 3 if none has answered.
    """
    found, command = chosen_sites(names, file, ssh)
    if not (once or as_json) and sys.stdout.isatty():
        from console import launcher

        return launcher.fleet(found, command)
    return asyncio.run(_print(found, command, wait_s, as_json))


async def _print(found: tuple[SiteAddress, ...], ssh: tuple[str, ...], wait_s: float, as_json: bool) -> int:
    from fleet.table import rows_of, sums_of
    from fleet.watch import Watch

    watch = Watch(found, ssh)
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
