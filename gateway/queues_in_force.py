"""The queues in force: one holder that forecasts, accounting and consoles all read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from dispatch.model.jobs import Job, Queue, QueueNow, RunningJob
from dispatch.power_caps.job_groups import Groups, merged, of_jobs
from drivers.schedulers.config import Scheduler
from drivers.schedulers.job_list import QueueRead

USABLE_S = 900.0  # real seconds; an older queue is shown, and no longer counted with
MOST_SHOWN = 1_000  # running jobs sent to consoles with each snapshot, and names of nodes with them: 0.1 kB each
NAME_SHOWN = 40


class QueuesInForce:
    """The last queue of each scheduler. Objects are replaced as a whole, and only when something was read or lost."""

    def __init__(
        self,
        schedulers: Iterable[Scheduler] = (),
        on_change: Callable[[], None] = lambda: None,
        now_s: Callable[[], float] = time.monotonic,
        names: Mapping[str, str] | None = None,
    ) -> None:
        """`on_change` is called after each reading, good or failed. `now_s`: real seconds.

        `names`: the ids of nodes by the names that schedulers give them.
        """
        self._names = names or {}
        self._groups_read: dict[str, Groups] = {}
        self._groups: Groups = ()
        self._now_s, self._on_change = now_s, on_change
        self._queues = {s.id: Queue(scheduler=s.id, cluster=s.known_as) for s in schedulers}
        self._read_at_s: dict[str, float] = {}
        self._shown: dict[str, QueueNow] = {id: QueueNow(scheduler=id) for id in self._queues}
        self._counted: tuple[Queue, ...] = ()
        self._jobs: tuple[Job, ...] = ()

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

    def _count(self) -> None:
        usable = tuple(queue for queue in self._queues.values() if self.age_s(queue.scheduler) < USABLE_S)
        if len(usable) != len(self._counted) or any(a is not b for a, b in zip(usable, self._counted, strict=True)):
            self._counted = usable
            self._jobs = tuple(job for queue in usable for job in queue.jobs)
            self._groups = merged(group for queue in usable for group in self._groups_read.get(queue.scheduler, ()))

    def age_s(self, scheduler: str) -> float:
        """How long ago its queue was as listed, real seconds; infinite before the first reading."""
        return self._now_s() - self._read_at_s.get(scheduler, float("-inf"))

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
        self._queues[scheduler], self._shown[scheduler] = queue, for_consoles(queue)
        groups = of_jobs(read.jobs)
        self._groups_read[scheduler] = tuple(frozenset(self._names.get(n, n) for n in group) for group in groups)
        self._on_change()

    def refuse(self, scheduler: str, why: str) -> None:
        """A queue could not be read: the one before stays."""
        self._queues[scheduler] = msgspec.structs.replace(self._queues[scheduler], error=why)
        self._shown[scheduler] = msgspec.structs.replace(self._shown[scheduler], error=why)
        self._on_change()

    def now(self) -> tuple[QueueNow, ...]:
        """What consoles are sent."""
        return tuple(
            shown if shown.read_utc_s is None else msgspec.structs.replace(shown, age_s=max(0.0, self.age_s(id)))
            for id, shown in self._shown.items()
        )

    def errors(self) -> dict[str, str]:
        """Why each queue cannot be read now, by scheduler; empty: it is read, or was not asked yet."""
        return {id: queue.error for id, queue in self._queues.items()}


def for_consoles(queue: Queue) -> QueueNow:
    """The queue in counts, and the running jobs that fit into a message."""
    running = [job for job in queue.jobs if job.runs]
    waiting = [job for job in queue.jobs if not job.runs]
    shown = _that_fit(running)
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


def _that_fit(running: Sequence[Job]) -> tuple[RunningJob, ...]:
    shown: list[RunningJob] = []
    room = MOST_SHOWN
    for job in running:
        room -= 1 + len(job.nodes)
        if room < 0:
            break
        name, user = job.name[:NAME_SHOWN], job.user[:NAME_SHOWN]
        shown.append(RunningJob(job.id, name, user, job.state, job.gpus, job.cpus, job.started_utc_s, job.nodes))
    return tuple(shown)
