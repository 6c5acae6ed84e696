"""Lays out what the charges on peaks add to the program of perfect foresight: columns, rows and their entries.

A charge on the highest mean, or on the mean of the highest of several days, has a `Demand`. One that adds up what each
interval has above its contract (`dispatch.billing.excess`) has `ExcessColumns`, an excess d for each interval:

* the sum is linear: exact;
* the root of the sum of squares is t >= sum(y), y >= d^2 / t for each interval, by tangents y >= 2 r d - r^2 t; after
  each solution those at its own ratios r = d / t join (Vielma et al., Math. Prog. Comp. 9, 2017);
* the hours above are priced for each kW by how far an interval is expected to be above, in turn by the last solution.
  That is no proof of the least cost: the cheapest bill of the solutions is taken.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from dispatch.billing.demand_charge import interval_account, period_of
from dispatch.billing.excess import HOURS, ROOT
from dispatch.billing.peak_charges import interval_length_s, own_accounts
from dispatch.config.demand_terms import DemandTerms
from dispatch.config.schema import DispatchConfig

NEAR_KW = 1e-3  # an excess below this is the solver's
HOURS_KW = 0.5  # added to an excess that costs by the hour: a price per kW stays finite
GAP = 1e-3  # of a root: nearer tangents are near enough
LEAST_RATIO = 0.05  # of the root, at which an interval without an excess has its first tangent
CHANGED = 0.05  # of an expected excess: prices that differ less are left


class Steps(Protocol):
    """What is known of the operation that foresight is compared with (`foresight.ReferenceSchedule`)."""

    @property
    def starts_utc_s(self) -> Sequence[int]: ...

    @property
    def paid_peak_w(self) -> Mapping[str, float]: ...


class Charged:
    """The intervals that count towards one charge on peaks, and their accounts."""

    def __init__(self, terms: DemandTerms, config: DispatchConfig, step_s: int, reference: Steps) -> None:
        self.terms, self.length_s = terms, interval_length_s(terms, config, step_s)
        self.paid_w = own_accounts(terms, reference.paid_peak_w)
        self.accounts = {account: period_of(terms, account) for account in self.paid_w}
        self.account_of: list[str] = []  # each interval's
        self._weights: list[float] = []  # each interval's
        self._steps: dict[int, list[int]] = {}
        for k, start_s in enumerate(reference.starts_utc_s):
            number = start_s // self.length_s
            at = interval_account(terms, config.timezone, number * self.length_s)
            if not at.counts:
                continue
            if number not in self._steps:
                self.account_of.append(at.account)
                self._weights.append(at.weight)
                self.accounts[at.account] = at.period
            self._steps.setdefault(number, []).append(k)

    def intervals(self) -> Iterator[tuple[list[int], str, float]]:
        """The steps of each interval, its account, and its weight."""
        return zip(self._steps.values(), self.account_of, self._weights, strict=True)


class Demand:
    """Where the demand's columns and rows lie, and the entries of its rows beyond those of the intervals.

    The intervals' rows say: mean import <= peak of its account. Where only the highest counts, the peak is what is
    billed. Else two kinds follow, all `<= 0`: peak - t - excess for each day, t + sum(excess) / n - billed.
    """

    def __init__(
        self, column: int, row: int, intervals: Sequence[str], accounts: Mapping[str, str], top_days: int
    ) -> None:
        periods, self.first_row = sorted(set(accounts.values())), row
        self.peak = {account: column + k for k, account in enumerate(sorted(accounts))}
        self.billed = self.peak
        self.entries: list[tuple[int, int, float]] = []  # column, row, value
        self.columns_end, self.rows_end = column + len(accounts), row + len(intervals)
        if top_days == 1:
            return
        excess = {account: self.columns_end + k for k, account in enumerate(self.peak)}
        mark = {period: self.columns_end + len(excess) + k for k, period in enumerate(periods)}
        self.billed = {period: of + len(periods) for period, of in mark.items()}
        self.columns_end += len(excess) + 2 * len(periods)
        rows = {period: self.rows_end + k for k, period in enumerate(periods)}
        for period, at in rows.items():
            self.entries += [(mark[period], at, 1.0), (self.billed[period], at, -1.0)]
        for at, (account, period) in enumerate(sorted(accounts.items()), self.rows_end + len(periods)):
            self.entries += [(self.peak[account], at, 1.0), (mark[period], at, -1.0), (excess[account], at, -1.0)]
            self.entries.append((excess[account], rows[period], 1.0 / top_days))
        self.rows_end += len(periods) + len(accounts)


class ExcessColumns:
    """One charge that adds up what each interval has above its contract. kW; prices in EUR.

    Columns: d for each interval; of a root also y for each interval, y of what is billed anyway, and t for each period.
    """

    def __init__(self, charged: Charged, net_kw: Sequence[float]) -> None:
        self._charged, self._by, self._price = charged, charged.terms.adds, charged.terms.rise_eur_per_kw
        self._floor_kw = charged.terms.floor_w / 1000 - (NEAR_KW if self._by == HOURS else 0.0)
        self.intervals = [(steps, account) for steps, account, _ in charged.intervals()]
        self._periods = sorted(charged.accounts)
        self._paid_kw = [max(0.0, charged.paid_w.get(p, 0.0) / 1000 - self._floor_kw) for p in self._periods]
        alone_kw = [sum(max(0.0, net_kw[t]) for t in steps) / len(steps) for steps, _ in self.intervals]
        self._expected_kw = [max(0.0, kw - self._floor_kw) for kw in alone_kw]
        self._tangents: list[tuple[int, int, float]] = []  # y's place among them, period, ratio
        self._column = self._row = 0
        if self._by == ROOT:
            self._touch(self._expected_kw, LEAST_RATIO)

    def place(self, column: int, row: int) -> tuple[int, int]:
        """Lay columns and rows out from here on; where they end."""
        self._column, self._row = column, row
        return column + len(self.prices()), row + len(self.limits())

    def prices(self) -> list[float]:
        """Of each column."""
        if self._by == ROOT:
            others = 2 * len(self.intervals) + len(self._periods)
            return [0.0] * others + [self._price] * len(self._periods)
        if self._by == HOURS:
            each = self._price * self._charged.length_s / 3600
            return [each / (kw + HOURS_KW) for kw in self._expected_kw]
        return [self._price] * len(self.intervals)

    def limits(self) -> list[float]:
        """What each row is at most."""
        limits = [self._floor_kw] * len(self.intervals)
        if self._by != ROOT:
            return limits
        first_paid = len(self.intervals)
        paid = [2 * r * self._paid_kw[p] if y >= first_paid else 0.0 for y, p, r in self._tangents]
        return [*limits, *(0.0 for _ in self._periods), *(-kw for kw in paid)]

    def entries(self, first_import: int) -> Iterator[tuple[int, int, float]]:
        """(column, row, value) of all rows; `first_import`: column of the first step's import."""
        count, periods = len(self.intervals), len(self._periods)
        for k, (steps, _) in enumerate(self.intervals):
            for t in steps:
                yield first_import + t, self._row + k, 1.0 / len(steps)
            yield self._column + k, self._row + k, -1.0
        if self._by != ROOT:
            return
        y, root = self._column + count, self._column + 2 * count + periods
        for place, period in self._places():
            yield y + place, self._row + count + period, 1.0
        for period in range(periods):
            yield root + period, self._row + count + period, -1.0
        for at, (place, period, ratio) in enumerate(self._tangents, self._row + count + periods):
            if place < count:
                yield self._column + place, at, 2 * ratio
            yield y + place, at, -1.0
            yield root + period, at, -ratio * ratio

    def _places(self) -> Iterator[tuple[int, int]]:
        """Of each y its place and its period: those of the intervals, then what is billed anyway."""
        of = {period: p for p, period in enumerate(self._periods)}
        yield from ((k, of[account]) for k, (_, account) in enumerate(self.intervals))
        yield from ((len(self.intervals) + p, p) for p in range(len(self._periods)))

    def refined(self, values: Sequence[float]) -> bool:
        """Take a solution's excesses in; whether another one may be better."""
        above_kw = [max(0.0, kw) for kw in values[self._column : self._column + len(self.intervals)]]
        if self._by == HOURS:
            pairs = list(zip(above_kw, self._expected_kw, strict=True))
            self._expected_kw = above_kw
            return any(abs(kw - was) > NEAR_KW + CHANGED * was for kw, was in pairs)
        if self._by != ROOT:
            return False
        first = self._column + 2 * len(self.intervals) + len(self._periods)
        roots = self._roots(above_kw)
        found = any(root - t > NEAR_KW + GAP * root for root, t in zip(roots, values[first:], strict=False))
        if found:
            self._touch(above_kw, 0.0)
        return found

    def _roots(self, above_kw: Sequence[float]) -> list[float]:
        squares = [kw * kw for kw in self._paid_kw]
        for place, period in self._places():
            if place < len(above_kw):
                squares[period] += above_kw[place] ** 2
        return [math.sqrt(square) for square in squares]

    def _touch(self, above_kw: Sequence[float], least: float) -> None:
        """Add the tangents at these excesses; with `least` those of intervals without any, too."""
        roots, each = self._roots(above_kw), [*above_kw, *self._paid_kw]
        for place, period in self._places():
            ratio = max(least, each[place] / roots[period] if roots[period] > 0 else 0.0)
            if ratio > 0 and (least or each[place] > NEAR_KW):
                self._tangents.append((place, period, ratio))
