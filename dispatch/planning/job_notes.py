"""Says what a plan knows of the jobs in the queues, and how far its load forecast takes it into account."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

from dispatch.forecasting.load_errors import RESIDUALS_MIN
from dispatch.model.job_outlook import JobCounts, JobOutlook
from dispatch.model.reasons import Reason

JOBS_FOR_SPREAD = 5  # starts of fewer jobs do not tell within what four of five lie


def job_notes(
    outlook: JobOutlook, share: float | None, seen: float, zone: ZoneInfo, old_s: float | None = None
) -> list[Reason]:
    """What must be said of the jobs.

    `share`, `seen`: how much of what they change in an hour is in the forecast (`LoadForecaster.jobs_share`).
    `old_s`: the age of the outlook where that is too old to be used; then only this is told.
    """
    notes = [_too_old(scheduler, age_s) for scheduler, age_s in outlook.stale]
    if old_s is not None:
        return [Reason("plan.jobs_old", {"age_s": old_s})]
    if not outlook.queues:
        return notes
    said = list(_counted(outlook.counts, outlook.utc_s, zone))
    left_out = list(_left_out(outlook.counts))
    if left_out:
        said.append(Reason("jobs.left_out", {"said": left_out}))
    if share is None:
        said.append(Reason("jobs.not_learnt", {"seen": math.floor(seen), "needed": RESIDUALS_MIN}))
    else:
        said.append(Reason("jobs.share", {"share_pct": 100 * share}))
    notes.append(Reason("plan.jobs", {"said": said}))
    for errors in outlook.errors:
        low_min, median_min, high_min = errors.low_s / 60, errors.median_s / 60, errors.high_s / 60
        by = Reason("starts.scheduler") if errors.by == "scheduler" else Reason("starts.queue")
        if errors.jobs < JOBS_FOR_SPREAD:
            notes.append(Reason("plan.few_job_starts", {"by": by, "jobs": errors.jobs, "median_min": median_min}))
            continue
        notes.append(
            Reason(
                "plan.job_starts",
                {"by": by, "jobs": errors.jobs, "median_min": median_min, "low_min": low_min, "high_min": high_min},
            )
        )
    return notes


def _too_old(scheduler: str, age_s: float) -> Reason:
    if math.isinf(age_s):
        return Reason("plan.queue_unread", {"scheduler": scheduler})
    return Reason("plan.queue_old", {"scheduler": scheduler, "age_s": age_s})


def _counted(counts: JobCounts, now_utc_s: float, zone: ZoneInfo) -> Iterator[Reason]:
    """Those that are in the forecast."""
    yield Reason("jobs.running", {"jobs": counts.running, "power_w": counts.running_w})
    if counts.suspended:
        yield Reason("jobs.suspended", {"jobs": counts.suspended})
    if counts.first_start_utc_s is not None:
        at = local_time(counts.first_start_utc_s, now_utc_s, zone)
        yield Reason(
            "jobs.expected",
            {"jobs": counts.expected, "power_w": counts.expected_w, "at": at, "theirs": counts.by_scheduler},
        )
    if counts.assumed:
        yield Reason("jobs.assumed", {"jobs": counts.assumed})
    if counts.doubted:
        yield Reason("jobs.doubted", {"jobs": counts.doubted, "power_w": counts.doubted_w})
    if counts.reserved:
        yield Reason("jobs.reserved", {"jobs": counts.reserved})


def _left_out(counts: JobCounts) -> Iterator[Reason]:
    """Those that are not."""
    if counts.later:
        yield Reason("jobs.later", {"jobs": counts.later})
    if counts.held:
        yield Reason("jobs.held", {"jobs": counts.held})
    if counts.dependent:
        yield Reason("jobs.dependent", {"jobs": counts.dependent})
    if counts.at_limit:
        yield Reason("jobs.at_limit", {"jobs": counts.at_limit})
    if counts.unavailable:
        yield Reason("jobs.unavailable", {"jobs": counts.unavailable})
    if counts.too_large:
        yield Reason("jobs.too_large", {"jobs": counts.too_large})
    if counts.overdue:
        yield Reason("jobs.overdue", {"jobs": counts.overdue})
    if counts.unlisted:
        yield Reason("jobs.unlisted", {"jobs": counts.unlisted})


def local_time(utc_s: float, now_utc_s: float, zone: ZoneInfo) -> Reason:
    """A local time, with its day unless that is today."""
    then = datetime.fromtimestamp(utc_s, zone)
    local = then.isoformat(timespec="minutes")
    if then.date() == datetime.fromtimestamp(now_utc_s, zone).date():
        return Reason("time.today", {"local": local})
    return Reason("time.day", {"local": local})
