"""Reads the telemetry of a record in steps of an export, piece by piece: memory is that of one piece.

Each piece is read in transactions of its own, so that the write-ahead log of a running gateway can be given back.
Where the record has no roll-up of a step yet, it is made from the next finer ones.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from itertools import groupby, pairwise
from typing import Any, NamedTuple

from storage.damage import DAMAGED
from storage.export.signal_columns import MINUTES, RAW
from storage.history import TABLES
from storage.resolution import COARSE_US
from storage.rollup import MINUTE_S, QUARTER_S, Summary, merged, rolled
from storage.samples import QUARTER_US, Segment, samples
from storage.signals import MISSING

SECOND_US = 1_000_000
CELLS = 50_000  # roll-ups of one piece, about
VALUE = {"mean": 4, "min": 2, "max": 3, "last": 5, "": 0}  # place in a roll-up

RollUp = tuple[int, int, float, float, float, float, int]  # t (UTC s), signal, min, max, mean, last, n


class Piece(NamedTuple):
    """The telemetry of a span, by signal."""

    begin_us: int
    end_us: int
    step_us: int  # between two rows, where none is missing
    times_us: list[int]
    cells: dict[int, list[Any]]  # by signal: at each time its raw value or roll-up, None without one
    damaged: list[tuple[int, int]]  # spans of which samples cannot be read, UTC us

    def column(self, sid: int, how: str) -> list[float | None] | None:
        """Raw values of a signal at each time, a roll-up's mean, min, max or last; None if it has none here."""
        cells = self.cells.get(sid)
        if cells is None or not how:
            return cells
        place = VALUE[how]
        return [None if cell is None else cell[place] for cell in cells]


def pieces(con: sqlite3.Connection, resolution: str, span_us: tuple[int, int], signals: int) -> Iterator[Piece]:
    """The telemetry of [start, end), in order of time; roll-ups that reach into it are whole. Raises sqlite3.Error."""
    if resolution == RAW:
        length_us, step_us = QUARTER_US, 0
    else:
        step_us = (MINUTE_S if resolution == MINUTES else QUARTER_S) * SECOND_US
        length_us = max(1, CELLS * step_us // (max(1, signals) * QUARTER_US)) * QUARTER_US
    tables = _tables(con, resolution)
    at_us = _next_us(con, tables, span_us[0] // QUARTER_US * QUARTER_US)
    while at_us is not None and at_us < span_us[1]:
        begin_us = at_us // QUARTER_US * QUARTER_US
        end_us = min(begin_us + length_us, -(-span_us[1] // QUARTER_US) * QUARTER_US)
        yield _piece(con, (begin_us, end_us), step_us, span_us)
        at_us = _next_us(con, tables, end_us)


def bounds_us(con: sqlite3.Connection, resolution: str, span_us: tuple[int, int]) -> tuple[int, int] | None:
    """Where the telemetry of a span begins and ends, to a quarter hour; None if there is none."""
    tables = _tables(con, resolution)
    first = _next_us(con, tables, span_us[0] // QUARTER_US * QUARTER_US)
    if first is None or first >= span_us[1]:
        return None
    last = first
    for table, column, per_s in tables:
        sql = f"SELECT max({column}) FROM {table} WHERE {column} < ?"
        (found,) = con.execute(sql, (-(-span_us[1] * per_s // SECOND_US),)).fetchone()
        if found is not None:
            last = max(last, found * SECOND_US // per_s)
    return first, min(span_us[1], last // QUARTER_US * QUARTER_US + QUARTER_US)


def extent_us(con: sqlite3.Connection, begin_us: int, end_us: int) -> tuple[int, int] | None:
    """The first and the last sample in [begin, end), a few steps at most; else where minutes begin and end."""
    try:
        segments = list(samples(con, begin_us, end_us))
        times = [t for segment in segments for t in segment.times_us() if begin_us <= t < end_us]
    except DAMAGED:
        times = []
    if times:
        return min(times), max(times)
    span_s = (-(-begin_us // SECOND_US), -(-end_us // SECOND_US))
    first, last = con.execute("SELECT min(t), max(t) FROM r1m WHERE t >= ? AND t < ?", span_s).fetchone()
    return None if first is None else (first * SECOND_US, (last + MINUTE_S) * SECOND_US)


def _piece(con: sqlite3.Connection, within_us: tuple[int, int], step_us: int, span_us: tuple[int, int]) -> Piece:
    begin_us, end_us = within_us
    damaged: list[tuple[int, int]] = []
    if step_us == 0:
        try:
            return _samples(con, within_us, span_us)
        except DAMAGED:
            return Piece(begin_us, end_us, step_us, [], {}, [within_us])
    read = _minutes if step_us == MINUTE_S * SECOND_US else _quarters
    rows = read(con, begin_us // SECOND_US, end_us // SECOND_US, damaged)
    times = sorted({row[0] for row in rows if span_us[0] - step_us < row[0] * SECOND_US < span_us[1]})
    return Piece(begin_us, end_us, step_us, [t * SECOND_US for t in times], _by_signal(rows, times), damaged)


def _by_signal(rows: Sequence[RollUp], times: Sequence[int]) -> dict[int, list[Any]]:
    """The roll-ups of each signal at these times, UTC s."""
    places = {t: k for k, t in enumerate(times)}
    cells: dict[int, list[Any]] = {}
    for row in rows:
        place = places.get(row[0])
        if place is not None:
            column = cells.get(row[1])
            if column is None:
                column = cells[row[1]] = [None] * len(times)
            column[place] = row
    return cells


def _samples(con: sqlite3.Connection, within_us: tuple[int, int], span_us: tuple[int, int]) -> Piece:
    """The samples of a quarter hour. Signals of different rates share the rows of the same times."""
    segments = [(segment, segment.times_us()) for segment in samples(con, *within_us)]
    begin_us, end_us = max(within_us[0], span_us[0]), min(within_us[1], span_us[1])
    times = sorted({t for _, found in segments for t in found if begin_us <= t < end_us})
    places = {t: k for k, t in enumerate(times)}
    cells: dict[int, list[Any]] = {}
    for segment, found in segments:
        _add_segment(cells, segment, [places.get(t) for t in found], len(times))
    # version 0.1.0 did not keep the time between two samples
    steps = sorted(b - a for a, b in pairwise(times))
    step_us = max(min((segment.step_us for segment, _ in segments), default=0), steps[len(steps) // 2] if steps else 0)
    return Piece(*within_us, step_us, times, cells, [])


def _add_segment(cells: dict[int, list[Any]], segment: Segment, at: Sequence[int | None], rows: int) -> None:
    """Put the samples of a segment where they belong: `at` which row each, None for one that is not wanted."""
    for sid in segment.sids:
        column = segment.column(sid)
        if column is None:
            continue
        cell = cells.setdefault(sid, [None] * rows)
        for k, value in zip(at, column.raw, strict=True):
            if k is not None and value != MISSING:
                cell[k] = value


def _quarters(con: sqlite3.Connection, begin_s: int, end_s: int, damaged: list[tuple[int, int]]) -> list[RollUp]:
    """Roll-ups of quarter hours; those that the record does not have yet from its minutes."""
    rows = _table(con, QUARTER_S, begin_s, end_s)
    there = {row[0] for row in rows}
    for first_s, after_s in _missing(there, begin_s, end_s, QUARTER_S):
        found: dict[tuple[int, int], Summary] = {}
        for t, sid, mn, mx, mean, last, n in sorted(_minutes(con, first_s, after_s, damaged)):
            key, summary = (t // QUARTER_S * QUARTER_S, sid), Summary(mn, mx, mean, last, n)
            found[key] = merged(found[key], summary) if key in found else summary
        rows += [(t, sid, s.mn, s.mx, round(s.mean), s.last, s.n) for (t, sid), s in found.items()]
    return rows


def _minutes(con: sqlite3.Connection, begin_s: int, end_s: int, damaged: list[tuple[int, int]]) -> list[RollUp]:
    """Roll-ups of minutes; of minutes without any, and of signals that are sampled once a minute, from the samples.

    Quarter hours whose samples cannot be read are added to `damaged`.
    """
    rows = _table(con, MINUTE_S, begin_s, end_s)
    there = {row[0] for row in rows}
    for first_s, after_s in _missing(there, begin_s, end_s, MINUTE_S):
        rows += _rolled(con, (first_s, after_s), 0, damaged)
    coarse = _rolled(con, (begin_s, end_s), COARSE_US, damaged)
    if coarse:
        known = {row[:2] for row in rows}
        rows += [row for row in coarse if row[:2] not in known]
    return rows


def _table(con: sqlite3.Connection, width_s: int, begin_s: int, end_s: int) -> list[RollUp]:
    """What the record has rolled up. One statement, so one state of the file."""
    table = TABLES[width_s]
    if not _has(con, table):
        return []
    sql = f"SELECT t, sid, mn, mx, mean, last, n FROM {table} WHERE t >= ? AND t < ?"
    return con.execute(sql, (begin_s, end_s)).fetchall()


def _rolled(
    con: sqlite3.Connection, span_s: tuple[int, int], least_step_us: int, damaged: list[tuple[int, int]]
) -> list[RollUp]:
    """Minutes of the samples of a span, of those with at least that much between two."""
    found: dict[tuple[int, int], Summary] = {}
    for quarter_s in range(span_s[0] // QUARTER_S * QUARTER_S, span_s[1], QUARTER_S):
        begin_us = quarter_s * SECOND_US
        try:
            for segment in samples(con, begin_us, begin_us + QUARTER_US, least_step_us):
                _roll_up(segment, found)
        except DAMAGED:
            damaged.append((begin_us, begin_us + QUARTER_US))
    return [
        (t, sid, s.mn, s.mx, round(s.mean), s.last, s.n) for (t, sid), s in found.items() if span_s[0] <= t < span_s[1]
    ]


def _roll_up(segment: Segment, found: dict[tuple[int, int], Summary]) -> None:
    """Add the minutes of a segment, by time and signal."""
    times_us = segment.times_us()
    for sid in segment.sids:
        column = segment.column(sid)
        if column is not None:
            for k, summary in rolled(times_us, column.raw, MINUTE_S * SECOND_US).items():
                key = (k * MINUTE_S, sid)
                found[key] = merged(found[key], summary) if key in found else summary


def _missing(there: Collection[int], begin_s: int, end_s: int, width_s: int) -> Iterator[tuple[int, int]]:
    """Spans of steps that are not there."""
    for lacks, steps in groupby(range(begin_s, end_s, width_s), key=lambda t: t not in there):
        if lacks:
            found = list(steps)
            yield found[0], found[-1] + width_s


def _next_us(con: sqlite3.Connection, tables: Sequence[tuple[str, str, int]], from_us: int) -> int | None:
    """The first time from here on at which something in these tables begins, UTC us."""
    found = []
    for table, column, per_s in tables:
        sql = f"SELECT min({column}) FROM {table} WHERE {column} >= ?"
        (first,) = con.execute(sql, (from_us * per_s // SECOND_US,)).fetchone()
        if first is not None:
            found.append(first * SECOND_US // per_s)
    return min(found, default=None)


def _tables(con: sqlite3.Connection, resolution: str) -> list[tuple[str, str, int]]:
    """Tables from which steps are made: name, column of the time, its units in a second."""
    tables = [("block", "t0", SECOND_US), ("hot", "ts", SECOND_US), ("r1m", "t", 1), ("r15", "t", 1)]
    wanted = tables[: {RAW: 2, MINUTES: 3}.get(resolution, 4)]
    return [table for table in wanted if _has(con, table[0])]


def _has(con: sqlite3.Connection, table: str) -> bool:
    return bool(con.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (table,)).fetchone())
