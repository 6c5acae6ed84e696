"""`skerry fleet`: several sites as text or as JSON. It reads, and commands no site."""

from __future__ import annotations

import asyncio
import shlex
import time
from pathlib import Path
from typing import Any

import click

from console.cli.json_output import json_text
from console.display.fleet_text import document, table_lines
from console.value_parsers import duration, json_option
from fleet import sites
from fleet.sites import FleetFile, FleetFileError, SiteAddress
from gateway import exit_codes

DEFAULT = "show"
LOOK = "10s"  # for the first answers, where the fleet is only printed

sites_option = click.option(
    "--file",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="fleet.toml",
    help="File with the sites. Default: skerry/fleet.toml in $XDG_CONFIG_HOME or ~/.config.",
)
ssh_option = click.option(
    "--ssh", "ssh", metavar="COMMAND", help="Program that opens the links, with its options. Default: ssh."
)


class FleetGroup(click.Group):
    """`skerry fleet SITE...` is `skerry fleet show SITE...`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the default command in where none is given."""
        known = args and (args[0] in self.commands or args[0] in ("-h", "--help"))
        return super().parse_args(ctx, args if known else [DEFAULT, *args])


@click.group(cls=FleetGroup)
def fleet() -> None:
    """Several sites, the worst first: `skerry fleet SITE...`, the same as `skerry fleet show SITE...`.

    A SITE is the name or a tag of a site in fleet.toml; user@host, host: or host:/path/to/SITE.toml, reached by SSH; or
    a site file of this machine. Nothing here commands a site.
    """


@fleet.command()
@click.argument("names", metavar="[SITE]...", nargs=-1)
@click.option("--wait", "wait_s", type=duration, default=LOOK, metavar="TIME", help="For the first answers. [10s]")
@sites_option
@ssh_option
@json_option
def show(names: tuple[str, ...], wait_s: float, file: Path | None, ssh: str | None, as_json: bool) -> int:
    """Show the sites, the worst first. Without SITE: those of fleet.toml.

    Exit code 3 if no site has answered.
    """
    found, command = chosen_sites(names, file, ssh)
    return asyncio.run(_print(found, command, wait_s, as_json))


def chosen_sites(
    names: tuple[str, ...], file: Path | None, ssh: str | None
) -> tuple[tuple[SiteAddress, ...], tuple[str, ...]]:
    """The sites meant, and the program that opens links. Raises click.ClickException."""
    try:
        listed = _file(file)
        found = sites.chosen(names, listed)
    except FleetFileError as error:
        raise click.UsageError(str(error)) from None
    if not found:
        raise click.UsageError(f"expected a SITE, or sites in {file or sites.default_path()}")
    return found, tuple(shlex.split(ssh)) if ssh else listed.ssh


def _file(given: Path | None) -> FleetFile:
    """The file of sites; without one, none. Raises FleetFileError, click.ClickException."""
    path = given or sites.default_path()
    try:
        return sites.read(path)
    except FileNotFoundError:
        if given is not None:
            raise click.UsageError(f"{given}: no such file") from None
        return FleetFile()


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
