"""Keeps what nodes tell of jobs, which GPUs one holds and when it ended, until the queue shows the job."""

from __future__ import annotations

from collections.abc import Sequence

from dispatch.accounting.runs import Run

MOST_JOBS, MOST_GPUS = 5000, 1024
EARLY_S = 120.0  # a prolog runs before the scheduler's start of the job; and a node has a clock of its own
KEPT_S = 3600.0  # what no queue has shown by then is forgotten


class _Report:
    def __init__(self) -> None:
        self.gpus: dict[str, float] = {}  # UUID -> when it was told
        self.ended_utc_s: float | None = None
        self.told_utc_s = 0.0


class Reports:
    """By the scheduler's id of the job, or the number by which its nodes know it; both are of one scheduler.

    `scheduler` is its id in the site file; empty: the node did not tell one that is known, it may be any.
    """

    def __init__(self) -> None:
        self._jobs: dict[tuple[str, str], _Report] = {}

    def begins(self, job: str, gpus: Sequence[str], utc_s: float, scheduler: str = "") -> bool:
        """A job holds these GPUs of one of its nodes; False: there are too many reports, or too many GPUs."""
        report = self._report((scheduler, job), utc_s)
        if report is None or len(report.gpus.keys() | set(gpus)) > MOST_GPUS:
            return False
        report.gpus.update(dict.fromkeys(gpus, utc_s))
        return True

    def ends(self, job: str, utc_s: float, scheduler: str = "") -> bool:
        """A job has ended on one of its nodes; False: there are too many reports."""
        report = self._report((scheduler, job), utc_s)
        if report is not None:
            report.ended_utc_s = utc_s
        return report is not None

    def _report(self, job: tuple[str, str], utc_s: float) -> _Report | None:
        if job not in self._jobs and len(self._jobs) >= MOST_JOBS:
            return None
        report = self._jobs.setdefault(job, _Report())
        report.told_utc_s = utc_s
        return report

    def take(self, run: Run, until_utc_s: float) -> None:
        """Give a run the GPUs that were told of its job by then; what was told of an earlier start is forgotten."""
        report = self._jobs.get(self._key(run))
        if report is None or not report.gpus:
            return
        since_s = run.started_utc_s - EARLY_S
        told = {uuid for uuid, told_s in report.gpus.items() if since_s <= told_s <= until_utc_s}
        run.gpu_uuids = tuple(sorted(told.union(run.gpu_uuids)))[:MOST_GPUS]
        report.gpus = {uuid: told_s for uuid, told_s in report.gpus.items() if told_s > until_utc_s}

    def take_end(self, run: Run) -> float | None:
        """When the run's nodes said that it ended; None: they did not."""
        report = self._jobs.get(self._key(run))
        if report is None:
            return None
        ended_s, report.ended_utc_s = report.ended_utc_s, None
        if not report.gpus:
            del self._jobs[self._key(run)]
        return ended_s

    def _key(self, run: Run) -> tuple[str, str]:
        """What its nodes call a run's job. Slurm's nodes do not know of which array a task is."""
        job = run.job
        names = [(scheduler, name) for scheduler in (job.scheduler, "") for name in (job.id, job.number) if name]
        return next((name for name in names if name in self._jobs), names[0])

    def forget_old(self, now_utc_s: float) -> None:
        """Forget what no queue has shown for a long time."""
        for job in [job for job, report in self._jobs.items() if abs(now_utc_s - report.told_utc_s) > KEPT_S]:
            del self._jobs[job]
