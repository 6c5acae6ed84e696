"""Which sites a command of `skerry fleet` is about: its options, and what they mean."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from fleet import sites
from fleet.sites import FleetFile, FleetFileError, SiteAddress

Command = TypeVar("Command", bound=Callable[..., Any])

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

MBIT_S = 10.0


def mbit_option(text: str) -> Callable[[Command], Command]:
    """How fast a history is sent or fetched at most; `text` is the option's help."""
    return click.option(
        "--mbit", type=click.FloatRange(min=0, min_open=True), default=MBIT_S, show_default=True, help=text
    )


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


def listed_sites(file: Path | None, ssh: str | None) -> tuple[tuple[SiteAddress, ...], tuple[str, ...]]:
    """The sites of the file, none without it, and the program that opens links. Raises click.ClickException."""
    try:
        listed = _file(file)
    except FleetFileError as error:
        raise click.UsageError(str(error)) from None
    return listed.sites, tuple(shlex.split(ssh)) if ssh else listed.ssh


def _file(given: Path | None) -> FleetFile:
    """The file of sites; without one, none. Raises FleetFileError, click.ClickException."""
    path = given or sites.default_path()
    try:
        return sites.read(path)
    except FileNotFoundError:
        if given is not None:
            raise click.UsageError(f"{given}: no such file") from None
        return FleetFile()
