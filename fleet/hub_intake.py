"""Judges what arrives at a hub: plain functions of a message and of what is stored of its site. No I/O.

`arrived` checks what can be told of the message alone; `judge_incarnation` and `judge_block` compare it with the store.
What is refused stays at the site: its record is the truth, and a person decides.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from enum import Enum

import msgspec

from fleet import bus_messages
from fleet.block_pages import SET_BACK, Stopped, checked, in_unit
from fleet.bus_messages import BlockSent, EventsSent, HeadSent, NotAMessage, QuartersSent, Sent
from fleet.hub_schema import OVERVIEW
from fleet.minutes import Minute, minutes_of
from fleet.site_text import one_line
from fleet.store import KeptBlock, KeptQuarter, Source
from storage.audit_format import head_of
from storage.blocks import BlockDamaged, opened
from storage.outgoing import OutgoingBlock, QuarterPage
from storage.signals import Signal

MOST_SECONDS = 1 << 45  # of a time, either side of 1970: fits in 64 bits as microseconds
MOST_NUMBER = (1 << 63) - 1
MOST_TEXT = 200  # characters of a signal's name or of a word of an event


class Arrived(msgspec.Struct, frozen=True, kw_only=True):
    """A message that is sound in itself."""

    site: str  # UUID
    sent: Sent
    block: KeptBlock | None = None
    minutes: tuple[Minute, ...] = ()
    quarters: tuple[KeptQuarter, ...] = ()
    head: tuple[int, bytes] | None = None


class Verdict(Enum):
    """What to do with a block that is not refused."""

    KEEP = "keep"
    KNOWN = "known"
    EARLY = "early"  # those before it are not here yet


def arrived(site: str, data: bytes) -> Arrived:
    """A message of this site, checked. Raises Stopped, with the kind of trouble."""
    try:
        sent = bus_messages.sent(data)
        if not bus_messages.is_uuid(sent.incarnation):
            raise NotAMessage("its incarnation is no UUID")
        return _checked(site, sent)
    except NotAMessage as error:
        kind = "version" if "format" in str(error) else "answer"
        raise Stopped(kind, one_line(str(error))) from None
    except BlockDamaged as error:
        raise Stopped("damaged", one_line(f"a block arrived damaged: {error}")) from None
    except (msgspec.ValidationError, ValueError) as error:
        raise Stopped("answer", one_line(f"not what a gateway says: {error}")) from None


def _checked(site: str, sent: Sent) -> Arrived:
    """Raises Stopped, BlockDamaged, ValueError, msgspec.ValidationError."""
    body = sent.body
    if isinstance(body, BlockSent):
        return _block(site, sent, body)
    if isinstance(body, QuartersSent):
        _check_signals(body.page.signals)
        _check_numbers(body.after_seq, body.page.next_seq or 0)
        _check_times(body.after_t or 0, body.page.next_t or 0)
        return Arrived(site=site, sent=sent, quarters=_quarters(body.page))
    if isinstance(body, EventsSent):
        _check_numbers(body.after_id, *(event.id for event in body.events))
        _check_times(*(event.t_us // 1_000_000 for event in body.events))
        for event in body.events:
            _check_words(event.kind, event.severity, event.subject)
        return Arrived(site=site, sent=sent)
    if isinstance(body, HeadSent):
        seq, digest = head_of(body.head)
        _check_numbers(seq)
        return Arrived(site=site, sent=sent, head=(seq, digest))
    return Arrived(site=site, sent=sent)


def _block(site: str, sent: Sent, body: BlockSent) -> Arrived:
    outgoing = body.block
    _check_numbers(body.after_seq, outgoing.seq)
    if body.after_seq >= outgoing.seq or len(outgoing.own_sha256) != len(body.after_sha256) != 0:
        raise ValueError(f"block {outgoing.seq} after {body.after_seq}")
    if outgoing.damaged:
        return Arrived(site=site, sent=sent)
    _check_signals(body.signals)
    kept = checked(site, outgoing, body.signals)
    block = opened(outgoing.data)
    _check_times(kept.t0_us // 1_000_000)
    minutes = minutes_of(block, body.signals, OVERVIEW)
    if any(not math.isfinite(mean) or abs(mean) > 1e30 for minute in minutes for mean in minute.means.values()):
        raise ValueError("a mean that is no number")
    _check_times(*(minute.t for minute in minutes))
    return Arrived(site=site, sent=sent, block=kept, minutes=tuple(minutes))


def _quarters(page: QuarterPage) -> tuple[KeptQuarter, ...]:
    """Its rows in their units, each quarter hour of a signal once."""
    rows = {(row.t, row.place): in_unit(page.signals, row) for row in page.rows}
    found = {(row.t, row.signal.name, row.signal.unit): row for row in rows.values()}
    _check_times(*(row.t for row in found.values()))
    _check_numbers(*(row.n for row in found.values()))
    return tuple(found.values())


def _check_signals(signals: Sequence[Signal]) -> None:
    for signal in signals:
        _check_words(signal.name, signal.unit, signal.kind)
        if not math.isfinite(signal.scale):
            raise ValueError(f"a scale of {signal.scale}")


def _check_words(*words: str) -> None:
    if not all(len(word) <= MOST_TEXT and (word.isprintable() or not word) for word in words):
        raise ValueError("a name with characters that are not printable, or too long")


def _check_numbers(*numbers: int) -> None:
    if not all(0 <= number <= MOST_NUMBER for number in numbers):
        raise ValueError("a number out of range")


def _check_times(*times_s: int) -> None:
    if not all(-MOST_SECONDS < t < MOST_SECONDS for t in times_s):
        raise ValueError("a time out of range")


def judge_incarnation(current: str | None, known: bool, incarnation: str) -> str:
    """A remark on an incarnation that is taken, empty for the one that was taken before. `known`: read before.

    Raises Stopped for one whose time was over: two gateways claim one site.
    """
    if current == incarnation:
        return ""
    if known:
        raise Stopped(
            "claimed-twice",
            f"this incarnation, {incarnation}, was followed by {current}, which another gateway of the same site has: "
            "one of them is a copy. Delete identity.json in the copy and restart its gateway; if this is the right "
            "one, start a hub with --current SITE/INCARNATION",
        )
    return "" if current is None else f"a new incarnation, {incarnation}: restored, moved or copied"


def judge_block(source: Source, body: BlockSent, here: Collection[bytes]) -> Verdict:
    """Whether a block is kept. `here`: hashes of the stored blocks of this site, writer and sequence.

    Raises Stopped for a record that is not the one that was stored before.
    """
    block = body.block
    if block.seq <= source.seq:
        another = block.own_sha256 != source.own_sha256 if block.seq == source.seq else _differs(block, here)
        if another:
            raise Stopped("set-back", f"its block {block.seq} is another one than the one that is here: {SET_BACK}")
        return Verdict.KNOWN
    if body.after_seq > source.seq:
        return Verdict.EARLY
    if body.after_seq == source.seq != 0 and body.after_sha256 != source.own_sha256:
        raise Stopped("set-back", f"its block {source.seq} is another one than the one that is here: {SET_BACK}")
    return Verdict.KEEP


def _differs(block: OutgoingBlock, here: Collection[bytes]) -> bool:
    """Whether there is another block in its place. One that is damaged at the site, or expired here, is not known."""
    return bool(here) and not block.damaged and block.own_sha256 not in here
