"""Collects the jobs of one reading of a queue: each once, and no more than fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from dispatch.model.jobs import ARRAY_LIMIT, HELD_REASONS, Job

MOST_JOBS = 20_000  # kept of one queue, 0.4 kB each
PIECE = 100  # tasks of an array that are made at once, half a millisecond
MOST_NOTES = 5


class QueueRead(msgspec.Struct, frozen=True, kw_only=True):
    """What a scheduler says of its jobs at one moment."""

    jobs: tuple[Job, ...] = ()
    more_waiting: int = 0  # jobs that wait and are not among `jobs`, as they are too many
    notes: tuple[str, ...] = ()  # what a person should know of the answer
    asked_utc_s: float | None = None  # when the scheduler was asked, by whoever wrote the answer; None: now
    clock_utc_s: float | None = None  # the scheduler's clock shows at least this; None: it does not say


class JobList:
    """Jobs of one scheduler as they are read."""

    def __init__(self, scheduler: str) -> None:
        self.scheduler = scheduler
        self._jobs: dict[str, Job] = {}
        self._arrays: list[tuple[Job, Sequence[range], int | None]] = []
        self._more = 0
        self._notes: list[str] = []
        self._unnamed_notes = 0
        self._clock_utc_s: float | None = None

    def add(self, job: Job) -> None:
        """One job. Of one that is listed twice the one that holds nodes counts."""
        before = self._jobs.get(job.id)
        if before is not None:
            self.note(f"job {job.id} is listed twice, counted once")
            if before.runs or not job.runs:
                return
        elif len(self._jobs) >= MOST_JOBS:
            self._leave_out(job, 1)
            return
        self._jobs[job.id] = job
        if job.started_utc_s is not None:
            self.clock(job.started_utc_s)
        self.clock(job.submitted_utc_s)

    def add_array(self, job: Job, tasks: Sequence[range], at_once: int | None) -> None:
        """The tasks of an array that wait, `job` being one of them. `at_once`: how many may run; None: any number."""
        self._arrays.append((job, tasks, at_once))

    def note(self, text: str) -> None:
        """What a person should know."""
        if len(self._notes) < MOST_NOTES:
            self._notes.append(text)
        else:
            self._unnamed_notes += 1

    def clock(self, utc_s: float) -> None:
        """The scheduler's clock shows this or more."""
        self._clock_utc_s = max(utc_s, self._clock_utc_s or 0.0)

    def finish(self) -> Iterator[None]:
        """Make the tasks of the arrays. Yields where somebody else may go on."""
        running: dict[str, int] = {}
        for job in self._jobs.values():
            if job.runs and "_" in job.id:
                array = job.id.partition("_")[0]
                running[array] = running.get(array, 0) + 1
        for job, tasks, at_once in self._arrays:
            free = None if at_once is None else max(0, at_once - running.get(job.id, 0))
            yield from self._make_tasks(job, tasks, free)
        self._arrays.clear()

    @property
    def read(self) -> QueueRead:
        """All of it, once it is finished."""
        unnamed = (f"and {self._unnamed_notes} more",) if self._unnamed_notes else ()
        return QueueRead(
            jobs=tuple(self._jobs.values()),
            more_waiting=self._more,
            notes=(*self._notes, *unnamed),
            clock_utc_s=self._clock_utc_s,
        )

    def _make_tasks(self, job: Job, tasks: Sequence[range], free: int | None) -> Iterator[None]:
        """`free`: so many more may run at once. The others wait for them, whatever else they wait for."""
        limited = job if job.reason in HELD_REASONS else msgspec.structs.replace(job, reason=ARRAY_LIMIT)
        made = 0
        for these in tasks:
            room = max(0, MOST_JOBS - len(self._jobs))
            if len(these) > room:
                self._leave_out(job, len(these) - room)
            for number in these[:room]:
                template = job if free is None or made < free else limited
                self.add(msgspec.structs.replace(template, id=f"{job.id}_{number}"))
                made += 1
                if made % PIECE == 0:
                    yield
        yield

    def _leave_out(self, job: Job, count: int) -> None:
        if not self._more:
            self.note(f"more than {MOST_JOBS} jobs: those from job {job.id} on are counted, not listed")
        self._more += count
