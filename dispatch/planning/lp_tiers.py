"""Solves a plan at the price of each tier that a charge on peaks may come to, and keeps the cheapest.

Where more is not dearer, or all of a demand has the price of its tier, what a peak costs is not convex: no one program
has it. At the price of one tier it is; so each is tried (`dispatch.evaluation.foresight` does the same), and of the
solutions the one is kept that costs least by all tiers. A rise that the period is likely to have anyway counts by its
share (`dispatch.planning.peak`). Weighted months are planned at the price of the tier that is reached.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product

import msgspec

from dispatch.billing.demand_charge import ChargeTerms, demand_eur
from dispatch.config.demand_terms import DemandTerms
from dispatch.model.charge_levels import ChargeLevel
from dispatch.planning.inputs import PlanInputs
from dispatch.planning.lp_excess import minimised_eur
from dispatch.planning.lp_model import RISES, Month, Problem, Solution
from dispatch.planning.lp_peaks import levels_of

MOST_WAYS = 4  # choices of tiers that a plan tries; beyond, the tiers that are reached

Solved = tuple[Problem, Solution]


def cheapest(inputs: PlanInputs, solved: Callable[[PlanInputs], Solved]) -> Solved:
    """The cheapest of the solutions, with the time of all. `solved`: one for inputs that name the tiers' prices."""
    ways = _ways(inputs)
    if len(ways) == 1:
        return solved(inputs)
    found = [solved(way) for way in ways]
    problem, solution = min(found, key=lambda pair: _all_eur(inputs, *pair))
    return problem, replace(solution, seconds=sum(one.seconds for _, one in found))


def _ways(inputs: PlanInputs) -> list[PlanInputs]:
    """The inputs with each choice of tiers."""
    each = [
        [(terms.id, price) for price in _prices(terms, level)]
        for terms, level in levels_of(inputs)
        if isinstance(terms, ChargeTerms) and terms.tiers_w and terms.charge.month_weight_pct is None
    ]
    if not each or math.prod(map(len, each)) > MOST_WAYS:
        return [inputs]
    return [msgspec.structs.replace(inputs, tier_eur_per_kw=dict(way)) for way in product(*each)]


def _prices(terms: ChargeTerms, level: ChargeLevel) -> list[float]:
    """The price of a kW in each tier that the period may still come to."""
    reached_w = _counted_w(terms, level.billed_w)
    starts_w = [start_w for start_w, _ in terms.tiers_w]
    tiers = zip(terms.tiers_w, [*starts_w[1:], math.inf], strict=True)
    below = [0.0] if reached_w < starts_w[0] else []
    return list(dict.fromkeys([*below, *(price for (_, price), end_w in tiers if end_w > reached_w)]))


def _counted_w(terms: DemandTerms, w: float) -> float:
    """What of a demand the tiers are of."""
    return max(0.0, w - terms.floor_w) if terms.above else w


def _all_eur(inputs: PlanInputs, problem: Problem, solution: Solution) -> float:
    """What a solution costs, with the peaks at what all tiers make of them, EUR."""
    total_eur = minimised_eur(problem, solution)
    for charge, (terms, level) in enumerate(levels_of(inputs)):
        if isinstance(terms, ChargeTerms) and terms.tiers_w:
            months = zip(problem.months, solution.peaks_kw, strict=True)
            own = [(month, kw) for month, kw in months if month.charge == charge and month.counts]
            total_eur += _by_tiers_eur(terms, level, own) - sum(_linear_eur(month, kw) for month, kw in own)
    return total_eur


def _linear_eur(month: Month, peak_kw: float) -> float:
    """What a peak costs by the program, EUR: all of it."""
    return month.demand * (month.base_kw + sum(share * (to - begin) for begin, to, share in _parts(month, peak_kw)))


def _by_tiers_eur(terms: ChargeTerms, level: ChargeLevel, peaks: list[tuple[Month, float]]) -> float:
    """What these peaks cost more than those that are paid for anyway, EUR. Days of a period add up."""
    total_eur, billed_w = 0.0, level.billed_w
    for month, kw in peaks:
        if terms.top_days == 1:
            billed_w = 1000 * month.base_kw
        for from_kw, to_kw, share in _parts(month, kw):
            risen_w = billed_w + 1000 * (to_kw - from_kw) / terms.top_days
            more_eur = demand_eur(terms, _counted_w(terms, risen_w)) - demand_eur(terms, _counted_w(terms, billed_w))
            total_eur, billed_w = total_eur + share * more_eur, risen_w
    return total_eur


def _parts(month: Month, peak_kw: float) -> Iterator[tuple[float, float, float]]:
    """The rise of a peak above what is paid for anyway, in the program's parts: from, to, kW; share of the price."""
    last = 1.0 if len(month.rises) < RISES else month.rises[-1][1]
    from_kw = month.base_kw
    for width_kw, share in (*month.rises[: RISES - 1], (math.inf, last)):
        to_kw = min(peak_kw, from_kw + width_kw)
        if to_kw <= from_kw:
            return
        yield from_kw, to_kw, share
        from_kw = to_kw
