"""Tells which of two prices holds in a year: that of many full-load hours, or that of few."""

from __future__ import annotations

from datetime import date

from dispatch.billing.charges.stretch import Stretch
from dispatch.config.charges import Charge
from dispatch.model.reasons import Reason


def holds_in_year(charge: Charge, stretch: Stretch, year: int, metering_s: int) -> tuple[bool, tuple[Reason, ...]]:
    """Whether a charge holds in a calendar year, and what of the year that is judged by."""
    low, high = charge.full_load_h_from, charge.full_load_h_below
    if low is None and high is None:
        return True, ()
    hours, days = full_load_hours(stretch, year, metering_s)
    holds = (low is None or hours >= low) and (high is None or hours < high)
    of_days = (date(year + 1, 1, 1) - date(year, 1, 1)).days
    return holds, (Reason("invoice.full_load_h", {"hours": hours, "days": days, "of_days": of_days}),)


def full_load_hours(stretch: Stretch, year: int, metering_s: int) -> tuple[float, int]:
    """Imported energy of a year / its highest metering interval, h, and how many of its days are in the stretch.

    Where days are missing, their energy is taken to be the mean of the others.
    """
    import numpy as np

    intervals = stretch.intervals(metering_s)
    inside = intervals.times.by_day(lambda day: day.year == year).astype(bool)
    if not inside.any() or not intervals.kw[inside].max() > 0:
        return 0.0, 0
    length_s = int(np.count_nonzero(inside)) * metering_s
    days = sum(day.year == year for day in intervals.times.days)
    year_s = 86400 * (date(year + 1, 1, 1) - date(year, 1, 1)).days
    mean_kw, highest_kw = float(intervals.kw[inside].mean()), float(intervals.kw[inside].max())
    return mean_kw / highest_kw * max(length_s, year_s) / 3600, days
