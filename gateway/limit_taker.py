"""Does in the process that reads nodes what the gateway asks of power limits in BMCs, each in a task of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from drivers.modbus.errors import DeviceError
from drivers.redfish.node_bmc import NodeBmc
from gateway.node_frames import Batch, LimitAnswer, LimitAsked, sendable

MOST_WORDS = 400  # of an error: much of it may be what a strange server has sent


class LimitTaker:
    """What was asked and is under way."""

    def __init__(self, bmc: Callable[[str], NodeBmc | None], send: Callable[[Batch], Awaitable[None]]) -> None:
        """`bmc`: of a node. `send` an answer to the gateway."""
        self._bmc, self._send = bmc, send
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, asked: LimitAsked) -> None:
        """Begin it."""
        task = asyncio.get_running_loop().create_task(self._do(asked), name=f"power limit of {asked.node}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _do(self, asked: LimitAsked) -> None:
        bmc = self._bmc(asked.node)
        if bmc is None:
            answer = LimitAnswer(asked.number, what="it has no BMC that is read", advice="give bmc in its [[node]]")
        else:
            answer = await _answer(bmc, asked)
        await self._send(Batch(answers=(answer,)))

    async def close(self) -> None:
        """Give up what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _answer(bmc: NodeBmc, asked: LimitAsked) -> LimitAnswer:
    try:
        found = await (bmc.limit_set(asked.w, asked.mode) if asked.set else bmc.limit_looked_at())
    except DeviceError as error:
        words = f"{error.where}: {error.what}"
        return LimitAnswer(asked.number, what=sendable(words, MOST_WORDS), advice=sendable(error.advice, MOST_WORDS))
    return LimitAnswer(asked.number, found)
