"""Formats the site as it was at a moment: what is on record of it, with quality, and what is missing and why."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import tzinfo

from console.cli.line_formats import flow, mark, mode_words
from console.display.formats import date_clock_zone, hour_minute_zone
from console.display.language import words
from console.terminal_output import one_line
from dispatch.alarms.states import AlarmState
from dispatch.model.readings import Quality, Reading
from storage.moment import Moment, Value

SHOWN = 60  # signals; all of them with --json
HOW = {
    "raw": "samples",
    "1m": "means of the minute: samples of then are not on record",
    "15m": "means of the quarter hour: samples and minutes of then are not on record",
    "": "nothing is on record",
}
RESOLUTIONS = {"raw": "samples", "1m": "minutes", "15m": "quarter hours"}
REASONS = {
    "disk-cap": "they did not fit under disk_cap_mb",
    "hold-reserve": "they did not fit into unsent_max_mb",
    "damaged": "they were damaged",
}
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
    yield one_line(f"{date_clock_zone(moment.utc_s, zone)} · {HOW.get(moment.resolution, moment.resolution)}")
    for gap in moment.gaps:
        what, why = RESOLUTIONS.get(gap.resolution, gap.resolution), REASONS.get(gap.reason, gap.reason)
        begin, end = (date_clock_zone(t, zone) for t in (gap.begin_utc_s, gap.end_utc_s))
        yield one_line(f"Gap       {what} from {begin} to {end} were deleted before their time: {why}")
    if not moment.resolution:
        yield one_line(f"Gap       {_hole(moment, zone)}")
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


def _hole(moment: Moment, zone: tzinfo) -> str:
    """Between which rows nothing is on record."""
    before, after = moment.before_utc_s, moment.after_utc_s
    if before is not None and after is not None:
        between = (
            f"the row before it is of {date_clock_zone(before, zone)}, the next one of {date_clock_zone(after, zone)}"
        )
        return f"{between}: no gateway ran in between, or it could not write"
    if after is not None:
        return f"the record begins at {date_clock_zone(after, zone)}"
    return "the record is empty" if before is None else f"the last row on record is of {date_clock_zone(before, zone)}"


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
