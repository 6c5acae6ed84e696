"""Reads the queues of schedulers outside the tick: one call of each at a time, later and later while it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from dispatch.model.clock import Clock
from dispatch.wording.formatting import span
from drivers.back_off import BackOff
from drivers.http.turns import Turns
from drivers.schedulers.errors import QueueNotRead
from drivers.schedulers.job_list import QueueRead
from drivers.schedulers.reader import ReadsQueue
from gateway.event_sink import EventSink
from gateway.queues_in_force import QueuesInForce
from gateway.task_supervisor import Work

LONGEST_PAUSE_S = 300.0
MOST_APART_S = 60.0  # that the clocks of scheduler and site may differ
OLD_PERIODS = 4  # an answer that somebody else wrote may be so many periods old


class QueuePolling:
    """Keeps the queues in force up to date, and says when one is lost and when it is back."""

    def __init__(
        self,
        readers: Sequence[ReadsQueue],
        queues: QueuesInForce,
        clock: Clock,
        events: EventSink,
        *,
        tick_s: float,
        compare_clocks: Callable[[], bool] = lambda: True,
    ) -> None:
        """`tick_s`: period of the tick, real seconds; nothing is done here shortly before one.

        `compare_clocks`: whether the site's time is that of the world now: it is known, and not simulated.
        """
        self._readers, self._queues, self._clock, self._events = readers, queues, clock, events
        self._turns, self._tick_s, self._compare_clocks = Turns(), tick_s, compare_clocks
        self._lost_since_s: dict[str, float] = {}

    @property
    def background(self) -> list[Work]:
        """What is to run, by name."""
        return [(f"queue of {reader.config.id}", partial(self._poll, reader)) for reader in self._readers]

    async def turn(self) -> None:
        """Wait until half a millisecond of work holds up no tick."""
        await self._turns.turn()

    def after_tick(self, _ticks: int) -> None:
        """A tick has ended: what can wait is done until shortly before the next one."""
        if self._readers:
            self._turns.tick_due(asyncio.get_running_loop().time() + self._tick_s)

    async def _poll(self, reader: ReadsQueue) -> None:
        loop, period_s = asyncio.get_running_loop(), reader.config.period_s
        pause = BackOff(max(LONGEST_PAUSE_S, period_s), least_s=period_s)
        while True:
            began_s = loop.time()
            if await self.read(reader):
                pause.answered()
                wait_s = began_s + period_s - loop.time()
            else:
                pause.failed("", loop.time())
                wait_s = pause.wait_s(loop.time())
            await asyncio.sleep(max(1.0, wait_s))

    async def read(self, reader: ReadsQueue) -> bool:
        """Read a queue once; whether it could be."""
        id, asked_utc_s, asked_s = reader.config.id, self._clock.utc_s(), asyncio.get_running_loop().time()
        try:
            read = await reader.read(self._turns.turn)
            age_s = asyncio.get_running_loop().time() - asked_s
            if read.asked_utc_s is not None and self._compare_clocks():
                age_s += asked_utc_s - read.asked_utc_s
                asked_utc_s = read.asked_utc_s
            self._check(reader, read, age_s)
            await self._turns.turn()
        except QueueNotRead as error:
            self._lost(id, str(error))
            return False
        self._queues.take(id, read, asked_utc_s, max(0.0, age_s))
        self._back(id, read)
        return True

    def _check(self, reader: ReadsQueue, read: QueueRead, age_s: float) -> None:
        """Raises QueueNotRead where the times in an answer cannot be."""
        if not self._compare_clocks():
            return
        told_utc_s = max(read.clock_utc_s or 0.0, read.asked_utc_s or 0.0)
        ahead_s = told_utc_s - self._clock.utc_s()
        if ahead_s > MOST_APART_S:
            text = f"its clock is {span(ahead_s)} ahead of the site's: times of its jobs cannot be used"
            raise QueueNotRead(f"{text}; have both machines' clocks set by a time server")
        oldest_s = OLD_PERIODS * reader.config.period_s + reader.config.deadline_s
        if age_s > oldest_s:
            text = f"the answer is {span(age_s)} old, expected at most {span(oldest_s)}"
            raise QueueNotRead(f"{text}: does what writes it still run, and is its clock right?")

    def _lost(self, id: str, why: str) -> None:
        if id not in self._lost_since_s:
            self._lost_since_s[id] = asyncio.get_running_loop().time()
            self._events.event("gateway", "warning", f"queue of {id}", f"not read, the jobs before stay: {why}")
        self._queues.refuse(id, why)

    def _back(self, id: str, read: QueueRead) -> None:
        since_s = self._lost_since_s.pop(id, None)
        if since_s is not None:
            gone = span(asyncio.get_running_loop().time() - since_s)
            jobs = len(read.jobs) + read.more_waiting
            text = f"read again after {gone}: {jobs} {'job' if jobs == 1 else 'jobs'}"
            self._events.event("gateway", "info", f"queue of {id}", text)
