"""Follows the state of every site by a fleet's bus: the newest overview that each has put there. Asks no site."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

import msgspec

from drivers.back_off import BackOff
from fleet import bus_messages
from fleet.bus import BusFailed
from fleet.bus_messages import NOW, NotAMessage
from fleet.site_text import one_line
from fleet.sites import SiteAddress
from fleet.watch import SiteState, clock_remark, sound

LEAST_PAUSE_S, MOST_PAUSE_S = 1.0, 30.0
LOOK_S = 1.0  # between two looks whether the bus is there: what it does not bring, no site is to blame for
INBOX = "_INBOX_screen"  # what the subjects of answers begin with


class Carrier(Protocol):
    """What is used of the bus. Each raises BusFailed."""

    async def follow_all(self, bucket: str, heard: Callable[[str, float, bytes], None]) -> None:
        """Hear of the newest value of every key, until all are here, and of each new one: key, age (s), value."""
        ...

    def check(self) -> None:
        """Raises BusFailed while the connection is broken."""
        ...

    async def close(self) -> None:
        """Hang up."""
        ...


class HubWatch:
    """The states of all sites that the bus has figures of. Ages are by the clock of the bus."""

    def __init__(
        self,
        open_bus: Callable[[], Awaitable[Carrier]],
        addresses: Mapping[str, SiteAddress],
        *,
        monotonic: Callable[[], float] = time.monotonic,
        utc: Callable[[], float] = time.time,
    ) -> None:
        """`addresses`: by the name that a site calls itself, how to reach it where that is known."""
        self.monotonic = monotonic
        self.trouble = ""  # why nothing is heard; empty: the bus answers
        self._open_bus, self._addresses, self._utc = open_bus, addresses, utc
        self._states: dict[str, SiteState] = {}
        self._names: dict[str, str] = {}  # by UUID, what a site calls itself
        self._task: asyncio.Task[None] | None = None
        self._all_here = asyncio.Event()

    @property
    def states(self) -> tuple[SiteState, ...]:
        """Of every site that was heard of."""
        return tuple(self._states.values())

    def start(self) -> None:
        """Begin to listen."""
        self._task = asyncio.create_task(self._listen())

    async def stop(self) -> None:
        """Hang up."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def all_looked(self, timeout_s: float) -> None:
        """Until the newest figures of every site are here, the bus has failed once, or the time is over."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._all_here.wait()
        except TimeoutError:
            return

    async def _listen(self) -> None:
        pauses = BackOff(MOST_PAUSE_S, least_s=LEAST_PAUSE_S)
        while True:
            try:
                bus = await self._open_bus()
                try:
                    await bus.follow_all(NOW, self._hear)
                    self.trouble = ""
                    self._all_here.set()
                    pauses.answered()
                    while True:
                        await asyncio.sleep(LOOK_S)
                        bus.check()
                finally:
                    await bus.close()
            except BusFailed as error:
                self.trouble = one_line(str(error))
                self._all_here.set()
                pauses.failed(self.trouble, self.monotonic())
                await asyncio.sleep(pauses.wait_s(self.monotonic()))

    def _hear(self, site: str, age_s: float, data: bytes) -> None:
        before, received_s = self._states.get(site), self.monotonic() - age_s
        if before is not None and before.received_s is not None and before.received_s > received_s:
            return  # a newer one came meanwhile
        try:
            found = sound(bus_messages.overview(site, data))
        except (NotAMessage, msgspec.ValidationError) as error:
            if before is not None or bus_messages.is_uuid(site):
                trouble = one_line(f"what it says cannot be read: {error}")
                known = before or SiteState(SiteAddress(site), tries=1)
                self._states[site] = msgspec.structs.replace(known, trouble=trouble)
            return
        ahead_s = None if found.simulated else found.utc_s - (self._utc() - age_s)
        name = self._label(found.site, site)
        self._states[site] = SiteState(
            msgspec.structs.replace(self._addresses.get(found.site, SiteAddress(name)), name=name),
            overview=found,
            received_s=received_s,
            linked=True,
            trouble=clock_remark(ahead_s),
            ahead_s=ahead_s,
        )

    def _label(self, name: str, site: str) -> str:
        """The name of a site; with the begin of its UUID while another one has that name, so that none poses as it."""
        self._names[site] = name
        alone = list(self._names.values()).count(name) == 1
        return name if alone else f"{name} ({site[:8]})"
