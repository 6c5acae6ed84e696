"""`skerry devices`: what is done with the devices of a site by hand."""

from __future__ import annotations

import click

from console.cli.device_registers import list_devices, read_device, scan_host
from console.cli.device_release import release_devices
from console.cli.device_write import write_device
from console.cli.prove import prove


@click.group()
def devices() -> None:
    """Find devices, look at their registers, prove how a PCS behaves before it is relied on."""


for _command in (list_devices, scan_host, read_device, write_device, prove, release_devices):
    devices.add_command(_command)
