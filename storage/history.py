"""Calculates the means of a chart from samples and roll-ups: of the resolution that fits, else of the next.

Each resolution follows the next finer one: samples, minutes, quarter hours. The newest samples are not yet rolled up,
the oldest are no longer kept.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from storage.resolution import COARSE_US
from storage.rollup import MINUTE_S, QUARTER_S, Summary, rolled
from storage.samples import samples
from storage.signals import MISSING

MINUTE_US, QUARTER_US = MINUTE_S * 1_000_000, QUARTER_S * 1_000_000
TABLES = {MINUTE_S: "r1m", QUARTER_S: "r15"}
MEANS, SUMMARIES = "r.mean, r.n", "r.mn, r.mx, r.mean, r.last, r.n"  # figures of a roll-up

Columns = dict[int, list[float | None]]  # by signal id
OnTime = Callable[[], None]  # raises once the question has taken too long


class Buckets(NamedTuple):
    """The steps of a chart: bucket n, from 0, begins at (first + n) x step_us."""

    first: int
    number: int
    step_us: int

    @property
    def begin_us(self) -> int:
        """Where the first begins, UTC us."""
        return self.first * self.step_us

    @property
    def end_us(self) -> int:
        """Where the last ends, UTC us."""
        return (self.first + self.number) * self.step_us


class _Sums:
    """Sums and numbers of values, by signal and bucket."""

    def __init__(self, sids: Collection[int], buckets: Buckets) -> None:
        self._buckets = buckets
        self._sums = {sid: [0.0] * buckets.number for sid in sids}
        self._numbers = {sid: [0] * buckets.number for sid in sids}
        self.sampled: set[int] = set()  # minutes with a sample of any signal

    def add_rolled(self, rows: Iterable[tuple[int, ...]]) -> None:
        """Add roll-ups: begin (UTC s), signal id, mean, number of values."""
        first, number, step_us = self._buckets
        sums, numbers = self._sums, self._numbers
        for t, sid, mean, n in rows:
            k = t * 1_000_000 // step_us - first
            if 0 <= k < number:
                sums[sid][k] += mean * n
                numbers[sid][k] += n

    def add_samples(self, sid: int, times_us: Sequence[int], raw: Sequence[int], span_us: tuple[int, int]) -> None:
        """Add the samples that lie in a span."""
        (begin_us, end_us), (first, _, step_us) = span_us, self._buckets
        sums, numbers = self._sums[sid], self._numbers[sid]
        for t, value in zip(times_us, raw, strict=True):
            if value != MISSING and begin_us <= t < end_us:
                k = t // step_us - first
                sums[k] += value
                numbers[k] += 1

    def lacks(self, sid: int, span_us: tuple[int, int]) -> bool:
        """Whether a signal has no value in some bucket of a span."""
        begin, end = (t // self._buckets.step_us - self._buckets.first for t in (span_us[0], span_us[1] - 1))
        return not all(self._numbers[sid][max(0, begin) : end + 1])

    def fill_from(self, other: _Sums) -> None:
        """Take over another's values of each signal and bucket that have none here."""
        for sid, numbers in self._numbers.items():
            for k, n in enumerate(other._numbers[sid]):
                if not numbers[k]:
                    numbers[k], self._sums[sid][k] = n, other._sums[sid][k]

    def add_all(self, other: _Sums) -> None:
        """Add another's values."""
        for sid, numbers in self._numbers.items():
            for k, n in enumerate(other._numbers[sid]):
                numbers[k] += n
                self._sums[sid][k] += other._sums[sid][k]

    def means(self, scales: Mapping[int, float]) -> Columns:
        """The mean in each bucket, in units."""
        return {
            sid: [scale * s / n if n else None for s, n in zip(self._sums[sid], self._numbers[sid], strict=True)]
            for sid, scale in scales.items()
        }


def means(con: sqlite3.Connection, scales: Mapping[int, float], buckets: Buckets, on_time: OnTime) -> Columns:
    """The mean of each signal in each bucket, in its unit; None without a value. `scales`: by signal id."""
    sums = _Sums(scales, buckets)
    if buckets.step_us < MINUTE_US:
        _add_samples(con, sums, list(scales), (buckets.begin_us, buckets.end_us), on_time)
        return _with_coarser(con, sums.means(scales), scales, buckets, sums.sampled)
    begin_s, end_s = buckets.begin_us // 1_000_000, buckets.end_us // 1_000_000
    if buckets.step_us % QUARTER_US == 0:
        begin_s = _add_rolled(con, sums, scales, QUARTER_S, (begin_s, end_s))
    first = begin_s
    by_minutes = _Sums(scales, buckets)
    begin_s = _add_rolled(con, by_minutes, scales, MINUTE_S, (begin_s, end_s))
    span_us = (first * 1_000_000, begin_s * 1_000_000)
    if lacking := [sid for sid in scales if by_minutes.lacks(sid, span_us)]:
        coarse = _Sums(scales, buckets)
        _add_samples(con, coarse, lacking, span_us, on_time, COARSE_US)
        by_minutes.fill_from(coarse)
    sums.add_all(by_minutes)
    _add_samples(con, sums, list(scales), (begin_s * 1_000_000, buckets.end_us), on_time)
    return _before_minutes(con, sums.means(scales), scales, buckets)


def minute_roll_ups(
    con: sqlite3.Connection, sids: Sequence[int], begin_s: int, end_s: int, on_time: OnTime
) -> dict[int, dict[int, Summary]]:
    """Roll-ups of the minutes that begin in [begin, end), by signal id and start (UTC s); scaled.

    Of the newest, those of their samples.
    """
    found: dict[int, dict[int, Summary]] = {sid: {} for sid in sids}
    for t, sid, *row in _rolled_rows(con, MINUTE_S, sids, begin_s, end_s, SUMMARIES):
        found[sid][t] = Summary(*row)
    begin_s = _after(con, MINUTE_S, begin_s, end_s)
    for segment in samples(con, begin_s * 1_000_000, end_s * 1_000_000):
        on_time()
        times_us = segment.times_us()
        for sid in sids:
            column = segment.column(sid)
            for k, summary in (rolled(times_us, column.raw, MINUTE_US) if column else {}).items():
                if begin_s <= k * MINUTE_S < end_s:
                    found[sid][k * MINUTE_S] = summary
    return found


def _add_rolled(
    con: sqlite3.Connection, sums: _Sums, sids: Collection[int], width_s: int, span_s: tuple[int, int]
) -> int:
    """Add what is rolled up of a span; up to where that is."""
    if not _has(con, TABLES[width_s]):
        return span_s[0]
    sums.add_rolled(_rolled_rows(con, width_s, sids, *span_s))
    return _after(con, width_s, *span_s)


def _rolled_rows(
    con: sqlite3.Connection,
    width_s: int,
    sids: Collection[int],
    begin_s: int,
    end_s: int,
    figures: str = MEANS,
) -> Iterator[tuple[int, ...]]:
    """Rows of a roll-up, each found by its key: far fewer than lie in the span. Begin, signal, `figures`."""
    table = TABLES[width_s]
    span = f"FROM {table} WHERE t >= ?1 AND t < ?2"  # one of min and max is found by the key, both by a scan
    ends = con.execute(f"SELECT (SELECT min(t) {span}), (SELECT max(t) {span})", (begin_s, end_s)).fetchone()
    if ends[0] is None:
        return
    sql = (
        f"WITH RECURSIVE step(t) AS (SELECT ?1 UNION ALL SELECT t + {width_s} FROM step WHERE t + {width_s} <= ?2) "
        f"SELECT r.t, r.sid, {figures} FROM step CROSS JOIN {table} AS r "
        f"ON r.t = step.t AND r.sid IN ({','.join('?' * len(sids))})"
    )
    yield from con.execute(sql, (-(-ends[0] // width_s) * width_s, ends[1], *sids))


def _after(con: sqlite3.Connection, width_s: int, begin_s: int, end_s: int) -> int:
    """The end of the newest roll-up in [begin, end); its begin if there is none."""
    sql = f"SELECT max(t) FROM {TABLES[width_s]} WHERE t >= ? AND t < ?"
    (newest,) = con.execute(sql, (begin_s, end_s)).fetchone()
    return begin_s if newest is None else newest + width_s


def _add_samples(
    con: sqlite3.Connection,
    sums: _Sums,
    sids: Sequence[int],
    span_us: tuple[int, int],
    on_time: OnTime,
    least_step_us: int = 0,
) -> None:
    """Add the samples of a span, which lies within the buckets."""
    if not (sids and span_us[0] < span_us[1]):
        return
    for segment in samples(con, *span_us, least_step_us):
        on_time()
        times_us = segment.times_us()
        sums.sampled.update(t // MINUTE_US for t in times_us)
        for sid in sids:
            column = segment.column(sid)
            if column is not None:
                sums.add_samples(sid, times_us, column.raw, span_us)


def _with_coarser(
    con: sqlite3.Connection, columns: Columns, scales: Mapping[int, float], buckets: Buckets, sampled: set[int]
) -> Columns:
    """A bucket in a minute without any sample gets that minute's mean."""
    minutes = range(buckets.begin_us // MINUTE_US, (buckets.end_us - 1) // MINUTE_US + 1)
    if all(minute in sampled for minute in minutes):
        return columns
    of_minutes = _Sums(scales, by_minute := Buckets(minutes.start, len(minutes), MINUTE_US))
    _add_rolled(con, of_minutes, scales, MINUTE_S, (minutes.start * MINUTE_S, minutes.stop * MINUTE_S))
    rolled_up = _before_minutes(con, of_minutes.means(scales), scales, by_minute)
    for n in range(buckets.number):
        minute = (buckets.first + n) * buckets.step_us // MINUTE_US
        if minute not in sampled:
            for sid in scales:
                columns[sid][n] = rolled_up[sid][minute - minutes.start]
    return columns


def _before_minutes(
    con: sqlite3.Connection, columns: Columns, scales: Mapping[int, float], buckets: Buckets
) -> Columns:
    """A bucket of a time of which minutes are no longer kept gets the mean of its quarter hour."""
    if not _has(con, "r15"):
        return columns
    (oldest,) = con.execute("SELECT min(t) FROM r1m").fetchone()
    end_s = min(buckets.end_us // 1_000_000, 2**60 if oldest is None else oldest)
    begin_s = buckets.begin_us // 1_000_000
    if begin_s >= end_s:
        return columns
    quarters: dict[tuple[int, int], float] = {}
    for t, sid, mean, _ in _rolled_rows(con, QUARTER_S, scales, begin_s - QUARTER_S, end_s):
        quarters[sid, t // QUARTER_S] = mean * scales[sid]
    for n in range(buckets.number):
        t_us = (buckets.first + n) * buckets.step_us
        for sid, column in columns.items():
            if column[n] is None and t_us < end_s * 1_000_000:
                column[n] = quarters.get((sid, t_us // QUARTER_US))
    return columns


def _has(con: sqlite3.Connection, table: str) -> bool:
    """Whether the file has a table: readers also open files of earlier versions."""
    return bool(con.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (table,)).fetchone())
