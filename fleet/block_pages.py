"""Reads pages of a site's history: pieces are put together, blocks and roll-ups are checked before they are kept."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from fleet.store import KeptBlock, KeptQuarter
from storage.blocks import BlockDamaged, dictionary_hash, opened
from storage.outgoing import BlockPage, OutgoingBlock, RolledRow
from storage.signals import Signal

MOST_BLOCK_BYTES = 64 << 20
SET_BACK = (
    "its state directory or machine was set back to an earlier state. Nothing here was changed. Delete "
    "incarnation.json in its state directory and restart its gateway: it then goes on as a new incarnation"
)

Ask = Callable[[int, int], Awaitable[BlockPage]]  # by the sequence after which, and the offset in the next block


class Stopped(Exception):
    """This site is not read any further. `kind`: a word for programs; the text says why and what to do."""

    def __init__(self, kind: str, text: str) -> None:
        self.kind = kind
        super().__init__(text)


async def whole_page(ask: Ask, after_seq: int) -> BlockPage:
    """A page, with a block that is larger than one put together of its pieces. Raises Stopped, and what `ask` does."""
    page = await ask(after_seq, 0)
    if len(page.blocks) != 1 or len(page.blocks[0].data) >= page.blocks[0].size:
        return page
    (block,) = page.blocks
    if block.size > MOST_BLOCK_BYTES:
        raise Stopped("answer", f"block {block.seq} of {block.size} bytes is none")
    data = bytearray(block.data)
    while len(data) < block.size:
        more = await ask(after_seq, len(data))
        if not more.blocks or more.blocks[0].seq != block.seq or not more.blocks[0].data:
            raise Stopped("answer", f"block {block.seq} ends after {len(data)} of {block.size} bytes")
        data += more.blocks[0].data
    return msgspec.structs.replace(page, blocks=(msgspec.structs.replace(block, data=bytes(data)),))


def checked(site: str, sent: OutgoingBlock, signals: Sequence[Signal] | None) -> KeptBlock:
    """A block whose checksum, sequence, site and dictionary, `signals`, are right. Raises BlockDamaged, Stopped."""
    head = opened(sent.data).head
    if head.sequence != sent.seq or len(sent.own_sha256) != len(head.dictionary):
        raise BlockDamaged(f"it says that it is block {head.sequence}, {sent.seq} expected")
    if signals is None or dictionary_hash(signals) != head.dictionary or len(signals) != head.signals:
        raise BlockDamaged(f"block {sent.seq}: its dictionary is another one")
    if str(head.site) != site:
        raise Stopped("foreign", f"block {sent.seq} is one of another site, {head.site}")
    return KeptBlock(
        incarnation=str(head.incarnation),
        seq=sent.seq,
        own_sha256=sent.own_sha256,
        t0_us=head.t0_us,
        step_us=head.step_us,
        samples=head.samples,
        dictionary=head.dictionary,
        v=sent.data,
    )


def in_unit(signals: Sequence[Signal], row: RolledRow) -> KeptQuarter:
    """A row with its figures in the unit of its signal. Raises msgspec.ValidationError."""
    if not 0 <= row.place < len(signals):
        raise msgspec.ValidationError(f"a roll-up of signal {row.place}, of {len(signals)}")
    signal = signals[row.place]
    scaled = (row.mn * signal.scale, row.mx * signal.scale, row.mean * signal.scale, row.last * signal.scale)
    if not all(map(math.isfinite, scaled)):
        raise msgspec.ValidationError(f"a roll-up of {signal.name} that is no number")
    return KeptQuarter(row.t, signal, *scaled, row.n)
