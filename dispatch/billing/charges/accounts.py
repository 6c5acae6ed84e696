"""Tells where an interval belongs for a charge: which period, which peak, whether it counts, and what a peak costs.

A period is billed the mean of its `top` highest peaks, and never less than `floor_kw`. A peak is the highest interval
of a day, week, month or of the period, and at least `peak_floor_kw`; of intervals only that lie in the charge's
windows, each times the weight of its month. Peaks that have not been yet count as 0: what is billed so far is a lower
bound that only grows. Only a rolling year is billed the mean of those peaks that there are.
"""

from __future__ import annotations

from calendar import isleap, monthrange
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from dispatch.billing.charges.calendar import Calendar, holds_on, in_force
from dispatch.config.charges import Charge
from dispatch.config.tariff_terms import TariffTerms
from dispatch.config.window_times import MONTHS, month_day


class IntervalAccount(NamedTuple):
    """Where an interval belongs."""

    period: str  # what is billed together: "2025-09", "2025", "2025-09-16"; a year from 1 October "2025-10-01"
    peak: str  # whose highest interval it may be: "2025-09-16", "2025-W38", "2025-09", or the period's
    counts: bool  # it lies in the charge's windows and dates
    weight: float  # of its month: 1.0 is 100 %


@lru_cache(maxsize=16384)  # control, plan and bill ask for the same quarter hours again and again
def interval_account(charge: Charge, calendar: Calendar, utc_s: float) -> IntervalAccount:
    """Where the interval that begins at `utc_s` belongs, by local wall time: it follows the clock change."""
    day = datetime.fromtimestamp(utc_s, UTC).astimezone(ZoneInfo(calendar.timezone)).date()
    at = day_account(charge, day)
    peak = f"{utc_s:.0f}" if charge.peaks_of == "interval" else at.peak
    return IntervalAccount(at.period, peak, in_force(charge, calendar, utc_s), at.weight)


class DayAccount(NamedTuple):
    """What the intervals of a local day have in common."""

    period: str
    peak: str  # where each interval is a peak of its own: the period's
    weight: float


@lru_cache(maxsize=8192)
def day_account(charge: Charge, day: date) -> DayAccount:
    """Period, peak and weight of a local day's intervals."""
    period = period_label(charge, day)
    weights = charge.month_weight_pct
    weight = 1.0 if weights is None else getattr(weights, MONTHS[day.month - 1]) / 100
    return DayAccount(period, _peak_label(charge, day) or period, weight)


def _peak_label(charge: Charge, day: date) -> str:
    if charge.peaks_of == "day":
        return day.isoformat()
    if charge.peaks_of == "week":
        year, week, _ = day.isocalendar()
        return f"{year}-W{week:02d}"
    return day.isoformat()[:7] if charge.peaks_of == "month" else ""


def period_label(charge: Charge, day: date) -> str:
    """The billed period of a local day; that of a rolling year is its last month."""
    if charge.period == "day":
        return day.isoformat()
    if charge.period != "year":
        return day.isoformat()[:7]
    month, of_month = month_day(charge.year_from)
    if (month, of_month) == (1, 1):
        return f"{day.year:04d}"
    year = day.year - ((day.month, day.day) < (month, of_month))
    return f"{year:04d}-{month:02d}-{of_month:02d}"


def period_days(charge: Charge, period: str) -> tuple[date, date]:
    """First day of a period, and the first day after it."""
    year, month, day = (*map(int, period.split("-")), 1, 1)[:3]
    first = date(year, month, day)
    if charge.period == "day":
        return first, first + timedelta(days=1)
    if charge.period == "year":
        return first, first.replace(year=year + 1)
    return first, first + timedelta(days=monthrange(year, month)[1])


def price_parts(charge: Charge, period: str) -> Fraction:
    """How many times the price is charged for a whole period: 1/12 of a yearly price for a month."""
    of = "month" if charge.period == "rolling-12" else charge.period
    per = charge.price_per or of
    if of == per:
        return Fraction(1)
    if {of, per} == {"month", "year"}:
        return Fraction(1, 12) if of == "month" else Fraction(12)
    first, after = period_days(charge, period)
    if per == "day":
        return Fraction((after - first).days)
    days = monthrange(first.year, first.month)[1] if per == "month" else 365 + isleap(first.year)
    return Fraction(1, days)


def share_held(charge: Charge, period: str) -> Fraction:
    """The share of a period's days on which the charge holds, by its first and last date."""
    first, after = period_days(charge, period)
    if not charge.from_date and not charge.to_date:
        return Fraction(1)
    days = (after - first).days
    return Fraction(sum(holds_on(charge, first + timedelta(days=n)) for n in range(days)), days)


def interval_s(charge: Charge, metering_interval_s: int) -> int:
    """Length of the intervals whose means are billed: the charge's, or the meter's."""
    return metering_interval_s if charge.interval_min is None else 60 * charge.interval_min


def billed_w(charge: Charge, peaks_w: Iterable[float]) -> float:
    """What a period is billed, W, of its weighted peaks."""
    least_w = 1000 * charge.peak_floor_kw
    highest = sorted((max(w, least_w) for w in peaks_w), reverse=True)[: charge.top]
    count = max(len(highest), 1) if charge.period == "rolling-12" else charge.top
    return max(1000 * charge.floor_kw, sum(highest) / count)


def free_w(charge: Charge, others_w: Iterable[float], own_w: float = 0.0) -> float:
    """How high a weighted peak may be, W, without raising what the period is billed.

    `own_w`: the peak so far; `others_w`: the other peaks of the period. The result is the highest of:

    * `own_w`;
    * the lowest of the `top` highest other peaks; 0 while there are fewer;
    * what the floor leaves: `top` x `floor_kw` less the `top` - 1 highest other peaks, at most `floor_kw`;
    * `peak_floor_kw`.

    Without that last limit a peak early in the period could use what the floor leaves for those still to come.
    """
    highest, floor_w = sorted(others_w, reverse=True), 1000 * charge.floor_kw
    lowest_w = highest[charge.top - 1] if len(highest) >= charge.top else 0.0
    floor_room_w = charge.top * floor_w - sum(highest[: charge.top - 1])
    return max(own_w, lowest_w, min(floor_w, floor_room_w), 1000 * charge.peak_floor_kw)


def eur_per_unit(charge: Charge, tariff: TariffTerms) -> float:
    """EUR for one unit of the charge's currency. Raises ValueError where no rate is stated."""
    currency = charge.currency or tariff.currency
    if currency == "EUR":
        return 1.0
    rate = tariff.eur_per.get(currency)
    if rate is None:
        expected = f"its rate in [tariff] eur_per, such as {{ {currency} = 0.1 }}"
        raise ValueError(f"charge {charge.id}: prices in {currency}: expected {expected}")
    return rate


def rise_eur_per_kw(charge: Charge, tariff: TariffTerms) -> float:
    """What one kW more of a peak costs, EUR, VAT included, once that peak is among those that are billed.

    With tiers the price of the highest; months are taken as a twelfth of a year, days as a thirtieth of a month.
    """
    of = "month" if charge.period == "rolling-12" else charge.period
    days = {"day": 1.0, "month": 365 / 12, "year": 365.0}
    price = charge.tiers[-1][1] if charge.tiers else charge.price
    adds_up = charge.kind == "excess" and charge.excess_by != "max"  # its price is for no time
    parts = 1.0 if adds_up else days[of] / days[charge.price_per or of]
    return price * parts / charge.top * eur_per_unit(charge, tariff) * (1 + charge.vat_pct / 100)
