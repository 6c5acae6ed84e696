"""Asks the process that reads nodes to look at power limits in BMCs and to set them.

That process has the one session with each BMC: what is ordered goes by it too, so that a BMC is never asked two things
at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from drivers.nodes.errors import CannotObey
from drivers.redfish.limits import PowerLimit
from gateway.node_frames import LimitAnswer, LimitAsked

ANSWER_S = 240.0  # a BMC may take its deadline for each of some six requests, twice where it has to be logged in to
START_S = 20.0  # a process that starts, or is started again, is waited for
STARTS = "the process that reads compute nodes has not started yet"


class BmcLimitOrders:
    """What was asked and is not answered yet."""

    def __init__(self) -> None:
        self._send: Callable[[LimitAsked], None] | None = None
        self._why, self._number, self._up = STARTS, 0, asyncio.Event()
        self._asked: dict[int, asyncio.Future[LimitAnswer]] = {}

    def connected(self, send: Callable[[LimitAsked], None]) -> None:
        """The process runs: what is asked is sent to it by this."""
        self._send = send
        self._up.set()

    def lost(self, why: str) -> None:
        """It does not run any more: nobody knows what came of what was asked."""
        self._send, self._why = None, why
        self._up.clear()
        for number, future in self._asked.items():
            if not future.done():
                future.set_result(LimitAnswer(number, what=why, advice="nothing to do: it is asked again"))

    def take(self, answer: LimitAnswer) -> None:
        """An answer has come; one that nobody waits for any more is left."""
        future = self._asked.get(answer.number)
        if future is not None and not future.done():
            future.set_result(answer)

    async def look(self, node: str) -> PowerLimit:
        """The limit as the BMC has it now. Raises CannotObey."""
        return await self._answered(LimitAsked(self._next(), node))

    async def set(self, node: str, w: float | None, mode: str) -> PowerLimit:
        """The limit once this one was set. Raises CannotObey."""
        return await self._answered(LimitAsked(self._next(), node, True, w, mode))

    def _next(self) -> int:
        self._number += 1
        return self._number

    async def _answered(self, asked: LimitAsked) -> PowerLimit:
        if self._send is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(START_S):
                    await self._up.wait()
        if self._send is None:
            raise CannotObey(asked.node, self._why, "see `node reading` in the event log")
        future: asyncio.Future[LimitAnswer] = asyncio.get_running_loop().create_future()
        self._asked[asked.number] = future
        try:
            self._send(asked)
            async with asyncio.timeout(ANSWER_S):
                answer = await future
        except TimeoutError:
            raise CannotObey(asked.node, f"its BMC has not answered for {ANSWER_S:g} s") from None
        finally:
            del self._asked[asked.number]
        if answer.limit is None:
            raise CannotObey(asked.node, answer.what, answer.advice)
        return answer.limit
