"""Copies the history of a site to the hub: roll-ups first, then blocks, each page checked before it is kept.

Where it goes on is with the store, so a pull that was ended anywhere is simply begun again. Nothing that the hub has is
ever overwritten by another content of the same sequence; what is odd stops that site and is told.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol
from uuid import UUID

import msgspec

from fleet.block_pages import SET_BACK, Stopped, checked, in_unit, whole_page
from fleet.site_text import one_line
from fleet.store import KeptBlock, KeptSite, Source, Store
from gateway.api.protocol import Welcome
from gateway.errors import RequestFailed
from storage.audit_format import head_of
from storage.blocks import BlockDamaged, opened
from storage.outgoing import BlockPage, OutgoingBlock, QuarterPage

TRIES = 3  # of a block that arrives damaged
ROW_BYTES = 32  # of a roll-up on its way, at most


class Client(Protocol):
    """What is used of the link."""

    @property
    def welcome(self) -> Welcome:
        """Who is on the other end."""
        ...

    async def request(self, method: str, **params: Any) -> Any:
        """Raises RequestFailed, LinkLost."""
        ...


class Pulled(msgspec.Struct):
    """What a pull of one site has brought."""

    name: str
    site: str = ""  # UUID
    blocks: int = 0
    known: int = 0  # blocks that the hub had already
    lost: int = 0  # blocks that will not come: damaged at the site, or deleted there before
    quarters: int = 0  # rows
    bytes: int = 0
    kind: str = ""  # of what stopped it
    trouble: str = ""
    remarks: list[str] = []


class Pace:
    """Keeps the bytes of all sites together below a rate, by pauses after what came."""

    def __init__(
        self,
        bytes_per_s: float | None,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._rate, self._monotonic, self._sleep = bytes_per_s, monotonic, sleep
        self._free_s = float("-inf")  # when the next bytes may be asked for

    def now_s(self) -> float:
        """The time to give `came`."""
        return self._monotonic()

    async def came(self, count: int, asked_s: float) -> None:
        """Wait until so many bytes, asked for at `asked_s`, may have come."""
        if self._rate is None:
            return
        self._free_s = max(self._free_s, asked_s) + count / self._rate
        await self._sleep(max(0.0, self._free_s - self._monotonic()))


class SitePull:
    """The pull of one site over one link."""

    def __init__(
        self,
        name: str,
        client: Client,
        store: Store,
        pace: Pace,
        utc: Callable[[], float] = time.time,
        hub: str = "",
    ) -> None:
        """`hub`: under which name the site keeps what is not here yet; empty: it is not asked to."""
        self.result = Pulled(name)
        self._client, self._store, self._pace, self._utc = client, store, pace, utc
        self._hub, self._held_seq = hub, -1
        self._uuid = self._incarnation = ""
        self._source = Source()

    async def run(self, claimed: dict[str, str], take_current: bool = False) -> Pulled:
        """Bring what is new. `claimed`: names by UUID of the sites that this pull has seen; this one is added.

        `take_current`: read an incarnation whose time was over. Raises LinkLost, RequestFailed, OSError, sqlite3.Error.
        """
        try:
            self._begin(claimed, take_current)
            await self._hold()
            await self._collect_head()
            await self._quarters()
            await self._blocks()
            await self._hold()
        except Stopped as stop:
            self._stop(stop.kind, str(stop))
        except (msgspec.ValidationError, OverflowError) as error:  # the latter: a number of more than 64 bits
            self._stop("answer", one_line(f"its answer is not one of a gateway's: {error}"))
        return self.result

    def _stop(self, kind: str, text: str) -> None:
        self.result.kind, self.result.trouble = kind, text
        if self._uuid:
            self._store.note(self._uuid, kind, text, self._utc())

    def _remark(self, kind: str, text: str) -> None:
        self.result.remarks.append(text)
        self._store.note(self._uuid, kind, text, self._utc())

    # ── whose history it is ─────────────────────────────────────────────────────────────────────────────────────────

    def _begin(self, claimed: dict[str, str], take_current: bool) -> None:
        """Find out which site it is, and where to go on. Raises Stopped."""
        welcome, name = self._client.welcome, self.result.name
        identity, called = welcome.identity, one_line(welcome.site)
        if identity is None:
            raise Stopped("version", "a gateway of an earlier release: it has no identity, and its history stays there")
        if not (_is_uuid(identity.site) and _is_uuid(identity.incarnation)):
            raise Stopped("answer", "its identity is none")
        if not identity.kept:
            raise Stopped("identity", "its state directory cannot keep an identity now; nothing is on record there")
        if (other := claimed.setdefault(identity.site, name)) != name:
            raise Stopped(
                "claimed-twice",
                f"{other} calls itself the same site, {identity.site}, and is read; nothing is pulled from here. "
                "Listed twice, or a copy of the other's state directory: delete identity.json in the copy and restart "
                f"its gateway. To read this one instead: --current {name}",
            )
        self._uuid, self._incarnation = identity.site, identity.incarnation
        self.result.site = identity.site
        known = self._store.site(identity.site)
        if known is not None:
            self._check_incarnation(known, take_current)
        self._source = self._store.begin(
            self._uuid, self._incarnation, called, one_line(welcome.timezone), name, self._utc()
        )
        if known is not None and known.name != called:
            self._remark("renamed", f"it calls itself {called} now, {known.name} before")

    def _check_incarnation(self, known: KeptSite, take_current: bool) -> None:
        """Raises Stopped for one whose time was over."""
        if known.current == self._incarnation:
            return
        if self._store.is_known(self._uuid, self._incarnation) and not take_current:
            raise Stopped(
                "claimed-twice",
                f"this incarnation, {self._incarnation}, was followed by {known.current}, which another gateway of the "
                "same site has: one of them is a copy. Delete identity.json in the copy and restart its gateway; then "
                "pull the other one with --current",
            )
        self._remark("incarnation", f"a new incarnation, {self._incarnation}: restored, moved or copied")

    async def _hold(self) -> None:
        """Have the site keep the blocks that are not here yet: for so long, and so many, as it allows."""
        if not self._hub or self._held_seq == self._source.seq:
            return
        self._held_seq = self._source.seq
        try:
            await self._client.request("fleet.hold", hub=self._hub, seq=self._source.seq)
        except RequestFailed as error:
            if "unknown method" not in str(error):
                self._remark("hold", one_line(f"it keeps no blocks for this hub: {error}"))

    # ── audit ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _collect_head(self) -> None:
        """Keep the head of the audit, and see whether the row of the last one is still what it was."""
        kept = self._store.head(self._uuid)
        answer = msgspec.convert(await self._ask("fleet.head", seq=kept[0] if kept else 0), _Head)
        try:
            seq, digest = head_of(answer.head)
        except ValueError as error:
            raise Stopped("answer", one_line(f"its audit has no head: {error}")) from None
        if kept is not None and kept[0] > 0 and answer.row != kept[1].hex():
            now = "is not there any more" if answer.row is None else "is another one"
            self._remark(
                "audit",
                f"row {kept[0]} of its audit, collected before, {now}: its end was cut off, rewritten or restored "
                "from a backup; look at it with: skerry verify --against",
            )
        if seq > 0:
            self._store.put_head(self._uuid, seq, digest, self._utc())

    # ── roll-ups ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _quarters(self) -> None:
        """All roll-ups by time at first, afterwards those of the blocks that are new since that began."""
        while (after_t := self._source.quarters_t) is not None:
            page = await self._ask_quarters(after_t=after_t)
            if page.next_t is not None and page.next_t <= after_t:
                raise Stopped("answer", "its roll-ups go back in time")
            begun = {"quarters_seq": page.last_seq or 0} if after_t == 0 else {}
            self._keep_quarters(page, quarters_t=page.next_t, **begun)
        while True:
            page = await self._ask_quarters(after_seq=self._source.quarters_seq)
            if page.next_seq is None or page.next_seq <= self._source.quarters_seq:
                return
            self._keep_quarters(page, quarters_seq=page.next_seq)

    async def _ask_quarters(self, **after: int) -> QuarterPage:
        asked_s = self._pace.now_s()
        page = msgspec.convert(await self._ask("fleet.quarters", **after), QuarterPage)
        await self._came(ROW_BYTES * len(page.rows), asked_s)
        return page

    async def _came(self, count: int, asked_s: float) -> None:
        self.result.bytes += count
        await self._pace.came(count, asked_s)

    def _keep_quarters(self, page: QuarterPage, **read: int | None) -> None:
        rows = [in_unit(page.signals, row) for row in page.rows]
        self._source = msgspec.structs.replace(self._source, **read)
        self._store.put_quarters(self._uuid, self._incarnation, rows, self._source)
        self.result.quarters += len(rows)

    # ── blocks ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _blocks(self) -> None:
        while True:
            page = await whole_page(self._ask_blocks, self._source.seq)
            self._check_last(page)
            if not page.blocks:
                return
            await self._keep(page)

    def _check_last(self, page: BlockPage) -> None:
        """Compare the last block that the hub has with the one of this sequence there. Raises Stopped."""
        seq = self._source.seq
        if seq == 0:
            return
        if page.asked_sha256 is None and (page.last_seq is None or page.last_seq < seq):
            raise Stopped("set-back", f"its record ends before block {seq}, which is here already: {SET_BACK}")
        if page.asked_sha256 is not None and page.asked_sha256 != self._source.own_sha256:
            raise Stopped("set-back", f"its block {seq} is another one than the one that is here: {SET_BACK}")
        if page.first_seq is not None and page.first_seq > seq + 1:
            self._lose(seq + 1, page.first_seq - 1, "deleted at the site before it was pulled")

    async def _ask_blocks(self, after_seq: int, offset: int) -> BlockPage:
        asked_s = self._pace.now_s()
        page = msgspec.convert(await self._ask("fleet.blocks", after_seq=after_seq, offset=offset), BlockPage)
        await self._came(sum(len(block.data) for block in page.blocks), asked_s)
        return page

    async def _keep(self, page: BlockPage) -> None:
        """Check each block and keep them; one that arrives damaged is asked for again. Raises Stopped."""
        page, blocks = await self._sound(page)
        numbers = [block.seq for block in page.blocks]
        if numbers != sorted(set(numbers)) or numbers[-1] <= self._source.seq:
            raise Stopped("answer", "its blocks are not in the order of their sequence")
        for block in page.blocks:
            if block.damaged:
                self._lose(block.seq, block.seq, one_line(f"damaged at the site: {block.damaged}"))
        read = msgspec.structs.replace(self._source, seq=numbers[-1], own_sha256=page.blocks[-1].own_sha256)
        dictionaries = {block.dictionary: page.dictionaries[block.dictionary.hex()] for block in blocks}
        new = self._store.put_blocks(self._uuid, self._incarnation, blocks, dictionaries, read)
        self._source = read
        self.result.blocks += new
        self.result.known += len(blocks) - new

    async def _sound(self, page: BlockPage) -> tuple[BlockPage, list[KeptBlock]]:
        """The page, or the same again if a block has arrived damaged, and its blocks. Raises Stopped."""
        tries = 1
        while True:
            try:
                return page, [self._checked(page, block) for block in page.blocks if not block.damaged]
            except BlockDamaged as error:
                if tries == TRIES:
                    raise Stopped("damaged", f"a block arrives damaged each time: {error}") from None
            tries += 1
            page = await whole_page(self._ask_blocks, self._source.seq)
            if not page.blocks:
                raise Stopped("answer", "blocks that were there a moment ago are not there any more")

    def _checked(self, page: BlockPage, sent: OutgoingBlock) -> KeptBlock:
        """Raises BlockDamaged, Stopped."""
        signals = page.dictionaries.get(opened(sent.data).head.dictionary.hex())
        return checked(self._uuid, sent, signals)

    def _lose(self, first_seq: int, last_seq: int, why: str) -> None:
        self.result.lost += last_seq - first_seq + 1
        self._store.put_lost(self._uuid, first_seq, last_seq, why, self._utc())

    async def _ask(self, method: str, **params: Any) -> Any:
        """Raises Stopped where the gateway does not know the request; RequestFailed, LinkLost."""
        try:
            return await self._client.request(method, **params)
        except RequestFailed as error:
            if "unknown method" in str(error):
                raise Stopped("version", "a gateway of an earlier release: its history cannot be pulled") from None
            raise


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


class _Head(msgspec.Struct, frozen=True):
    """The answer to `fleet.head`."""

    head: str
    row: str | None = None
