"""`skerry devices`: what is done with the devices of a site by hand."""

from __future__ import annotations

import click

from console.cli.prove import prove


@click.group()
def devices() -> None:
    """Prove how a PCS behaves before it is relied on."""


devices.add_command(prove)
