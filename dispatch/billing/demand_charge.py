"""Calculates the demand charge: which peak is billed, when import counts, what one more kW costs.

A bill period, a local calendar month or year, is billed the mean of its `top_days` highest daily peaks, and never less
than `floor_w`. A day's peak is the highest mean import of its metering intervals, of those only that begin in one of
the `windows` (none: always). Days that have not been yet count as 0, so what is billed so far is a lower bound that
only grows; a whole period has more days than `top_days`, so that nothing of this is left at its end.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from dispatch.billing.charges.accounts import interval_account as charge_account
from dispatch.billing.charges.accounts import period_days, period_label, price_parts, share_held
from dispatch.billing.charges.amounts import counted, priced
from dispatch.billing.charges.calendar import Calendar
from dispatch.billing.excess import HOURS, measure, quantity
from dispatch.config.charges import Charge
from dispatch.config.demand_terms import DemandTerms, Window, parsed
from dispatch.config.window_times import month_numbers
from dispatch.model.reasons import Reason


class Gap(NamedTuple):
    """By how much another charge's peak must be lower for a peak not to be billed: an individual fee is granted."""

    of: str  # id of the charge whose peak is billed then
    pct: float
    w: float

    def reached(self, peak_w: float, of_w: float) -> bool:
        """Whether it is, by the peaks so far; never before the other one was measured."""
        return 0 < of_w <= (1 - self.pct / 100) * peak_w and peak_w - of_w >= self.w


class ChargeTerms(DemandTerms, frozen=True, kw_only=True, cache_hash=True):
    """A charge of `[[tariff.charge]]` on peaks. The fields of `DemandTerms` say what a kW costs and what is free.

    `windows` has the ids of the charge's windows; `charge` and `calendar` say when they are.
    """

    id: str
    charge: Charge
    calendar: Calendar
    above: bool = False  # only what is above `floor_w` is billed
    adds: str = ""  # how that of each interval adds up: "sum", "root-sum-square", "hours"; "": the highest is billed
    tiers_w: tuple[tuple[float, float], ...] = ()  # from so many W on the price of a kW, where more is not dearer
    rolling: bool = False  # the peaks of the 11 months before are billed as well
    peak_floor_w: float = 0.0  # what each peak counts at least
    gap: Gap | None = None  # this peak is not billed once it is reached
    interval_s: int = 0  # length of the intervals whose means are billed; 0: the meter's
    parts: int = 1  # so many of the meter's intervals are one of those
    w_per_unit: float = 1000.0  # of a unit of the charge, kW or kVA
    eur_per_unit: float = 1.0  # EUR with VAT for one unit of the charge's currency without

    @property
    def of_one_bill(self) -> bool:
        """A peak is billed in its own month or year alone."""
        return self.charge.period in ("month", "year") and not self.charge.set_in


class IntervalAccount(NamedTuple):
    """Where a metering interval belongs."""

    period: str  # "2025-09", or "2025"
    day: str  # "2025-09-16"
    account: str  # whose highest interval it may be: the period's, or where days are averaged the day's; of a charge
    # that is listed the period's, or "2025-09|2025-W38"
    counts: bool  # it lies in a window
    weight: float = 1.0  # its mean counts so many times
    start_utc_s: float = 0.0  # of a charge that is listed


@lru_cache(maxsize=8)
def _calendar(windows: tuple[str, ...], timezone: str) -> tuple[tuple[Window, ...], ZoneInfo]:
    return parsed(windows), ZoneInfo(timezone)


@lru_cache(maxsize=8192)  # plans and bills ask for the same quarter hours again and again
def interval_account(terms: DemandTerms, timezone: str, utc_s: float) -> IntervalAccount:
    """Where the metering interval that begins at `utc_s` belongs, by local wall time: it follows the clock change."""
    if isinstance(terms, ChargeTerms):
        begin_s = utc_s // terms.interval_s * terms.interval_s if terms.interval_s else utc_s
        at = charge_account(terms.charge, terms.calendar, begin_s)
        day = datetime.fromtimestamp(utc_s, UTC).astimezone(ZoneInfo(timezone)).strftime("%Y-%m-%d")
        account = at.period if terms.top_days == 1 else f"{at.period}|{at.peak}"
        sets = not terms.charge.set_in or int(day[5:7]) in month_numbers(terms.charge.set_in)
        return IntervalAccount(at.period, day, account, at.counts and sets and at.weight > 0, at.weight, utc_s)
    windows, zone = _calendar(terms.windows, timezone)
    local = datetime.fromtimestamp(utc_s, UTC).astimezone(zone)
    minute = 60 * local.hour + local.minute
    counts = not windows or any(local.weekday() in w.weekdays and w.from_min <= minute < w.to_min for w in windows)
    day = local.strftime("%Y-%m-%d")
    period = day[:7] if terms.per == "month" else day[:4]
    return IntervalAccount(period, day, period if terms.top_days == 1 else day, counts)


def period_utc_s(terms: DemandTerms, timezone: str, utc_s: float) -> tuple[float, float]:
    """When the billed period that holds an instant begins, and when the next one does: local midnights, UTC s.

    A year begins when the charge says; where twelve months are billed together it is the month.
    """
    zone = ZoneInfo(timezone)
    day = datetime.fromtimestamp(utc_s, UTC).astimezone(zone).date()
    if isinstance(terms, ChargeTerms):
        first, after = period_days(terms.charge, period_label(terms.charge, day))
    elif terms.per == "month":
        first = day.replace(day=1)
        after = (first + timedelta(days=31)).replace(day=1)
    else:
        first, after = date(day.year, 1, 1), date(day.year + 1, 1, 1)
    return datetime.combine(first, time(), zone).timestamp(), datetime.combine(after, time(), zone).timestamp()


def period_of(terms: DemandTerms, account: str) -> str:
    """The period that an account belongs to."""
    if isinstance(terms, ChargeTerms):
        return account.partition("|")[0]
    return account[: len("2025-09")] if terms.per == "month" else account[: len("2025")]


def billed_w(terms: DemandTerms, peaks_w: Iterable[float]) -> float:
    """What a period is billed, of the peaks of its days (where only the highest counts, of any parts of it)."""
    highest = sorted((max(w, terms.peak_floor_w) for w in peaks_w), reverse=True)[: terms.top_days]
    count = max(len(highest), 1) if terms.rolling else terms.top_days
    return max(terms.floor_w, sum(highest) / count)


def demand_eur(terms: DemandTerms, w: float) -> float:
    """What so much demand costs by the price of a kW, EUR: with tiers, what they make of it."""
    if not isinstance(terms, ChargeTerms) or not terms.tiers_w:
        return w / 1000 * terms.eur_per_kw
    if terms.charge.tier_on == "whole":
        return w / 1000 * tier_eur_per_kw(terms, w)
    ends_w = [start_w for start_w, _ in terms.tiers_w[1:]]
    parts = zip(terms.tiers_w, [*ends_w, math.inf], strict=True)
    return sum(max(0.0, min(w, end_w) - start_w) / 1000 * price for (start_w, price), end_w in parts)


def tier_eur_per_kw(terms: DemandTerms, w: float) -> float:
    """The price of a kW of demand where it is so much: that of its tier."""
    if not isinstance(terms, ChargeTerms) or not terms.tiers_w:
        return terms.eur_per_kw
    return next((price for start_w, price in reversed(terms.tiers_w) if w >= start_w), 0.0)


def billed_eur(terms: DemandTerms, period: str, w: float) -> float:
    """What a period costs that is billed so much, EUR with VAT; of what adds up see `quantity_w`."""
    if not isinstance(terms, ChargeTerms):
        return w / 1000 * terms.eur_per_kw
    charge = terms.charge
    if terms.adds:
        above_w = w - terms.floor_w
        added = above_w / 1000 if terms.adds == HOURS else above_w / terms.w_per_unit
        return float(priced(charge, counted(added))) * terms.eur_per_unit
    quantity = w / terms.w_per_unit - ((charge.contract_kw or 0.0) if terms.above else 0.0)
    parts = price_parts(charge, period) * share_held(charge, period)
    return float(priced(charge, counted(quantity)) * parts) * terms.eur_per_unit


def quantity_w(terms: DemandTerms, added: float) -> float:
    """What has added up (W, W^2, h), as the demand, W, that one kW more of is billed: 1000 W for an hour."""
    return terms.floor_w + quantity(terms.adds, added) * (1000.0 if terms.adds == HOURS else 1.0)


def added_eur(terms: ChargeTerms, before: float, above: Iterable[tuple[float, float]]) -> float:
    """What intervals cost more, EUR, of a charge that adds up what is above its contract, after `before` (W, W^2, h).

    Each is (W above the contract, 0 or more; how many of the charge's intervals, such as 1/3 of one).
    """
    hours = terms.interval_s / 3600
    added = before + sum(share * measure(terms.adds, w, hours) for w, share in above)
    return (quantity_w(terms, added) - quantity_w(terms, before)) / 1000 * terms.rise_eur_per_kw


def billed_by_period_w(terms: DemandTerms, peaks_w: Mapping[str, float]) -> dict[str, float]:
    """The same for each period, of the peaks by account."""
    periods: dict[str, list[float]] = {}
    for account, w in peaks_w.items():
        periods.setdefault(period_of(terms, account), []).append(w)
    return {period: billed_w(terms, peaks) for period, peaks in periods.items()}


def free_w(terms: DemandTerms, others_w: Iterable[float], own_w: float = 0.0) -> float:
    """How high a day's peak may be, W, without raising what the period is billed.

    `own_w`: the day's peak so far; `others_w`: the peaks of the period's other days. The result is the highest of:

    * `own_w`;
    * the lowest of the `top_days` highest other days; 0 while there are fewer;
    * what the floor leaves: `top_days` x `floor_w` less the `top_days` - 1 highest other days, at most `floor_w`;
    * `peak_floor_w`, where each peak counts so much at least.

    Without that last limit a day early in the period could use what the floor leaves for days still to come.
    """
    highest = sorted(others_w, reverse=True)
    lowest_w = highest[terms.top_days - 1] if len(highest) >= terms.top_days else 0.0
    floor_room_w = terms.top_days * terms.floor_w - sum(highest[: terms.top_days - 1])
    return max(own_w, lowest_w, min(terms.floor_w, floor_room_w), terms.peak_floor_w)


def free_peak(terms: DemandTerms) -> Reason:
    """What `free_w` is called: the peak that there is, or where days are averaged what today's may reach."""
    if isinstance(terms, ChargeTerms):
        return Reason("peak.charge", {"charge": terms.id})
    if terms.top_days != 1:
        return Reason("peak.free_today")
    return Reason("peak.month") if terms.per == "month" else Reason("peak.year")


def in_words(terms: DemandTerms, interval_s: int) -> str:
    """The charge as a person would say it."""
    minutes, whose = interval_s // 60, f"the {terms.per}'s"
    what = f"{whose} highest {minutes}-minute mean"
    if terms.top_days > 1:
        what = f"the mean of {whose} {terms.top_days} highest days, of each its highest {minutes} minutes"
    text = f"{terms.eur_per_kw:g} EUR/kW on {what}"
    if terms.floor_w:
        text += f", at least {terms.floor_w / 1000:g} kW"
    return text + (f", {'; '.join(terms.windows)} only" if terms.windows else "")
