"""Makes the blocking calls of one part in daemon threads, few at a time; a call that hangs is given up, and said.

After that the part is tried again, each time after twice as long; never more than `MOST_HUNG` threads hang at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

from gateway.daemon_thread import in_daemon_thread
from gateway.parts_in_trouble import PartsInTrouble

FIRST_AGAIN_S, LONGEST_AGAIN_S = 5.0, 60.0  # machine seconds between two tries
MOST_HUNG = 4  # threads of one part

Result = TypeVar("Result")


class PartHangs(Exception):
    """The call was not made, or given up. The text says of which part, and when it is tried again."""


class SupervisedCalls:
    """The calls of one part. Used on the event loop only."""

    def __init__(self, part: str, limit_s: float, parts: PartsInTrouble, at_once: int = 1) -> None:
        """`limit_s`: machine seconds that a call may take before it counts as hung. `at_once`: calls side by side."""
        self.part = part
        self._limit_s, self._parts = limit_s, parts
        self._turn = asyncio.Semaphore(at_once)
        self._hung: list[Future[Any]] = []
        self._begun: Future[Any] | None = None  # the newest
        self._again_s, self._wait_s = 0.0, FIRST_AGAIN_S

    async def call(self, work: Callable[..., Result], *arguments: Any, limit_s: float | None = None) -> Result:
        """What `work` returns or raises; PartHangs if it takes too long, or one before it does and no try is due."""
        async with self._turn:
            self._refuse_if_hung()
            future = self._begun = in_daemon_thread(partial(work, *arguments), self.part)
            waiting = asyncio.wrap_future(future)
            done, _ = await asyncio.wait([waiting], timeout=self._limit_s if limit_s is None else limit_s)
            if not done:
                waiting.add_done_callback(_nobody_asks)
                self._gave_up(future)
            self._wait_s, self._again_s = FIRST_AGAIN_S, 0.0
            self._parts.works(self.part)
        result: Result = await waiting
        return result

    async def ended(self, limit_s: float) -> None:
        """Wait for the call under way, at most so long; not for those that hang."""
        if self._begun is not None and self._begun not in self._hung:
            waiting = asyncio.wrap_future(self._begun)
            waiting.add_done_callback(_nobody_asks)
            await asyncio.wait([waiting], timeout=limit_s)

    def _refuse_if_hung(self) -> None:
        """Raises PartHangs while a call before hangs and no try is due."""
        self._hung = [future for future in self._hung if not future.done()]
        if not self._hung:
            return
        left_s = self._again_s - asyncio.get_running_loop().time()
        if len(self._hung) >= MOST_HUNG:
            raise PartHangs(f"{self.part}: {len(self._hung)} calls hang; tried again once one of them has ended")
        if left_s > 0:
            raise PartHangs(f"{self.part}: a call hangs; tried again in {left_s:.0f} s")

    def _gave_up(self, future: Future[Any]) -> None:
        """Raises PartHangs."""
        loop = asyncio.get_running_loop()
        self._hung.append(future)
        self._again_s, wait_s = loop.time() + self._wait_s, self._wait_s
        self._wait_s = min(2 * self._wait_s, LONGEST_AGAIN_S)
        text = f"a call has not ended, {len(self._hung)} of at most {MOST_HUNG} threads hang; again in {wait_s:.0f} s"
        self._parts.hangs(self.part, text)
        raise PartHangs(f"{self.part}: {text}")


def _nobody_asks(done: asyncio.Future[Any]) -> None:
    """Take the error of a call that was given up, so that it is not reported as never retrieved."""
    if not done.cancelled():
        done.exception()
