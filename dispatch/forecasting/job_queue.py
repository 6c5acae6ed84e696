"""Estimates the load of running, queued and announced jobs.

Limits and queue alone make a poor forecast: users ask for more time than they need, and on free GPUs a job starts when
it is submitted, so that the queue does not show it. Both are learnt here: how long jobs run compared with their limit
gives the probability that a running job is still there; the load that came unannounced within each horizon in the
past is added. The load forecast learns how much weight this estimate deserves against the load held constant.
"""

from __future__ import annotations

import bisect
from collections import deque
from collections.abc import Sequence

import msgspec

from dispatch.forecasting.load import LATEST_S
from dispatch.model.forecast import QUARTER_S

REMEMBERED = 500  # finished jobs
UNLIMITED_S = 7 * 86400.0  # stands in for the limit of a job without one
LEAST_S = 60.0


class KnownJob(msgspec.Struct, frozen=True, kw_only=True):
    """One job as the scheduler, or a power reservation, shows it at some moment."""

    id: str
    power_w: float  # above the idle site
    submitted_utc_s: float
    started_utc_s: float | None = None  # None: not running yet
    time_limit_s: float | None = None  # what its user asked for
    gpus: int = 0
    announced_utc_s: float | None = None  # a reservation's granted start; None: starts when GPUs are free
    firm: bool = False  # reserved hours: it ends at its limit, not as such jobs usually do


class JobModel:
    """Learns from the jobs it is shown; `observe` once a quarter hour with all that are known then."""

    def __init__(self, gpus_total: int | None = None) -> None:
        self._gpus_total = gpus_total
        self._running: dict[str, KnownJob] = {}
        self._order: deque[float] = deque()
        self._ratios: list[float] = []  # of real duration to limit, sorted

    def observe(self, now_utc_s: float, jobs: Sequence[KnownJob]) -> None:
        """Take in the jobs known now. One that ran before and is gone has ended since."""
        running = {job.id: job for job in jobs if job.started_utc_s is not None}
        for name, job in self._running.items():
            if name not in running and job.started_utc_s is not None:
                self.finished(job, now_utc_s - job.started_utc_s)
        self._running = running

    def finished(self, job: KnownJob, duration_s: float) -> None:
        """Learn from one job that ended after `duration_s`; one without a limit teaches nothing."""
        if job.firm or not job.time_limit_s or duration_s <= 0:
            return
        ratio = min(1.0, duration_s / job.time_limit_s)
        self._order.append(ratio)
        bisect.insort(self._ratios, ratio)
        if len(self._order) > REMEMBERED:
            del self._ratios[bisect.bisect_left(self._ratios, self._order.popleft())]

    def known_w(self, now_utc_s: float, jobs: Sequence[KnownJob], quarters: int) -> list[float]:
        """Take the jobs in; return their power of late and in each of the next quarters, W above idle.

        Of late is the mean of the last `LATEST_S`, as the load that it is set against: a job that has only just started
        is not in that yet.
        """
        self.observe(now_utc_s, jobs)
        begun = [(job.power_w, job.started_utc_s) for job in jobs if job.started_utc_s is not None]
        running_w = sum(w * min(1.0, (now_utc_s - start_s) / LATEST_S) for w, start_s in begun)
        starts = [now_utc_s + QUARTER_S * k for k in range(quarters + 1)]
        return [running_w, *self.load_w(now_utc_s, jobs, starts)]

    def load_w(self, now_utc_s: float, jobs: Sequence[KnownJob], starts_utc_s: Sequence[float]) -> list[float]:
        """Mean power of the known jobs above idle, W, in each quarter hour that begins at `starts_utc_s`."""
        import numpy as np

        if not starts_utc_s:
            return []
        queue_starts = self._expected_starts(now_utc_s, jobs)
        middles = np.maximum(np.array(starts_utc_s, dtype=float) + QUARTER_S / 2, now_utc_s)
        ratios, total_w = np.array(self._ratios), np.zeros(len(middles))
        for job in jobs:
            begun_s = queue_starts[job.id] if job.started_utc_s is None else job.started_utc_s
            limit_s = max(LEAST_S, job.time_limit_s or UNLIMITED_S)
            then = (middles - begun_s) / limit_s
            if job.firm:
                total_w += job.power_w * ((then >= 0) & (then < 1))
                continue
            longer = (len(ratios) - np.searchsorted(ratios, then, side="right") + 1) / (len(ratios) + 1)
            still = longer / self._share_running_longer((max(now_utc_s, begun_s) - begun_s) / limit_s)
            total_w += job.power_w * np.where((then >= 0) & (then < 1), still, 0.0)
        powers: list[float] = total_w.tolist()
        return powers

    def _share_running_longer(self, ratio: float) -> float:
        """Share of jobs that run longer than `ratio` of their limit; one that used it all is always counted in."""
        return (len(self._ratios) - bisect.bisect_right(self._ratios, ratio) + 1) / (len(self._ratios) + 1)

    def _expected_starts(self, now_utc_s: float, jobs: Sequence[KnownJob]) -> dict[str, float]:
        """When each waiting job is expected to start: announced ones as granted, the others first in, first out, on
        the GPUs that those leave.

        A running job is taken to free its GPUs when half of its like would have ended. Without a number of GPUs
        nothing waits for any.
        """
        waiting = sorted((job for job in jobs if job.started_utc_s is None), key=lambda j: (j.submitted_utc_s, j.id))
        gpus = self._gpus(now_utc_s, [job for job in jobs if job.started_utc_s is not None])
        if gpus is None:
            return {job.id: max(now_utc_s, job.announced_utc_s or now_utc_s) for job in waiting}
        starts: dict[str, float] = {}
        at_s = now_utc_s
        for job in waiting:
            if job.announced_utc_s is None:
                at_s = starts[job.id] = gpus.wait_for(job.gpus, at_s)
            else:
                starts[job.id] = max(now_utc_s, job.announced_utc_s)
                if not job.gpus:  # a reservation of power alone delays no other job
                    continue
                gpus.release_until(starts[job.id])
                at_s = max(at_s, starts[job.id])  # nobody behind it in the queue starts before it
            lasts_s = (1.0 if job.firm else 0.5) * (job.time_limit_s or UNLIMITED_S)
            gpus.take(job.gpus, starts[job.id] + lasts_s)
        return starts

    def _gpus(self, now_utc_s: float, running: Sequence[KnownJob]) -> _Gpus | None:
        """The GPUs as running jobs use them; None where their number is not known."""
        if self._gpus_total is None:
            return None
        free = self._gpus_total - sum(job.gpus for job in running)
        return _Gpus(free, [(self._likely_end(job, now_utc_s), job.gpus) for job in running])

    def _likely_end(self, job: KnownJob, now_utc_s: float) -> float:
        assert job.started_utc_s is not None
        limit_s = max(LEAST_S, job.time_limit_s or UNLIMITED_S)
        if job.firm:
            return max(now_utc_s, job.started_utc_s + limit_s)
        elapsed = (now_utc_s - job.started_utc_s) / limit_s
        rest = self._ratios[bisect.bisect_right(self._ratios, elapsed) :]
        ratio = rest[len(rest) // 2] if rest else 1.0
        return max(now_utc_s, job.started_utc_s + ratio * limit_s)


class _Gpus:
    """The site's GPUs: how many are free, and when those in use are expected to be free again."""

    def __init__(self, free: int, ends: list[tuple[float, int]]) -> None:
        """`ends`: (POSIX seconds, number of GPUs) of each running job."""
        self._free, self._ends = free, sorted(ends)

    def release_until(self, utc_s: float) -> None:
        """Release the GPUs of jobs that are expected to end by that time."""
        while self._ends and self._ends[0][0] <= utc_s:
            self._free += self._ends.pop(0)[1]

    def wait_for(self, gpus: int, at_s: float) -> float:
        """Advance from `at_s` until that many GPUs are free, or no more job ends. Returns the time."""
        while gpus > self._free and self._ends:
            end_s, freed = self._ends.pop(0)
            at_s, self._free = max(at_s, end_s), self._free + freed
        return at_s

    def take(self, gpus: int, until_s: float) -> None:
        """Use some up to a time."""
        self._free -= gpus
        bisect.insort(self._ends, (until_s, gpus))
