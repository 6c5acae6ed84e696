"""What a hub makes of messages, without bus and database: each kind of bad input has its outcome."""

from __future__ import annotations

import uuid
import zlib
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from fleet import bus_messages, hub_schema
from fleet.block_pages import Stopped
from fleet.bus_messages import BlockSent, EventsSent, HeadSent, NotAMessage, QuartersSent, Sent, Stored
from fleet.hub_intake import Verdict, arrived, judge_block, judge_incarnation
from fleet.minutes import minutes_of
from fleet.store import Source
from storage.audit_format import head_words
from storage.blocks import Column, dictionary_hash, encode, opened
from storage.outgoing import OutgoingBlock, OutgoingEvent, QuarterPage, RolledRow
from storage.signals import MISSING, Signal

SITE, INCARNATION = uuid.UUID(int=5), uuid.UUID(int=6)
GRID, SOC = Signal("grid.w", "W", 1.0, "measured"), Signal("soc_pct", "%", 0.01, "derived")
START_S = 1_758_005_100
ONE, TWO, THREE = (bytes([n]) * 32 for n in (1, 2, 3))


def block(seq: int = 7, site: uuid.UUID = SITE, signals: tuple[Signal, ...] = (GRID, SOC)) -> bytes:
    """Ninety seconds: grid power 0, 1, 2 ... W, SoC missing in the second minute."""
    times_us = [(START_S + n) * 1_000_000 for n in range(90)]
    columns = [Column(list(range(90))), Column([5_000] * 60 + [MISSING] * 30)]
    return encode((site, INCARNATION), seq, 1_000_000, dictionary_hash(signals), times_us, columns)


def body(data: bytes, seq: int = 7, signals: tuple[Signal, ...] = (GRID, SOC), **more: Any) -> BlockSent:
    sent = OutgoingBlock(seq, ONE, len(data), 0, data, **more)
    return BlockSent(after_seq=seq - 1, after_sha256=TWO, block=sent, signals=signals)


def message(content: Any, **changes: Any) -> bytes:
    values = {"format": 1, "incarnation": str(INCARNATION), "name": "Fjord", "timezone": "UTC", "body": content}
    return bus_messages.packed(Sent(**{**values, **changes}))


def test_a_block_and_its_minutes() -> None:
    found = arrived(str(SITE), message(body(block())))
    assert found.block is not None
    assert (found.block.seq, found.block.samples, found.block.own_sha256) == (7, 90, ONE)
    assert [(minute.t, minute.samples) for minute in found.minutes] == [(START_S, 60), (START_S + 60, 30)]
    assert found.minutes[0].means == {"grid_w": 29.5, "soc_pct": pytest.approx(50.0)}
    assert found.minutes[1].means == {"grid_w": 74.5}, "what is missing is no zero"


def test_minutes_of_other_signals_are_not_made() -> None:
    found = minutes_of(opened(block()), (GRID, SOC), {"pv.w": "pv_w"})
    assert [minute.means for minute in found] == [{}, {}]


BROKEN = bytearray(block())
BROKEN[-1] ^= 1
WRONG = {
    "nothing": (b"", "answer"),
    "no zlib": (b"\x00\x01", "answer"),
    "cut off": (message(body(block()))[:-20], "answer"),
    "no struct": (zlib.compress(msgspec.msgpack.encode([1, 2])), "answer"),
    "another format": (message(body(block()), format=2), "version"),
    "incarnation": (message(body(block()), incarnation="x"), "answer"),
    "checksum": (message(body(bytes(BROKEN))), "damaged"),
    "another site's": (message(body(block(site=uuid.UUID(int=8)))), "foreign"),
    "another dictionary": (message(body(block(), signals=(SOC, GRID))), "damaged"),
    "another sequence": (message(body(block(), seq=8)), "damaged"),
    "sequence": (message(body(block(), seq=0)), "answer"),
    "a name that steers a terminal": (
        message(body(block(), signals=(Signal("grid\x1b.w", "W", 1.0, "measured"), SOC))),
        "answer",
    ),
    "head": (message(HeadSent(head="none")), "answer"),
    "roll-up of no signal": (
        message(QuartersSent(page=QuarterPage(signals=(GRID,), rows=(RolledRow(900, 1, 1, 1, 1, 1, 1),)))),
        "answer",
    ),
    "time of a roll-up": (
        message(QuartersSent(page=QuarterPage(signals=(GRID,), rows=(RolledRow(1 << 60, 0, 1, 1, 1, 1, 1),)))),
        "answer",
    ),
    "event": (message(EventsSent(after_id=0, events=(OutgoingEvent(1, 0, "a\nb", "info", ""),))), "answer"),
    "number": (message(EventsSent(after_id=-1, events=())), "answer"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_has_its_kind(name: str) -> None:
    data, kind = WRONG[name]
    with pytest.raises(Stopped) as stop:
        arrived(str(SITE), data)
    assert stop.value.kind == kind
    assert "\n" not in str(stop.value)


def test_what_else_comes() -> None:
    rows = (RolledRow(900, 0, 1, 3, 2, 2, 900), RolledRow(900, 0, 1, 5, 2, 2, 900))
    page = QuarterPage(last_seq=7, next_seq=7, signals=(GRID,), rows=rows)
    found = arrived(str(SITE), message(QuartersSent(page=page)))
    assert [(row.t, row.mx) for row in found.quarters] == [(900, 5.0)], "a quarter hour of a signal once"
    assert arrived(str(SITE), message(HeadSent(head=head_words(3, ONE)))).head == (3, ONE)
    damaged = arrived(str(SITE), message(body(b"", damaged="its checksum is another one")))
    assert damaged.block is None


def test_subjects() -> None:
    assert bus_messages.subject(str(SITE), body(block())) == f"skerry.{SITE}.block.7"
    assert bus_messages.site_of(f"skerry.{SITE}.block.7") == str(SITE)
    for wrong in ("skerry.x.block.7", f"other.{SITE}.block.7", f"skerry.{SITE}.block", f"skerry.{SITE}.block.7.8"):
        with pytest.raises(NotAMessage):
            bus_messages.site_of(wrong)
    stored = Stored(source=Source(7, ONE, None, 3), event_id=9, refused="a", kind="b")
    assert bus_messages.stored(bus_messages.packed(stored)) == stored


def test_blocks_connect_or_wait_or_are_refused() -> None:
    last = Source(6, TWO)
    assert judge_block(last, body(block()), ()) is Verdict.KEEP
    assert judge_block(Source(), body(block()), ()) is Verdict.EARLY, "those before it are not here yet"
    assert judge_block(Source(7, ONE), body(block()), ()) is Verdict.KNOWN
    assert judge_block(Source(9, THREE), body(block()), (ONE,)) is Verdict.KNOWN
    assert judge_block(Source(9, THREE), body(block()), ()) is Verdict.KNOWN, "expired here"
    first = BlockSent(after_seq=0, after_sha256=bytes(32), block=body(block()).block)
    assert judge_block(Source(), first, ()) is Verdict.KEEP
    for source, here in ((Source(7, THREE), ()), (Source(9, THREE), (TWO,)), (Source(6, ONE), ())):
        with pytest.raises(Stopped, match="Nothing here was changed") as stop:
            judge_block(source, body(block()), here)
        assert stop.value.kind == "set-back"


def test_incarnations() -> None:
    assert judge_incarnation(None, False, "a") == ""
    assert judge_incarnation("a", True, "a") == ""
    assert "a new incarnation, b" in judge_incarnation("a", False, "b")
    with pytest.raises(Stopped, match="was followed by b") as stop:
        judge_incarnation("b", True, "a")
    assert stop.value.kind == "claimed-twice"


def test_months_of_partitions() -> None:
    now_s = datetime(2026, 11, 30, 22, tzinfo=UTC).timestamp()
    wanted = [datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 31, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)]
    times_s = [each.timestamp() for each in wanted]
    assert hub_schema.months_of([*times_s, 0.0, 4e12], now_s) == {(2026, 11), (2026, 12)}
    assert hub_schema.bounds("minute", (2026, 12)) == (int(times_s[1]) - 30 * 86_400, int(times_s[2]))
    assert hub_schema.partition("block", (2026, 12)) == "block_2026_12"
    assert hub_schema.expired(now_s, 12) == (2025, 12)
    assert hub_schema.expired(now_s, 1) == (2026, 11)
