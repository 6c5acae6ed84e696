"""The commands for power reservations: reserve, wait, list, withdraw."""

from __future__ import annotations

import contextlib
import signal
import time
from typing import Any

import click
import msgspec

from console.cli.data_source import Live, gateway
from console.cli.failures import Failure
from console.cli.json_output import json_text, with_words
from console.display.formats import hour_minute_zone
from console.display.language import words
from console.language_option import language_option
from console.terminal_output import one_line
from console.value_parsers import duration, json_option, kilowatts, site_option
from dispatch.model.reasons import Reason
from dispatch.model.reservations import Reservation
from dispatch.wording.formatting import kw, span
from gateway import exit_codes
from gateway.errors import LinkLost, NoGateway, RequestFailed

GRANT_S = 60.0  # every start within 36 h may be tried: 0.5 s of a fast processor, many times that on a busy small one
POLL_S = 1.0
GONE_S = 300.0  # a gateway that is away for longer while a job waits is given up
GRACE_S = 60.0  # of the site's clock: power that is not there so long after the latest start will not come


@click.command()
@click.option("--kw", "power_kw", type=kilowatts, required=True, metavar="KW", help="Power that the job draws.")
@click.option("--for", "for_s", type=duration, required=True, metavar="TIME", help="Duration, such as 2h.")
@click.option(
    "--within", "within_s", type=duration, metavar="TIME", help="Longest time the job may wait for its start."
)
@click.option("--name", default="", metavar="TEXT", help="Name of the job; one reservation per job.")
@click.option("--job", "job_id", default="", metavar="ID", help="The scheduler's id of the job.")
@click.option("--cluster", default="", metavar="NAME", help="Name of the scheduler's cluster, with --job.")
@click.option("--restart", type=click.IntRange(0), default=0, metavar="N", help="How often it restarted the job.")
@click.option("--wait", is_flag=True, help="Return when the power is ready; if ended before, withdraw the reservation.")
@site_option
@json_option
def reserve(
    power_kw: float, for_s: float, within_s: float | None, wait: bool, site: str | None, as_json: bool, **job: Any
) -> None:
    """Reserve power for a job. The answer is a start time and its cost, or the reason of a refusal.

    The same user asking again for the same job (--cluster and --job, else --name) renews its reservation.
    The plan provides the energy by then; the reservation ends by itself. Exit codes with --wait: 0 the power is ready,
    4 refused or withdrawn, 3 the gateway cannot be reached. A signal withdraws the reservation.
    """
    with gateway(site, GRANT_S) as live:
        asked = {"power_w": 1000 * power_kw, "for_s": for_s, "within_s": within_s or 0.0}
        answer = live.link.request("reservation.ask", **asked, **_given(job), seen_utc_s=live.now_utc_s())
        reservation = msgspec.convert(answer["reservation"], Reservation)
        if as_json:
            click.echo(json_text(with_words(answer)))
        else:
            what = f"{kw(reservation.power_w)} from {_when(live, reservation)} ({span(for_s)})"
            renews = f", renews {answer['renews']}" if answer.get("renews") else ""
            click.echo(f"{reservation.id}: {what}{renews}")
            if answer["why"]:
                click.echo(f"note      {_why(answer)}")
        if answer["not_durable"]:
            click.echo(f"skerry: granted, but its result is not on record: {answer['not_durable']}", err=True)
    if wait:
        _wait(site, reservation)


@click.command()
@language_option
@site_option
@json_option
def reservations(site: str | None, as_json: bool) -> None:
    """List the power reservations in order of their start."""
    with gateway(site) as live:
        found = live.link.request("reservation.list")["reservations"]
        if as_json:
            click.echo(json_text(with_words(found)))
            return
        for raw in found:
            click.echo(_line(live, raw))
    if not found:
        click.echo("no power is reserved")


@click.command()
@click.argument("reservation", metavar="[ID|NAME]", default="")
@click.option("--job", "job_id", default="", metavar="ID", help="The scheduler's id of the job, instead of ID or NAME.")
@click.option("--cluster", default="", metavar="NAME", help="Name of the scheduler's cluster, with --job.")
@click.option(
    "--restart",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="The restart of the job that is over; a reservation of a later one stays.",
)
@click.option("--reason", default="", metavar="TEXT", help="Reason; recorded.")
@site_option
@json_option
def withdraw(reservation: str, reason: str, site: str | None, as_json: bool, **job: Any) -> None:
    """Withdraw a power reservation by its id or the name of its job, or by a scheduler's job. Always carried out."""
    if not reservation and not job["job_id"]:
        raise click.UsageError("Missing argument '[ID|NAME]', or option '--job'.")
    with gateway(site) as live:
        answer = live.link.request("reservation.withdraw", id=reservation, reason=reason, **_given(job))
    if as_json:
        click.echo(json_text(answer))
        return
    if answer["withdrawn"] is None:
        kept = answer["kept"]
        if kept is None:
            click.echo("withdrawn before it was granted")
            return
        click.echo(f"{kept['id']} stays: the job was started again since (restart {kept['restart']})")
    else:
        click.echo(f"withdrawn {answer['withdrawn']['id']}")
    if answer["not_durable"]:
        click.echo(f"skerry: done, but not durable: {answer['not_durable']}", err=True)


def _given(job: dict[str, Any]) -> dict[str, Any]:
    """What was told of the job; a gateway of an earlier version knows no more than its name."""
    return {name: value for name, value in job.items() if value or name == "name"}


def _line(live: Live, raw: dict[str, Any]) -> str:
    r = msgspec.convert(raw, Reservation)
    name, state = "" if r.name == r.id else r.name, "ready" if raw["ready"] else _why(raw)
    return one_line(f"{r.id:<6} {kw(r.power_w):>9}  {_when(live, r)}  {name:<16} {r.who:<12} {state}")


def _why(raw: dict[str, Any]) -> str:
    return words(msgspec.convert(raw["why"], Reason | None))


def _when(live: Live, r: Reservation) -> str:
    return f"{hour_minute_zone(r.start_utc_s, live.zone)} to {hour_minute_zone(r.end_utc_s, live.zone)}"


def _wait(site: str | None, reservation: Reservation) -> None:
    """Return once its power is ready. Raises Failure, NoGateway, LinkLost; ended by a signal, withdraws it."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _until_ready(site, reservation)
    except KeyboardInterrupt:
        _withdraw(site, reservation, "the job that waited for it was ended")
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def _until_ready(site: str | None, reservation: Reservation) -> None:
    heard_s, said = time.monotonic(), ""
    while True:
        try:
            with gateway(site) as live:
                listed = live.link.request("reservation.list")
        except (LinkLost, NoGateway) as lost:  # it keeps its reservations over a restart
            if time.monotonic() - heard_s > GONE_S:
                raise
            line = f"waiting for the gateway: {lost}"
        else:
            heard_s = time.monotonic()
            mine = _standing(site, reservation, listed)
            if mine["ready"]:
                return
            line = f"waiting: {_why(mine)}"
        said = _echo_once(line, said)
        time.sleep(POLL_S)


def _standing(site: str | None, reservation: Reservation, listed: dict[str, Any]) -> dict[str, Any]:
    """The reservation as the gateway lists it. Raises Failure when its power will not come; then it is withdrawn."""
    mine: dict[str, Any] | None = next((r for r in listed["reservations"] if r["id"] == reservation.id), None)
    if mine is None:
        over = listed["utc_s"] >= reservation.end_utc_s
        what = "is over, its power did not come" if over else "was withdrawn while the job waited"
        raise Failure(f"reservation {reservation.id} {what}", exit_codes.REFUSED)
    if not mine["ready"] and listed["utc_s"] > reservation.latest_utc_s + GRACE_S:
        _withdraw(site, reservation, f"its power did not come: {_why(mine)}")
        raise Failure(f"reservation {reservation.id}: {_why(mine)}; it is withdrawn", exit_codes.REFUSED)
    return mine


def _withdraw(site: str | None, reservation: Reservation, why: str) -> None:
    with contextlib.suppress(LinkLost, NoGateway, RequestFailed), gateway(site) as live:
        live.link.request("reservation.withdraw", id=reservation.id, reason=why)


def _echo_once(line: str, said: str) -> str:
    if line != said:
        click.echo(f"skerry: {line}", err=True)
    return line
