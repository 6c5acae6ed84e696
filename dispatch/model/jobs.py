"""Defines a compute job as a scheduler's queue shows it."""

from __future__ import annotations

from typing import Literal

import msgspec

JobState = Literal["pending", "configuring", "running", "suspended", "completing"]

# Slurm's words for why a job waits (man squeue, JOB REASON CODES)
ARRAY_LIMIT = "JobArrayTaskLimit"  # as many tasks of its array run as its user allows
HELD_REASONS = frozenset({"JobHeldUser", "JobHeldAdmin", "Dependency", "DependencyNeverSatisfied", "BeginTime"})


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One job, or one task of an array, that waits or runs. Times are POSIX seconds, None where they are not known."""

    scheduler: str  # id of the scheduler in the site file
    id: str  # the scheduler's own; of an array's task the array's id, "_", the task's number
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
    gpu_uuids: tuple[str, ...] = ()  # of the whole GPUs allocated to it, where its nodes told; empty: not known

    @property
    def runs(self) -> bool:
        """Whether it holds nodes and may draw power."""
        return self.state != "pending"
