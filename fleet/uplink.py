"""Sends a site's history to the bus: a process and user of its own, that asks the site's gateway and dials out.

It asks by the same requests as a fleet's pull, so it can only read, and no name of a user, job or compute node is in an
answer. It sends a page, and the next one when a hub says that its database has committed that, of blocks a few pages
more; where it goes on is known to the hub alone. What does not come back is sent again from there: nothing is lost by a
kill of bus, hub or uplink, and by no outage that the site keeps its blocks for.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec

from drivers.back_off import BackOff, spread
from fleet import bus_messages
from fleet.block_pages import SET_BACK, Stopped, whole_page
from fleet.bus import Bus, BusFailed, TooLarge
from fleet.bus_messages import (
    FORMAT,
    NOW,
    STORED,
    BlockSent,
    Body,
    EventsSent,
    HeadSent,
    NotAMessage,
    QuartersSent,
    Sent,
    Stored,
    TroubleSent,
)
from fleet.pull import Client, Pace
from fleet.site_text import one_line
from fleet.store import HASH_BYTES
from fleet.watch import SPREAD, Link, ask_overview
from gateway.errors import LinkLost, RequestFailed
from storage.identity import Identity
from storage.outgoing import BlockPage, OutgoingEvent, QuarterPage

log = logging.getLogger("skerry.fleet")

PERIOD_S = 5.0  # between two overviews, and two looks for what is new
HEAD_S = 900.0  # between two heads of the audit
HOLD_S = 86_400.0  # a hold at the site is renewed after that
WAIT_S = 30.0  # for a hub to store a page; longer after each time that none did
MOST_PAUSE_S = 900.0
LEAST_PAUSE_S, MOST_OPEN_S = 1.0, 60.0  # between two tries to open link and bus
PAGES = 4  # of blocks, sent and not stored yet, at most
HOLDER = "hub"  # name of the hold at the site


class Carrier(Protocol):
    """What is used of the bus. Each raises BusFailed."""

    async def publish(self, subject: str, data: bytes) -> None:
        """Hand a message to the stream."""
        ...

    async def put(self, bucket: str, key: str, data: bytes) -> None:
        """Set a value."""
        ...

    async def value(self, bucket: str, key: str) -> bytes | None:
        """A value; None: nobody has set it."""
        ...

    async def follow(self, bucket: str, key: str, heard: Callable[[bytes], None]) -> None:
        """Hear of each new value from now on."""
        ...


class NotStored(Exception):
    """No hub has stored what was sent. The text says what is known of it."""


class Uplink:
    """Sends the history of one site over one link and one connection to the bus, until one of them breaks."""

    def __init__(
        self,
        client: Client,
        bus: Carrier,
        pace: Pace,
        *,
        period_s: float = PERIOD_S,
        wait_s: float = WAIT_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client, self._bus, self._pace = client, bus, pace
        self._period_s, self._wait_s, self._monotonic = period_s, wait_s, monotonic
        self._identity = identity_of(client)
        self._key = f"{self._identity.site}.{self._identity.incarnation}"
        self._stored = Stored()  # as a hub said last
        self._heard = asyncio.Event()
        self._ends = deque[tuple[int, bytes]]()  # last block of each page not stored yet: sequence and hash
        self._head = ""
        self._head_s = self._held_s = float("-inf")
        self._held = -1

    async def run(self) -> None:
        """Until link or bus fails. Raises LinkLost, RequestFailed, BusFailed, Stopped."""
        await self._bus.follow(STORED, self._key, self._hear)
        await self._ask_stored()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tell_now())
            tasks.create_task(self._send_history())

    # ── now ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _tell_now(self) -> None:
        """An overview of the site, again and again; whatever the history waits for."""
        while True:
            found, _ = await ask_overview(self._client)
            await self._bus.put(NOW, self._identity.site, bus_messages.packed(found))
            await asyncio.sleep(self._period_s)

    # ── what is stored ──────────────────────────────────────────────────────────────────────────────────────────────

    def _hear(self, data: bytes) -> None:
        try:
            self._stored = bus_messages.stored(data)
        except NotAMessage as error:
            log.warning("uplink: what a hub says of this site: %s", error)
            return
        self._heard.set()

    async def _ask_stored(self) -> None:
        """How far the site is stored; from the beginning if no hub knows this incarnation. All else is sent again."""
        self._ends.clear()
        data = await self._bus.value(STORED, self._key)
        if data is None:
            self._stored = Stored()
        else:
            self._hear(data)

    async def _until(self, enough: Callable[[Stored], bool]) -> None:
        """Until a hub has stored what was sent. Raises NotStored."""
        try:
            async with asyncio.timeout(self._wait_s):
                while not enough(self._stored):
                    if self._stored.refused:
                        raise NotStored(one_line(f"refused by the hub ({self._stored.kind}): {self._stored.refused}"))
                    self._heard.clear()
                    await self._heard.wait()
        except TimeoutError:
            raise NotStored(f"no hub has stored it within {self._wait_s:g} s") from None

    async def _until_heard(self, timeout_s: float) -> None:
        """Until a hub says anything, or the time is over."""
        self._heard.clear()
        try:
            async with asyncio.timeout(timeout_s):
                await self._heard.wait()
        except TimeoutError:
            return

    # ── history ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _send_history(self) -> None:
        """Roll-ups first, then events, the audit's head, blocks; a page at a time, each stored before the next."""
        pauses = BackOff(MOST_PAUSE_S, least_s=self._wait_s)
        while True:
            try:
                more = await self._send_some()
                pauses.answered()
            except NotStored as error:
                pauses.failed(str(error), self._monotonic())
                pause_s = pauses.wait_s(self._monotonic())
                log.warning("uplink: %s; sent again in %.0f s, nothing is lost meanwhile", error, pause_s)
                await self._until_heard(pause_s)
                await self._ask_stored()
                more = True
            if not more:
                await asyncio.sleep(self._period_s)

    async def _send_some(self) -> bool:
        """Send a page of each kind; whether there may be more. Raises NotStored, BusFailed, LinkLost, RequestFailed."""
        self._stored = msgspec.structs.replace(self._stored, refused="", kind="")
        await self._hold()
        sent = await self._send_quarters() or await self._send_events()
        await self._send_head()
        return sent or await self._send_blocks()

    async def _send_quarters(self) -> bool:
        after_t = self._stored.source.quarters_t
        if after_t is not None:
            page = await self._ask("fleet.quarters", QuarterPage, after_t=after_t)
            await self._send(QuartersSent(page=page, after_t=after_t))
            await self._until(lambda s: s.source.quarters_t is None or s.source.quarters_t > after_t)
            return True
        after_seq = self._stored.source.quarters_seq
        page = await self._ask("fleet.quarters", QuarterPage, after_seq=after_seq)
        if page.next_seq is None or page.next_seq <= after_seq:
            return False
        next_seq = page.next_seq
        await self._send(QuartersSent(page=page, after_seq=after_seq))
        await self._until(lambda s: s.source.quarters_seq >= next_seq)
        return True

    async def _send_events(self) -> bool:
        after_id = self._stored.event_id
        events = await self._ask("fleet.events", tuple[OutgoingEvent, ...], after_id=after_id)
        if not events:
            return False
        await self._send(EventsSent(after_id=after_id, events=events))
        await self._until(lambda s: s.event_id >= events[-1].id)
        return True

    async def _send_head(self) -> None:
        """The audit's head, where it is another one than that sent before."""
        if self._monotonic() - self._head_s < HEAD_S:
            return
        answer = await self._ask("fleet.head", _Head, seq=0)
        if answer.head != self._head:
            await self._send(HeadSent(head=answer.head))
        self._head, self._head_s = answer.head, self._monotonic()

    async def _send_blocks(self) -> bool:
        """A page of blocks after those that are on their way, of which there are `PAGES` at most."""
        self._forget_stored()
        after_seq, before = self._ends[-1] if self._ends else (self._stored.source.seq, self._stored.source.own_sha256)
        page = await whole_page(self._ask_blocks, after_seq)
        if after_seq and page.asked_sha256 is None and (page.last_seq is None or page.last_seq < after_seq):
            await self._refuse("set-back", f"its record ends before block {after_seq}, which the hub has: {SET_BACK}")
        if page.asked_sha256 is not None and after_seq and page.asked_sha256 != before:
            await self._refuse("set-back", f"its block {after_seq} is another one than the hub has: {SET_BACK}")
        for block in page.blocks:
            dictionary = b"" if block.damaged else _dictionary_of(block.data)
            signals = page.dictionaries.get(dictionary.hex(), ())
            await self._send(BlockSent(after_seq=after_seq, after_sha256=before, block=block, signals=signals))
            after_seq, before = block.seq, block.own_sha256
        if page.blocks:
            self._ends.append((after_seq, before))
        if self._ends and (not page.blocks or len(self._ends) >= PAGES):
            end = self._ends[0][0] if page.blocks else after_seq
            await self._until(lambda s: s.source.seq >= end)
        return bool(page.blocks)

    def _forget_stored(self) -> None:
        """Forget the pages that are stored."""
        while self._ends and self._ends[0][0] <= self._stored.source.seq:
            self._ends.popleft()

    async def _refuse(self, kind: str, text: str) -> None:
        """Tell the hub why the site is not sent any further. Raises NotStored."""
        await self._send(TroubleSent(kind=kind, text=text))
        raise NotStored(text)

    async def _send(self, body: Body) -> None:
        """Raises NotStored for what the bus does not take now, or never would."""
        welcome = self._client.welcome
        message = bus_messages.packed(
            Sent(
                format=FORMAT,
                incarnation=self._identity.incarnation,
                name=one_line(welcome.site),
                timezone=one_line(welcome.timezone),
                body=body,
            )
        )
        asked_s = self._pace.now_s()
        try:
            await self._bus.publish(bus_messages.subject(self._identity.site, body), message)
        except TooLarge as error:
            if isinstance(body, TroubleSent):
                raise
            await self._refuse("too-large", str(error))
        except BusFailed as error:
            raise NotStored(str(error)) from None
        await self._pace.came(len(message), asked_s)

    async def _hold(self) -> None:
        """Have the site keep the blocks that are not stored yet."""
        seq, now_s = self._stored.source.seq, self._monotonic()
        if seq == self._held and now_s - self._held_s < HOLD_S:
            return
        try:
            await self._client.request("fleet.hold", hub=HOLDER, seq=seq)
        except RequestFailed as error:
            if self._held < 0:
                log.warning("uplink: the site does not keep blocks for the hub beyond their time: %s", error)
        self._held, self._held_s = seq, now_s

    async def _ask_blocks(self, after_seq: int, offset: int) -> BlockPage:
        page: BlockPage = await self._ask("fleet.blocks", BlockPage, after_seq=after_seq, offset=offset)
        return page

    async def _ask(self, method: str, kind: Any, **params: Any) -> Any:
        return msgspec.convert(await self._client.request(method, **params), kind)


class _Head(msgspec.Struct, frozen=True):
    """The answer to `fleet.head`."""

    head: str


def identity_of(client: Client) -> Identity:
    """Raises Stopped for a gateway that has none to keep."""
    identity = client.welcome.identity
    if identity is None:
        raise Stopped("version", "a gateway of an earlier release: it has no identity, and its history stays there")
    if not identity.kept:
        raise Stopped("identity", "its state directory cannot keep an identity now; nothing is on record there")
    return identity


def _dictionary_of(data: bytes) -> bytes:
    """The hash of a block's dictionary; see `storage/blocks.py` for its place."""
    return data[68 : 68 + HASH_BYTES]


def inbox_of(identity: Identity) -> str:
    """What the subjects begin with on which a site's uplink gets answers; the bus lets it read these alone."""
    return f"_INBOX_{identity.site}"


async def run_for_ever(
    open_link: Callable[[], Awaitable[Link]],
    open_bus: Callable[[Identity], Awaitable[Bus]],
    pace: Pace,
    wait_s: float = WAIT_S,
) -> None:
    """Send a site's history; what breaks is opened anew after a pause that doubles, spread by what broke."""
    pauses, tries = BackOff(MOST_OPEN_S, least_s=LEAST_PAUSE_S), 0
    while True:
        begun_s = time.monotonic()
        try:
            await _once(open_link, open_bus, pace, wait_s)
        except* (LinkLost, RequestFailed, BusFailed, Stopped, OSError, msgspec.ValidationError) as group:
            if time.monotonic() - begun_s > MOST_OPEN_S:
                pauses.answered()
            why = "; ".join(one_line(str(error)) for error in _leaves(group))
            pauses.failed(why, time.monotonic())
        tries += 1
        pause_s = pauses.wait_s(time.monotonic()) * (1 + SPREAD * spread(pauses.why, tries))
        log.warning("uplink: %s; again in %.0f s", pauses.why, pause_s)
        await asyncio.sleep(pause_s)


async def _once(
    open_link: Callable[[], Awaitable[Link]], open_bus: Callable[[Identity], Awaitable[Bus]], pace: Pace, wait_s: float
) -> None:
    """One link and one connection, until either breaks."""
    link = await open_link()
    try:
        bus = await open_bus(identity_of(link.client))
        try:
            log.info("uplink: sending the history of %s", one_line(link.client.welcome.site))
            await Uplink(link.client, bus, pace, wait_s=wait_s).run()
        finally:
            await bus.close()
    finally:
        await link.close()


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
