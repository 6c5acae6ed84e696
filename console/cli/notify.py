"""`skerry notify test`: whether the receivers of `[[notify]]` get what they are sent."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import click

from console.cli.data_source import gateway
from console.cli.failures import Failure
from console.cli.json_output import json_text
from console.terminal_output import one_line
from console.value_parsers import json_option, site_option
from gateway import exit_codes
from gateway.errors import NoGateway

ASK_S = 90.0  # a receiver may take a minute


@click.group()
def notify() -> None:
    """Notifications of alarms by webhook and mail, as [[notify]] of the site file names them."""


@notify.command()
@click.argument("receiver", metavar="[ID]", required=False)
@site_option
@json_option
def test(receiver: str | None, site: str | None, as_json: bool) -> int:
    """Send a test message to a receiver, or to all; say what came of each.

    The running gateway sends it: operators only. When none runs, this command sends it by the file of --site, with the
    secrets that its own environment has.

    Exit code 1: a receiver did not get it.
    """
    try:
        with gateway(site, ASK_S) as live:
            found = live.link.request("notify.test", id=receiver)
    except NoGateway:
        if site is None or not Path(site).is_file():
            raise
        found = asyncio.run(_sent_here(Path(site), receiver))
    if as_json:
        click.echo(json_text(found))
    else:
        for one in found:
            click.echo(one_line(f"{'ok  ' if one['ok'] else 'FAIL'} {one['id']}: {one['text']}"))
    return exit_codes.OK if all(one["ok"] for one in found) else exit_codes.FAILED


async def _sent_here(path: Path, receiver: str | None) -> list[dict[str, Any]]:
    """Without a gateway."""
    from gateway.outputs.notifier import tested
    from gateway.outputs.running import opened_receivers
    from gateway.site.loader import load

    site = load(path)
    chosen = [one for one in site.notify if receiver in (None, one.id)]
    if not chosen:
        names = ", ".join(one.id for one in site.notify) or "none"
        raise Failure(f"{path}: no receiver {receiver or 'at all'} in [[notify]], only: {names}", exit_codes.USAGE)
    async with opened_receivers(site, chosen) as receivers:
        return list(await asyncio.gather(*(tested(one, time.time()) for one in receivers)))
