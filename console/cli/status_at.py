"""Formats the site as it was at a moment: what is on record of it, with quality, and what is missing and why."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import tzinfo

from console.cli.line_formats import flow, mark, mode_words
from console.display.formats import date_clock_zone, hour_minute_zone
from console.display.language import words
from console.display.record_text import gap_texts, how_text
from console.terminal_output import one_line
from dispatch.alarms.states import AlarmState
from dispatch.model.readings import Quality, Reading
from storage.moment import Moment, Value

SHOWN = 60  # signals; all of them with --json
_ALARM = {AlarmState.ACKNOWLEDGED: "acknowledged", AlarmState.RETURNED: "gone, not acknowledged"}
# label, signal, words for > 0 and < 0
FLOWS = (
    ("Grid", "grid.w", "import", "export"),
    ("Battery", "pcs.w", "discharge", "charge"),
    ("PV", "pv.w", "produced", "consumed"),
    ("Load", "site_load.w", "consumed", "produced"),
    ("Nodes", "nodes.w", "consumed", "produced"),
)


def lines(moment: Moment, zone: tzinfo) -> Iterator[str]:
    """The site at a moment, line by line."""
    yield one_line(f"{date_clock_zone(moment.utc_s, zone)} · {how_text(moment)}")
    for text in gap_texts(moment, zone):
        yield one_line(f"Gap       {text}")
    for label, name, out, back in FLOWS:
        if name in moment.values:
            value = moment.values[name]
            yield f"{label:<9} {flow(value.value, out, back)}{_mark(value)}".rstrip()
    if moment.decision is not None:
        yield f"Then      {mode_words(moment.decision)}"
        yield f"Why       {words(moment.decision.reason)}"
    if moment.resolution:
        yield from _alarms(moment, zone)
    yield from _others(moment)


def _others(moment: Moment) -> Iterator[str]:
    """The signals that have no line of their own: nodes, phases, devices."""
    others = [name for name in moment.values if name not in {name for _, name, _, _ in FLOWS}]
    width = max((len(name) for name in others[:SHOWN]), default=0)
    for n, name in enumerate(others[:SHOWN]):
        value = moment.values[name]
        figure = "missing" if value.value is None else f"{value.value:g} {value.unit}".rstrip()
        yield one_line(f"{'' if n else 'Signals':<9} {name:<{width}}  {figure}{_mark(value)}")
    if len(others) > SHOWN:
        yield f"{'':<9} and {len(others) - SHOWN} more, see --json"


def _alarms(moment: Moment, zone: tzinfo) -> Iterator[str]:
    if not moment.alarms:
        yield "Alarms    none"
    for n, alarm in enumerate(moment.alarms):
        state = _ALARM.get(alarm.state, "not acknowledged")
        by = f" by {alarm.acknowledged_by}" if alarm.acknowledged_by else ""
        since = hour_minute_zone(alarm.since_utc_s, zone)
        yield one_line(f"{'' if n else 'Alarms':<9} {alarm.id}, since {since}, {state}{by}: {alarm.text}")


def _mark(value: Value) -> str:
    return mark(Reading(value.value, value.age_s, value.quality)) if value.quality is not Quality.GOOD else ""
