"""Cuts a copy of the telemetry down to a span of time: an export holds what was asked for and nothing else."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Sequence

from storage.blocks import Column, encode, opened
from storage.rollup import MINUTE_S, QUARTER_S
from storage.samples import QUARTER_US, Segment, hot_rows, packed, segments_of


def trim(con: sqlite3.Connection, start_us: int, end_us: int) -> None:
    """Delete what is not of [start, end), in one transaction; roll-ups that reach into it stay.

    Raises sqlite3.Error, and those of `damage.DAMAGED`.
    """
    con.execute("BEGIN")
    for table in ("event", "decision", "drill"):
        con.execute(f"DELETE FROM {table} WHERE ts_utc_us < ? OR ts_utc_us >= ?", (start_us, end_us))
    for table, width_s in (("r1m", MINUTE_S), ("r15", QUARTER_S)):
        begin_s = start_us // (width_s * 1_000_000) * width_s
        con.execute(f"DELETE FROM {table} WHERE t < ? OR t * 1000000 >= ?", (begin_s, end_us))
    con.execute("DELETE FROM gap WHERE t1 <= ? OR t0 >= ?", (start_us, end_us))
    con.execute("DELETE FROM hold")
    quarter_us = start_us // QUARTER_US * QUARTER_US
    con.execute("DELETE FROM block WHERE t0 < ? OR t0 >= ?", (quarter_us, end_us))
    con.execute("DELETE FROM hot WHERE ts < ? OR ts >= ?", (quarter_us, end_us))
    for first_us in {quarter_us, (end_us - 1) // QUARTER_US * QUARTER_US}:
        _trim_blocks(con, first_us, (start_us, end_us))
        _trim_hot(con, first_us, (start_us, end_us))
    con.execute("COMMIT")


def _trim_blocks(con: sqlite3.Connection, quarter_us: int, span_us: tuple[int, int]) -> None:
    """Blocks of a quarter hour of which only a part is wanted."""
    sql = "SELECT seq, v FROM block WHERE t0 >= ? AND t0 < ?"
    for seq, v in con.execute(sql, (quarter_us, quarter_us + QUARTER_US)).fetchall():
        block = opened(v)
        head, times_us = block.head, block.times_us()
        kept = _wanted(times_us, span_us)
        if not kept:
            con.execute("DELETE FROM block WHERE seq = ?", (seq,))
        elif len(kept) < len(times_us):
            times_us = [times_us[k] for k in kept]
            columns = [block.column(n).at(kept) for n in range(head.signals)]
            source = (head.site, head.incarnation)
            v = encode(source, head.sequence, head.step_us, head.dictionary, times_us, columns)
            con.execute("UPDATE block SET t0 = ?, n = ?, v = ? WHERE seq = ?", (times_us[0], len(kept), v, seq))


def _trim_hot(con: sqlite3.Connection, quarter_us: int, span_us: tuple[int, int]) -> None:
    """Hot rows of a quarter hour of which only a part is wanted."""
    for row in list(hot_rows(con, quarter_us, quarter_us + QUARTER_US)):
        for segment in segments_of(con, [row]):
            times_us = segment.times_us()
            kept = _wanted(times_us, span_us)
            if not kept:
                con.execute("DELETE FROM hot WHERE ts = ?", (row[0],))
            elif len(kept) < len(times_us):
                times = struct.pack(f"<{len(kept)}q", *(times_us[k] for k in kept))
                con.execute("UPDATE hot SET times = ?, v = ? WHERE ts = ?", (times, _repacked(segment, kept), row[0]))


def _repacked(segment: Segment, kept: Sequence[int]) -> bytes:
    """The v of a hot row with some of the samples of a segment."""
    columns = [(segment.column(sid) or Column([])).at(kept) for sid in segment.sids]
    doubted = [[n for n, column in enumerate(columns) if column.quality[k : k + 1] == b"\2"] for k in range(len(kept))]
    return packed([[column.raw[k] for column in columns] for k in range(len(kept))], doubted)


def _wanted(times_us: Sequence[int], span_us: tuple[int, int]) -> list[int]:
    return [k for k, t in enumerate(times_us) if span_us[0] <= t < span_us[1]]
