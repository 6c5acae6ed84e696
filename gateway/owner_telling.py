"""Tells owners of jobs, through their scheduler, what `gateway.owner_notes` has found. Only where the site file asks.

Beside the tick, one call at a time, each within a deadline, later and later while they fail. Slurm's comments are read
before each round, so that nobody else's is overwritten, and ours are removed once they no longer hold, also those of an
earlier run. A command is called once per change; what it was called with before a kill -9 is not known here.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence

from dispatch.planning.owner_notes import WAITING
from dispatch.wording.catalogue import words
from dispatch.wording.formatting import one_line
from drivers.back_off import BackOff
from drivers.http.turns import Turn
from drivers.schedulers.command import MOST_BYTES, Command, said
from drivers.schedulers.config import Scheduler
from drivers.schedulers.errors import QueueNotRead
from drivers.schedulers.reader import with_environment
from drivers.schedulers.slurm_comments import (
    AT_ONCE,
    LONGEST,
    CommentsRead,
    TellableJob,
    is_free,
    only_ended,
    site_mark,
    tell,
)
from drivers.schedulers.slurm_text import ENVIRONMENT
from gateway.event_sink import EventSink
from gateway.owner_notes import OwnerNotes
from gateway.queues_in_force import QueuesInForce

LOOK_S = 60.0  # real seconds between two rounds
MOST_TEXTS = 20  # set in a round; the next ones a round later
LONGEST_PAUSE_S = 600.0
SETTLED = 3  # rounds, until it is known what holds of the texts that an earlier run left
UPDATE = "scontrol update"
PIECE = 50  # jobs read at once, half a millisecond


class Trouble:
    """Says once why owners cannot be told, and once that they can be again."""

    def __init__(self, scheduler: str, events: EventSink) -> None:
        self._subject, self._events, self._why = f"owners of jobs of {scheduler}", events, ""

    def found(self, why: str) -> None:
        """`why`: empty where all went well."""
        if why and why != self._why:
            self._events.event("gateway", "warning", self._subject, f"not told: {why}")
        elif self._why and not why:
            self._events.event("gateway", "info", self._subject, "told again")
        self._why = why


class OwnerTelling(ABC):
    """Tells the owners of the jobs of one scheduler, in one round after another."""

    def __init__(self, scheduler: Scheduler, events: EventSink) -> None:
        self._scheduler, self._trouble = scheduler, Trouble(scheduler.id, events)
        self._refused = set[str]()  # jobs whose last call failed: they come last, so that they hold up no other

    @property
    def id(self) -> str:
        """The scheduler's."""
        return self._scheduler.id

    async def run(self) -> None:
        """Tell what is new, until cancelled."""
        loop, pause = asyncio.get_running_loop(), BackOff(LONGEST_PAUSE_S, least_s=LOOK_S)
        while True:
            await asyncio.sleep(max(LOOK_S, pause.wait_s(loop.time())))
            if await self.look():
                pause.answered()
            else:
                pause.failed("", loop.time())

    async def look(self) -> bool:
        """Tell what is new; whether that went well."""
        try:
            await self._round()
        except QueueNotRead as error:
            self._trouble.found(str(error))
            return False
        self._trouble.found("")
        return True

    async def clear(self) -> None:
        """Take away what owners were told; for the end."""
        try:
            await self._clear()
        except QueueNotRead as error:
            self._trouble.found(f"texts may stay: {error}")

    @abstractmethod
    async def _round(self) -> None:
        """Raises QueueNotRead."""

    @abstractmethod
    async def _clear(self) -> None:
        """Raises QueueNotRead."""

    async def _say(self, command: Command, arguments: Sequence[str], what: str, job: str) -> None:
        """One call for one job. Raises QueueNotRead."""
        self._refused.add(job)
        await said(command, arguments, what)
        self._refused.discard(job)


class SlurmComments(OwnerTelling):
    """AdminComment of the jobs of a Slurm; without `tell_owners` they are only read, for what is shown."""

    def __init__(self, scheduler: Scheduler, site: str, notes: OwnerNotes, events: EventSink, turn: Turn) -> None:
        """`turn` is waited for before each piece of work."""
        super().__init__(scheduler, events)
        self._notes, self._turn, self._mark = notes, turn, site_mark(site)
        self._rounds = 0
        self._squeue = Command(with_environment(scheduler.squeue), ENVIRONMENT, scheduler.deadline_s)
        self._scontrol = Command(scheduler.scontrol, {}, scheduler.deadline_s)

    async def _clear(self) -> None:
        """Take all texts of ours away."""
        if self._scheduler.tell_owners:
            jobs = await self._read()
            await self._take_away([job for job in jobs if job.comment.startswith(self._mark)])

    async def _round(self) -> None:
        jobs = await self._read()
        self._notes.take(self.id, jobs)
        if not self._scheduler.tell_owners:
            return
        old, new = list[TellableJob](), list[tuple[TellableJob, str]]()
        for job in jobs:
            text = self._text(job)
            if job.comment == text or not is_free(job.comment, self._mark):
                continue
            if text:
                new.append((job, text))
            else:
                old.append(job)
        self._rounds += 1
        if self._rounds > SETTLED:
            await self._take_away(old)
        self._refused &= {job.key for job in jobs}
        there = sorted((one for one in new if one[0].address), key=lambda one: one[0].key in self._refused)
        for job, text in there[:MOST_TEXTS]:
            await self._update([job], text)

    def _text(self, job: TellableJob) -> str:
        """What its owner is to be told; empty: nothing."""
        note = self._notes.told.get((self.id, job.key))
        if note is None or (note.code == WAITING) != job.waits:  # it has started since, or was requeued
            return ""
        return one_line(f"{self._mark}{words(note)}")[:LONGEST]

    async def _take_away(self, jobs: Sequence[TellableJob]) -> None:
        there = [job for job in jobs if job.address]
        for at in range(0, len(there), AT_ONCE):
            await self._update(there[at : at + AT_ONCE], "")

    async def _update(self, jobs: Sequence[TellableJob], text: str) -> None:
        """Raises QueueNotRead, unless there is nothing else than that jobs have ended meanwhile."""
        try:
            await self._say(self._scontrol, tell(self._scheduler.scontrol, jobs, text), UPDATE, jobs[0].key)
        except QueueNotRead:
            if not only_ended(self._scontrol.errors):
                raise

    async def _read(self) -> list[TellableJob]:
        answer = CommentsRead(self._scheduler.license)
        printed = await said(self._squeue, answer.options, "squeue", MOST_BYTES)
        await self._turn()
        jobs = list[TellableJob]()
        for job in answer.jobs(printed):
            jobs.append(job)
            if len(jobs) % PIECE == 0:
                await self._turn()
        return jobs


class TellCommand(OwnerTelling):
    """A command of the site, which gets a job's id and the text."""

    def __init__(self, scheduler: Scheduler, notes: OwnerNotes, queues: QueuesInForce, events: EventSink) -> None:
        super().__init__(scheduler, events)
        self._notes, self._queues = notes, queues
        self._command = Command(scheduler.tell, {}, scheduler.deadline_s)
        self._told: dict[str, str] = {}

    async def _clear(self) -> None:
        """Tell that nothing holds any more."""
        for job in tuple(self._told):
            await self._tell(job, "")

    async def _round(self) -> None:
        there = {job.id for queue in self._queues.queues if queue.scheduler == self.id for job in queue.jobs}
        self._told = {job: text for job, text in self._told.items() if job in there}
        wanted = {job: words(note) for (scheduler, job), note in self._notes.told.items() if scheduler == self.id}
        gone = [(job, "") for job in self._told if job not in wanted]
        new = [(job, text) for job, text in wanted.items() if job in there and self._told.get(job) != text]
        self._refused &= there
        for job, text in sorted([*gone, *new], key=lambda one: one[0] in self._refused)[:MOST_TEXTS]:
            await self._tell(job, text)

    async def _tell(self, job: str, text: str) -> None:
        await self._say(self._command, (job, one_line(text)[:LONGEST]), "tell", job)
        if text:
            self._told[job] = text
        else:
            del self._told[job]


def ways_to_tell(
    schedulers: Sequence[Scheduler], site: str, notes: OwnerNotes, queues: QueuesInForce, events: EventSink, turn: Turn
) -> tuple[OwnerTelling, ...]:
    """How owners are told, as the site file asks; of a Slurm with power licences it is also read what jobs wait for."""
    found: list[OwnerTelling] = [
        SlurmComments(scheduler, site, notes, events, turn)
        for scheduler in schedulers
        if scheduler.kind == "slurm" and (scheduler.tell_owners or scheduler.admit)
    ]
    return (*found, *(TellCommand(each, notes, queues, events) for each in schedulers if each.tell))
