"""`skerry devices write`: writes one value of a device: by an engineer, on record, after its name was typed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from console.cli.device_registers import with_devices
from console.cli.failures import Failure
from console.cli.json_output import json_text
from console.value_parsers import json_option
from drivers.register_view import WrittenValue
from gateway import exit_codes
from gateway.commissioning.audited_write import NotAllowed, audited_write
from gateway.commissioning.device_access import gateway_of
from gateway.register_access import RegisterAccess, parsed_value
from gateway.site.loader import load


@click.command("write")
@click.argument("site", type=click.Path(path_type=Path))
@click.argument("device")
@click.argument("assignment", metavar="VALUE=X")
@click.option("--reason", required=True, metavar="TEXT", help="Reason; recorded.")
@click.option("--yes", is_flag=True, help="Do not ask for the device's name.")
@json_option
def write_device(site: Path, device: str, assignment: str, reason: str, yes: bool, as_json: bool) -> None:
    """Write one value of a device, such as 702.WMax=50000 (in its unit), and read it back. Engineers only.

    Only values in a list may be written. Of a SunSpec device: limits of power (702), and while no gateway runs
    setpoints (704, 123, 124). Of a device by a map: what the map gives to people ([write.NAME] with by_hand). Whatever
    starts, stops, connects or protects is refused, and every address without a name. It is put on record before it is
    done.
    """
    name, equals, text = assignment.partition("=")
    if not equals or not name or not text:
        raise click.BadParameter(f"{assignment!r}: expected VALUE=X, such as 702.WMax=50000")
    loaded, value = load(site), parsed_value(text)
    with gateway_of(loaded) as link:
        if link is not None:
            _confirm(device, name, text, yes)
            seen_utc_s = link.request("status")["snapshot"]["utc_s"]
            given = {"id": device, "name": name, "value": value, "reason": reason, "seen_utc_s": seen_utc_s}
            answer = link.request("device.write", **given)
            _tell(msgspec.convert(answer["written"], WrittenValue), answer["not_durable"], as_json)
            return

    async def ask(access: RegisterAccess, drivers: dict[str, Any]) -> WrittenValue:
        access.last(device)  # is there such a device?
        await drivers[device].read()  # what it is, and what may be written
        return await audited_write(
            loaded, access, device, name, value, reason, lambda: _confirm(device, name, text, yes)
        )

    try:
        _tell(with_devices(loaded, ask), "", as_json)
    except NotAllowed as error:
        raise Failure(str(error), exit_codes.REFUSED) from None


def _confirm(device: str, name: str, text: str, yes: bool) -> None:
    if yes:
        return
    typed = click.prompt(f"{name} of {device} becomes {text}. Type the name of the device", err=True)
    if typed.strip() != device:
        raise click.Abort


def _tell(written: WrittenValue, not_durable: str, as_json: bool) -> None:
    if as_json:
        click.echo(json_text(msgspec.to_builtins(written) | {"not_durable": not_durable}))
        return
    click.echo(f"{written.name} was {written.before}, is {written.after}")
    if not_durable:
        click.echo(f"skerry: done, but not durable: {not_durable}", err=True)
