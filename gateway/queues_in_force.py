"""The queues in force: one holder that forecasts, accounting and consoles all read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from dispatch.model.jobs import Job, Queue, QueueNow, RunningJob, StartPower, node_id
from dispatch.model.reasons import Reason
from dispatch.power_caps.job_groups import Groups, least, merged, of_jobs, tolerated_pct
from drivers.schedulers.config import Scheduler
from drivers.schedulers.job_list import QueueRead

USABLE_S = 900.0  # real seconds; an older queue is shown, and no longer counted with
MOST_SHOWN = 1_000  # running jobs sent to consoles with each snapshot, and names of nodes with them: 0.1 kB each
NAME_SHOWN = 40

Told = Mapping[tuple[str, str], Reason]  # what owners of jobs are told, by scheduler and job


class QueuesInForce:
    """The last queue of each scheduler. Objects are replaced as a whole, and only when something was read or lost."""

    def __init__(
        self,
        schedulers: Iterable[Scheduler] = (),
        on_change: Callable[[], None] = lambda: None,
        now_s: Callable[[], float] = time.monotonic,
        names: Mapping[str, str] | None = None,
        partition_pct: Mapping[str, int] | None = None,
    ) -> None:
        """`on_change` is called after each reading, good or failed. `now_s`: real seconds.

        `names`: the ids of nodes by the names that schedulers give them, in small letters. `partition_pct`: the
        slowdown that jobs of a partition tolerate.
        """
        self._names, self._partition_pct = names or {}, partition_pct or {}
        self._pct_read: dict[str, dict[str, int]] = {}
        self._groups_read: dict[str, Groups] = {}
        self._groups: Groups = ()
        self._now_s, self._on_change = now_s, on_change
        self._queues = {s.id: Queue(scheduler=s.id, cluster=s.known_as) for s in schedulers}
        self._read_at_s: dict[str, float] = {}
        self._shown: dict[str, QueueNow] = {id: QueueNow(scheduler=id) for id in self._queues}
        self._power: dict[str, StartPower] = {}
        self._told: Told = {}
        self._counted: tuple[Queue, ...] = ()
        self._jobs: tuple[Job, ...] = ()
        self._tolerated_pct = self._least_pct()

    @property
    def queues(self) -> tuple[Queue, ...]:
        """Of every scheduler of the site file, in its order; with the jobs last read, however old."""
        return tuple(self._queues.values())

    @property
    def jobs(self) -> tuple[Job, ...]:
        """The jobs of all queues that may be counted with. The same object until something has changed."""
        self._count()
        return self._jobs

    @property
    def node_groups(self) -> Groups:
        """The ids of nodes that run the same jobs, of these queues. A name that no node of the site has stays as it is.

        The same object until something has changed.
        """
        self._count()
        return self._groups

    @property
    def tolerated_pct(self) -> dict[str, int]:
        """By node, the slowdown that jobs on it tolerate, as far as that is stated.

        By the queues last read, however old; before the first of a scheduler any node may have the strictest job.
        """
        return self._tolerated_pct

    def _count(self) -> None:
        usable = tuple(queue for queue in self._queues.values() if self.age_s(queue.scheduler) < USABLE_S)
        if len(usable) != len(self._counted) or any(a is not b for a, b in zip(usable, self._counted, strict=True)):
            self._counted = usable
            self._jobs = tuple(job for queue in usable for job in queue.jobs)
            self._groups = merged(group for queue in usable for group in self._groups_read.get(queue.scheduler, ()))

    def age_s(self, scheduler: str) -> float:
        """How long ago its queue was as listed, real seconds; infinite before the first reading."""
        return self._now_s() - self._read_at_s.get(scheduler, float("-inf"))

    def know(self, names: Mapping[str, str]) -> None:
        """The nodes have these names from now on; jobs are put with them at the next reading."""
        self._names = names
        self._tolerated_pct = self._least_pct()

    def _least_pct(self) -> dict[str, int]:
        parts = list(self._pct_read.values())
        if self._partition_pct and self._queues.keys() - self._pct_read.keys():
            parts.append(dict.fromkeys(self._names.values(), min(self._partition_pct.values())))
        return least(part.items() for part in parts)

    def node_of(self, name: str) -> str:
        """The id of a node that a scheduler names; one that is not the site's stays."""
        return node_id(self._names, name)

    def take(self, scheduler: str, read: QueueRead, read_utc_s: float, age_s: float = 0.0) -> None:
        """A queue was read. `read_utc_s`: when it was so, site time; `age_s`: how long that is ago, real seconds."""
        self._read_at_s[scheduler] = self._now_s() - age_s
        queue = Queue(
            scheduler=scheduler,
            cluster=self._queues[scheduler].cluster,
            jobs=read.jobs,
            more_waiting=read.more_waiting,
            read_utc_s=read_utc_s,
            notes=read.notes,
        )
        self._queues[scheduler] = queue
        groups = of_jobs(read.jobs)
        self._groups_read[scheduler] = tuple(frozenset(node_id(self._names, n) for n in group) for group in groups)
        by_name = tolerated_pct(read.jobs, self._partition_pct)
        self._pct_read[scheduler] = {node_id(self._names, name): pct for name, pct in by_name.items()}
        self._tolerated_pct = self._least_pct()
        self._show(scheduler)
        self._on_change()

    def refuse(self, scheduler: str, why: str) -> None:
        """A queue could not be read: the one before stays."""
        self._queues[scheduler] = msgspec.structs.replace(self._queues[scheduler], error=why)
        self._shown[scheduler] = msgspec.structs.replace(self._shown[scheduler], error=why)
        self._on_change()

    def note_power(self, scheduler: str, power: StartPower) -> None:
        """The power that is kept back from its jobs."""
        self._power[scheduler] = power
        self._shown[scheduler] = msgspec.structs.replace(self._shown[scheduler], power=power)

    def power(self, scheduler: str) -> StartPower | None:
        """The power of its jobs; None: none is kept back from them."""
        return self._power.get(scheduler)

    def note_told(self, told: Told) -> None:
        """What owners are told has changed to this."""
        self._told = told
        for scheduler in self._queues:
            self._show(scheduler)

    def told(self, job: Job) -> Reason | None:
        """What the owner of a job is told; None: nothing."""
        return told_of(self._told, job)

    def _show(self, scheduler: str) -> None:
        """Renew what consoles are sent of a queue."""
        shown = for_consoles(self._queues[scheduler], self._told, self._names)
        self._shown[scheduler] = msgspec.structs.replace(shown, power=self._power.get(scheduler))

    def now(self) -> tuple[QueueNow, ...]:
        """What consoles are sent."""
        return tuple(
            shown if shown.read_utc_s is None else msgspec.structs.replace(shown, age_s=max(0.0, self.age_s(id)))
            for id, shown in self._shown.items()
        )

    def errors(self) -> dict[str, str]:
        """Why each queue cannot be read now, by scheduler; empty: it is read, or was not asked yet."""
        return {id: queue.error for id, queue in self._queues.items()}


def told_of(told: Told, job: Job) -> Reason | None:
    """What the owner of a job is told; of the waiting tasks of an array what all of them are told."""
    found = told.get((job.scheduler, job.id))
    if found is None and not job.runs and "_" in job.id:
        found = told.get((job.scheduler, f"{job.id.partition('_')[0]}_"))
    return found


def for_consoles(queue: Queue, told: Told, names: Mapping[str, str]) -> QueueNow:
    """The queue in counts, and the running jobs that fit into a message, with the ids of their nodes."""
    running = [job for job in queue.jobs if job.runs]
    waiting = [job for job in queue.jobs if not job.runs]
    shown = _that_fit(running, told, names)
    return QueueNow(
        scheduler=queue.scheduler,
        running=len(running),
        waiting=len(waiting) + queue.more_waiting,
        running_gpus=sum(job.gpus for job in running),
        waiting_gpus=sum(job.gpus for job in waiting),
        read_utc_s=queue.read_utc_s,
        error=queue.error,
        notes=queue.notes,
        jobs=shown,
        more_running=len(running) - len(shown),
    )


def _that_fit(running: Sequence[Job], told: Told, names: Mapping[str, str]) -> tuple[RunningJob, ...]:
    shown: list[RunningJob] = []
    room = MOST_SHOWN
    for job in running:
        room -= 1 + len(job.nodes)
        if room < 0:
            break
        name, user = job.name[:NAME_SHOWN], job.user[:NAME_SHOWN]
        note, nodes = told_of(told, job), tuple(node_id(names, each) for each in job.nodes)
        shown.append(RunningJob(job.id, name, user, job.state, job.gpus, job.cpus, job.started_utc_s, nodes, note))
    return tuple(shown)
