"""Plays a job log as a scheduler would have shown it: each job from its submission or announcement until it ends."""

from __future__ import annotations

from collections.abc import Sequence

from console.replay.job_file import Job
from dispatch.forecasting.job_queue import KnownJob


class JobLog:
    """Asked for rising instants. Jobs without power tell a forecast nothing and are left out.

    notice_s: every job is announced so long before its start, with the hours it will take, as a power reservation.
    Without it those are announced of which the log says when; one that was announced and never came is seen until then.
    """

    def __init__(self, jobs: Sequence[Job], notice_s: float = 0.0) -> None:
        self._notice_s = notice_s
        self._coming = sorted((j for j in jobs if j.power_w > 0), key=self._seen_s, reverse=True)  # the next one last
        self._shown: list[Job] = []

    def known_at(self, now_s: int) -> list[KnownJob]:
        """The jobs seen by this instant and not ended."""
        while self._coming and self._seen_s(self._coming[-1]) <= now_s:
            self._shown.append(self._coming.pop())
        self._shown = [job for job in self._shown if now_s < job.reference_s + job.duration_s]
        return [self._known(job, now_s) for job in self._shown]

    def _seen_s(self, job: Job) -> float:
        if self._notice_s:
            return min(job.submit_s, job.reference_s - self._notice_s)
        return job.submit_s if job.announced_s is None else min(job.submit_s, job.announced_s)

    def _known(self, job: Job, now_s: int) -> KnownJob:
        started = job.reference_s <= now_s
        told_s = job.reference_s - self._notice_s if self._notice_s else job.announced_s
        announced = not started and told_s is not None and told_s <= now_s
        return KnownJob(
            id=job.id,
            power_w=job.power_w,
            submitted_utc_s=float(job.submit_s),
            started_utc_s=float(job.reference_s) if started else None,
            time_limit_s=job.duration_s if self._notice_s else job.time_limit_s,
            firm=self._notice_s > 0,
            gpus=job.gpus,
            announced_utc_s=float(job.reference_s) if announced else None,
            user=job.user,
        )
