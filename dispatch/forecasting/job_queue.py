"""Estimates the load of running, queued and announced jobs.

Limits and queue alone make a poor forecast: users ask for more time than they need, and on free GPUs a job starts when
it is submitted, so that the queue does not show it. Both are learnt here: how long jobs run compared with their limit
gives the probability that a running job is still there; the load that came unannounced within each horizon in the
past is added. The load forecast learns how much weight this estimate deserves against the load held constant.
"""

from __future__ import annotations

import bisect
import heapq
import math
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from dispatch.forecasting.job_arrivals import JobArrivals
from dispatch.forecasting.load import LATEST_S
from dispatch.model.forecast import QUARTER_S

if TYPE_CHECKING:
    from numpy import ndarray

REMEMBERED = 500  # finished jobs
UNLIMITED_S = 7 * 86400.0  # stands in for the limit of a job without one
LEAST_S = 60.0
LEAST_ENDED = 20  # finished jobs, before something is said of how long they run
BLOCK = 256  # jobs worked out at a time: their figures fit into a core's cache, which is twice as fast


class KnownJob(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One job as the scheduler, or a power reservation, shows it at some moment."""

    id: str
    power_w: float  # above the idle site
    submitted_utc_s: float
    started_utc_s: float | None = None  # None: not running yet
    time_limit_s: float | None = None  # what its user asked for
    gpus: int = 0
    announced_utc_s: float | None = None  # a reservation's granted start; None: starts when GPUs are free
    expected_utc_s: float | None = None  # the scheduler's own estimate of the start, of a job that waits
    counts_from_utc_s: float = -math.inf  # until then a reservation has its power
    firm: bool = False  # reserved hours: it ends at its limit, not as such jobs usually do
    user: str = ""  # whose jobs that wait may come more or less often; empty: not known


class JobModel:
    """Learns from the jobs it is shown; `observe` at least once a quarter hour with all that are known then."""

    def __init__(self, gpus_total: int | None = None) -> None:
        self.gpus_total = gpus_total  # that they share; None: not known, and no job waits for any
        self._running: dict[str, KnownJob] = {}
        self._order: deque[float] = deque()
        self._ratios: list[float] = []  # of real duration to limit, sorted
        self.arrivals = JobArrivals()

    def observe(
        self,
        now_utc_s: float,
        jobs: Sequence[KnownJob],
        begun: Collection[str] = (),
        listed: Collection[str] | None = (),
    ) -> None:
        """Take in the jobs known now. One that ran before and is gone has ended since; one that waits was requeued.

        `begun`: ids of other jobs that do not wait any more; `listed`: of all that the queue lists; None: it lists not
        all, so that one that waited may have gone or not.
        """
        there = {job.id for job in jobs}
        for name, job in self._running.items():
            if name not in there and job.started_utc_s is not None:
                self.finished(job, now_utc_s - job.started_utc_s)
        self._running = {job.id: job for job in jobs if job.started_utc_s is not None}
        if listed is None:
            self.arrivals.forget_waiting()
            return
        waiting = {job.id: job.user for job in jobs if job.started_utc_s is None}
        self.arrivals.look(waiting, self._running.keys() | set(begun), listed)

    def forget_running(self) -> None:
        """Nothing was seen for a while: which jobs ended or came in it, and when, is not known."""
        self._running = {}
        self.arrivals.forget_waiting()

    def finished(self, job: KnownJob, duration_s: float) -> None:
        """Learn from one job that ended after `duration_s`; one without a limit teaches nothing."""
        if job.firm or not job.time_limit_s or duration_s <= 0:
            return
        ratio = min(1.0, duration_s / job.time_limit_s)
        self._order.append(ratio)
        bisect.insort(self._ratios, ratio)
        if len(self._order) > REMEMBERED:
            del self._ratios[bisect.bisect_left(self._ratios, self._order.popleft())]

    @property
    def usual_share(self) -> float | None:
        """The share of its time limit that nine of ten finished jobs ran at least; None: too few have ended."""
        return self._ratios[len(self._ratios) // 10] if len(self._ratios) >= LEAST_ENDED else None

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
        if not starts_utc_s:
            return []
        starts = self.expected_starts(now_utc_s, jobs)
        powers_w: list[float] = self.powers_w(now_utc_s, jobs, starts, starts_utc_s).sum(axis=0).tolist()
        return powers_w

    def share_of(self, job: KnownJob) -> float:
        """For how much of its power a job counts, 0..1: one that waits as its user's jobs come."""
        return self.arrivals.share(job.user) if job.started_utc_s is None else 1.0

    def powers_w(
        self,
        now_utc_s: float,
        jobs: Sequence[KnownJob],
        expected_utc_s: Mapping[str, float],
        starts_utc_s: Sequence[float],
    ) -> ndarray:
        """The same of each job: a row for each, a column for each quarter hour.

        `expected_utc_s`: the start of each job that waits (`expected_starts`). All jobs at once: one by one five
        thousand of them would take a quarter of a second.
        """
        import numpy as np

        middles = np.maximum(np.array(starts_utc_s, dtype=float) + QUARTER_S / 2, now_utc_s)
        begun = np.array([expected_utc_s[j.id] if j.started_utc_s is None else j.started_utc_s for j in jobs])
        limits = np.array([max(LEAST_S, job.time_limit_s or UNLIMITED_S) for job in jobs])
        since = np.array([job.counts_from_utc_s for job in jobs])
        firm = np.array([job.firm for job in jobs], dtype=bool)
        power_w = np.array([job.power_w * self.share_of(job) for job in jobs])
        ratios = np.array(self._ratios)
        now = _longer(ratios, (np.maximum(now_utc_s, begun) - begun) / limits)
        powers_w = np.zeros((len(jobs), len(middles)))
        for at in range(0, len(jobs), BLOCK):
            part = slice(at, at + BLOCK)
            then = (middles[None, :] - begun[part, None]) / limits[part, None]
            there = (then >= 0) & (then < 1) & (middles[None, :] >= since[part, None])
            shares = powers_w[part]
            shares[there] = _longer(ratios, then[there])
            shares /= now[part, None]
            shares[firm[part]] = there[firm[part]]  # until their limit
            shares *= power_w[part, None]
        return powers_w

    def expected_starts(
        self, now_utc_s: float, jobs: Sequence[KnownJob], by_scheduler: bool = True
    ) -> dict[str, float]:
        """When each waiting job is expected to start: announced ones as granted, those of which the scheduler tells
        when it expects them then (`by_scheduler`), the others first in, first out, on the GPUs that those leave.

        A running job is taken to free its GPUs when half of its like would have ended. Without a number of GPUs
        nothing waits for any.
        """
        waiting, given = _in_turn(now_utc_s, jobs, by_scheduler)
        gpus = self._gpus(now_utc_s, [job for job in jobs if job.started_utc_s is not None])
        if gpus is None:
            return {job.id: given.get(job.id, now_utc_s) for job in waiting}
        starts: dict[str, float] = {}
        at_s = now_utc_s
        for job in waiting:
            if job.id not in given:
                at_s = starts[job.id] = gpus.wait_for(job.gpus, at_s)
            else:
                starts[job.id] = given[job.id]
                if not job.gpus:  # a reservation of power alone delays no other job
                    continue
                gpus.release_until(starts[job.id])
                at_s = max(at_s, starts[job.id])  # nobody behind it in the queue starts before it
            lasts_s = (1.0 if job.firm else 0.5) * (job.time_limit_s or UNLIMITED_S)
            gpus.take(job.gpus, starts[job.id] + lasts_s)
        return starts

    def _gpus(self, now_utc_s: float, running: Sequence[KnownJob]) -> _Gpus | None:
        """The GPUs as running jobs use them; None where their number is not known."""
        if self.gpus_total is None:
            return None
        free = self.gpus_total - sum(job.gpus for job in running)
        return _Gpus(free, [(self._likely_end(job, now_utc_s), job.gpus) for job in running])

    def _likely_end(self, job: KnownJob, now_utc_s: float) -> float:
        assert job.started_utc_s is not None
        limit_s = max(LEAST_S, job.time_limit_s or UNLIMITED_S)
        if job.firm:
            return max(now_utc_s, job.started_utc_s + limit_s)
        elapsed = (now_utc_s - job.started_utc_s) / limit_s
        ended = bisect.bisect_right(self._ratios, elapsed)
        rest = len(self._ratios) - ended
        ratio = self._ratios[ended + rest // 2] if rest else 1.0
        return max(now_utc_s, job.started_utc_s + ratio * limit_s)


def _in_turn(now_utc_s: float, jobs: Sequence[KnownJob], by_scheduler: bool) -> tuple[list[KnownJob], dict[str, float]]:
    """The jobs that wait, in the order in which they take GPUs, and the starts that are given.

    Those that the scheduler has planned come before those that it has not.
    """
    waiting = [job for job in jobs if job.started_utc_s is None]
    waiting.sort(key=lambda j: (j.submitted_utc_s, j.id))
    given = {j.id: max(now_utc_s, at_s) for j in waiting if (at_s := _given_start(j, by_scheduler)) is not None}
    if by_scheduler:
        waiting.sort(key=lambda j: (0, given[j.id]) if j.expected_utc_s is not None else (1, 0.0))
    return waiting, given


def _given_start(job: KnownJob, by_scheduler: bool) -> float | None:
    """When a waiting job starts by a reservation, or else as the scheduler expects."""
    return job.announced_utc_s if job.announced_utc_s is not None or not by_scheduler else job.expected_utc_s


def _longer(ratios: ndarray, than: ndarray) -> ndarray:
    """Share of jobs that run longer than that much of their limit; one that used it all is always counted in."""
    return (len(ratios) - ratios.searchsorted(than, side="right") + 1) / (len(ratios) + 1)


class _Gpus:
    """The site's GPUs: how many are free, and when those in use are expected to be free again."""

    def __init__(self, free: int, ends: list[tuple[float, int]]) -> None:
        """`ends`: (POSIX seconds, number of GPUs) of each running job."""
        self._free, self._ends = free, sorted(ends)  # a heap

    def release_until(self, utc_s: float) -> None:
        """Release the GPUs of jobs that are expected to end by that time."""
        while self._ends and self._ends[0][0] <= utc_s:
            self._free += heapq.heappop(self._ends)[1]

    def wait_for(self, gpus: int, at_s: float) -> float:
        """Advance from `at_s` until that many GPUs are free, or no more job ends. Returns the time."""
        while gpus > self._free and self._ends:
            end_s, freed = heapq.heappop(self._ends)
            at_s, self._free = max(at_s, end_s), self._free + freed
        return at_s

    def take(self, gpus: int, until_s: float) -> None:
        """Use some up to a time."""
        self._free -= gpus
        heapq.heappush(self._ends, (until_s, gpus))
