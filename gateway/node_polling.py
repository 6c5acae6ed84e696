"""Reads compute nodes over the network, each in its period, and sends what has been read since.

It runs in a process of its own (`node_reader.py`). Where the machine is too busy nodes are read less often.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Protocol

from dispatch.model.equipment import Node
from drivers.clock import SystemClock
from drivers.devices import Driver
from drivers.http.turns import Turns
from drivers.modbus.errors import DeviceError
from drivers.notices import Notice
from drivers.redfish.node_bmc import NodeBmc
from gateway.node_frames import Batch, NodeRead, sendable
from gateway.node_gpus import NONE, SentGpus
from gateway.poller import Poller

SLICE_S = 0.05  # the nodes are gone through in so many steps of a round
ROUND_S = 1.0  # a read of each node is begun once in this time at most
NODES_A_FRAME = 16  # the gateway takes one in half a millisecond
MOST_ERROR = 500  # characters: much of an error may be what a strange server has sent
CLOSE_S = 2.0  # to end the session of a BMC takes a handshake and a request; all others only hang up


class ObservedDriver(Driver, Protocol):
    """A driver of such a node."""

    @property
    def period_s(self) -> float: ...

    @property
    def stale_after_s(self) -> float: ...

    @property
    def turns(self) -> Turns: ...


class NodePolling:
    """The pollers of such nodes."""

    def __init__(self, drivers: Sequence[ObservedDriver]) -> None:
        self._clock = SystemClock()
        self._pollers: list[Poller] = []
        self._every_turns: dict[int, Turns] = {}
        self._sent: dict[str, tuple[int, int]] = {}  # of each node: reads and failures that were sent
        self._notices: dict[str, list[Notice]] = {}
        self._gpus = SentGpus()
        self._begun: dict[str, Poller] = {}  # whose read is under way, or has ended since it was last looked at
        self._closing: set[asyncio.Task[None]] = set()
        self.add(drivers)

    def add(self, drivers: Sequence[ObservedDriver]) -> None:
        """Read these, too."""
        self._pollers += [
            Poller(
                driver,
                self._clock,
                driver.stale_after_s,
                DeviceError,
                lambda poller, online: None,  # the gateway judges that
                self._noted,
                period_s=driver.period_s,
                first_s=max(driver.period_s * n / len(drivers), 0.001),  # spread over it
            )
            for n, driver in enumerate(drivers)
        ]
        self._every_turns |= {id(driver.turns): driver.turns for driver in drivers}

    def remove(self, ids: Collection[str]) -> None:
        """Read these no longer. Their connections are closed in the background."""
        gone = [poller for poller in self._pollers if poller.id in ids]
        self._pollers = [poller for poller in self._pollers if poller.id not in ids]
        for poller in gone:
            self._sent.pop(poller.id, None)
            self._notices.pop(poller.id, None)
            self._gpus.forget(poller.id)
            self._begun.pop(poller.id, None)
            closing = asyncio.create_task(_close(poller))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    def _noted(self, node_id: str, notice: Notice) -> None:
        self._notices.setdefault(node_id, []).append(notice)

    async def run(self, send: Callable[[Batch], Awaitable[None]]) -> None:
        """Begin reads that are due, and send their results. At least one batch a second. Never ends."""
        slices = round(ROUND_S / SLICE_S)
        while True:
            groups = [self._pollers[n::slices] for n in range(slices)]
            for n in range(slices):
                if not any(turns.crowded for turns in self._every_turns.values()):
                    for poller in groups[n]:
                        poller.start_if_due()
                        self._begun[poller.id] = poller
                await self._send_new(send, alive=n == 0)
                await asyncio.sleep(SLICE_S)

    async def _send_new(self, send: Callable[[Batch], Awaitable[None]], alive: bool) -> None:
        """The results of the reads that were begun, as soon as they are there."""
        new: list[NodeRead] = []
        for poller in list(self._begun.values()):
            if poller.in_flight is None:
                del self._begun[poller.id]
            if (read := self._new(poller)) is not None:
                new.append(read)
        for at in range(0, len(new), NODES_A_FRAME):
            await send(Batch(tuple(new[at : at + NODES_A_FRAME])))
        if alive and not new:
            await send(Batch())

    def _new(self, poller: Poller) -> NodeRead | None:
        """The result of its reads since the last one was sent; None: there is none."""
        counts = poller.reads, poller.failures
        reads, failures = self._sent.get(poller.id, (0, 0))
        if counts == (reads, failures):
            return None
        self._sent[poller.id] = counts
        node = next((p for p in poller.latest if isinstance(p, Node)), None) if poller.reads > reads else None
        node, gpus = (None, NONE) if node is None else self._gpus.shortened(node)
        return NodeRead(
            poller.id,
            poller.stale_after_s,
            node,
            asyncio.get_running_loop().time() - (poller.age_io_s or 0.0),
            sendable(poller.error, MOST_ERROR) if poller.failures > failures else "",
            tuple(self._notices.pop(poller.id, ())),
            getattr(poller.driver, "identity", None),
            gpus,
        )

    def bmc(self, node_id: str) -> NodeBmc | None:
        """The BMC of one of them."""
        found = (getattr(poller.driver, "bmc", None) for poller in self._pollers if poller.id == node_id)
        return next(found, None)

    async def close(self) -> None:
        """Give up the reads under way, and let go of every connection."""
        await asyncio.gather(*(_close(poller) for poller in self._pollers), *self._closing)


async def _close(poller: Poller) -> None:
    """Give up its read under way, and let go of its connections."""
    if (read := poller.in_flight) is not None:
        read.cancel()  # it may wait for a node that hangs
    await poller.close(CLOSE_S)
