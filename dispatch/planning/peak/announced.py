"""Finds the peak that announced jobs make certain, however the battery is used: a floor of the month's peak today.

A job with reserved hours next week is no surprise then. The lowest import that a full battery could hold over all
announced jobs together, beside the lowest load and the highest sun of late, will be passed in any case if they draw
what was reserved. Up to there a higher peak costs nothing more now, so charging need not keep below it until then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from dispatch.config.schema import DispatchConfig
from dispatch.model.forecast import QUARTER_S
from dispatch.planning.peak.prior import held_peak_w

DAY = 96
FORESEEN_S = 31 * 86400.0  # as far as days to come are counted on


class AnnouncedJob(msgspec.Struct, frozen=True):
    """A job with reserved hours, POSIX seconds; its power, W, adds to what the site draws without it."""

    id: str
    start_utc_s: float
    end_utc_s: float
    power_w: float


class Announced(msgspec.Struct, frozen=True):
    """The announced jobs, and what they are set against at the least, W."""

    jobs: tuple[AnnouncedJob, ...]
    base_w: float  # the lowest load without them of the days remembered
    sun_w: tuple[float, ...]  # the highest PV of these days in each quarter hour of a day, from 0:00 UTC on


class CertainPeak(msgspec.Struct, frozen=True):
    """The peak, W, that announced jobs make certain."""

    least_w: float
    jobs: int
    first: AnnouncedJob  # the one that starts first


def certain_peak(
    announced: Announced,
    now_utc_s: float,
    until_utc_s: float,
    config: DispatchConfig,
    counts: Callable[[int], bool],
) -> CertainPeak | None:
    """The lowest peak with which the jobs announced until then can be supplied; None without any.

    `counts`: whether import in the quarter hour that begins at an instant counts towards the peak. Starts full.
    """
    until_s = min(until_utc_s, now_utc_s + FORESEEN_S)
    ahead = [job for job in announced.jobs if job.end_utc_s > now_utc_s and job.start_utc_s < until_s]
    if not ahead:
        return None
    first = min(ahead, key=lambda job: job.start_utc_s)
    begin = int(max(now_utc_s, first.start_utc_s) // QUARTER_S)
    end = -int(-min(until_s, max(job.end_utc_s for job in ahead)) // QUARTER_S)
    net_w = _with_jobs(announced, ahead, begin, end)
    path_w = [w if counts(QUARTER_S * (begin + k)) else -config.charge_w for k, w in enumerate(net_w)]
    return CertainPeak(held_peak_w(path_w, config), len(ahead), first)


def _with_jobs(announced: Announced, jobs: Iterable[AnnouncedJob], begin: int, end: int) -> Sequence[float]:
    """The least net load, W, in each quarter hour from `begin` to before `end`, numbered from 1970."""
    net_w = [announced.base_w - announced.sun_w[quarter % DAY] for quarter in range(begin, end)]
    for job in jobs:
        first = max(begin, int(job.start_utc_s // QUARTER_S))
        for quarter in range(first, min(end, -int(-job.end_utc_s // QUARTER_S))):
            start_s = QUARTER_S * quarter
            inside_s = min(job.end_utc_s, start_s + QUARTER_S) - max(job.start_utc_s, start_s)
            net_w[quarter - begin] += job.power_w * inside_s / QUARTER_S
    return net_w
