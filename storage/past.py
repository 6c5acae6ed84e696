"""What a console shows of a moment of the record: the site then, the charts up to then, the log before it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from dispatch.model.decision import Decision
from dispatch.model.events import Event
from storage import audit_reader
from storage.context import Context
from storage.moment import Moment
from storage.reader import Archive, NoRecords

SIGNALS = ("site_load.w", "grid.w", "soc_pct", "grid.hz")  # of the charts
TREND_STEP_S, TREND_POINTS = 15, 480
DAY_STEP_S, DAY_POINTS = 900, 96
EVENTS, DECISIONS, AUDIT_ROWS = 200, 200, 100
DAY_S = 86_400.0
JUST_AFTER_S = 1e-6  # what happened at the moment itself belongs to it


class Chart(msgspec.Struct, frozen=True):
    """Means over time; None where nothing is on record."""

    step_s: float
    t: tuple[float, ...]  # begin of each step, UTC s
    signals: dict[str, tuple[float | None, ...]]


class Past(msgspec.Struct, frozen=True):
    """A moment and what led to it. Nothing in it is of a later time."""

    moment: Moment
    trend: Chart  # steps that were over
    day: Chart
    latest: Chart  # the quarter hour of the moment, second by second
    events: tuple[Event, ...]  # the newest of them, oldest first
    decisions: tuple[Decision, ...]  # of the day before, without their chains, oldest first
    audit: tuple[dict[str, Any], ...]  # rows, oldest first; none where there is no audit
    context: Context = Context()  # a gateway of an earlier version has none


def past(archive: Archive, directory: Path, utc_s: float) -> Past:
    """The moment `utc_s` in the record of a state directory. Raises NoRecords, QueryTimeout."""
    until_s = utc_s + JUST_AFTER_S
    quarter_s = utc_s // DAY_STEP_S * DAY_STEP_S
    step_s = utc_s // TREND_STEP_S * TREND_STEP_S
    decisions = archive.decisions(utc_s - DAY_S, until_s, DECISIONS)
    return Past(
        moment=archive.at(utc_s),
        trend=_chart(archive, step_s - TREND_POINTS * TREND_STEP_S, step_s, TREND_STEP_S),
        day=_chart(archive, quarter_s - DAY_POINTS * DAY_STEP_S, quarter_s, DAY_STEP_S),
        latest=_chart(archive, quarter_s, until_s, 1.0),
        events=tuple(reversed(archive.events(EVENTS, before_utc_s=until_s))),
        decisions=tuple(msgspec.structs.replace(d, chain=()) for d in reversed(decisions)),
        audit=_audit(directory, utc_s),
        context=archive.context(utc_s),
    )


def _chart(archive: Archive, start_utc_s: float, end_utc_s: float, step_s: float) -> Chart:
    found = archive.history(SIGNALS, start_utc_s, end_utc_s, step_s)
    columns = {name: tuple(values) for name, values in found["signals"].items()}
    return Chart(found["step_s"], tuple(found["t"]), columns)


def _audit(directory: Path, utc_s: float) -> tuple[dict[str, Any], ...]:
    try:
        return tuple(audit_reader.rows_until(directory, utc_s, AUDIT_ROWS))
    except NoRecords:
        return ()
