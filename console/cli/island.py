"""`skerry drill` and `skerry island`: requests to the gateway's islanding state machine, and its answers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import tzinfo
from typing import Any

import click
import msgspec

from console.cli.data_source import Record, gateway, gateway_or_record
from console.cli.failures import Failure
from console.cli.json_output import json_text, with_words
from console.cli.line_formats import labelled
from console.display.formats import date_clock_zone, hour_minute_zone
from console.display.islanding_text import battery_energy_text, soc_track_text
from console.display.language import say, say_of, words
from console.display.wrapping import padded
from console.language_option import language_option
from console.value_parsers import NOT_SAID, json_option, site_option
from dispatch.model.islanding import Check, DrillReport, DrillStatus, IslandView
from dispatch.model.reasons import Reason
from dispatch.wording.formatting import span
from gateway import exit_codes
from gateway.api.protocol import DrillPlan
from storage.drills import DrillRecord

MOST_LISTED = 500
_reason_option = click.option(
    "--reason", required=True, metavar="TEXT", help="Reason; shown to other users and recorded."
)


@click.group()
def drill() -> None:
    """Rehearse an outage: open the switch at the PCC, run on the battery for a time, reconnect."""


@drill.command()
@click.option("--minutes", type=float, required=True, metavar="N", help="Duration off the grid, in minutes.")
@click.option("--dry-run", "dry", is_flag=True, help="Show the checks, and what the drill would do, only.")
@click.option(
    "--reason", default="", metavar="TEXT", help="Reason; shown to other users and recorded. Not needed with --dry-run."
)
@language_option
@site_option
@json_option
def start(minutes: float, dry: bool, reason: str, site: str | None, as_json: bool) -> None:
    """Run the pre-checks, show each with its figure, and start the drill if all pass. Operators only."""
    if not dry and not reason:
        raise click.UsageError("Missing option '--reason'.")
    if dry:
        _ask("drill.check", site, as_json, minutes=minutes, reason=reason or NOT_SAID)
        return
    _ask("drill.start", site, as_json, live=True, minutes=minutes, reason=reason)


@drill.command()
@click.option("--reason", default="", metavar="TEXT", help="Reason; recorded.")
@language_option
@site_option
@json_option
def abort(reason: str, site: str | None, as_json: bool) -> None:
    """End the drill and reconnect as the grid code requires. Always carried out, also with a full disk."""
    _ask("drill.abort", site, as_json, reason=reason)


@drill.command()
@language_option
@site_option
@json_option
def status(site: str | None, as_json: bool) -> None:
    """Show the islanding state, the running drill, and the result of the last drill."""
    with gateway_or_record(site) as source:
        if isinstance(source, Record):
            click.echo(f"skerry: no gateway is running; read from {source.directory}", err=True)
            found = _of_record(source)
        else:
            found = source.link.request("drill.status")
    if as_json:
        click.echo(json_text(with_words(found)))
        return
    for line in status_lines(found, source.zone):
        click.echo(line)


@drill.command()
@click.argument("number", type=click.IntRange(1), required=False, metavar="[N]")
@click.option("--list", "as_list", is_flag=True, help="List all drills on record.")
@language_option
@site_option
@json_option
def report(number: int | None, as_list: bool, site: str | None, as_json: bool) -> None:
    """Show the report of drill N, or of the last drill. Needs no gateway."""
    with gateway_or_record(site) as source:
        found = source.drills(MOST_LISTED if as_list else 1, number)
        if isinstance(source, Record):
            click.echo(f"skerry: no gateway is running; read from {source.directory}", err=True)
    if not found and number is not None:
        raise Failure(f"there is no drill {number} on record; see skerry drill report --list", exit_codes.FAILED)
    if as_json:
        click.echo(json_text(with_words(msgspec.to_builtins(found))))
    elif not found:
        click.echo(say("drill_text.none"))
    elif as_list:
        for record in reversed(found):
            r = record.report
            asked = say("drill_text.minutes_by", minutes=f"{r.minutes:g}", who=r.who, reason=words(r.why))
            what = f"{padded(say_of('result', r.result), 7)}  {asked}"
            click.echo(f"{record.number:>4}  {date_clock_zone(r.started_utc_s, source.zone)}  {what}")
    else:
        for line in record_lines(found[0], source.zone):
            click.echo(line)


@click.group()
def island() -> None:
    """Reset an islanding fault; black start. Engineers only."""


@island.command()
@_reason_option
@language_option
@site_option
@json_option
def reset(reason: str, site: str | None, as_json: bool) -> None:
    """Reset an islanding fault. The state is then determined from the devices again, as after a start."""
    _ask("island.reset", site, as_json, live=True, reason=reason)


@island.command("black-start")
@_reason_option
@click.option(
    "--confirm-nobody-on-the-bus",
    "confirmed",
    is_flag=True,
    help="Confirm that nobody works on the bus, which will be energised.",
)
@language_option
@site_option
@json_option
def black_start(reason: str, confirmed: bool, site: str | None, as_json: bool) -> None:
    """Start a de-energised site from its battery. The bus must read de-energised and the switch open."""
    _ask("island.black_start", site, as_json, live=True, reason=reason, confirmed=confirmed)


def _ask(method: str, site: str | None, as_json: bool, live: bool = False, **params: Any) -> None:
    """Ask, show the answer, and raise Failure where it is no. `live`: say what state of the site was seen."""
    with gateway(site) as there:
        if live:
            params["seen_utc_s"] = there.now_utc_s()
        answer = there.link.request(method, **params)
    if as_json:
        click.echo(json_text(with_words(answer)))
    else:
        for check in msgspec.convert(answer["checks"], list[Check]):
            click.echo(check_line(check))
        for n, line in enumerate(msgspec.convert(answer.get("consequence", ()), tuple[Reason, ...])):
            click.echo(f"{padded('' if n else say('order_text.then'), 9)} {words(line)}")
    if not answer["ok"]:
        raise Failure(words(msgspec.convert(answer["reason"], Reason)), exit_codes.REFUSED)
    if not as_json:
        click.echo(words(msgspec.convert(answer["reason"], Reason)))
    if answer.get("not_durable"):
        click.echo(f"skerry: done, but not durable: {answer['not_durable']}", err=True)


def check_line(check: Check) -> str:
    """ "✗ energy  SoC 12.0 %, … → charge to 31.0 %"."""
    remedy = f" → {words(check.remedy)}" if check.remedy else ""
    return f"{'✓' if check.ok else '✗'} {padded(words(check.name), 18)} {words(check.figure)}{remedy}"


def status_lines(found: dict[str, Any], zone: tzinfo) -> Iterator[str]:
    """What `drill.status` answers, as text."""
    view = msgspec.convert(found["view"], IslandView | None)
    if found["state"] is not None:
        yield from _now(found, view, zone)
        yield from _scheduled(msgspec.convert(found["plan"], DrillPlan | None), zone)
        yield ""
    report = msgspec.convert(found["report"], DrillReport | None)
    if report is None:
        yield say("drill_text.none")
    else:
        yield from report_lines(report, zone)
        yield _head(found["audit_head"])


def _now(found: dict[str, Any], view: IslandView | None, zone: tzinfo) -> Iterator[str]:
    """Where islanding stands."""
    soc = "—" if found["soc_pct"] is None else f"{found['soc_pct']:.1f} %"
    if view is None:
        yield labelled("drill_text.state", say_of("state", found["state"]))
    else:
        state, since = say_of("state", found["state"]), hour_minute_zone(view.since_utc_s, zone)
        yield labelled("drill_text.state", say("drill_text.since", state=state, time=since, why=words(view.reason)))
    yield labelled("drill_text.soc", soc)
    if view is not None and view.reconnect is not None:
        left_s = view.reconnect.left_s
        wait = "" if left_s is None else say("drill_text.wait", span=span(left_s))
        yield labelled("drill_text.return", f"{view.reconnect.profile}: {words(view.reconnect.figures)}{wait}")
    if view is not None and view.drill is not None:
        yield from _running(view.drill)


def _scheduled(plan: DrillPlan | None, zone: tzinfo) -> Iterator[str]:
    """The schedule's word, on a site that has one."""
    if plan is None:
        return
    how = say("drill_text.by_itself" if plan.unattended else "drill_text.waits")
    if plan.due_utc_s is not None:
        since, note = date_clock_zone(plan.due_utc_s, zone), words(plan.note) or say("drill_text.about_to_begin")
        yield labelled("drill_text.due", say("drill_text.due_since", time=since, how=how, note=note))
    yield labelled("drill_text.next", say("drill_text.at", time=date_clock_zone(plan.next_utc_s, zone), how=how))


def _of_record(source: Record) -> dict[str, Any]:
    """What `drill.status` would answer, as far as the record knows: only the last drill."""
    last = next(iter(source.drills(1)), None)
    report = None if last is None else msgspec.to_builtins(last.report)
    head = "" if last is None else last.audit_head
    return {"state": None, "view": None, "soc_pct": None, "report": report, "audit_head": head, "plan": None}


def _head(head: str) -> str:
    return labelled("drill_text.audit", say("drill_text.head", head=head or say("drill_text.no_head")))


def record_lines(record: DrillRecord, zone: tzinfo) -> Iterator[str]:
    """A report on record, whole: also with what was checked before, and with the audit's head."""
    yield from report_lines(record.report, zone, say("drill_text.title", number=record.number))
    for check in record.report.checks:
        yield f"  {say('drill_text.before', check=check_line(check))}"
    yield _head(record.audit_head)
    if record.not_durable:
        yield f"{'':<9} {say('drill_text.not_held', why=record.not_durable)}"


def _running(drill: DrillStatus) -> Iterator[str]:
    left = "" if drill.hold_left_s is None else say("drill_text.hold_left", span=span(drill.hold_left_s))
    asked = say("drill_text.minutes_by", minutes=f"{drill.minutes:g}", who=drill.who, reason=drill.reason)
    yield labelled("drill_text.drill", asked)
    yield labelled("drill_text.phase", f"{say_of('phase', drill.phase)}{left}")
    yield from _extremes(drill.v_min, drill.v_max, drill.hz_min, drill.hz_max)
    for check in drill.criteria:
        yield f"  {check_line(check)}"


def report_lines(report: DrillReport, zone: tzinfo, title: str = "") -> Iterator[str]:
    """The report of a drill; without a title that of the last one."""
    title, began = title or say("drill_text.last"), date_clock_zone(report.started_utc_s, zone)
    result = say_of("result", report.result).upper()
    yield say("drill_text.head_line", title=title, time=began, result=result, why=words(report.why))
    asked = say("drill_text.minutes_by", minutes=f"{report.minutes:g}", who=report.who, reason=report.reason)
    yield labelled("drill_text.asked", asked)
    islanded = say("report.not_known") if report.islanded_s is None else span(report.islanded_s)
    gap = say("drill_text.gap", span=islanded, gap=words(report.transfer_gap))
    yield labelled("drill_text.islanded", gap)
    yield from _extremes(report.v_min, report.v_max, report.hz_min, report.hz_max)
    soc = soc_track_text(report)
    yield labelled("drill_text.battery", f"{battery_energy_text(report)}{f'; {soc}' if soc else ''}")
    for utc_s, what in report.timeline:
        yield f"  {date_clock_zone(utc_s, zone)}  {words(what)}"
    for check in report.criteria:
        yield f"  {check_line(check)}"


def _extremes(v_min: float | None, v_max: float | None, hz_min: float | None, hz_max: float | None) -> Iterator[str]:
    """Bus voltage and frequency, lowest and highest while islanded; nothing when nothing was measured."""
    found = []
    if v_min is not None and v_max is not None:
        found.append(f"{v_min:.1f} – {v_max:.1f} V")
    if hz_min is not None and hz_max is not None:
        found.append(f"{hz_min:.2f} – {hz_max:.2f} Hz")
    if found:
        yield labelled("drill_text.bus", say("drill_text.while_islanded", values=", ".join(found)))
