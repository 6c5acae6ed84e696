"""Defines a power reservation: the power that a job may draw, and when."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    """Power that one job has been promised, above what the site draws without it."""

    id: str
    name: str  # for people; the id if the job gave none
    power_w: float
    start_utc_s: float  # granted
    end_utc_s: float
    latest_utc_s: float  # how long the job could have waited for its start
    who: str
    given_utc_s: float
    cluster: str = ""  # of the scheduler, with the job's id there; empty: the job gave none, its name stands for it
    job_id: str = ""
    restart: int = 0  # how often the scheduler had started the job again by then

    def of_job(self, name: str, cluster: str, job_id: str) -> bool:
        """Whether it is this job's: by the scheduler's id where both have one, else by the name that the job gave."""
        if job_id and self.job_id:
            return (self.cluster, self.job_id) == (cluster, job_id)
        return bool(name) and self.name == name

    def over(self, utc_s: float) -> bool:
        """Whether its time has passed."""
        return utc_s >= self.end_utc_s


def reserved_w(reservations: Iterable[Reservation], start_utc_s: float, end_utc_s: float) -> float:
    """Mean reserved power, W, between two instants; at one instant if both are the same."""
    span_s = end_utc_s - start_utc_s
    if span_s <= 0:
        return sum(r.power_w for r in reservations if r.start_utc_s <= start_utc_s < r.end_utc_s)
    return sum(
        r.power_w * max(0.0, min(end_utc_s, r.end_utc_s) - max(start_utc_s, r.start_utc_s)) / span_s
        for r in reservations
    )


def base_w(load_w: float, promised_w: float, before_w: float | None) -> float:
    """What of a load, W, is not the reserved jobs'.

    Nobody tells when a reserved job really starts, how much of its power it draws, or that it ended early. So the base
    stays as it was before as far as jobs that draw anything between nothing and all of `promised_w` explain the load.
    So it counts neither twice once it runs, nor as gone before it does. `before_w` None: nothing earlier is known,
    and the jobs are taken to draw all of it.
    """
    least_w = max(0.0, load_w - promised_w)
    return least_w if before_w is None else min(load_w, max(least_w, before_w))
