"""Defines a compute job as a scheduler's queue shows it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from dispatch.model.reasons import Reason

JobState = Literal["pending", "configuring", "running", "suspended", "completing"]

# Slurm's words for why a job waits (man squeue, JOB REASON CODES)
ARRAY_LIMIT = "JobArrayTaskLimit"  # as many tasks of its array run as its user allows
HELD_REASONS = frozenset({"JobHeldUser", "JobHeldAdmin", "Dependency", "DependencyNeverSatisfied", "BeginTime"})


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One job, or one task of an array, that waits or runs. Times are POSIX seconds, None where they are not known."""

    scheduler: str  # id of the scheduler in the site file
    id: str  # the scheduler's own; of an array's task the array's id, "_", the task's number
    number: str = ""  # by which its nodes know a task of an array that runs; empty: by the id
    name: str = ""
    user: str = ""
    account: str = ""
    partition: str = ""
    state: JobState
    reason: str = ""  # why it waits, in the scheduler's own word
    submitted_utc_s: float
    started_utc_s: float | None = None  # of this start of it: a requeued job has another one later
    expected_start_utc_s: float | None = None  # by the scheduler, of a job that waits
    time_limit_s: float | None = None  # None: not limited
    nodes: tuple[str, ...] = ()  # names of those allocated to it
    node_count: int = 0  # allocated or, while it waits, asked for
    cpus: int = 0  # on all nodes together, as the next
    gpus: int = 0
    pods: tuple[str, ...] = ()  # NAMESPACE/NAME of each: by these the exporters of its nodes know it
    gpu_uuids: tuple[str, ...] = ()  # of the whole GPUs allocated to it, where its nodes told; empty: not known

    @property
    def runs(self) -> bool:
        """Whether it holds nodes and may draw power."""
        return self.state != "pending"


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """The queue of one scheduler as last read, and how the reading goes."""

    scheduler: str  # id in the site file
    cluster: str  # its name in power reservations
    jobs: tuple[Job, ...] = ()
    more_waiting: int = 0  # that wait and are not among `jobs`, as they are too many
    read_utc_s: float | None = None  # when the jobs were as listed; None: never read
    error: str = ""  # why it cannot be read now; the jobs are then those read before. Empty: it is read
    notes: tuple[str, ...] = ()  # what a person should know of the answer


class StartPower(msgspec.Struct, frozen=True, kw_only=True):
    """The power of jobs that a scheduler counts as licences, W. None: not known; `error` says why."""

    total_w: float | None = None  # of all licences
    held_w: float | None = None  # by jobs
    kept_w: float | None = None  # kept back by Skerry
    others_w: float = 0.0  # by reservations of others
    closed: Reason | None = None  # why no job starts at all
    error: str = ""

    @property
    def free_w(self) -> float | None:
        """With how much jobs may start now, as the scheduler counts."""
        if self.total_w is None or self.held_w is None or self.kept_w is None:
            return None
        return max(0.0, self.total_w - self.held_w - self.kept_w - self.others_w)


class RunningJob(msgspec.Struct, frozen=True, array_like=True):
    """A job that holds nodes, as far as consoles show it."""

    id: str
    name: str
    user: str
    state: JobState
    gpus: int
    cpus: int
    started_utc_s: float | None
    nodes: tuple[str, ...]
    told: Reason | None = None  # what its owner is told; None: nothing


class QueueNow(msgspec.Struct, frozen=True, kw_only=True):
    """A queue as it is sent to consoles: counts, and the jobs that run as far as they fit into a message."""

    scheduler: str
    running: int = 0
    waiting: int = 0
    running_gpus: int = 0
    waiting_gpus: int = 0  # of the waiting jobs that are listed
    read_utc_s: float | None = None  # None: never read
    age_s: float | None = None  # of that reading, real seconds
    error: str = ""
    notes: tuple[str, ...] = ()
    jobs: tuple[RunningJob, ...] = ()
    more_running: int = 0  # that run and are not among `jobs`
    power: StartPower | None = None  # None: power is not kept back from its jobs


def on_node(names: Iterable[str], node_id: str) -> bool:
    """Whether a node is among the names that a scheduler gives, with or without domains, in capitals or not."""
    host = node_id.casefold()
    wanted = {host, host.partition(".")[0]}
    return any(name.casefold() in wanted or name.casefold().partition(".")[0] == host for name in names)


def node_id(ids: Mapping[str, str], name: str) -> str:
    """The node that a scheduler names. `ids`: of nodes by their names in small letters; one that is not there stays."""
    host = name.casefold()
    return ids.get(host) or ids.get(host.partition(".")[0], name)
