"""Reads compute nodes over the network outside the tick, and keeps each as the next snapshot is to show it.

There may be a thousand of them. A tick only takes what lies ready: a node's readings get older here, every five seconds
and when it was read, a few nodes at a time. Where the machine is too busy nodes are read less often: control is first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from dispatch.model.equipment import DeviceHealth, Node
from drivers.http.turns import Turns
from gateway.poller import Poller

OLDER_S = 5.0  # ages are right to this; the sources measure every 10 to 60 s
SLICE_S = 0.02  # the nodes are gone through in so many steps a second that none takes a millisecond
ROUND_S = 1.0
LATE_S = 0.1  # where the event loop is later than this no read is begun


class NodePolling:
    """The pollers of such nodes, and what they last gave."""

    def __init__(self, pollers: Sequence[Poller], turns: Turns | None = None) -> None:
        """`turns`: those that the nodes' drivers wait for."""
        self._pollers, self._turns = list(pollers), turns or Turns()
        self._nodes: dict[str, Node] = {}
        self._health: dict[str, DeviceHealth] = {}
        self._shown: dict[str, tuple[float, int]] = {}  # when each was last refreshed, after how many reads
        self._taken: tuple[DeviceHealth, ...] = ()

    def tick_due(self, due_s: float) -> None:
        """A tick has ended, the next one is due then. Shortly before it nothing is done here."""
        self._turns.tick_due(due_s)

    @property
    def pollers(self) -> Sequence[Poller]:
        """All of them."""
        return self._pollers

    @property
    def nodes(self) -> Mapping[str, Node]:
        """Each that has answered, by id. The same objects until something has changed."""
        return self._nodes

    @property
    def health(self) -> tuple[DeviceHealth, ...]:
        """How the conversation with each goes, once it was asked: until then nobody is lost."""
        return self._taken

    async def run(self) -> None:
        """Begin reads that are due, spread over their periods, and let readings grow older. Never ends."""
        loop, slices = asyncio.get_running_loop(), round(ROUND_S / SLICE_S)
        due_s = loop.time()
        while self._pollers:
            for n in range(slices):
                late = loop.time() - due_s > LATE_S or self._turns.crowded
                await self._turns.turn()
                for poller in self._pollers[n::slices]:
                    if not late:
                        poller.start_if_due()
                    self._refresh(poller)
                if n == slices - 1:
                    self._taken = tuple(self._health.values())
                due_s = loop.time() + SLICE_S
                await asyncio.sleep(SLICE_S)

    def _refresh(self, poller: Poller) -> None:
        id, now_s, asked = poller.driver.id, asyncio.get_running_loop().time(), poller.reads + poller.failures
        shown_s, then = self._shown.get(id, (float("-inf"), -1))
        if not asked or (asked == then and now_s - shown_s < OLDER_S):
            return
        self._shown[id] = now_s, asked
        self._health[id] = poller.health()
        for part in poller.parts():
            if isinstance(part, Node):
                self._nodes[part.id] = part
