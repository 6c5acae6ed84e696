"""`skerry signal`: what grid operator, market and fleet ask for; hand a signal in, list, end."""

from __future__ import annotations

from typing import IO, Any

import click
import msgspec

from console.cli.data_source import Live, gateway
from console.cli.ending import ends_one
from console.cli.json_output import json_text, with_words
from console.display.language import words
from console.display.signal_text import signal_words
from console.language_option import language_option
from console.terminal_output import one_line
from console.value_parsers import duration, json_option, moment, power, site_option
from dispatch.model.reasons import Reason
from dispatch.model.signals import Quantity, Signal, SignalView
from drivers.signals.cloud_event import LONGEST


@click.group()
def signal() -> None:
    """Signals from outside: obligations of the grid operator, market targets, limits of a fleet."""


@signal.command("list")
@language_option
@site_option
@json_option
def list_(site: str | None, as_json: bool) -> None:
    """List the signals that stand: whose, what they limit, until when, and what the site does."""
    with gateway(site) as live:
        found = live.link.request("signal.list")
        now_utc_s = live.now_utc_s()
    if as_json:
        click.echo(json_text(found))
        return
    views = msgspec.convert(found["signals"], list[SignalView])
    for view in views:
        what, effect = signal_words(view, now_utc_s, live.zone)
        click.echo(one_line(f"{view.signal.id:<16} {view.signal.sort.value:<10} {what}  {effect}".rstrip()))
    if not views:
        click.echo("no signal stands")


@signal.command()
@click.argument("file", type=click.File("rb"), required=False)
@click.option("--sender", metavar="ID", help="Without FILE: the [[signal]] for which you enter it.")
@click.option("--limit", type=click.Choice([q.value for q in Quantity]), help="Without FILE: what is limited.")
@click.option("--to", "limit_w", type=power, metavar="POWER", help="Without FILE: the limit, such as 40kW.")
@click.option("--from", "start", metavar="T", help="HH:MM today or an ISO 8601 time. Default: now.")
@click.option("--until", "end", metavar="T", help="HH:MM today or an ISO 8601 time.")
@click.option("--for", "for_s", type=duration, metavar="TIME", help="Duration, instead of --until.")
@click.option("--reason", default="", metavar="TEXT", help="Reason; recorded.")
@site_option
@json_option
def send(file: IO[bytes] | None, site: str | None, as_json: bool, **entered: Any) -> None:
    """Hand in FILE, a signed CloudEvent (- reads standard input); or, as an operator, enter a signal by hand.

    A signed signal needs no role: its signature is checked with the sender's public_key in the site file.
    """
    with gateway(site) as live:
        if file is not None:
            text = file.read(LONGEST + 1).decode(errors="replace")
            answer = live.link.request("signal.send", event=text)
        else:
            answer = live.link.request("signal.send", **_entered(live, entered))
        now_utc_s = live.now_utc_s()
    if as_json:
        click.echo(json_text(with_words(answer)))
        return
    _say_taken(answer, now_utc_s, live)


@signal.command()
@ends_one()
def end(id_: str, reason: str, site: str | None, as_json: bool) -> None:
    """End a market target, or a signal that somebody entered by hand. Others only their sender ends."""
    with gateway(site) as live:
        answer = live.link.request("signal.end", id=id_, reason=reason)
    if as_json:
        click.echo(json_text(answer))
        return
    click.echo(f"ended     {answer['ended']['id']}")
    _warn(answer["not_durable"])


def _entered(live: Live, entered: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a signal that a person enters. Raises click.UsageError."""
    options = (("--sender", "sender"), ("--limit", "limit"), ("--to", "limit_w"))
    if missing := [option for option, name in options if entered[name] is None]:
        raise click.UsageError(f"Missing {', '.join(missing)}, or FILE with a signed signal.")
    if (entered["end"] is None) == (entered["for_s"] is None):
        raise click.UsageError("Expected one of --until and --for: nothing stands without an end.")
    now_utc_s = live.now_utc_s()
    start_s = None if entered["start"] is None else moment(entered["start"], now_utc_s, live.zone)
    if entered["end"] is not None:
        end_s = moment(entered["end"], now_utc_s, live.zone)
    else:
        end_s = (now_utc_s if start_s is None else start_s) + entered["for_s"]
    return {
        "sender": entered["sender"],
        "quantity": entered["limit"],
        "limit_w": entered["limit_w"],
        "start_utc_s": start_s,
        "end_utc_s": end_s,
        "reason": entered["reason"],
        "seen_utc_s": now_utc_s,
    }


def _say_taken(answer: dict[str, Any], now_utc_s: float, live: Live) -> None:
    if answer["known"]:
        click.echo("known     the same message was taken before; nothing changes")
    for signal in msgspec.convert(answer["signals"], list[Signal]):
        click.echo(one_line(f"{signal.id:<9} {signal_words(SignalView(signal), now_utc_s, live.zone)[0]}"))
    for signal in msgspec.convert(answer["ended"], list[Signal]):
        click.echo(f"ended     {signal.id}")
    if not (answer["known"] or answer["signals"] or answer["ended"]):
        click.echo(f"taken     {answer['sender']} is heard; no limit changes")
    for note in msgspec.convert(answer["notes"], list[Reason]):
        click.echo(one_line(f"note      {words(note)}"))
    _warn(answer.get("not_durable", ""))


def _warn(trouble: str) -> None:
    if trouble:
        click.echo(f"skerry: done, but not durable: {trouble}", err=True)
