"""Keeps the peaks of the months: of the bill's periods, and where days are averaged of their highest days.

Where a peak must have been reached several times (`occurs`), the last of so many highest intervals is the peak.

By month, so that a clock that is wrong for a while changes nothing. A peak is a lower bound, "at least": only energy
that is proven raises it; `measured_s` is how much of the month was measured.
"""

from __future__ import annotations

from calendar import monthrange

import msgspec

from dispatch.billing.demand_charge import ChargeTerms, IntervalAccount, billed_w, free_w, quantity_w
from dispatch.billing.excess import measure
from dispatch.config.demand_terms import DemandTerms

MONTHS = 25  # months whose peaks are kept: those the clock was in last; two years are evidence for the running one
LEAST_MEASURED = 0.9  # of a month: less of it says nothing of what it was billed
PARTS_S = 7200.0  # a register may still fill an interval that is over by so much


class MonthSoFar(msgspec.Struct, frozen=True):
    """What is known of one month's complete intervals."""

    peak_w: float = 0.0  # at least; of the intervals that count
    measured_s: float = 0.0
    days_w: dict[str, float] = {}  # where days are averaged: the peaks of the highest days, and of the latest
    added: float = 0.0  # where what is above a contract adds up: W, W^2 or h of it (`dispatch.billing.excess`)
    reached_w: dict[str, dict[str, float]] = {}  # where a peak counts as far as several intervals reached it: the
    # highest intervals of each account, by their begin, UTC s


class MonthPeaks:
    """The months, the one the clock is in last."""

    def __init__(self, terms: DemandTerms) -> None:
        self._terms = terms
        self._months: dict[str, MonthSoFar] = {}  # by "2025-09"; the one the clock was in last comes last
        self.month = ""
        self._before: tuple[str, MonthSoFar] | None = None  # a month before the last interval was taken in
        self._parts_w: dict[float, float] = {}  # where the charge's intervals are longer: the meter's latest, by start

    def restore(self, month: str, so_far: MonthSoFar, earlier: dict[str, MonthSoFar]) -> None:
        """Take over what an earlier process knew. Without days, the peak is that of a day that is not known."""
        self._months = dict(earlier)
        if month:
            peak_w = max(so_far.peak_w, 0.0)
            days_w = so_far.days_w or ({"": peak_w} if peak_w and self._terms.top_days > 1 else {})
            measured_s, added = max(so_far.measured_s, 0.0), max(so_far.added, 0.0)
            self._months[month] = MonthSoFar(peak_w, measured_s, days_w, added, so_far.reached_w)
            self.enter(month)

    def recover(self, month: str, so_far: MonthSoFar, earlier: dict[str, MonthSoFar]) -> None:
        """Join what an earlier process knew to what is known by now: of each month and day, the higher peak."""
        kept = MonthPeaks(self._terms)
        kept.restore(month, so_far, earlier)
        months, now = kept._months, self.month
        if self._before is not None:
            self._before = (self._before[0], _joined(self._before[1], months.get(self._before[0]), self._occurs))
        self._months = months | {
            name: _joined(ours, months.get(name), self._occurs) for name, ours in self._months.items()
        }
        if now:
            self.enter(now)

    def copy(self) -> MonthPeaks:
        """The same, to go on from."""
        other = MonthPeaks(self._terms)
        other._months, other.month, other._before = dict(self._months), self.month, self._before
        other._parts_w = dict(self._parts_w)
        return other

    @property
    def now(self) -> MonthSoFar:
        """What is known of the month the clock is in."""
        return self._months.get(self.month, MonthSoFar())

    @property
    def earlier(self) -> dict[str, MonthSoFar]:
        """The other months, the latest last."""
        return {month: kept for month, kept in self._months.items() if month != self.month}

    def enter(self, month: str) -> None:
        """Be in `month`, with what is known of it; forget the month the clock was in the longest ago."""
        self.month = month
        self._months[month] = self._months.pop(month, MonthSoFar())
        while len(self._months) > MONTHS:
            del self._months[next(iter(self._months))]

    def raise_peak(self, mean_w: float, measured_s: float, at: IntervalAccount | None) -> None:
        """Take in an interval: its mean is proven to be at least `mean_w`. Its month is the clock's, or one before."""
        month = at.period if at is not None and at.period in self._months else self.month
        so_far = self._months.get(month, MonthSoFar())
        self._before = (month, so_far)
        added = so_far.added
        if at is not None:
            before_w, mean_w = self._whole_w(mean_w, at)
            added += self._added(before_w, mean_w, at)
        mean_w = at.weight * mean_w if at is not None and at.counts else mean_w if at is None else 0.0
        reached_w, days_w = so_far.reached_w, so_far.days_w
        if self._occurs > 1:
            mean_w, reached_w = self._often_w(mean_w, reached_w, at)
        if at is not None and self._terms.top_days > 1:
            days_w = self._with_day(days_w, at.account, mean_w)
            reached_w = {day: found for day, found in reached_w.items() if day in days_w}
        peak_w, measured_s = max(so_far.peak_w, mean_w), so_far.measured_s + measured_s
        self._months[month] = MonthSoFar(peak_w, measured_s, days_w, added, reached_w)

    def _with_day(self, days_w: dict[str, float], day: str, mean_w: float) -> dict[str, float]:
        """The peaks of the highest other days, and that of a day with an interval of such a mean, W."""
        today_w = max(days_w.get(day, 0.0), mean_w)
        highest = sorted(((w, other) for other, w in days_w.items() if other != day), reverse=True)
        return {other: w for w, other in highest[: self._terms.top_days]} | {day: today_w}

    @property
    def _occurs(self) -> int:
        """So many intervals must reach a peak."""
        return self._terms.charge.occurs if isinstance(self._terms, ChargeTerms) else 1

    def _often_w(
        self, mean_w: float, reached_w: dict[str, dict[str, float]], at: IntervalAccount | None
    ) -> tuple[float, dict[str, dict[str, float]]]:
        """(what its account's peak is by now; the highest intervals), with an interval of such a mean, W."""
        if at is None or not isinstance(self._terms, ChargeTerms) or not at.counts:
            return 0.0, reached_w
        begin = f"{at.start_utc_s // self._terms.interval_s * self._terms.interval_s:.0f}"
        known_w = reached_w.get(at.account, {})
        found_w = _highest({**known_w, begin: max(mean_w, known_w.get(begin, 0.0))}, self._occurs)
        return _reached_w(found_w, self._occurs), {**reached_w, at.account: found_w}

    def take_back(self) -> None:
        """The last interval taken in was not what it seemed: as if it had not been."""
        if self._before is not None:
            month, so_far = self._before
            self._months[month], self._before = so_far, None
            if self._parts_w:
                self._parts_w.popitem()

    def _added(self, before_w: float, mean_w: float, at: IntervalAccount) -> float:
        """What an interval adds that was known to have a mean, W, of this before, and has this now."""
        terms = self._terms
        if not isinstance(terms, ChargeTerms) or not terms.adds or not at.counts:
            return 0.0
        hours = terms.interval_s / 3600
        before, now = (measure(terms.adds, max(0.0, w - terms.floor_w), hours) for w in (before_w, mean_w))
        return max(0.0, now - before)

    def _whole_w(self, mean_w: float, at: IntervalAccount) -> tuple[float, float]:
        """The mean of the charge's interval that one of the meter's is a part of, W: at least, by the parts before this
        one was taken in, and with it.
        """
        terms = self._terms
        if not isinstance(terms, ChargeTerms) or (terms.parts == 1 and not terms.adds):
            return 0.0, mean_w
        was_w = self._parts_w.pop(at.start_utc_s, 0.0)
        known_w = max(mean_w, was_w)
        recent = {start: w for start, w in self._parts_w.items() if abs(start - at.start_utc_s) < PARTS_S}
        self._parts_w = {**recent, at.start_utc_s: known_w}
        number = at.start_utc_s // terms.interval_s
        whole_w = sum(w for start, w in self._parts_w.items() if start // terms.interval_s == number) / terms.parts
        return whole_w - (known_w - was_w) / terms.parts, whole_w

    def free_w(self, at: IntervalAccount | None) -> float:
        """The mean of such an interval that costs nothing, W; see `dispatch.billing.demand_charge.free_w`.

        Where what is above a contract adds up, the contract: one interval above it frees no other.
        """
        if self._terms.adds:
            return self._terms.floor_w
        others_w, own_w = self._days(at)
        return _unweighted_w(free_w(self._terms, others_w, own_w), at)

    def next_free_w(self, at: IntervalAccount | None) -> float:
        """The same for a later day of this month, W."""
        if self._terms.adds:
            return self._terms.floor_w
        others_w, own_w = self._days(at)
        return _unweighted_w(free_w(self._terms, [*others_w, own_w]), at)

    def billed_w(self, at: IntervalAccount | None) -> float:
        """What this month is billed so far, W: at least. Of what adds up see `demand_charge.quantity_w`."""
        if self._terms.adds:
            return quantity_w(self._terms, self.now.added)
        others_w, own_w = self._days(at)
        return billed_w(self._terms, [*others_w, own_w])

    def billed_before_w(self) -> dict[str, float]:
        """What each month before this one came to by its own peaks, W, of those that were measured almost whole."""
        before = ((name, kept) for name, kept in self.earlier.items() if name < self.month)
        return {
            name: billed_w(self._terms, kept.days_w.values() or [kept.peak_w])
            for name, kept in before
            if kept.measured_s >= LEAST_MEASURED * _length_s(name)
        }

    def _days(self, at: IntervalAccount | None) -> tuple[list[float], float]:
        """The peaks that today's joins, and today's own so far; where only the highest counts, all are one."""
        months = [self.now]
        if self._terms.rolling:
            months += [kept for name, kept in self._months.items() if _year_before(self.month) < name < self.month]
        if self._terms.top_days == 1:
            return [month.peak_w for month in months], 0.0
        days_w: dict[str, float] = {}
        for day, w in (item for month in months for item in month.days_w.items()):
            days_w[_peak_name(day)] = max(w, days_w.get(_peak_name(day), 0.0))
        own_w = days_w.pop(_peak_name(at.account), 0.0) if at is not None else 0.0
        return list(days_w.values()), own_w


def _length_s(period: str) -> float:
    """Of a month "2025-09", or of a year."""
    days = monthrange(int(period[:4]), int(period[5:7]))[1] if len(period) == len("2025-09") else 365
    return 86_400.0 * days


def _peak_name(account: str) -> str:
    """The day or week of an account: a week over two months of a rolling year is one peak."""
    return account.rpartition("|")[2]


def _year_before(month: str) -> str:
    """The same month of the year before, "2025-09": those after it are in the rolling year."""
    return f"{int(month[:4]) - 1:04d}{month[4:]}" if month else ""


def _unweighted_w(w: float, at: IntervalAccount | None) -> float:
    """The mean, W, of an interval of this weight: peaks are kept weighted."""
    return w / at.weight if at is not None and at.weight > 0 else w


def _highest(means_w: dict[str, float], count: int) -> dict[str, float]:
    """So many of these intervals, the highest first."""
    return dict(sorted(means_w.items(), key=lambda item: -item[1])[:count])


def _reached_w(means_w: dict[str, float], count: int) -> float:
    """What so many of these intervals have reached, W."""
    return min(means_w.values()) if len(means_w) == count else 0.0


def _joined(ours: MonthSoFar, kept: MonthSoFar | None, occurs: int) -> MonthSoFar:
    """One month, measured by one process after the other."""
    if kept is None:
        return ours
    days_w = {day: max(ours.days_w.get(day, 0.0), kept.days_w.get(day, 0.0)) for day in kept.days_w | ours.days_w}
    measured_s, added = ours.measured_s + kept.measured_s, ours.added + kept.added
    reached_w = {
        account: _highest({**kept.reached_w.get(account, {}), **ours.reached_w.get(account, {})}, occurs)
        for account in (kept.reached_w | ours.reached_w)
    }
    days_w |= {day: max(days_w[day], _reached_w(found, occurs)) for day, found in reached_w.items() if day in days_w}
    peak_w = max(ours.peak_w, kept.peak_w, *(_reached_w(found, occurs) for found in reached_w.values()))
    return MonthSoFar(peak_w, measured_s, days_w, added, reached_w)
