"""Keeps each node that is read over the network as the next snapshot is to show it.

There may be a thousand of them. A tick only takes what lies ready: a node gets older here, every five seconds, a few at
a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence

from dispatch.model.equipment import DeviceHealth, Node
from drivers.http.turns import Turns
from drivers.notices import Notice
from gateway.last_answers import LastAnswers
from gateway.node_frames import NodeRead

OLDER_S = 5.0  # ages are right to this; the sources measure every 10 to 60 s
ROUND_S, SLICES = 1.0, 10
AT_ONCE = 8  # nodes in one piece of work


class ShownNodes:
    """What is known of such nodes."""

    def __init__(self, answers: Sequence[LastAnswers], turns: Turns, on_notice: Callable[[str, Notice], None]) -> None:
        self._answers = {one.id: one for one in answers}
        self._turns, self._on_notice = turns, on_notice
        self._nodes: dict[str, Node] = {}
        self._health: dict[str, DeviceHealth] = {}
        self._shown_s: dict[str, float] = {}  # when each was last shown anew, on the event loop's clock
        self._taken: tuple[DeviceHealth, ...] = ()
        self._leaving: frozenset[str] = frozenset()
        self._left_reads = 0  # of nodes that were removed

    @property
    def nodes(self) -> Mapping[str, Node]:
        """Each that has answered, by id. The same objects until something has changed."""
        return self._nodes

    @property
    def health(self) -> tuple[DeviceHealth, ...]:
        """How the conversation with each goes, once it was asked: until then nobody is lost."""
        return self._taken

    @property
    def reads(self) -> int:
        """Good answers so far."""
        return self._left_reads + sum(one.reads for one in self._answers.values())

    def take(self, read: NodeRead) -> None:
        """What came of the reads of one node. One that is not known is left out."""
        answers = self._answers.get(read.id)
        if answers is None:
            return
        answers.describe(read.stale_after_s, read.identity)
        ago_s = max(asyncio.get_running_loop().time() - read.at_s, 0.0)
        if read.node is not None:
            answers.answered((read.node,), ago_s)
        if read.error and read.id not in self._leaving:
            answers.failed(read.error)
        self._show(answers, as_read=read.node is not None and ago_s < OLDER_S)
        for notice in read.notices:
            self._on_notice(read.id, notice)

    def add(self, answers: LastAnswers) -> None:
        """One more node, of which nothing is known yet."""
        self._answers[answers.id] = answers

    def leave(self, ids: Collection[str]) -> None:
        """These are no longer listed: what was read of them counts until it is stale, and none of them is lost."""
        self._leaving = frozenset(ids)

    def spent(self) -> list[str]:
        """Those that are no longer listed, and of which nothing counts any more."""
        listed = [self._answers[id] for id in self._leaving if id in self._answers]
        return [one.id for one in listed if (age_s := one.age_io_s) is None or age_s > one.stale_after_s]

    def remove(self, ids: Collection[str]) -> None:
        """These are no longer nodes of the site."""
        for id in ids:
            if (gone := self._answers.pop(id, None)) is not None:
                self._left_reads += gone.reads
            self._nodes.pop(id, None)
            self._health.pop(id, None)
            self._shown_s.pop(id, None)
        self._taken = tuple(health for health in self._taken if health.id not in ids)

    async def not_read(self, why: str) -> None:
        """None of them can be read now."""
        for group in self._in_groups(list(self._answers.values())):
            await self._turns.turn()
            for answers in group:
                if answers.id not in self._leaving:
                    answers.failed(why)
                    self._show(answers)

    async def run(self) -> None:
        """Let the nodes grow older. Never ends."""
        while True:
            every = list(self._answers.values())
            for n in range(SLICES):
                await self._grow_older(every[n::SLICES])
                if n == 0:
                    self._taken = tuple(self._health.values())
                await asyncio.sleep(ROUND_S / SLICES)

    async def _grow_older(self, some: Sequence[LastAnswers]) -> None:
        """Show those anew that were not for a while; what was never shown stays so."""
        before_s = asyncio.get_running_loop().time() - OLDER_S
        spent = set(self.spent())
        old = [one for one in some if self._shown_s.get(one.id, float("inf")) <= before_s and one.id not in spent]
        for group in self._in_groups(old):
            await self._turns.turn()
            for answers in group:
                self._show(answers)

    @staticmethod
    def _in_groups(answers: Sequence[LastAnswers]) -> list[Sequence[LastAnswers]]:
        return [answers[at : at + AT_ONCE] for at in range(0, len(answers), AT_ONCE)]

    def _show(self, answers: LastAnswers, as_read: bool = False) -> None:
        """`as_read`: just now, with the ages that it had then."""
        if self._answers.get(answers.id) is not answers:
            return  # it was removed meanwhile
        self._shown_s[answers.id] = asyncio.get_running_loop().time()
        for part in answers.latest if as_read else answers.parts():
            if isinstance(part, Node):
                self._nodes[part.id] = part
        self._health[answers.id] = answers.health()
