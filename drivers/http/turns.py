"""Divides work that can wait into pieces: one in each pass of the event loop, and none shortly before or in a tick."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

QUIET_S = 0.03  # before a tick is due: devices are asked 12 ms before it, and what was begun is to be done by then
MOST_WAITING = 256  # 50 nodes of two pages are begun at once where 1000 are read every second
MOST_QUIET_S = 0.5  # a tick that has not ended by then is no longer waited for

Turn = Callable[[], Awaitable[None]]  # is waited for before each piece of work


class Turns:
    """Whose turn it is. Whoever waits goes in the order of coming."""

    def __init__(self) -> None:
        self._lock, self._told = asyncio.Lock(), asyncio.Event()
        self._quiet_from_s = float("inf")  # on the event loop's clock
        self._waiting = 0

    def tick_due(self, due_s: float) -> None:
        """The last tick has ended, the next one is due then: turns are given from now until shortly before."""
        self._quiet_from_s = due_s - QUIET_S
        self._told.set()

    @property
    def crowded(self) -> bool:
        """So many wait, each with a page in memory, that nothing new is to be begun."""
        return self._waiting > MOST_WAITING

    async def turn(self) -> None:
        """Wait for it. What the caller does until it next waits is one piece; keep it under a millisecond or two."""
        self._waiting += 1
        try:
            await self._lock.acquire()
        finally:
            self._waiting -= 1
        try:
            while (quiet_s := self._quiet_s()) > 0:
                self._told.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(quiet_s):
                        await self._told.wait()
        finally:
            asyncio.get_running_loop().call_soon(self._lock.release)

    def _quiet_s(self) -> float:
        """How long it is to be quiet at most; 0: not now."""
        since_s = asyncio.get_running_loop().time() - self._quiet_from_s
        return MOST_QUIET_S - since_s if 0 <= since_s < MOST_QUIET_S else 0.0


async def at_once() -> None:
    """A turn where no tick is to be spared."""
