"""Reads samples, wherever the record has them: as hot rows or in packed blocks. Used by the writer and by readers."""

from __future__ import annotations

import sqlite3
import struct
import sys
import zlib
from array import array
from collections.abc import Iterator, Sequence
from itertools import chain, groupby
from typing import Protocol

from storage.blocks import ABSENT, DOUBTED, MOST_CELLS, Block, BlockDamaged, Column, opened
from storage.rollup import QUARTER_S
from storage.signals import MISSING

QUARTER_US = QUARTER_S * 1_000_000

KeptRow = tuple[int, int, int | None, bytes | None, bytes]  # ts, step_us, dictionary, times, v


class Segment(Protocol):
    """Samples of several signals at the same times, in order of time."""

    step_us: int
    sids: tuple[int, ...]

    def times_us(self) -> Sequence[int]:
        """Time of each, UTC us."""

    def column(self, sid: int) -> Column | None:
        """The samples of a signal; None if there are none."""


class HotSegment:
    """A hot row: samples that were written together; or consecutive rows of version 0.1.0, each a sample."""

    def __init__(self, step_us: int, sids: tuple[int, ...], times_us: Sequence[int], values: bytes, by_signal: bool):
        """`values`: int32 of each signal and sample, little-endian, those of a signal together if `by_signal`.

        What follows are uint32: the positions of doubted values. Raises ValueError for too few values.
        """
        self.step_us, self.sids = step_us, sids
        self._times, self._by_signal = times_us, by_signal
        size = 4 * len(sids) * len(times_us)
        if len(values) < size:
            raise ValueError(f"a row of telemetry is shorter than its {len(sids)} signals")
        self._values = array("i", values[:size])
        self._doubted = array("I", values[size : size + (len(values) - size) // 4 * 4])
        if sys.byteorder == "big":
            self._values.byteswap()
            self._doubted.byteswap()

    def times_us(self) -> Sequence[int]:
        """Time of each sample, UTC us."""
        return self._times

    def column(self, sid: int) -> Column | None:
        """The samples of a signal; None if it is not in the row."""
        if sid not in self.sids:
            return None
        k, samples = self.sids.index(sid), len(self._times)
        if not self._by_signal:
            return Column(self._values[k :: len(self.sids)])
        raw = self._values[k * samples : (k + 1) * samples]
        doubted = [n - k * samples for n in self._doubted if k * samples <= n < (k + 1) * samples]
        if not doubted:
            return Column(raw)
        quality = bytearray(ABSENT if value == MISSING else 0 for value in raw)
        for n in doubted:
            quality[n] = DOUBTED
        return Column(raw, bytes(quality))


class BlockSegment:
    """A packed block."""

    def __init__(self, sids: tuple[int, ...], block: Block) -> None:
        if len(sids) != block.head.signals:
            raise BlockDamaged(f"a block of {block.head.signals} signals, its dictionary has {len(sids)}")
        self.step_us, self.sids = block.head.step_us, sids
        self._block = block

    def times_us(self) -> Sequence[int]:
        """Time of each sample, UTC us. Raises BlockDamaged."""
        return self._block.times_us()

    def column(self, sid: int) -> Column | None:
        """The samples of a signal; None if it is not in the block. Raises BlockDamaged."""
        return self._block.column(self.sids.index(sid)) if sid in self.sids else None


def hot_rows(con: sqlite3.Connection, begin_us: int, end_us: int) -> Iterator[KeptRow]:
    """Hot rows that begin in [begin, end), in order of time."""
    sql = "SELECT ts, step_us, dictionary, times, v FROM hot WHERE ts >= ? AND ts < ? ORDER BY ts"
    if not _has_blocks(con):
        sql = sql.replace("step_us, dictionary, times", "1000000, NULL, NULL")
    yield from con.execute(sql, (begin_us, end_us))


def segments_of(con: sqlite3.Connection, rows: Sequence[KeptRow]) -> Iterator[HotSegment]:
    """Hot rows of one quarter hour or less as segments. Raises those of `damage.DAMAGED`.

    Rows of version 0.1.0 have no dictionary and hold signals 1, 2, 3, … in order.
    """
    for (step_us, dictionary, size), group in groupby(rows, key=_kind):
        if dictionary is None:
            sids, kept = tuple(range(1, size // 4 + 1)), list(group)
            yield HotSegment(step_us, sids, [row[0] for row in kept], b"".join(row[4] for row in kept), False)
            continue
        sids = sids_of(con, dictionary)
        for _, _, _, times, v in group:
            times_us = struct.unpack(f"<{len(times or b'') // 8}q", times or b"")
            yield HotSegment(step_us, sids, times_us, _unpacked(v, len(sids) * len(times_us)), True)


def packed(rows: Sequence[Sequence[int]], doubted: Sequence[Sequence[int]]) -> bytes:
    """Samples as the v of a hot row: raw values of each sample in order of its dictionary, positions of doubted ones.

    The values of a signal follow each other; then all their lowest bytes, all second ones and so on, compressed.
    """
    positions = (n * len(rows) + k for k, columns in enumerate(doubted) for n in columns)
    values = struct.pack(f"<{len(rows) * len(rows[0])}i", *chain.from_iterable(zip(*rows, strict=True)))
    tail = b"".join(struct.pack("<I", position) for position in positions)
    return zlib.compress(b"".join(values[k::4] for k in range(4)) + tail, 6)


def _unpacked(v: bytes, cells: int) -> bytes:
    """The reverse of `packed`. Never more is unpacked than belongs there. Raises ValueError."""
    if cells > MOST_CELLS:
        raise ValueError(f"{cells} values in a row of telemetry")
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(v, 8 * cells + 1)
    except zlib.error as error:
        raise ValueError(f"a row of telemetry is damaged: {error}") from error
    if not 4 * cells <= len(content) <= 8 * cells or not unpacker.eof:
        raise ValueError(f"a row of telemetry of {len(content)} bytes, {4 * cells} expected")
    ordered = bytearray(4 * cells)
    for k in range(4):
        ordered[k::4] = content[k * cells : (k + 1) * cells]
    return bytes(ordered) + content[4 * cells :]


def samples(con: sqlite3.Connection, begin_us: int, end_us: int, least_step_us: int = 0) -> Iterator[Segment]:
    """What may hold samples in [begin, end), and more around it: packed blocks, then hot rows.

    Those with less than `least_step_us` between two samples are left out.
    """
    if _has_blocks(con):
        sql = "SELECT dictionary, v FROM block WHERE t0 >= ? AND t0 < ? AND step_us >= ? ORDER BY t0"
        for dictionary, v in con.execute(sql, (begin_us // QUARTER_US * QUARTER_US, end_us, least_step_us)):
            yield BlockSegment(sids_of(con, dictionary), opened(v))
    rows = hot_rows(con, begin_us // QUARTER_US * QUARTER_US, end_us)  # a row, too, is of one quarter hour
    for _, group in groupby(rows, key=lambda row: row[0] // QUARTER_US):
        yield from segments_of(con, [row for row in group if row[1] >= least_step_us])


def row_times_us(con: sqlite3.Connection, ts: int) -> Sequence[int]:
    """The times of the samples of one hot row, UTC us. Raises those of `damage.DAMAGED`."""
    return [t for segment in segments_of(con, list(hot_rows(con, ts, ts + 1))) for t in segment.times_us()]


def sids_of(con: sqlite3.Connection, dictionary: int) -> tuple[int, ...]:
    """The signals of a dictionary, by id, in order. Raises ValueError if there is none of that number."""
    row = con.execute("SELECT sids FROM dictionary WHERE id = ?", (dictionary,)).fetchone()
    if row is None or len(row[0]) % 4:
        raise ValueError(f"there is no sound dictionary {dictionary}")
    return struct.unpack(f"<{len(row[0]) // 4}I", row[0])


def sids_blob(sids: Sequence[int]) -> bytes:
    """A dictionary's signals as they are kept."""
    return struct.pack(f"<{len(sids)}I", *sids)


def _kind(row: KeptRow) -> tuple[int, int | None, int]:
    """What the rows of a segment of version 0.1.0 have in common."""
    _, step_us, dictionary, _, v = row
    return step_us, dictionary, len(v) if dictionary is None else 0


def _has_blocks(con: sqlite3.Connection) -> bool:
    """Whether the file is of a version that has blocks: readers also open those of before."""
    return bool(con.execute("SELECT 1 FROM sqlite_schema WHERE name = 'block'").fetchone())
