"""Estimates from past days how likely each peak is exceeded, and so what a higher peak costs.

A level that few of the last days needed may still be needed later in the month, and one that all of them needed may
never be again, because loads come in spells. So three estimates from the same days have equal weight:

* each day to come is drawn independently from the days seen;
* the same, but with only as many draws as the days seen changed: a spell counts once, however long it was;
* the present spell continues, and ends as often as calm has ended before.

The latter two are as uncertain as so few days make them (beta-binomial); all count one more day that exceeded. A
fortnight makes nothing quite certain, so a rise is never free (`LEAST_SHARE`): otherwise charging would set, for next
to nothing, a peak that the month would not have had.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from dispatch.config.demand_terms import DemandTerms
from dispatch.config.schema import CapsConfig
from dispatch.model.forecast import QUARTER_S

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

HOURS = QUARTER_S / 3600
DAY = 96
RISES_TRIED = 64  # peaks whose price is worked out, of which the plan's program gets steps that end at these shares:
RISES_AT = (0.03, 0.1, 0.2, 0.35, 0.5, 0.7)
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


class PeakCost:
    """A convex price of peak above the month's, as a share of the demand price."""

    def __init__(self, peak_kw: float, widths_kw: Sequence[float], shares: Sequence[float]) -> None:
        import numpy as np

        self.peak_kw, self.widths_kw, self.shares = peak_kw, widths_kw, shares
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
    kept_eur_per_kwh: float,
) -> PeakCost:
    """What a higher peak than the month's costs, given the days still to come.

    Less, the likelier they exceed it anyway; and less what holding it would cost on each of them: a kW of peak keeps
    battery from earning `kept_eur_per_kwh` a day for as many hours as the net load was above it, and takes caps.
    `ways` are the days as they would have gone without caps and, where the site allows any, with them: an option that
    need not be used makes a low peak worth no less.
    """
    import numpy as np

    left, demand = max(0.0, days_left), terms.rise_eur_per_kw
    tops = [seen.top_and_tail_kw(peak_kw) for seen in ways]
    # above all loads nothing need be held
    ends = [top_kw + TAILS * tail_kw for top_kw, tail_kw in tops]
    edges = np.linspace(peak_kw, max(*ends, float(net_kw.max()) + 1.0), RISES_TRIED + 1)
    at = (edges[:-1] + edges[1:]) / 2
    above = (len(net_kw) - np.searchsorted(np.sort(net_kw), at, side="right")) / len(net_kw)  # share of the quarters
    kept = left * 24 * above * kept_eur_per_kwh / demand
    shares = np.zeros(RISES_TRIED)
    for seen, (top_kw, tail_kw) in zip(ways, tops, strict=True):
        upkeep = kept
        if seen.caps.max_share > 0:
            capped_h = np.interp(at, seen.grid_kw, -np.gradient(seen.short_kwh, seen.grid_kw))
            upkeep = kept + left * np.maximum(0.0, capped_h) * seen.caps.value_eur_per_kwh / demand
        beyond = np.exp(-np.maximum(0.0, at - top_kw) / tail_kw)  # above the highest peak seen they grow rarer evenly
        lasts = _likely_to_last(seen, terms.top_days, at, beyond, left)
        shares = np.maximum(shares, lasts * np.maximum(0.0, 1 - upkeep))
    shares = np.maximum.accumulate(np.maximum(shares, LEAST_SHARE))
    widths, means = [], []
    for begin, end in pairwise([0, *np.searchsorted(shares, RISES_AT).tolist(), RISES_TRIED]):
        widths.append(float(edges[end] - edges[begin]))
        means.append(float(shares[begin : max(end, begin + 1)].mean()) if begin < RISES_TRIED else float(shares[-1]))
    widths[-1] = 1e3
    return PeakCost(peak_kw, widths, means)


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


def _likely_to_last(seen: DayStatistics, count: int, at_kw: Floats, beyond: Floats, left: float) -> Floats:
    """How likely each peak is to be billed still after `left` days: the mean of the three readings of the days seen.

    beyond: of the one day more that went beyond, how much goes beyond each peak, 0..1.
    """
    import numpy as np

    kinds = (seen.draws, seen.overrun, seen.calm, seen.ended)
    draws, overrun, calm, ended = (np.interp(at_kw, seen.grid_kw, kind) for kind in kinds)
    alone = _binomial_fewer(count, (beyond + overrun * seen.days) / (seen.days + 1), left)
    over, under = beyond + overrun * draws, 1 - beyond + (1 - overrun) * draws
    alike = beta_binomial_fewer(count, over, under, left / seen.days * draws)
    on = beta_binomial_fewer(count, beyond + ended, 1 - beyond + calm - ended, left)
    lasts: Floats = (alone + alike + on) / 3
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
