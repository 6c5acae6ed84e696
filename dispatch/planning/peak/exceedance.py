"""Estimates from past days how likely each peak is exceeded, and so what a higher peak costs.

A level that few of the last days needed may still be needed later in the month, and one that all of them needed may
never be again, because loads come in spells. So three estimates from the same days have equal weight:

* each day to come is drawn independently from the days seen;
* the same, but with only as many draws as the days seen changed: a spell counts once, however long it was;
* the present spell continues, and ends as often as calm has ended before.

The latter two are as uncertain as so few days make them (beta-binomial); all count one more day that exceeded. A
fortnight makes nothing quite certain, so a rise is never free (`LEAST_SHARE`): otherwise charging would set, for next
to nothing, a peak that the month would not have had.

Earlier months' billed peaks (`BilledMonths`) are a fourth reading. Each month is one draw of how high a whole month
ends, again with one month more that exceeded; the days seen are a part of a draw, and so is what is left of the running
month. The readings of the days weigh as much as one month. A month that stayed below a level which recent days exceed
was one of another site: it counts there by the share of the days that did not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from dispatch.billing.billed_peaks import BilledPeak
from dispatch.config.demand_terms import DemandTerms
from dispatch.config.schema import CapsConfig
from dispatch.model.forecast import QUARTER_S
from dispatch.planning.peak.upkeep import Upkeep

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

HOURS = QUARTER_S / 3600
DAY = 96
RISES_TRIED = 64  # peaks whose price is worked out, of which the plan's program gets steps that end at these shares:
RISES_AT = (0.03, 0.1, 0.2, 0.35, 0.5, 0.7)
END_RANGE = (0.1, 0.9)  # four months of five end within
LEAST_SHARE = 0.02  # of the demand price, for every rise
TAILS = 4.0  # how far beyond the highest peak seen, in tails


class DayStatistics(NamedTuple):
    """For each of many peaks: the days on which battery and caps failed to hold it, and what they lacked."""

    newest: int  # quarter number after the last one summed up
    caps: CapsConfig  # counted on
    grid_kw: Floats  # the peaks
    overrun: Floats  # share of the days that failed
    draws: Floats  # spells of like days: so many of them tell something new
    calm: NDArray[np.intp]  # days before the last on which it did not fail,
    ended: NDArray[np.intp]  # and those of them on whose next it did
    short_kwh: Floats  # a day, at the AC terminals; with caps what they give of it
    rise_kw: Floats  # by how much import rose above it, day by day, the lowest first
    usual_kw: float  # the lowest peak that was never exceeded
    days: float

    def top_and_tail_kw(self, peak_kw: float) -> tuple[float, float]:
        """The highest peak known to occur, kW, and the width, kW, in which those above it grow rarer by a factor e."""
        import numpy as np

        top_kw = max(peak_kw + 1.0, self.usual_kw)
        middle_kw = float(np.interp(-0.5, -self.overrun, self.grid_kw))
        return top_kw, max(0.5, (top_kw - middle_kw) / float(np.log(self.days + 1)))

    def highest_kw(self, weights: Floats, soon_kw: Floats, levels_kw: Floats, days: float) -> Floats:
        """The mean rise above each level over the day to come and `days` more, each drawn from the days seen, kW.

        soon_kw: of each future of the day to come, and level; weights: how likely those are.
        """
        import numpy as np

        rises_kw = np.array([np.interp(levels_kw, self.grid_kw, day) for day in self.rise_kw])
        parts = np.diff((np.arange(len(rises_kw) + 1) / len(rises_kw)) ** days)  # the highest of them is this one
        highest_kw = np.maximum(soon_kw[:, None, :], rises_kw)
        mean_kw: Floats = weights @ np.tensordot(parts, highest_kw, axes=(0, 1))
        return mean_kw


class Period(NamedTuple):
    """How much of the running month or year is still to come, 0..1, and how long it is."""

    share_left: float
    length_days: float


WHOLE_MONTH = Period(1.0, 31.0)


class BilledMonths(NamedTuple):
    """What earlier months ended at, as far as the battery would have held them, and how much each says."""

    peaks_kw: Floats
    weights: Floats  # 0..1 each
    period: Period

    def reading(self, at_kw: Floats, seen: DayStatistics, top_kw: float, tail_kw: float) -> tuple[Floats, Floats]:
        """(how likely each level is not exceeded in what is left of the month, the weight of that in months).

        Above `top_kw`, and above all months, peaks grow rarer by a factor e within `tail_kw`.
        """
        import numpy as np

        overrun, part = np.interp(at_kw, seen.grid_kw, seen.overrun), min(1.0, seen.days / self.period.length_days)
        beyond = _beyond(at_kw, max(top_kw, float(self.peaks_kw.max())), tail_kw)
        higher = self.peaks_kw > at_kw[:, None]
        over = beyond + (higher * self.weights).sum(axis=1)
        under = (~higher * self.weights).sum(axis=1) * (1 - overrun)
        weight = over - beyond + under
        over, under = over + part * (overrun > 0), under + part * (overrun <= 0)
        lasts = beta_binomial_fewer(1, over, 1 - beyond + under, self.period.share_left)
        return lasts, weight


def summarise(newest: int, caps: CapsConfig, grid_kw: Floats, lack_kw: Floats, load_kw: Floats) -> DayStatistics:
    """Sum up whole days: for each quarter and peak what the battery lacked to hold it, kW; and each quarter's load."""
    import numpy as np

    days, levels = len(lack_kw) // DAY, len(grid_kw)
    rise_kw, short_kw = lack_kw, lack_kw
    if caps.max_share > 0:
        short_kw = np.minimum(lack_kw, caps.max_share * np.maximum(0.0, load_kw - caps.idle_w / 1000)[:, None])
        rise_kw = lack_kw - short_kw
    rise_kw = rise_kw.reshape(days, DAY, levels).max(axis=1)
    failed = rise_kw > 0
    overrun = failed.mean(axis=0)
    return DayStatistics(
        newest=newest,
        caps=caps,
        grid_kw=grid_kw,
        overrun=overrun,
        draws=1.0 + (failed[1:] != failed[:-1]).sum(axis=0),
        calm=(~failed[:-1]).sum(axis=0),
        ended=(~failed[:-1] & failed[1:]).sum(axis=0),
        short_kwh=short_kw.sum(axis=0) * HOURS / days,
        rise_kw=np.sort(rise_kw, axis=0),
        usual_kw=float(grid_kw[int(np.argmin(overrun))]),
        days=float(days),
    )


def billed_months(billed: Sequence[BilledPeak], taken_off_kw: float, period: Period) -> BilledMonths | None:
    """Earlier months; those from before the battery lowered by what it would have taken off. None without any."""
    import numpy as np

    if not billed:
        return None
    peaks_kw = [max(0.0, one.peak_w / 1000 - (0.0 if one.with_battery else taken_off_kw)) for one in billed]
    return BilledMonths(np.array(peaks_kw), np.array([one.weight for one in billed]), period)


class PeakCost:
    """A convex price of peak above the month's, as a share of the demand price."""

    def __init__(
        self,
        peak_kw: float,
        widths_kw: Sequence[float],
        shares: Sequence[float],
        ends_kw: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        """`ends_kw`: between which the month is likely (`END_RANGE`) to end."""
        import numpy as np

        self.peak_kw, self.widths_kw, self.shares, self.ends_kw = peak_kw, widths_kw, shares, ends_kw
        self._edges = peak_kw + np.concatenate([[0.0], np.cumsum(widths_kw)])
        self._totals = np.concatenate([[0.0], np.cumsum(np.array(widths_kw) * np.array(shares))])

    def total(self, kw: Floats) -> Floats:
        """kW, weighted by their shares, above the month's peak."""
        import numpy as np

        totals: Floats = np.interp(kw, self._edges, self._totals)
        return totals


def peak_cost(
    ways: Sequence[DayStatistics],
    terms: DemandTerms,
    net_kw: Floats,
    peak_kw: float,
    days_left: float,
    upkeep: Upkeep,
    billed: BilledMonths | None = None,
    certain_kw: float = 0.0,
) -> PeakCost:
    """What a higher peak than the month's costs, given the days still to come.

    Less, the likelier they exceed it anyway; and less what holding it would cost on each of them: what the battery
    then earns less on prices (`upkeep`), and caps.
    `ways` are the days as they would have gone without caps and, where the site allows any, with them: an option that
    need not be used makes a low peak worth no less. A peak up to `certain_kw` is exceeded in any case.
    """
    import numpy as np

    left, demand = max(0.0, days_left), terms.rise_eur_per_kw
    tops = [seen.top_and_tail_kw(peak_kw) for seen in ways]
    # above all loads nothing need be held
    highest_kw = float(billed.peaks_kw.max()) if billed is not None else 0.0
    ends = [max(top_kw, highest_kw) + TAILS * tail_kw for top_kw, tail_kw in tops]
    edges = np.linspace(peak_kw, max(*ends, float(net_kw.max()) + 1.0), RISES_TRIED + 1)
    at = (edges[:-1] + edges[1:]) / 2
    kept = left * upkeep.eur_per_kw_at(at) / demand
    shares = np.zeros(RISES_TRIED)
    for seen, (top_kw, tail_kw) in zip(ways, tops, strict=True):
        kept_up = kept
        if seen.caps.max_share > 0:
            capped_h = np.interp(at, seen.grid_kw, -np.gradient(seen.short_kwh, seen.grid_kw))
            kept_up = kept + left * np.maximum(0.0, capped_h) * seen.caps.value_eur_per_kwh / demand
        lasts = _likely_to_last(seen, terms.top_days, at, top_kw, tail_kw, left)
        if billed is not None:
            lasts = _with_months(lasts, billed.reading(at, seen, top_kw, tail_kw))
        lasts = np.where(at < certain_kw, 0.0, lasts)
        shares = np.maximum(shares, lasts * np.maximum(0.0, 1 - kept_up))
    lasts = np.maximum.accumulate(lasts)  # of the days as they go: the last of the ways
    shares = np.maximum.accumulate(np.maximum(shares, LEAST_SHARE))
    widths, means = [], []
    for begin, end in pairwise([0, *np.searchsorted(shares, RISES_AT).tolist(), RISES_TRIED]):
        widths.append(float(edges[end] - edges[begin]))
        means.append(float(shares[begin : max(end, begin + 1)].mean()) if begin < RISES_TRIED else float(shares[-1]))
    widths[-1] = 1e3
    low_kw, high_kw = np.interp(END_RANGE, lasts, at, left=peak_kw).tolist()
    return PeakCost(peak_kw, widths, means, (low_kw, high_kw))


def _binomial_fewer(count: int, chance: Floats, days: float) -> Floats:
    """The likelihood that fewer than `count` of `days` days go beyond, each with this chance (binomial)."""
    import numpy as np

    chance = np.minimum(chance, 1 - 1e-9)
    term: Floats = (1 - chance) ** days
    total = term
    for k in range(1, count):
        if days < k:
            break
        term = term * (days - k + 1) / k * chance / (1 - chance)
        total = total + term
    return total


def _beyond(at_kw: Floats, top_kw: float, tail_kw: float) -> Floats:
    """Of the one day or month more that went beyond, how much goes beyond each peak, 0..1.

    Above the highest peak seen they grow rarer evenly.
    """
    import numpy as np

    beyond: Floats = np.exp(-np.maximum(0.0, at_kw - top_kw) / tail_kw)
    return beyond


def _likely_to_last(
    seen: DayStatistics, count: int, at_kw: Floats, top_kw: float, tail_kw: float, left: float
) -> Floats:
    """How likely each peak is to be billed still after `left` days: the mean of the three readings of the days seen."""
    import numpy as np

    kinds, beyond = (seen.draws, seen.overrun, seen.calm, seen.ended), _beyond(at_kw, top_kw, tail_kw)
    draws, overrun, calm, ended = (np.interp(at_kw, seen.grid_kw, kind) for kind in kinds)
    alone = _binomial_fewer(count, (beyond + overrun * seen.days) / (seen.days + 1), left)
    over, under = beyond + overrun * draws, 1 - beyond + (1 - overrun) * draws
    alike = beta_binomial_fewer(count, over, under, left / seen.days * draws)
    on = beta_binomial_fewer(count, beyond + ended, 1 - beyond + calm - ended, left)
    lasts: Floats = (alone + alike + on) / 3
    return lasts


def _with_months(days: Floats, months: tuple[Floats, Floats]) -> Floats:
    """The mean of the days' readings, which weigh as one month, and that of earlier months, (reading, weight)."""
    reading, weight = months
    lasts: Floats = (days + weight * reading) / (1 + weight)
    return lasts


def beta_binomial_fewer(count: int, over: Floats, under: Floats, draws: float | Floats) -> Floats:
    """The likelihood that fewer than `count` of `draws` days go beyond: then today's counts.

    How likely each does is known from `over` days that did and `under` that did not, and no better: it is drawn from
    the Beta distribution that they leave (beta-binomial). `draws` need not be whole. Days that were higher already are
    not known here, so it is rather too much.
    """
    import numpy as np

    gamma = np.vectorize(math.lgamma, otypes=[float])
    under = np.maximum(under, 1e-9)
    term: Floats = np.exp(gamma(draws + under) + gamma(over + under) - gamma(draws + over + under) - gamma(under))
    total = term
    for k in range(1, count):
        term = term * np.maximum(0.0, draws - k + 1) / k * (over + k - 1) / np.maximum(draws - k + under, 1e-9)
        total = total + term
    return np.minimum(1.0, total)
