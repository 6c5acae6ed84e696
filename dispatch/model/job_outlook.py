"""Defines what is expected of the jobs in the queues: their power in the next quarter hours, and how many there are."""

from __future__ import annotations

from typing import Literal

import msgspec

from dispatch.model.forecast import QUARTER_S

StartBy = Literal["scheduler", "queue"]  # who says when a job starts: its scheduler, or our reading of the queue


SHOWN_STARTS = 50  # the largest, by power


class ExpectedStart(msgspec.Struct, frozen=True):
    """A waiting job that is expected to start."""

    job: str  # the scheduler's id: names and users are not for everybody
    start_utc_s: float
    end_utc_s: float  # at the latest, by its time limit
    power_w: float
    by: StartBy


class StartErrors(msgspec.Struct, frozen=True):
    """How late jobs started, s, against the start first expected: median, and what 10 and 90 % did not exceed."""

    by: StartBy
    jobs: int
    median_s: float
    low_s: float
    high_s: float


class JobCounts(msgspec.Struct, frozen=True):
    """The jobs of all queues that are read, by what is made of them. Powers above idle, W."""

    running: int = 0
    running_w: float = 0.0
    reserved: int = 0  # of those that run or wait: counted by their power reservation
    suspended: int = 0  # of those that run
    expected: int = 0  # wait, and are expected to start within the forecast
    expected_w: float = 0.0
    by_scheduler: int = 0  # of them, by the scheduler's own estimate
    first_start_utc_s: float | None = None  # of them
    later: int = 0  # wait, expected to start after it
    held: int = 0
    dependent: int = 0
    at_limit: int = 0
    unavailable: int = 0  # wait for something of which nobody says when it comes
    overdue: int = 0  # could have started for a while, and have not
    too_large: int = 0  # need more GPUs than the site is known to have, or more power than it can carry
    unlisted: int = 0  # wait behind all that were read
    unlimited: int = 0  # have no time limit, of those forecast
    assumed: int = 0  # of those forecast, whose like was never measured: their power is a default
    doubted: int = 0  # of those expected, whose users' jobs often do not come: they count for less
    doubted_w: float = 0.0  # by so much


class JobOutlook(msgspec.Struct, frozen=True, kw_only=True):
    """What the queues said at `utc_s`. Powers in W above idle, of jobs without a power reservation.

    The load forecast counts from the end of a quarter hour: it needs the jobs' power of late, as the load at that end
    holds it, and in each quarter after it. Both are here for the last end and for the one that comes next.
    """

    utc_s: float
    end_utc_s: int  # of the last quarter hour that was over
    late_w: float  # mean of the minutes before it
    next_late_w: float  # mean of the minutes before the next end, as far as the jobs that run now are concerned
    ahead_w: tuple[float, ...]  # from `end_utc_s` on, by quarter hour
    waiting_w: tuple[float, ...]  # of that, of jobs that wait
    counts: JobCounts = JobCounts()
    queues: int = 0  # that it is made from
    starts: tuple[ExpectedStart, ...] = ()  # of the largest of them, by power
    errors: tuple[StartErrors, ...] = ()
    stale: tuple[
        tuple[str, float], ...
    ] = ()  # schedulers whose queue is too old, and its age, s; their jobs are left out
    usual_shares: dict[str, float] = {}  # by scheduler: share of its time limit that nine of ten jobs run at least

    def known_w(self, end_utc_s: int, waiting: bool = True) -> tuple[float, ...] | None:
        """Power late in the quarter hour that ended then and in each one after it; None: not known from this outlook.

        `waiting` false: as if no waiting job ever started.
        """
        ahead_w = self.ahead_w
        if not waiting:
            ahead_w = tuple(w - waits_w for w, waits_w in zip(self.ahead_w, self.waiting_w, strict=True))
        if end_utc_s == self.end_utc_s:
            return (self.late_w, *ahead_w)
        if end_utc_s == self.end_utc_s + QUARTER_S:
            return (self.next_late_w, *ahead_w[1:])
        return None
