"""Reads what of a record leaves the site: packed blocks and roll-ups of quarter hours, in the order of their sequence.

A block leaves with those signals only that may leave, `Wanted`; its hash is that of the block as the site keeps it.
Quarter hours go by the sequence of their blocks, not by time: a clock that was ahead hides none that come after it.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from storage.blocks import BlockDamaged, dictionary_hash, narrowed, opened
from storage.rollup import QUARTER_S
from storage.samples import sids_of
from storage.signals import Signal

Wanted = Callable[[Signal], bool]  # whether a signal may leave the site
MOST_BLOCKS = 500  # of one page
MOST_EVENTS = 2_000  # of one page
MOST_ROWS = 20_000  # of roll-ups in one page, 32 bytes each at most


class OutgoingBlock(msgspec.Struct, frozen=True):
    """A block, or a piece of one that is larger than a page."""

    seq: int
    own_sha256: bytes  # of the block as the site keeps it
    size: int = 0  # bytes of the whole block as it leaves
    offset: int = 0  # of `data` in it
    data: bytes = b""
    damaged: str = ""  # why it cannot leave: it is not as it was written


class BlockPage(msgspec.Struct, frozen=True, kw_only=True):
    """The blocks after a sequence, as far as they fit into one answer."""

    first_seq: int | None = None  # on record; None: no block is
    last_seq: int | None = None
    asked_sha256: bytes | None = None  # of the block with the sequence asked for; None: it is not on record
    blocks: tuple[OutgoingBlock, ...] = ()
    dictionaries: dict[str, tuple[Signal, ...]] = {}  # by hash, hex, of these blocks


class RolledRow(NamedTuple):
    """What one signal did in one quarter hour; the figures are scaled, as the record has them."""

    t: int  # UTC s, start of the quarter hour
    place: int  # of the signal, in the page
    mn: int
    mx: int
    mean: int
    last: int
    n: int  # samples


class QuarterPage(msgspec.Struct, frozen=True, kw_only=True):
    """Roll-ups of quarter hours: of those that the blocks after a sequence are of, or all after a time."""

    last_seq: int | None = None  # of the blocks on record
    next_seq: int | None = None  # every quarter hour of the blocks up to this one is in pages up to this one
    next_t: int | None = None  # by time: the last quarter hour of this page
    signals: tuple[Signal, ...] = ()
    rows: tuple[RolledRow, ...] = ()


class OutgoingEvent(msgspec.Struct, frozen=True):
    """An event without its text, and without who caused it."""

    id: int  # counts up over the record
    t_us: int  # UTC
    kind: str
    severity: str
    subject: str


def events_after(con: sqlite3.Connection, after_id: int) -> list[OutgoingEvent]:
    """The next events by their number, a page. Raises sqlite3.Error."""
    sql = "SELECT id, ts_utc_us, kind, severity, subject FROM event WHERE id > ? ORDER BY id LIMIT ?"
    return [OutgoingEvent(*row) for row in con.execute(sql, (after_id, MOST_EVENTS))]


def block_page(con: sqlite3.Connection, after_seq: int, wanted: Wanted, most_bytes: int, offset: int = 0) -> BlockPage:
    """Blocks with a higher sequence, at most so many bytes together; with `offset` the next one from that byte on.

    At least a piece of one, if there is one. Raises sqlite3.Error, and `damage.DAMAGED` where dictionaries are damaged.
    """
    first_seq, last_seq = con.execute("SELECT min(seq), max(seq) FROM block").fetchone()
    asked = con.execute("SELECT v FROM block WHERE seq = ?", (after_seq,)).fetchone()
    dictionaries = _Dictionaries(con, wanted)
    found: list[OutgoingBlock] = []
    room = most_bytes
    rows = con.execute(
        "SELECT seq, dictionary, v FROM block WHERE seq > ? ORDER BY seq LIMIT ?", (after_seq, MOST_BLOCKS)
    )
    for seq, number, v in rows:
        block = _outgoing(dictionaries, seq, number, v)
        if found and len(block.data) > room:
            break
        piece = block.data[offset : offset + room]
        found.append(msgspec.structs.replace(block, offset=offset, data=piece))
        room -= len(piece)
        offset = 0
        if room <= 0:
            break
    return BlockPage(
        first_seq=first_seq,
        last_seq=last_seq,
        asked_sha256=None if asked is None else hashlib.sha256(asked[0]).digest(),
        blocks=tuple(found),
        dictionaries=dictionaries.used,
    )


class _Dictionaries:
    """What of each dictionary may leave."""

    def __init__(self, con: sqlite3.Connection, wanted: Wanted) -> None:
        self.used: dict[str, tuple[Signal, ...]] = {}
        self._con, self._wanted = con, wanted
        self._kept: dict[int, tuple[list[int], int, bytes]] = {}

    def narrow(self, number: int) -> tuple[list[int], int, bytes]:
        """Of the dictionary with this number: places of the signals that may leave, how many it has, the new hash."""
        if number not in self._kept:
            sids = sids_of(self._con, number)
            names = _signals(self._con)
            signals = [names[sid] for sid in sids]
            places = [n for n, signal in enumerate(signals) if self._wanted(signal)]
            left = tuple(signals[n] for n in places)
            digest = dictionary_hash(left)
            self.used[digest.hex()] = left
            self._kept[number] = (places, len(sids), digest)
        return self._kept[number]


def _outgoing(dictionaries: _Dictionaries, seq: int, number: int, v: bytes) -> OutgoingBlock:
    """A whole block as it leaves."""
    own = hashlib.sha256(v).digest()
    try:
        block = opened(v)
        places, count, digest = dictionaries.narrow(number)
        if block.head.signals != count or block.head.sequence != seq:
            raise BlockDamaged(
                f"block {block.head.sequence} of {block.head.signals} signals, expected {seq} of {count}"
            )
    except BlockDamaged as error:
        return OutgoingBlock(seq, own, damaged=str(error))
    data = narrowed(block, places, digest)
    return OutgoingBlock(seq, own, len(data), 0, data)


def quarter_page(con: sqlite3.Connection, after_seq: int, wanted: Wanted) -> QuarterPage:
    """Roll-ups of the quarter hours that the blocks with a higher sequence are of, a page. Raises sqlite3.Error."""
    (last_seq,) = con.execute("SELECT max(seq) FROM block").fetchone()
    left = _leaving(con, wanted)
    starts: dict[int, None] = {}
    next_seq, most = None, _quarters_of_page(left)
    for seq, t0 in con.execute("SELECT seq, t0 FROM block WHERE seq > ? ORDER BY seq LIMIT ?", (after_seq, 8 * most)):
        start = t0 // 1_000_000 // QUARTER_S * QUARTER_S
        if start not in starts and len(starts) >= most:
            break
        starts[start] = None
        next_seq = seq
    rows = _rolled(con, sorted(starts), left)
    return QuarterPage(last_seq=last_seq, next_seq=next_seq, signals=tuple(left.values()), rows=rows)


def quarters_from(con: sqlite3.Connection, after_t: int, wanted: Wanted) -> QuarterPage:
    """All roll-ups of quarter hours after a time (UTC s), a page: also those older than any block. sqlite3.Error."""
    (last_seq,) = con.execute("SELECT max(seq) FROM block").fetchone()
    left = _leaving(con, wanted)
    sql = "SELECT DISTINCT t FROM r15 WHERE t > ? ORDER BY t LIMIT ?"
    starts = [t for (t,) in con.execute(sql, (after_t, _quarters_of_page(left)))]
    rows = _rolled(con, starts, left)
    next_t = starts[-1] if starts else None
    return QuarterPage(last_seq=last_seq, next_t=next_t, signals=tuple(left.values()), rows=rows)


def _leaving(con: sqlite3.Connection, wanted: Wanted) -> dict[int, Signal]:
    """The signals that may leave, by id."""
    return {sid: signal for sid, signal in _signals(con).items() if wanted(signal)}


def _quarters_of_page(left: dict[int, Signal]) -> int:
    return max(1, MOST_ROWS // max(1, len(left)))


def _rolled(con: sqlite3.Connection, starts: Sequence[int], left: dict[int, Signal]) -> tuple[RolledRow, ...]:
    """The rows of these quarter hours, of these signals."""
    place = {sid: n for n, sid in enumerate(left)}
    sql = "SELECT t, sid, mn, mx, mean, last, n FROM r15 WHERE t = ?"
    return tuple(
        RolledRow(t, place[sid], *figures)
        for start in starts
        for t, sid, *figures in con.execute(sql, (start,))
        if sid in place
    )


def _signals(con: sqlite3.Connection) -> dict[int, Signal]:
    return {
        row[0]: Signal(*row[1:]) for row in con.execute("SELECT id, name, unit, scale, kind FROM signal ORDER BY id")
    }
