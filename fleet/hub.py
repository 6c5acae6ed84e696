"""Runs a hub: takes messages from the bus, has the database keep them, and tells the sites what it has committed.

A message is acknowledged after the commit that holds what it brought, and after the site was told. So a kill at any
moment, a full disk or a database that is gone costs nothing but sending it again. Several hubs may run on one bus and
one database: each message goes to one of them, and to another one if that does not acknowledge it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Protocol, TypeVar

import msgspec

from drivers.back_off import BackOff
from fleet import bus_messages
from fleet.block_pages import Stopped
from fleet.bus import Bus, BusFailed
from fleet.bus_messages import NOW, STORED, NotAMessage, Stored
from fleet.hub_database import Applied, DatabaseFailed, HubDatabase, Outcome, Refusal
from fleet.hub_intake import Arrived, arrived
from fleet.site_text import one_line
from fleet.watch import SKEW_S, sound
from gateway.api.site_overview import SiteOverview

log = logging.getLogger("skerry.fleet")

INBOX = "_INBOX_hub"  # what the subjects of answers begin with; the bus lets hubs alone read them
BATCH = 100  # messages in a transaction, at most
LOOK_S = 60.0  # between two looks whether stream and buckets are there
NOW_S = 5.0  # between two times that overviews are written
FORGET_S = 86_400.0
EARLY_S = 1.0  # a message whose predecessor is not here yet comes again after that
EARLY_TIMES = 30  # and is dropped after so many times: the site sends from what is stored anyway
LEAST_PAUSE_S, MOST_PAUSE_S = 1.0, 30.0

Answer = TypeVar("Answer")


class Message(Protocol):
    """A message at a hub."""

    subject: str
    data: bytes
    deliveries: int

    async def done(self) -> None:
        """It is stored, or never will be."""
        ...

    async def later(self, delay_s: float) -> None:
        """Deliver it again."""
        ...


class Carrier(Protocol):
    """What is used of the bus. Each raises BusFailed."""

    async def prepare(self, stream_bytes: int) -> bool:
        """Make what is not there; whether something was not."""
        ...

    async def fetch(self, count: int, timeout_s: float) -> Sequence[Message]:
        """The next messages."""
        ...

    async def put(self, bucket: str, key: str, data: bytes) -> None:
        """Set a value."""
        ...

    async def follow_all(self, bucket: str, heard: Callable[[str, float, bytes], None]) -> None:
        """Hear of the newest value of every key, and of each new one: key, age (s), value."""
        ...


class Hub:
    """One hub on one connection to the bus."""

    def __init__(
        self,
        bus: Carrier,
        database: HubDatabase,
        *,
        stream_bytes: int,
        keep_months: int | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        utc: Callable[[], float] = time.time,
    ) -> None:
        self._bus, self._database = bus, database
        self._stream_bytes, self._keep_months = stream_bytes, keep_months
        self._monotonic, self._utc = monotonic, utc
        self._one_at_a_time = asyncio.Lock()  # of the database's connection
        self._overviews: dict[str, tuple[float, SiteOverview]] = {}
        self._skewed: set[str] = set()
        self.counts: Counter[str] = Counter()  # of messages, by what became of them

    async def run(self) -> None:
        """Until the bus fails. Raises BusFailed, DatabaseFailed, NewerDatabase."""
        await self._ask(self._database.open)
        await self._bus.prepare(self._stream_bytes)
        await self._tell_all()
        await self._bus.follow_all(NOW, self._hear)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._store())
            tasks.create_task(self._store_now())
            tasks.create_task(self._look_after())

    async def _store(self) -> None:
        while True:
            messages = await self._bus.fetch(BATCH, NOW_S)
            if messages:
                await self.take(messages)

    async def take(self, messages: Sequence[Message]) -> None:
        """Store messages, tell the sites, acknowledge; or have them delivered again. Raises BusFailed."""
        checked = await asyncio.to_thread(lambda: [_checked(message) for message in messages])
        sound_ones = [(m, c) for m, c in zip(messages, checked, strict=True) if c is not None]
        for message, content in zip(messages, checked, strict=True):
            if content is None:  # no subject of a site's: the server's permissions let none through
                await message.done()
        try:
            applied = await self._apply([content for _, content in sound_ones])
        except DatabaseFailed as error:
            log.warning("hub: %s; %d messages wait in the bus", error, len(sound_ones))
            for message, _ in sound_ones:
                await message.later(LEAST_PAUSE_S)
            await asyncio.sleep(LEAST_PAUSE_S)
            return
        for (site, incarnation), stored in sorted(applied.stored.items()):
            await self._bus.put(STORED, f"{site}.{incarnation}", bus_messages.packed(stored))
        for (message, content), outcome in zip(sound_ones, applied.outcomes, strict=True):
            self.counts[outcome.value] += 1
            if outcome is Outcome.EARLY and message.deliveries < EARLY_TIMES:
                await message.later(EARLY_S)
                continue
            await message.done()
            if outcome is Outcome.REFUSED:
                log.warning("hub: refused of site %s: %s", content.site, _why(content, applied))

    async def _apply(self, contents: list[Arrived | Refusal]) -> Applied:
        """Raises DatabaseFailed. What the database takes no such values of is refused alone."""
        try:
            return await self._ask(lambda: self._database.apply(contents))
        except DatabaseFailed as error:
            if not error.of_data:
                raise
            if len(contents) == 1 and isinstance(contents[0], Arrived):
                return await self._apply([Refusal(contents[0].site, "answer", str(error))])
        outcomes: list[Outcome] = []
        stored: dict[tuple[str, str], Stored] = {}
        for content in contents:
            one = await self._apply([content])
            outcomes += one.outcomes
            stored |= one.stored
        return Applied(tuple(outcomes), stored)

    # ── now ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _hear(self, site: str, age_s: float, data: bytes) -> None:
        try:
            found = sound(bus_messages.overview(site, data))
        except (NotAMessage, msgspec.ValidationError) as error:
            log.warning("hub: what site %s says of itself: %s", one_line(site), one_line(str(error)))
            return
        if bus_messages.is_uuid(site):
            self._overviews[site] = self._utc() - age_s, found

    async def _store_now(self) -> None:
        """Write the overviews that have come; a site's clock that is away is noted when that begins."""
        while True:
            await asyncio.sleep(NOW_S)
            fresh, self._overviews = self._overviews, {}
            try:
                await self._put_now(fresh)
                for site, (at_s, found) in fresh.items():
                    await self._look_at_clock(site, at_s, found)
            except DatabaseFailed as error:
                log.warning("hub: %s; figures of now are not kept", error)

    async def _put_now(self, fresh: dict[str, tuple[float, SiteOverview]]) -> None:
        """Raises DatabaseFailed. What the database takes no such values of is left out alone."""
        try:
            if fresh:
                await self._ask(partial(self._database.put_now, fresh))
        except DatabaseFailed as error:
            if not error.of_data:
                raise
            if len(fresh) == 1:
                log.warning("hub: figures of now of site %s: %s", *fresh, error)
                return
            for site, found in fresh.items():
                await self._put_now({site: found})

    async def _look_at_clock(self, site: str, at_s: float, found: SiteOverview) -> None:
        """Raises DatabaseFailed."""
        ahead_s = 0.0 if found.simulated else found.utc_s - at_s
        if abs(ahead_s) <= SKEW_S:
            self._skewed.discard(site)
        elif site not in self._skewed:
            self._skewed.add(site)
            text = f"its clock is {abs(ahead_s):.0f} s {'ahead' if ahead_s > 0 else 'behind'}; times are by that clock"
            await self._ask(lambda: self._database.note(site, "clock", text))

    # ── upkeep ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _look_after(self) -> None:
        """Make anew what the bus has lost; delete what is older than it is to be kept."""
        forgot_s = float("-inf")
        while True:
            await asyncio.sleep(LOOK_S)
            if await self._bus.prepare(self._stream_bytes):
                log.warning("hub: the bus had lost its streams; they are made anew, and sites send again")
                await self._tell_all()
            if self._keep_months is not None and self._monotonic() - forgot_s >= FORGET_S:
                forgot_s = self._monotonic()
                try:
                    await self._ask(partial(self._database.forget_before, self._keep_months))
                except DatabaseFailed as error:
                    log.warning("hub: %s; nothing old was deleted", error)

    async def _tell_all(self) -> None:
        """Tell every site how far it is stored: after a restore of the database that is less than it was told.

        Raises BusFailed, DatabaseFailed.
        """
        sources = await self._ask(self._database.sources)
        for (site, incarnation), stored in sources.items():
            await self._bus.put(STORED, f"{site}.{incarnation}", bus_messages.packed(stored))

    async def _ask(self, question: Callable[[], Answer]) -> Answer:
        """Ask the database, in a thread. Raises DatabaseFailed."""
        async with self._one_at_a_time:
            return await asyncio.to_thread(question)


def _checked(message: Message) -> Arrived | Refusal | None:
    """A message that is sound, or why it is not; None: of no site."""
    try:
        site = bus_messages.site_of(message.subject)
    except NotAMessage as error:
        log.warning("hub: %s", one_line(str(error)))
        return None
    try:
        return arrived(site, message.data)
    except Stopped as stop:
        return Refusal(site, stop.kind, str(stop))


def _why(content: Arrived | Refusal, applied: Applied) -> str:
    if isinstance(content, Refusal):
        return content.text
    stored = applied.stored.get((content.site, content.sent.incarnation))
    return "" if stored is None else stored.refused


async def run_for_ever(open_bus: Callable[[], Awaitable[Bus]], hub_on: Callable[[Bus], Hub]) -> None:
    """Run a hub; what breaks is opened anew after a pause that doubles. Raises NewerDatabase."""
    pauses = BackOff(MOST_PAUSE_S, least_s=LEAST_PAUSE_S)
    while True:
        begun_s = time.monotonic()
        try:
            bus = await open_bus()
            try:
                await hub_on(bus).run()
            finally:
                await bus.close()
        except* (BusFailed, DatabaseFailed) as group:
            if time.monotonic() - begun_s > MOST_PAUSE_S:
                pauses.answered()
            pauses.failed(one_line(str(group.exceptions[0])), time.monotonic())
        pause_s = pauses.wait_s(time.monotonic())
        log.warning("hub: %s; again in %.0f s", pauses.why, pause_s)
        await asyncio.sleep(pause_s)
