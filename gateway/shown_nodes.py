"""Keeps each node that is read over the network as the next snapshot is to show it.

There may be a thousand of them. A tick only takes what lies ready: a node gets older here, every five seconds, a few at
a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence

from dispatch.alarms.facts import NodesUnread
from dispatch.model.equipment import DeviceHealth, Node
from drivers.http.turns import Turns
from drivers.notices import Notice
from gateway.last_answers import SILENT, LastAnswers
from gateway.node_frames import NodeRead
from gateway.node_gpus import KeptGpus

OLDER_S = 5.0  # ages are right to this; the sources measure every 10 to 60 s
ROUND_S, SLICES = 1.0, 10
AT_ONCE = 8  # nodes in one piece of work
QUIET_S = 5.0  # the process says something every second: after so long it is the reason why nothing comes of a node
NO_GPUS = "its GPUs, which were read before, have not come from the process that reads nodes; not used"


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
        self._gpus = KeptGpus()
        self._heard_s: float | None = None  # when the process that reads last said something
        self._why = ""  # what last was wrong with it
        self._unread: set[str] = set()  # nodes that are lost since, by that

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

    @property
    def unread(self) -> NodesUnread:
        """Those that are lost because the process that reads them does not, until it sends something of them."""
        if not self._unread:
            return NodesUnread()
        hangs = f"the process that reads compute nodes has said nothing for {self._silent_s:.0f} s"
        why = hangs if self._silent_s > QUIET_S else self._why
        return NodesUnread(frozenset(self._unread), len(self._answers), why)

    def heard(self) -> None:
        """The process that reads them has said something."""
        self._heard_s = asyncio.get_running_loop().time()

    @property
    def _silent_s(self) -> float:
        """Since the process last said something; 0 while it is not there or has not said anything yet."""
        return 0.0 if self._heard_s is None else asyncio.get_running_loop().time() - self._heard_s

    def take(self, read: NodeRead) -> None:
        """What came of the reads of one node. One that is not known is left out."""
        answers = self._answers.get(read.id)
        if answers is None:
            return
        answers.describe(read.stale_after_s, read.identity)
        ago_s = max(asyncio.get_running_loop().time() - read.at_s, 0.0)
        node = None if read.node is None else self._gpus.completed(read.node, read.gpus)
        error = NO_GPUS if node is None and read.node is not None else read.error
        self._unread.discard(read.id)
        if node is not None:
            answers.answered((node,), ago_s)
        if error and read.id not in self._leaving:
            answers.failed(error)
        self._show(answers, as_read=node is not None and ago_s < OLDER_S)
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
            self._gpus.forget(id)
            self._unread.discard(id)
        self._taken = tuple(health for health in self._taken if health.id not in ids)

    async def not_read(self, why: str) -> None:
        """None of them can be read now. What is lost already keeps its own reason."""
        self._why, self._heard_s = why, None
        for group in self._in_groups(list(self._answers.values())):
            await self._turns.turn()
            for answers in group:
                if answers.id not in self._leaving:
                    if answers.online is not False or answers.id in self._unread:
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
        self._health[answers.id] = health = answers.health()
        if not health.online and answers.id not in self._leaving and self._by_the_process(health.error):
            self._unread.add(health.id)

    def _by_the_process(self, error: str) -> bool:
        """Whether a node is lost because nobody reads it, by the error that is shown for it."""
        return self._silent_s > QUIET_S if error == SILENT else bool(error) and error == self._why
