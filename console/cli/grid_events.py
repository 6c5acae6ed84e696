"""`skerry event`: starts, shows and aborts grid events, and reports what became of one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click
import msgspec

from console.cli.data_source import Live, Record, gateway, record_of_gateway
from console.cli.ending import ends_one
from console.cli.failures import Failure
from console.cli.grid_event_text import (
    CappedRun,
    ahead_lines,
    event_line,
    phase_text,
    report_document,
    report_lines,
    status_lines,
)
from console.cli.json_output import json_text, with_words
from console.cli.recorded_site import site_terms
from console.display.language import words
from console.language_option import language_option
from console.value_parsers import NOT_SAID, duration, json_option, kilowatts, moment, site_option
from dispatch.events.flexibility import Offer
from dispatch.events.model import EventState, GridEvent, KeptEvents
from dispatch.model.reasons import Reason
from gateway import exit_codes
from gateway.errors import RequestFailed

if TYPE_CHECKING:
    from dispatch.config.schema import DispatchConfig
    from dispatch.events.baseline import Baseline
    from dispatch.events.report import EventReport, Recorded

STATE = "grid_events"  # under which the record keeps them
POWERS = ("grid.w", "pcs.w")
MINUTE_S, DAY_S = 60, 86400
PATIENCE_S = 30.0
MOST_RUNS = 1000
BASELINES = ("before-notice", "similar-days")
AUDIT_ROWS = 1000


@click.group()
def event() -> None:
    """Grid events: keep the import below a level for a time that is announced; prepare, hold, end, report."""


@event.command()
@click.option("--import-kw", type=kilowatts, metavar="KW", help="Drop to: import at most so much.")
@click.option("--drop-kw", type=kilowatts, metavar="KW", help="Drop by: so much below the baseline.")
@click.option("--from", "start", metavar="T", help="HH:MM today or an ISO 8601 time. Default: now.")
@click.option("--to", "end", metavar="T", help="HH:MM today or an ISO 8601 time.")
@click.option("--for", "for_s", type=duration, metavar="TIME", help="Duration, instead of --to.")
@click.option(
    "--notice", "notice_s", type=duration, metavar="TIME", help="Prepare so long before. Default: from now on."
)
@click.option("--ramp", "ramp_s", type=duration, metavar="TIME", help="From the limit back to usual. Default: 15 min.")
@click.option("--rehearse", "rehearsal", is_flag=True, help="Mark it as a rehearsal; it is held like any other.")
@click.option("--dry-run", "dry", is_flag=True, help="Show what it would take and cost; start nothing.")
@click.option("--reason", default="", metavar="TEXT", help="Reason; shown to other users and recorded.")
@language_option
@site_option
@json_option
def start(site: str | None, dry: bool, as_json: bool, **asked: Any) -> None:
    """Announce an event. Operators only.

    From its notice on the battery is charged for it and no job starts that would reach into it. While it is held, the
    battery, then caps keep the import; never critical load, never the reserve. Its end is a ramp.
    """
    if (asked["import_kw"] is None) == (asked["drop_kw"] is None):
        raise click.UsageError("Expected one of --import-kw and --drop-kw.")
    if (asked["end"] is None) == (asked["for_s"] is None):
        raise click.UsageError("Expected one of --to and --for: no event stands without an end.")
    with gateway(site) as live:
        params = _wanted(live, asked)
        if dry:
            answer = live.link.request("event.preview", **(params | {"reason": asked["reason"] or NOT_SAID}))
            judged = msgspec.convert(answer["event"], GridEvent)
            offer, why_not = _offer(live, judged)
        else:
            answer = live.link.request("event.start", **params, seen_utc_s=live.now_utc_s())
    if as_json:
        more = {"offer": None if offer is None else msgspec.to_builtins(offer)} if dry else {}
        click.echo(json_text(with_words(answer | more)))
        return
    click.echo(event_line(msgspec.convert(answer["event"], GridEvent), live.zone))
    for line in _remarks(answer):
        click.echo(line)
    if dry:
        for line in ahead_lines(judged, judged.limit_w, offer, why_not):
            click.echo(line)
        click.echo("nothing was started")
    elif answer["not_durable"]:
        click.echo(f"skerry: done, but not durable: {answer['not_durable']}", err=True)


@event.command()
@language_option
@site_option
@json_option
def status(site: str | None, as_json: bool) -> None:
    """Show the events that stand, how far each is, and the last that is over."""
    with gateway(site) as live:
        found = live.link.request("event.list")
        now_utc_s = live.now_utc_s()
    if as_json:
        click.echo(json_text(found))
        return
    for state in msgspec.convert(found["standing"], list[EventState]):
        for line in status_lines(state, now_utc_s, live.zone):
            click.echo(line)
    if not found["standing"]:
        click.echo("no grid event stands")
    if found["ended"]:
        last = msgspec.convert(found["ended"][-1], EventState)
        click.echo(f"last      {event_line(last.event, live.zone)}: {phase_text(last, now_utc_s, live.zone)}")


@event.command()
@ends_one()
def abort(id_: str, reason: str, site: str | None, as_json: bool) -> None:
    """Abort an event: before its start at once, while it is held in steps."""
    with gateway(site) as live:
        answer = live.link.request("event.abort", id=id_, reason=reason)
        now_utc_s = live.now_utc_s()
    if as_json:
        click.echo(json_text(answer))
        return
    state = msgspec.convert(answer["state"], EventState)
    click.echo(f"{state.event.id:<9} {phase_text(state, now_utc_s, live.zone)}")
    if answer["not_durable"]:
        click.echo(f"skerry: done, but not durable: {answer['not_durable']}", err=True)


@event.command()
@click.argument("id_", metavar="[ID]", required=False)
@click.option("--list", "as_list", is_flag=True, help="List all events on record.")
@click.option(
    "--baseline",
    type=click.Choice(BASELINES),
    default=BASELINES[0],
    show_default=True,
    help="What would have been imported: the mean before the notice, or the five highest of ten similar days.",
)
@site_option
@json_option
def report(id_: str | None, as_list: bool, baseline: str, site: str | None, as_json: bool) -> None:
    """Report event ID, or the last one: delivered and missing by metering interval, cost, peak, who was capped.

    Works on the record of the running gateway, else on that of the site. With similar days the report says what another
    way of counting would have found; the limit that was held stays.
    """
    with record_of_gateway(site) as source:
        source.archive.timeout_s = PATIENCE_S
        kept = _kept(source)
        if as_list:
            _list(source, kept, as_json)
            return
        state = _chosen(kept, id_)
        days = _similar_days(source, site, kept, state) if baseline == "similar-days" else None
        found = _report(source, state, site, days)
        runs, audit_row = list(_capped_runs(source, state)), _audit_row(source, state)
        if as_json:
            click.echo(json_text(report_document(found, runs, audit_row)))
            return
        for line in report_lines(found, runs, audit_row, source.zone):
            click.echo(line)


# ── what is asked ───────────────────────────────────────────────────────────────────────────────────────────────────


def _wanted(live: Live, asked: dict[str, Any]) -> dict[str, Any]:
    """The parameters of `event.start`."""
    now_utc_s = live.now_utc_s()
    start_utc_s = None if asked["start"] is None else moment(asked["start"], now_utc_s, live.zone)
    if asked["end"] is not None:
        end_utc_s = moment(asked["end"], now_utc_s, live.zone)
    else:
        end_utc_s = (now_utc_s if start_utc_s is None else start_utc_s) + asked["for_s"]
    params: dict[str, Any] = {
        "limit_w": None if asked["import_kw"] is None else 1000 * asked["import_kw"],
        "drop_w": None if asked["drop_kw"] is None else 1000 * asked["drop_kw"],
        "start_utc_s": start_utc_s,
        "end_utc_s": end_utc_s,
        "notice_s": asked["notice_s"],
        "rehearsal": asked["rehearsal"],
        "reason": asked["reason"],
    }
    return params if asked["ramp_s"] is None else params | {"ramp_s": asked["ramp_s"]}


def _offer(live: Live, judged: GridEvent) -> tuple[Offer | None, str]:
    """What the site can offer in the time of an event; None: and why that is not known."""
    hours = (judged.end_utc_s - judged.start_utc_s) / 3600
    try:
        found = live.link.request("flex", starts_utc_s=[judged.start_utc_s], hours=[hours])
    except RequestFailed as error:
        return None, str(error)
    offers = msgspec.convert(found["offers"], list[Offer])
    return (offers[0], "") if offers else (None, "it reaches beyond the plan")


def _remarks(answer: dict[str, Any]) -> Iterator[str]:
    for state in msgspec.convert(answer["replaces"], list[EventState]):
        yield f"replaces  {state.event.id} of {state.event.who}"
    for note in msgspec.convert(answer["notes"], list[Reason]):
        yield f"note      {words(note)}"


# ── the report ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _kept(source: Record) -> KeptEvents:
    """The events on record. Raises Failure."""
    found = source.archive.last_state(STATE)
    try:
        return KeptEvents() if found is None else msgspec.convert(found, KeptEvents)
    except msgspec.ValidationError as error:
        raise Failure(f"what {source.directory} keeps of grid events cannot be read: {error}") from None


def _list(source: Record, kept: KeptEvents, as_json: bool) -> None:
    states = [*kept.ended, *kept.standing]
    if as_json:
        click.echo(json_text(msgspec.to_builtins(states)))
        return
    now_utc_s = source.now_utc_s()
    for state in states:
        click.echo(f"{event_line(state.event, source.zone)}: {phase_text(state, now_utc_s, source.zone)}")
    if not states:
        click.echo("no grid event is on record")


def _chosen(kept: KeptEvents, id_: str | None) -> EventState:
    """The event of this id, or the last that is over. Raises Failure."""
    if id_ is None:
        if not kept.ended:
            raise Failure("no grid event is over on record; see skerry event status", exit_codes.FAILED)
        return kept.ended[-1]
    for state in (*kept.ended, *kept.standing):
        if state.event.id == id_:
            return state
    raise Failure(f"there is no grid event {id_} on record; see skerry event report --list", exit_codes.FAILED)


def _similar_days(source: Record, site: str | None, kept: KeptEvents, state: EventState) -> Baseline:
    """The baseline by similar days. Raises Failure."""
    from dispatch.events.baseline import LOOK_BACK, similar_days
    from dispatch.model.forecast import QUARTER_S
    from storage.grid_power import recorded

    config, event = site_terms(source, site), state.event
    first_s = int(event.start_utc_s // QUARTER_S) * QUARTER_S - (LOOK_BACK + 1) * DAY_S
    grid_w, battery_w = (recorded(source.archive, name, first_s, int(event.end_utc_s), QUARTER_S) for name in POWERS)
    known = {
        first_s + n * QUARTER_S: grid + (battery or 0.0)
        for n, (grid, battery) in enumerate(zip(grid_w, battery_w, strict=True))
        if grid is not None and (battery is not None or not config.batteries)
    }
    zone = ZoneInfo(config.timezone)
    left_out = {
        day
        for other in (*kept.ended, *kept.standing)
        if other.event.id != event.id
        for day in _days(other.event.notice_utc_s, other.lifted_utc_s, zone)
    }
    times = (event.start_utc_s, state.end_utc_s, event.notice_utc_s)
    found = similar_days(known, *times, timezone=config.timezone, holidays=config.tariff.holidays, left_out=left_out)
    if found is None:
        raise Failure("no baseline by similar days: fewer than five such days are whole on record", exit_codes.FAILED)
    return found


def _days(from_utc_s: float, to_utc_s: float, zone: ZoneInfo) -> Iterator[date]:
    """The local days that a time touches."""
    day, last = (datetime.fromtimestamp(utc_s, zone).date() for utc_s in (from_utc_s, to_utc_s))
    while day <= last:
        yield day
        day += timedelta(days=1)


def _report(source: Record, state: EventState, site: str | None, baseline: Baseline | None) -> EventReport:
    """Raises Failure."""
    from dispatch.events.report import report as made

    config = site_terms(source, site)
    found = made(config, state, _recorded(source, config, state), baseline)
    if found is None:
        raise Failure(f"grid event {state.event.id} was not held: there is nothing to report", exit_codes.FAILED)
    return found


def _recorded(source: Record, config: DispatchConfig, state: EventState) -> Recorded:
    """From the notice to the end of the ramp, as far as it is on record."""
    from dispatch.events.report import Recorded
    from storage.grid_power import recorded

    first_s = int(state.event.notice_utc_s // MINUTE_S) * MINUTE_S
    until_s = max(min(state.lifted_utc_s, source.now_utc_s()), first_s + MINUTE_S)
    last_s = int(-(-until_s // MINUTE_S)) * MINUTE_S
    grid_w, battery_w, price = (
        recorded(source.archive, name, first_s, last_s, MINUTE_S) for name in (*POWERS, "price.eur_per_kwh")
    )
    if not config.batteries:
        battery_w = [0.0] * len(grid_w)
    return Recorded(start_utc_s=first_s, step_s=MINUTE_S, grid_w=grid_w, battery_w=battery_w, price=price)


def _capped_runs(source: Record, state: EventState) -> Iterator[CappedRun]:
    """Runs that have ended, were under caps and ran during the event."""
    from storage.jobs import JobQuestion

    if not state.figures.capped_s:
        return
    asked = JobQuestion(start_utc_s=state.event.start_utc_s, end_utc_s=source.now_utc_s() + 1)
    for kept in source.archive.jobs(asked, MOST_RUNS):
        run = kept.record
        if run.capped_s > 0 and run.started_utc_s < state.lifted_utc_s:
            yield CappedRun(
                run.scheduler, run.id, run.user, run.name, run.capped_s, run.withheld_wh / 1000, run.lost_gpu_h
            )


def _audit_row(source: Record, state: EventState) -> int | None:
    """The number of the audit's row that holds what is reported of an event; None: none of the last rows does."""
    from storage.reader import NoRecords

    try:
        rows = source.audit(AUDIT_ROWS)
    except NoRecords:
        return None
    said = msgspec.json.decode(msgspec.json.encode(state))  # as the audit has it: lists, no tuples
    return next((row["seq"] for row in reversed(rows) if row.get("grid_event") == said), None)
