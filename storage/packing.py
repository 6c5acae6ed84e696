"""Packs the samples of a quarter hour of UTC into blocks, with its roll-ups, in one short transaction of the writer's.

Hot rows stay until their quarter hour has been over for another one, so 15 to 30 minutes of them are in the file.
"""

from __future__ import annotations

import logging
import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from typing import NamedTuple

from storage.blocks import ABSENT, MOST_CELLS, MOST_SAMPLES, Column, dictionary_hash, encode
from storage.damage import DAMAGED
from storage.resolution import COARSE_US
from storage.rollup import MINUTE_S, QUARTER_S, rolled
from storage.samples import QUARTER_US, HotSegment, KeptRow, hot_rows, segments_of, sids_blob
from storage.signals import MISSING, Signal

Source = tuple[uuid.UUID, uuid.UUID]  # site, incarnation
_BlockRow = tuple[int, int, int, int, int, bytes]
ROLLED = "(t, sid, mn, mx, mean, last, n) VALUES (?,?,?,?,?,?,?)"
FAR_US = 1 << 61  # no clock was ever so wrong; a damaged row may be

log = logging.getLogger("skerry.storage")


class _Packed(NamedTuple):
    """What becomes of the hot rows of one resolution."""

    sids: tuple[int, ...]
    times_us: list[int]
    columns: list[Column]
    step_us: int


def next_quarter(con: sqlite3.Connection, now_s: float) -> int | None:
    """The start (UTC s) of a quarter hour that is to be packed or rolled up; None if there is none."""
    row = con.execute(
        "SELECT (SELECT min(ts) FROM hot WHERE ts > -:far), (SELECT max(ts) FROM hot WHERE ts < :far), "
        "(SELECT min(t) * 1000000 FROM r1m WHERE t >= coalesce((SELECT max(t) FROM r15), -:far) + :quarter "
        "AND t < :far / 1000000)",
        {"far": FAR_US, "quarter": QUARTER_S},
    ).fetchone()
    starts = [t // QUARTER_US * QUARTER_S for t in row if t is not None]
    # also what a wrong clock has put far into the future
    ready = [t for t in starts if t + 2 * QUARTER_S <= now_s or t > now_s + QUARTER_S]
    return min(ready, default=None)


def pack_quarter(con: sqlite3.Connection, start_s: int, source: Source, now_us: int) -> None:
    """Pack and roll up one quarter hour; afterwards it has no hot rows. Raises sqlite3.Error: nothing has changed then.

    Hot rows that no version has written are deleted, and leave a gap; the others are packed.
    """
    begin_us = start_s * 1_000_000
    span_us = (begin_us, begin_us + QUARTER_US)
    rows = list(hot_rows(con, *span_us))
    sound, packed, made = _blocks_of_sound(con, rows, source)
    con.execute("BEGIN IMMEDIATE")
    try:
        for lost_us in _lost(rows, sound, span_us):
            note_gap(con, "raw", lost_us, "damaged", now_us, apart_us=0)
        con.executemany("INSERT INTO block (seq, t0, step_us, n, dictionary, v) VALUES (?,?,?,?,?,?)", made)
        con.execute("DELETE FROM r1m WHERE t >= ? AND t < ? AND n < 1", (start_s, start_s + QUARTER_S))  # damaged
        _roll_lost_minutes(con, start_s, packed)
        roll_quarter(con, start_s)
        _roll_samples(con, start_s, packed)
        con.execute("DELETE FROM hot WHERE ts >= ? AND ts < ?", span_us)
        con.execute("COMMIT")
    except BaseException:
        if con.in_transaction:
            con.execute("ROLLBACK")
        raise


def roll_quarter(con: sqlite3.Connection, start_s: int) -> None:
    """The roll-up of a quarter hour, of those of its minutes."""
    con.execute(
        "INSERT OR REPLACE INTO r15 (t, sid, mn, mx, mean, last, n) "
        "SELECT ?1, q.sid, q.mn, q.mx, CAST(round(q.mean) AS INTEGER), r1m.last, CAST(q.n AS INTEGER) FROM ("
        "SELECT sid, min(mn) AS mn, max(mx) AS mx, total(1.0 * mean * n) / total(n) AS mean, total(n) AS n, "
        "max(t) AS newest FROM r1m WHERE t >= ?1 AND t < ?2 GROUP BY sid"
        ") AS q JOIN r1m ON r1m.t = q.newest AND r1m.sid = q.sid",
        (start_s, start_s + QUARTER_S),
    )


def roll_minutes_of_samples(con: sqlite3.Connection, rows: Sequence[KeptRow]) -> None:
    """Roll-ups of the minutes of these hot rows, where the file has none: those that a crash has lost.

    Rows that are damaged are left out. Raises those of `damage.DAMAGED` if the others cannot be read together.
    """
    try:
        packed = [_merged(con, step_us, group) for step_us, group in _by_step(rows)]
    except DAMAGED:
        rows = [row for row in rows if _is_sound(con, row, (uuid.UUID(int=0), uuid.UUID(int=0)))]
        packed = [_merged(con, step_us, group) for step_us, group in _by_step(rows)]
    for start_s in sorted({row[0] // QUARTER_US * QUARTER_S for row in rows}):
        _roll_lost_minutes(con, start_s, packed)


def note_gap(
    con: sqlite3.Connection,
    resolution: str,
    span_us: tuple[int, int],
    reason: str,
    now_us: int,
    apart_us: int = QUARTER_US,
) -> None:
    """Say what was deleted, and why. What follows an earlier deletion, or is less apart, makes its row longer."""
    begin_us, end_us = span_us
    done = con.execute(
        "UPDATE gap SET t1 = max(t1, ?), ts_utc_us = ? WHERE id = "
        "(SELECT id FROM gap WHERE resolution = ? AND reason = ? AND t0 <= ? AND t1 >= ? - ? ORDER BY id DESC LIMIT 1)",
        (end_us, now_us, resolution, reason, begin_us, begin_us, apart_us),
    )
    if done.rowcount == 0:
        values = (resolution, begin_us, end_us, reason, now_us)
        con.execute("INSERT INTO gap (resolution, t0, t1, reason, ts_utc_us) VALUES (?,?,?,?,?)", values)


def dictionary_of(con: sqlite3.Connection, sids: Sequence[int]) -> tuple[int, bytes]:
    """Number and hash of the dictionary of these signals, entered if it is not yet there."""
    names = {row[0]: Signal(*row[1:]) for row in con.execute("SELECT id, name, unit, scale, kind FROM signal")}
    digest = dictionary_hash(names[sid] for sid in sids)
    found = con.execute("SELECT id FROM dictionary WHERE hash = ?", (digest,)).fetchone()
    if found is None:
        found = con.execute(
            "INSERT INTO dictionary (hash, sids) VALUES (?,?) RETURNING id", (digest, sids_blob(sids))
        ).fetchone()
    return found[0], digest


def _blocks_of_sound(
    con: sqlite3.Connection, rows: Sequence[KeptRow], source: Source
) -> tuple[Sequence[KeptRow], list[_Packed], list[_BlockRow]]:
    """What becomes of the rows that some version has written; these first. Each is tried alone if one is damaged."""
    try:
        return rows, *_blocks(con, rows, source)
    except DAMAGED as error:
        log.error("records: samples of the quarter hour that begins at %s us are damaged: %s", _quarter(rows), error)
    sound = [row for row in rows if _is_sound(con, row, source)]
    try:
        return sound, *_blocks(con, sound, source)
    except DAMAGED:  # each by itself could be packed, together they cannot
        return [], [], []


def _quarter(rows: Sequence[KeptRow]) -> int:
    return min(row[0] for row in rows) // QUARTER_US * QUARTER_US


def _blocks(con: sqlite3.Connection, rows: Sequence[KeptRow], source: Source) -> tuple[list[_Packed], list[_BlockRow]]:
    """Rows merged, and as rows of the table `block`. Raises those of `damage.DAMAGED`."""
    packed = [_merged(con, step_us, group) for step_us, group in _by_step(rows)]
    made: list[_BlockRow] = []
    for each in packed:
        made += _encoded(con, each, source, len(made))
    if rows and not made:
        raise ValueError("no samples in any row")
    return packed, made


def _is_sound(con: sqlite3.Connection, row: KeptRow, source: Source) -> bool:
    try:
        _blocks(con, [row], source)
    except DAMAGED:
        return False
    return True


def _lost(rows: Sequence[KeptRow], sound: Sequence[KeptRow], span_us: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """The times of rows that are not sound: each up to the next of its resolution."""
    kept = {row[0] for row in sound}  # a row's time is its key
    for _, group in _by_step(rows):
        begins = [span_us[0], *(row[0] for row in group[1:]), span_us[1]]
        yield from (span for row, span in zip(group, pairwise(begins), strict=True) if row[0] not in kept)


def _by_step(rows: Sequence[KeptRow]) -> Iterator[tuple[int, list[KeptRow]]]:
    """The rows of each resolution, in order of time."""
    for step_us, group in groupby(sorted(rows, key=lambda row: (row[1], row[0])), key=lambda row: row[1]):
        yield step_us, list(group)


def _merged(con: sqlite3.Connection, step_us: int, rows: Sequence[KeptRow]) -> _Packed:
    """Rows of several dictionaries under one that has all their signals."""
    segments = list(segments_of(con, rows))
    sids = tuple(sorted({sid for segment in segments for sid in segment.sids}))
    times_us = [t for segment in segments for t in segment.times_us()]
    columns = [_joined(segments, sid) for sid in sids]
    if any(b < a for a, b in pairwise(times_us)):  # the clock stepped back
        order = sorted(range(len(times_us)), key=times_us.__getitem__)
        times_us, columns = [times_us[k] for k in order], [column.at(order) for column in columns]
    return _Packed(sids, times_us, columns, step_us)


def _joined(segments: Sequence[HotSegment], sid: int) -> Column:
    """A signal's samples over all segments; missing where a segment has none."""
    columns = [segment.column(sid) or Column([MISSING] * len(segment.times_us())) for segment in segments]
    raw = [value for column in columns for value in column.raw]
    if not any(column.quality for column in columns):
        return Column(raw)
    parts = (c.quality or bytes(ABSENT if value == MISSING else 0 for value in c.raw) for c in columns)
    return Column(raw, b"".join(parts))


def _encoded(con: sqlite3.Connection, packed: _Packed, source: Source, before: int) -> Iterator[_BlockRow]:
    """Rows of the table `block`, numbered after `before` others that are not yet in it. Raises ValueError."""
    number, digest = dictionary_of(con, packed.sids)
    (sequence,) = con.execute("SELECT seq FROM sqlite_sequence WHERE name = 'block'").fetchone()
    most = max(1, min(MOST_SAMPLES, MOST_CELLS // max(1, len(packed.sids))))
    for k, begin in enumerate(range(0, len(packed.times_us), most), sequence + before + 1):
        part = slice(begin, begin + most)
        times_us = packed.times_us[part]
        columns = [Column(column.raw[part], column.quality[part]) for column in packed.columns]
        content = encode(source, k, packed.step_us, digest, times_us, columns)
        yield k, times_us[0], packed.step_us, len(times_us), number, content


def _roll_lost_minutes(con: sqlite3.Connection, start_s: int, packed: Sequence[_Packed]) -> None:
    """The minutes of a quarter hour that have samples and no roll-up."""
    span = (start_s, start_s + QUARTER_S)
    packed = [each for each in packed if each.step_us < COARSE_US]  # others never have roll-ups of minutes
    there = {t for (t,) in con.execute("SELECT DISTINCT t FROM r1m WHERE t >= ? AND t < ?", span)}
    minutes = {t // (MINUTE_S * 1_000_000) * MINUTE_S for each in packed for t in each.times_us}
    lost = {t for t in minutes if span[0] <= t < span[1]} - there
    if lost:
        rows = sorted(row for row in _rolled(packed, MINUTE_S, set()) if row[0] in lost)
        con.executemany(f"INSERT OR IGNORE INTO r1m {ROLLED}", rows)


def _roll_samples(con: sqlite3.Connection, start_s: int, packed: Sequence[_Packed]) -> None:
    """The roll-up of a quarter hour for signals that have none of minutes."""
    there = {sid for (sid,) in con.execute("SELECT sid FROM r15 WHERE t = ?", (start_s,))}
    rows = sorted(row for row in _rolled(packed, QUARTER_S, there) if row[0] == start_s)
    con.executemany(f"INSERT OR IGNORE INTO r15 {ROLLED}", rows)


def _rolled(packed: Sequence[_Packed], width_s: int, without: set[int]) -> Iterator[tuple[int, ...]]:
    """Rows of a roll-up made of samples, but for some signals."""
    for each in packed:
        for sid, column in zip(each.sids, each.columns, strict=True):
            if sid in without:
                continue
            for k, s in rolled(each.times_us, column.raw, width_s * 1_000_000).items():
                yield k * width_s, sid, round(s.mn), round(s.mx), round(s.mean), round(s.last), s.n
