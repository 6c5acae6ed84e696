"""Keeps the peaks of every charge on peaks, and says which of them limits an interval.

Each charge has its own periods, windows and peaks (`month_peaks`). An interval may reach at no cost what is free by
each charge that counts in it: the lowest of these levels. A charge that does not count in it sets none; where none
counts, the level of the main charge, the first, is told, and only the contracted peak is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import msgspec

from dispatch.billing.demand_charge import ChargeTerms, IntervalAccount, billed_eur, interval_account
from dispatch.billing.month_peaks import MonthPeaks, MonthSoFar
from dispatch.config.demand_terms import DemandTerms
from dispatch.model.charge_levels import ChargeLevel, ChargesNow
from dispatch.model.plan import Plan

DAY_S = 86_400
Places = tuple[IntervalAccount, ...]  # of one interval: where it belongs by each charge


class PeakMemory(msgspec.Struct, frozen=True):
    """What of one charge's peaks must survive a restart."""

    period: str = ""  # "2025-09" in the site's time zone; empty: nothing is known
    so_far: MonthSoFar = MonthSoFar()
    earlier: dict[str, MonthSoFar] = {}  # other periods the clock was in, the latest last


class Limit(NamedTuple):
    """What an interval may reach at no cost, W, and the charge that says so."""

    w: float
    terms: DemandTerms


def places(charges: Sequence[DemandTerms], timezone: str, utc_s: float) -> Places:
    """Where the metering interval that begins at `utc_s` belongs by each charge."""
    return tuple(interval_account(terms, timezone, utc_s) for terms in charges)


@lru_cache(maxsize=8)  # asked at every tick of an interval
def counting_until(charges: tuple[DemandTerms, ...], timezone: str, start_utc_s: float, length_s: int) -> float | None:
    """When the first interval begins that does not count towards the same charges; None: not within a day."""

    def counting(utc_s: float) -> list[bool]:
        return [at.counts for at in places(charges, timezone, utc_s)]

    now, ahead = counting(start_utc_s), (start_utc_s + length_s * k for k in range(1, DAY_S // length_s + 1))
    return next((utc_s for utc_s in ahead if counting(utc_s) != now), None)


class ChargePeaks:
    """The peaks of each charge, in the order of the charges; the main one first."""

    def __init__(self, charges: Sequence[DemandTerms], contract_w: float) -> None:
        self.charges, self._contract_w = tuple(charges), contract_w
        self._each = tuple(MonthPeaks(terms) for terms in self.charges)

    @property
    def main(self) -> MonthPeaks:
        """Those of the main charge."""
        return self._each[0]

    def memory(self) -> dict[str, PeakMemory]:
        """What to keep for a restart, by charge."""
        return {
            terms.id: PeakMemory(months.month, months.now, months.earlier)
            for terms, months in zip(self.charges, self._each, strict=True)
        }

    def restore(self, kept: dict[str, PeakMemory]) -> None:
        """Take over what an earlier process knew."""
        for months, one in self._matched(kept):
            months.restore(one.period, one.so_far, one.earlier)

    def recover(self, kept: dict[str, PeakMemory]) -> None:
        """Join what an earlier process knew to what is known by now."""
        for months, one in self._matched(kept):
            months.recover(one.period, one.so_far, one.earlier)

    def _matched(self, kept: dict[str, PeakMemory]) -> list[tuple[MonthPeaks, PeakMemory]]:
        """The peaks of each charge that is known.

        A site with one charge before and after has the same one, however it is called, if it counts at all times: the
        peak of other hours than its own would be free. The demand charge of [tariff], once charges are listed, is the
        first that counts at all times.
        """
        if len(self._each) == len(kept) == 1 and not self.charges[0].windows:
            return [(self.main, next(iter(kept.values())))]
        ids = [terms.id for terms in self.charges]
        if "" in kept and "" not in ids:
            always = next((terms.id for terms in self.charges if not terms.windows), None)
            kept = kept if always is None else {**kept, always: kept[""]}
        pairs = [(months, kept.get(id)) for id, months in zip(ids, self._each, strict=True)]
        return [(months, one) for months, one in pairs if one is not None]

    def copy(self) -> ChargePeaks:
        """The same, to go on from."""
        other = ChargePeaks(self.charges, self._contract_w)
        other._each = tuple(months.copy() for months in self._each)
        return other

    def enter(self, at: Places) -> None:
        """Be in the periods of an interval."""
        for months, place in zip(self._each, at, strict=True):
            months.enter(place.period)

    def raise_peak(self, mean_w: float, measured_s: float, at: Places | None) -> None:
        """Take in an interval: its mean is proven to be at least `mean_w`."""
        for months, place in zip(self._each, at or (None,) * len(self._each), strict=True):
            months.raise_peak(mean_w, measured_s, place)

    def take_back(self) -> None:
        """The last interval taken in was not what it seemed: as if it had not been."""
        for months in self._each:
            months.take_back()

    def _free_w(self, terms: DemandTerms, months: MonthPeaks, place: IntervalAccount | None) -> float:
        """What such an interval may reach at no cost by one charge: the contract, where its peak is not billed."""
        free_w = months.free_w(place)
        return max(free_w, self._contract_w) if self._spared(terms, months) else free_w

    def _spared(self, terms: DemandTerms, months: MonthPeaks) -> bool:
        """Whether the peak is not billed as things stand: that of an individual fee's windows is, in place of it."""
        if not isinstance(terms, ChargeTerms) or terms.gap is None:
            return False
        of = next(peaks for other, peaks in zip(self.charges, self._each, strict=True) if other.id == terms.gap.of)
        return terms.gap.reached(months.now.peak_w, of.now.peak_w)

    def _replaced(self) -> set[str]:
        """Of each individual fee the charge that is not billed as things stand."""
        pairs = zip(self.charges, self._each, strict=True)
        gaps = [(t, t.gap, months) for t, months in pairs if isinstance(t, ChargeTerms) and t.gap is not None]
        return {terms.id if self._spared(terms, months) else gap.of for terms, gap, months in gaps}

    def limit(self, at: Places | None) -> Limit:
        """The interval mean that costs nothing: the lowest of the charges that count; of the main one if none does."""
        of = at or (None,) * len(self._each)
        free = [
            (place is not None and place.counts, Limit(self._free_w(terms, months, place), terms))
            for terms, months, place in zip(self.charges, self._each, of, strict=True)
        ]
        return min((limit for counts, limit in free if counts), key=lambda limit: limit.w, default=free[0][1])

    def planned_w(self, plan: Plan, at: Places | None) -> float:
        """The mean that a plan means such an interval to keep, W; what costs nothing, where that is higher.

        The lowest of the charges that count. A plan has a target for each charge, so that the right one holds at once
        when a window begins or ends.
        """
        if not plan.targets_w or at is None:
            return max(plan.peak_target_w, self.limit(at).w)
        each = zip(self.charges, self._each, at, strict=True)
        return min(
            (
                max(plan.targets_w.get(terms.id, plan.peak_target_w), self._free_w(terms, months, place))
                for terms, months, place in each
                if place.counts
            ),
            default=plan.peak_target_w,
        )

    def levels(self, at: Places | None) -> tuple[ChargeLevel, ...]:
        """What each charge leaves free, in its running period."""
        of = at or (None,) * len(self._each)
        return tuple(
            ChargeLevel(
                terms.id,
                place is not None and place.counts,
                self._free_w(terms, months, place),
                self._free_w(terms, months, place) if self._spared(terms, months) else months.next_free_w(place),
                months.billed_w(place),
                months.now.added,
            )
            for terms, months, place in zip(self.charges, self._each, of, strict=True)
        )

    def now(self, at: Places, until_utc_s: float | None) -> ChargesNow | None:
        """Which charge limits such an interval, and what all bill so far; None where no charges are listed."""
        if not any(terms.id for terms in self.charges):
            return None
        limit, counts = self.limit(at), any(place.counts for place in at)
        each = zip(self.charges, self._each, at, strict=True)
        replaced = self._replaced()
        billed = [
            billed_eur(terms, place.period, months.billed_w(place))
            for terms, months, place in each
            if terms.id not in replaced
        ]
        id = (limit.terms.id or "demand") if counts else ""
        return ChargesNow(id, limit.w, until_utc_s, sum(billed), len(billed))
