"""Finds the site as it was at a moment: every signal with its quality, the alarms, the decision in force.

Values are the samples of that moment. Where they are no longer kept, or were never taken, they are the means of its
minute or quarter hour; `resolution` says which. The signals of compute nodes are among them, by the node's name.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from dispatch.alarms.states import AlarmState
from dispatch.model.decision import Decision
from dispatch.model.readings import Quality
from storage.blocks import DOUBTED
from storage.history import OnTime
from storage.resolution import COARSE_US
from storage.rollup import MINUTE_S, QUARTER_S
from storage.rows import to_us
from storage.samples import Segment, samples
from storage.signals import MISSING

GAPS = 100  # of one moment, at most
LATE_US = 1_000_000  # a sample may come this much later than its step says

Found = dict[int, tuple[int, int, Quality]]  # signal id -> time (UTC us), raw value, quality


class Value(msgspec.Struct, frozen=True):
    """A signal at a moment. A missing one has no value; STALE: its last sample is older than two steps."""

    value: float | None
    unit: str
    quality: Quality
    age_s: float | None = None  # of the sample; of a mean, since the begin of its time


class PastAlarm(msgspec.Struct, frozen=True):
    """An alarm that was listed at a moment."""

    id: str
    state: AlarmState
    since_utc_s: float
    text: str  # of its event, when it came
    acknowledged_by: str = ""


class Gap(NamedTuple):
    """What was deleted although it was to be kept."""

    resolution: str  # raw | 1m | 15m | events | decisions
    begin_utc_s: float
    end_utc_s: float
    reason: str  # disk-cap | hold-reserve | damaged


class Moment(msgspec.Struct, frozen=True):
    """The site at a moment, as far as it is on record."""

    utc_s: float
    resolution: str  # raw | 1m | 15m; empty: nothing is on record
    values: dict[str, Value]
    alarms: tuple[PastAlarm, ...]  # the newest first; as their events say, where nothing else is on record, too
    decision: Decision | None
    gaps: tuple[Gap, ...] = ()  # of then
    # where nothing is on record: of when the last row before it and the first after it are, UTC s; None: there is none
    before_utc_s: float | None = None
    after_utc_s: float | None = None


class _Signal(NamedTuple):
    sid: int
    name: str
    unit: str
    scale: float


def values_at(con: sqlite3.Connection, at_us: int, on_time: OnTime) -> tuple[str, dict[str, Value]]:
    """(resolution, value of each signal that the site had). Raises those of `damage.DAMAGED`."""
    signals = [
        _Signal(*row)
        for row in con.execute(
            "SELECT id, name, unit, scale FROM signal WHERE since <= ? AND coalesce(until, ?) >= ? ORDER BY id",
            (at_us, at_us, at_us),
        )
    ]
    found: Found = {}
    for segment in samples(con, at_us - 2 * COARSE_US - LATE_US, at_us + 1):
        on_time()
        found.update(_last_of(segment, at_us))
    if found:
        return "raw", {s.name: _value(s, found, at_us) for s in signals}
    for resolution, table, width_s in (("1m", "r1m", MINUTE_S), ("15m", "r15", QUARTER_S)):
        means = _means(con, table, at_us // 1_000_000 // width_s * width_s)
        if means:
            return resolution, {s.name: _value(s, means, at_us) for s in signals}
    return "", {}


def alarms_at(con: sqlite3.Connection, at_us: int) -> tuple[PastAlarm, ...]:
    """The alarms that were listed, as their events since the gateway's start say: not by their words."""
    (begin_us,) = con.execute("SELECT max(started_utc_us) FROM run WHERE started_utc_us <= ?", (at_us,)).fetchone()
    listed: dict[str, PastAlarm] = {}
    # of each alarm what followed since it came last: however long the gateway has run, few rows
    sql = (
        "WITH told AS (SELECT * FROM event WHERE kind IN ('alarm', 'shelf', 'priority') "
        "AND ts_utc_us BETWEEN ? AND ?), came AS (SELECT subject, max(id) AS id FROM told "
        "WHERE kind = 'alarm' AND severity <> 'info' GROUP BY subject) "
        "SELECT told.ts_utc_us / 1e6, kind, severity, told.subject, text, who FROM told JOIN came USING (subject) "
        "WHERE told.id >= came.id ORDER BY told.id"
    )
    for utc_s, kind, severity, subject, text, who in con.execute(sql, (begin_us or 0, at_us)):
        before = listed.pop(subject, None)
        after = _after(before, (kind, severity), PastAlarm(subject, AlarmState.UNACKNOWLEDGED, utc_s, text, who))
        if after is not None:
            listed[subject] = after
    found = (alarm for alarm in listed.values() if not _off_list(con, alarm.id, at_us))
    return tuple(sorted(found, key=lambda alarm: -alarm.since_utc_s))


def _off_list(con: sqlite3.Connection, alarm_id: str, at_us: int) -> bool:
    """Whether it was shelved or out of service, which outlasts a restart of the gateway."""
    sql = "SELECT severity FROM event WHERE kind = 'shelf' AND subject = ? AND ts_utc_us <= ? ORDER BY id DESC LIMIT 1"
    return bool(con.execute(sql, (alarm_id, at_us)).fetchone() == ("warning",))


def _after(before: PastAlarm | None, sort: tuple[str, str], told: PastAlarm) -> PastAlarm | None:
    """An alarm after one of its events, of a kind and severity; None once it is not listed any more."""
    kind, severity = sort
    if kind == "alarm" and severity != "info":
        return told
    if before is None:
        return None
    seen = before.state is AlarmState.ACKNOWLEDGED
    if kind == "priority" or (kind == "shelf" and severity == "info"):  # it waits to be acknowledged again
        return msgspec.structs.replace(before, state=AlarmState.UNACKNOWLEDGED, acknowledged_by="") if seen else before
    if kind == "shelf" and seen:
        return before
    acknowledged = bool(told.acknowledged_by)
    if acknowledged and before.state is AlarmState.UNACKNOWLEDGED:
        return msgspec.structs.replace(before, state=AlarmState.ACKNOWLEDGED, acknowledged_by=told.acknowledged_by)
    if not acknowledged and before.state is AlarmState.UNACKNOWLEDGED:
        return msgspec.structs.replace(before, state=AlarmState.RETURNED)
    return None


def _last_of(segment: Segment, at_us: int) -> Iterator[tuple[int, tuple[int, int, Quality]]]:
    """The last sample of each signal of a segment, up to a moment."""
    times_us = segment.times_us()
    n = bisect_right(times_us, at_us) - 1
    if n < 0:
        return
    late = at_us - times_us[n] > 2 * segment.step_us + LATE_US
    for sid in segment.sids:
        column = segment.column(sid)
        raw = MISSING if column is None else column.raw[n]
        quality = Quality.STALE if late else Quality.GOOD
        if raw == MISSING:
            quality = Quality.MISSING
        elif column is not None and column.quality[n : n + 1] == bytes([DOUBTED]) and not late:
            quality = Quality.SUSPECT
        yield sid, (times_us[n], raw, quality)


def _means(con: sqlite3.Connection, table: str, start_s: int) -> Found:
    """The means of a roll-up."""
    if not _there(con, table):
        return {}
    rows = con.execute(f"SELECT sid, mean FROM {table} WHERE t = ?", (start_s,))
    return {sid: (start_s * 1_000_000, mean, Quality.GOOD) for sid, mean in rows}


def _value(signal: _Signal, found: Found, at_us: int) -> Value:
    t, raw, quality = found.get(signal.sid, (0, MISSING, Quality.MISSING))
    if raw == MISSING:
        return Value(None, signal.unit, Quality.MISSING)
    return Value(raw * signal.scale, signal.unit, quality, (at_us - t) / 1e6)


def gaps_between(con: sqlite3.Connection, start_utc_s: float, end_utc_s: float, limit: int) -> list[Gap]:
    """What was deleted of [start, end) before its time, oldest first."""
    if not _there(con, "gap"):
        return []
    sql = "SELECT resolution, t0 / 1e6, t1 / 1e6, reason FROM gap WHERE t1 > ? AND t0 < ? ORDER BY t0, id LIMIT ?"
    return [Gap(*row) for row in con.execute(sql, (to_us(start_utc_s), to_us(end_utc_s), limit))]


def _around(con: sqlite3.Connection, at_us: int) -> tuple[float | None, float | None]:
    """The times of the last row of samples, roll-up or decision before a moment and of the first after it, UTC s."""
    before, after = [], []
    for table, column, per_s in (
        ("hot", "ts", 1_000_000),
        ("block", "t0", 1_000_000),
        ("r1m", "t", 1),
        ("r15", "t", 1),
        ("decision", "ts_utc_us", 1_000_000),
    ):
        if _there(con, table):
            at = (at_us * per_s // 1_000_000,)
            before += con.execute(f"SELECT max({column}) / {per_s}.0 FROM {table} WHERE {column} <= ?", at).fetchone()
            after += con.execute(f"SELECT min({column}) / {per_s}.0 FROM {table} WHERE {column} > ?", at).fetchone()
    return (
        max((t for t in before if t is not None), default=None),
        min((t for t in after if t is not None), default=None),
    )


def _there(con: sqlite3.Connection, table: str) -> bool:
    return bool(con.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (table,)).fetchone())


def moment(con: sqlite3.Connection, at_utc_s: float, decision: Decision | None, on_time: OnTime) -> Moment:
    """The site at a moment. Raises those of `damage.DAMAGED`."""
    at_us = to_us(at_utc_s)
    resolution, values = values_at(con, at_us, on_time)
    gaps = tuple(gaps_between(con, at_utc_s, at_utc_s + 1e-6, GAPS))
    if not resolution:
        return Moment(at_utc_s, "", {}, alarms_at(con, at_us), decision, gaps, *_around(con, at_us))
    return Moment(at_utc_s, resolution, values, alarms_at(con, at_us), decision, gaps)
