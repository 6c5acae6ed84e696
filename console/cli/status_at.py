"""Formats the site as it was at a moment: what is on record of it, with quality, and what is missing and why."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import tzinfo

from console.cli.line_formats import flow, labelled, mark, mode_words
from console.display.formats import date_clock_zone, hour_minute_zone
from console.display.language import say, words
from console.display.record_text import gap_texts, how_text
from console.terminal_output import one_line
from dispatch.alarms.states import AlarmState
from dispatch.model.readings import Quality, Reading
from storage.moment import Moment, Value

STATES = {
    AlarmState.ACKNOWLEDGED: "status.alarm_acknowledged",
    AlarmState.RETURNED: "status.alarm_returned",
}
SHOWN = 60  # signals; all of them with --json
# label, signal, words for > 0 and < 0, by the codes of their labels
FLOWS = (
    ("row.grid", "grid.w", "quantity.import", "quantity.export"),
    ("row.battery", "pcs.w", "direction.discharge", "direction.charge"),
    ("row.pv", "pv.w", "status.produced", "status.consumed"),
    ("row.load", "site_load.w", "status.consumed", "status.produced"),
    ("row.nodes", "nodes.w", "status.consumed", "status.produced"),
)


def lines(moment: Moment, zone: tzinfo) -> Iterator[str]:
    """The site at a moment, line by line."""
    yield one_line(f"{date_clock_zone(moment.utc_s, zone)} · {how_text(moment)}")
    for text in gap_texts(moment, zone):
        yield one_line(labelled("row.gap", text))
    for label, name, out, back in FLOWS:
        if name in moment.values:
            value = moment.values[name]
            yield labelled(label, f"{flow(value.value, say(out), say(back))}{_mark(value)}").rstrip()
    if moment.decision is not None:
        yield labelled("row.then", mode_words(moment.decision))
        yield labelled("row.why", words(moment.decision.reason))
    if moment.resolution:
        yield from _alarms(moment, zone)
    yield from _others(moment)


def _others(moment: Moment) -> Iterator[str]:
    """The signals that have no line of their own: nodes, phases, devices."""
    others = [name for name in moment.values if name not in {name for _, name, _, _ in FLOWS}]
    width = max((len(name) for name in others[:SHOWN]), default=0)
    for n, name in enumerate(others[:SHOWN]):
        value = moment.values[name]
        figure = say("flow.missing") if value.value is None else f"{value.value:g} {value.unit}".rstrip()
        text = f"{name:<{width}}  {figure}{_mark(value)}"
        yield one_line(f"{'':<9} {text}" if n else labelled("row.signals", text))
    if len(others) > SHOWN:
        yield f"{'':<9} {say('status.more', n=len(others) - SHOWN)}"


def _alarms(moment: Moment, zone: tzinfo) -> Iterator[str]:
    if not moment.alarms:
        yield labelled("row.alarms", say("line.none"))
    for n, alarm in enumerate(moment.alarms):
        state = say(STATES.get(alarm.state, "status.not_acknowledged"))
        by = f" {say('status.by', who=alarm.acknowledged_by)}" if alarm.acknowledged_by else ""
        since = hour_minute_zone(alarm.since_utc_s, zone)
        text = say("status.alarm_then", id=alarm.id, time=since, state=state, by=by, text=alarm.text)
        yield one_line(f"{'':<9} {text}" if n else labelled("row.alarms", text))


def _mark(value: Value) -> str:
    return mark(Reading(value.value, value.age_s, value.quality)) if value.quality is not Quality.GOOD else ""
