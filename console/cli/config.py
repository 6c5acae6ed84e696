"""`skerry config`: changes a site file to the current version."""

from __future__ import annotations

from pathlib import Path

import click

from console.cli.failures import Failure
from gateway import exit_codes
from gateway.site import versions
from gateway.site.loader import parse, read


@click.group()
def config() -> None:
    """Bring a site file to the current version."""


@config.command()
@click.argument("site", type=click.Path(path_type=Path))
def upgrade(site: Path) -> None:
    """Print SITE in the current version of the site file, with its comments. The file itself is not changed.

    Retired keys get their new names. A file of the current version is printed unchanged. To check the result:

    skerry config upgrade site.toml > new.toml && skerry check new.toml
    """
    try:
        text = read(site)
    except OSError as error:
        raise click.UsageError(f"{site}: {error.strerror}") from None
    parse(site, text)
    try:
        new = versions.upgraded(text)
    except versions.UnknownVersion as error:
        raise Failure(f"{site}: {versions.KEY}: expected {error}", exit_codes.USAGE) from None
    except versions.NoUpgrade as error:
        raise Failure(f"{site}: {error}", exit_codes.USAGE) from None
    click.echo(new, nl=False)
