"""Has nodes over the network read by a process of its own, which is started again when it ends or hangs.

What it sends is taken in pieces, none shortly before or in a tick.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec

from drivers.back_off import BackOff
from drivers.connect_errors import system_reason
from drivers.http.turns import Turns
from drivers.node_config import NodeDevice
from drivers.nodes.observed import ObservedConfig
from drivers.redfish.link import BmcSession
from gateway.event_sink import EventSink
from gateway.limit_orders import BmcLimitOrders
from gateway.node_frames import MOST_BYTES, BadFrame, Batch, ListAnswer, NodesChanged, batch_in, frame, received
from gateway.node_lists import Change
from gateway.node_process import NodeReader, start_process
from gateway.shown_nodes import ShownNodes

START_S = 60.0  # until its first words, on a machine that is busy
SILENT_S = 20.0  # it says something every second; it has less of the machine's time than the gateway
FIRST_PAUSE_S, MOST_PAUSE_S = 1.0, 60.0
ADDED_A_FRAME = 32  # nodes, half a millisecond
WELL_S = 60.0  # after so long the next failure is the first again

Start = Callable[[], Awaitable[NodeReader]]


class Roster(Protocol):
    """Which nodes there are."""

    @property
    def nodes(self) -> tuple[NodeDevice, ...]: ...

    @property
    def leaving(self) -> tuple[str, ...]: ...

    def take(self, answer: ListAnswer) -> Change:
        """A list has answered. What that changes, which is in force already."""
        ...

    def expire(self) -> Change:
        """Look which nodes are to be removed by now."""
        ...


class NodeReading:
    """The process, and what becomes of it."""

    def __init__(
        self,
        config: ObservedConfig,
        shown: ShownNodes,
        turns: Turns,
        events: EventSink,
        start: Start = start_process,
        limits: BmcLimitOrders | None = None,
        roster: Roster | None = None,
    ) -> None:
        """`limits`: what is asked of power limits in BMCs; None: nothing is.

        `roster`: of the nodes whose lists change; None: it is always those of `config`.
        """
        self._limits, self._roster = limits or BmcLimitOrders(), roster
        self._config, self._shown, self._turns, self._events, self._start = config, shown, turns, events, start
        self._back_off = BackOff(MOST_PAUSE_S, least_s=FIRST_PAUSE_S)
        self._failed = False  # and has not read since
        self._leaving: tuple[str, ...] = ()
        self._sessions: dict[str, BmcSession] = {}  # of each BMC, by its address

    async def run(self) -> None:
        """Never ends; cancelled, it sees the process end."""
        loop = asyncio.get_running_loop()
        while True:
            began_s = loop.time()
            why = await self._read()
            if loop.time() - began_s > WELL_S:
                self._back_off.answered()
            self._back_off.failed(why, loop.time())
            wait_s = self._back_off.wait_s(loop.time())
            text = f"the process that reads compute nodes {why}; it is started again after {wait_s:.0f} s"
            self._failed = True
            self._events.event("gateway", "warning", "node reading", text)
            await self._shown.not_read(text)
            await asyncio.sleep(self._back_off.wait_s(loop.time()))

    async def _read(self) -> str:
        """Until it ends or has to be ended: what was wrong."""
        try:
            process = await self._start()
        except OSError as error:
            return f"cannot be started: {system_reason(error)}"
        self._limits.connected(lambda asked: process.writer.write(frame(asked)))
        try:
            why = await self._listen(process)
        finally:
            self._limits.lost("the process that reads compute nodes has ended")
            ended = await process.stop()
        return why or ended

    async def _listen(self, process: NodeReader) -> str:
        """Take what it sends. What it did wrong; empty: it has hung up."""
        process.writer.write(frame(self._config_now()))
        self._leaving = ()  # what this process knows of it
        limit_s = START_S
        while True:
            try:
                async with asyncio.timeout(limit_s):
                    body = await received(process.reader, MOST_BYTES)
                if body is None:
                    return ""
                self._shown.heard()
                await self._turns.turn()
                batch = batch_in(body)
                for read in batch.read:
                    self._shown.take(read)
                for answer in batch.answers:
                    self._limits.take(answer)
                self._keep_sessions(batch.sessions)
                await self._follow_lists(batch, process)
            except TimeoutError:
                return f"said nothing for {limit_s:g} s and was ended"
            except BadFrame as error:
                return f"sent {error}, and was ended"
            limit_s = SILENT_S
            if self._failed:
                self._failed = False
                self._events.event("gateway", "info", "node reading", "compute nodes are read again")

    def _config_now(self) -> ObservedConfig:
        nodes = self._config.nodes if self._roster is None else self._roster.nodes
        return msgspec.structs.replace(self._config, nodes=nodes, sessions=tuple(self._sessions.values()))

    def _keep_sessions(self, changed: Sequence[BmcSession]) -> None:
        """For the next process, should this one not end them: BMCs have few."""
        for session in changed:
            self._sessions[session.url] = session
            if not session.token:
                del self._sessions[session.url]

    async def _follow_lists(self, batch: Batch, process: NodeReader) -> None:
        """Take what lists have answered, and have the process read the nodes that there are now."""
        if self._roster is None:
            return
        for change in (*(self._roster.take(answer) for answer in batch.lists), self._roster.expire()):
            leaving = self._roster.leaving
            if not change.added and not change.removed and leaving == self._leaving:
                continue
            self._leaving = leaving
            process.writer.write(frame(NodesChanged((), change.removed, leaving)))
            for at in range(0, len(change.added), ADDED_A_FRAME):
                await self._turns.turn()
                process.writer.write(frame(NodesChanged(change.added[at : at + ADDED_A_FRAME])))
