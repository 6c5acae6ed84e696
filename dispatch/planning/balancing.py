"""Plans a balancing charge: the hours in which a battery is charged to its BMS's full mark and held there.

The plan without it is known. It is made again for a few times at which the battery might be full, with `soc_max` lifted
for those hours and what is stored in them rewarded by more than any spread of prices. Of those that reach the mark,
raise no peak and need no step that an order or a signal has, the cheapest is taken. Where none in time does, it is the
soonest; where none at all does, the plan stays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from math import fsum

from dispatch.model.balancing import marks_kwh
from dispatch.model.forecast import QUARTER_S
from dispatch.planning.inputs import PlanFailed, PlanInputs
from dispatch.planning.lp_model import Problem, Solution, curtailed_kw
from dispatch.planning.order_projection import OrderProjection
from dispatch.planning.plan_cost import plan_cost_eur

LATER_H = (0, 1, 2, 4, 6, 9, 12, 18, 24, 30)  # if not in time: the first of so many hours after the soonest that can be
BEFORE_STEPS = 16  # before the battery is to be full: in so many quarter hours it may charge above soc_max
PEAK_KW = 0.05  # of a peak is the solver's
SHORT_SHARE = 0.003  # of the energy of the batteries that are to be full, that may be missing at the mark
MOST_TIMES = 8

Optimum = Callable[[Problem], tuple[Problem, Solution]]


@dataclass(frozen=True)
class Balancing:
    """A plan with a balancing charge; `steps` end full."""

    problem: Problem
    solution: Solution
    steps: range


def with_balancing(
    inputs: PlanInputs,
    starts: Sequence[int],
    ordered: OrderProjection,
    base: tuple[Problem, Solution],
    sell: Sequence[float],
    optimum: Optimum,
) -> Balancing | None:
    """The cheapest plan in which the batteries that are due are full for as long as they must be; None: there is none.

    base: the plan without. optimum: solves a problem.
    """
    if not inputs.balance or not inputs.config.batteries:
        return None
    search = _Search(inputs, starts, ordered, base, sell, optimum)
    first, late = search.times()
    found = [balancing for step in first if (balancing := search.full_from(step)) is not None]
    best = min(found, key=search.cost_eur, default=None)
    if best is None:
        best = next((balancing for step in late if (balancing := search.full_from(step)) is not None), None)
    return None if best is None else replace(best, solution=replace(best.solution, seconds=search.seconds))


class _Search:
    """Solves the plan anew with the battery full from a step on; `seconds` is what all solving took."""

    def __init__(
        self,
        inputs: PlanInputs,
        starts: Sequence[int],
        ordered: OrderProjection,
        base: tuple[Problem, Solution],
        sell: Sequence[float],
        optimum: Optimum,
    ) -> None:
        self._starts, self._base, self._sell, self._optimum = starts, base, sell, optimum
        self._due_s = min(state.due_utc_s for state in inputs.balance)
        self._taken = _taken(inputs, starts, ordered)
        mark_kwh, of_kwh = marks_kwh(inputs.config, inputs.balance)
        bottom_kwh = ordered.soc_pct / 100 * inputs.config.energy_kwh - base[0].stored_kwh
        self._mark_kwh, self._short_kwh = mark_kwh - bottom_kwh, SHORT_SHARE * of_kwh
        due = {state.battery for state in inputs.balance}
        hold_s = max(b.balance_hold_s for b in inputs.config.batteries if b.id in due)
        self._count = 1 + math.ceil(hold_s / QUARTER_S)
        self.seconds = base[1].seconds

    def full_from(self, step: int) -> Balancing | None:
        """The best plan in which this step is the first that ends full; None: it does not, or would do harm."""
        problem, solution = self._base
        full = range(step, step + self._count)
        if any(self._taken[t] for t in full):
            return None
        try:
            found, made = self._optimum(_lifted(problem, full, self._mark_kwh))
        except PlanFailed:  # the plan without it stands
            return None
        self.seconds += made.seconds
        stored = stored_after(found, made)
        reached = min(stored[t] for t in full) >= self._mark_kwh - self._short_kwh
        return Balancing(found, made, full) if reached and not _raises_a_peak(problem, solution, made) else None

    def cost_eur(self, balancing: Balancing) -> float:
        """What such a plan costs."""
        problem, solution = balancing.problem, balancing.solution
        battery_w = [1000 * (d - c) for c, d in zip(solution.charge_kw, solution.discharge_kw, strict=True)]
        curtailed = curtailed_kw(problem, solution.charge_kw, solution.discharge_kw).tolist()
        rows = zip(problem.net_kw, curtailed, battery_w, strict=True)
        grid_w = [1000 * (net + less) - w for net, less, w in rows]
        return plan_cost_eur(problem, self._sell, battery_w, grid_w, solution)

    def times(self) -> tuple[list[int], list[int]]:
        """Steps that might be the first to end full: until it is due, of which the cheapest counts, and later ones.

        The former are as soon as can be, the last, and where the plan without ends a charge: there, after as many
        steps more as the rest takes, and at the end of hours that are as cheap.
        """
        problem = self._base[0]
        end = len(self._starts) - self._count
        rate_kwh = max(problem.charge_kw, default=0.0) * problem.charge_efficiency * QUARTER_S / 3600
        if rate_kwh <= 0:
            return [], []
        soonest = max(0, math.ceil((self._mark_kwh - problem.stored_kwh) / rate_kwh) - 1)
        late = [t for t in (soonest + 4 * hours for hours in LATER_H) if t <= end]
        last = min(end, int((self._due_s - self._starts[0]) // QUARTER_S) - 1)
        if last < soonest:
            return [], late
        above = math.ceil((self._mark_kwh - fsum(problem.layers_kwh)) / rate_kwh)
        tops = [top for top, _ in sorted(_tops(*self._base, last), key=lambda top: -top[1]) if top >= soonest]
        found = [soonest, last, *(t for top in tops for t in (top + above, _while_as_cheap(problem, top), top))]
        return list(dict.fromkeys(min(t, last) for t in found[:MOST_TIMES])), late


def _raises_a_peak(problem: Problem, before: Solution, after: Solution) -> bool:
    """Whether a peak that costs something, or goes beyond the contract, is higher than before.

    Up to the mean that the running interval may reach (`Problem.target_kw`) the main charge's is no higher one.
    """
    free_kw = problem.target_kw or 0.0
    peaks = zip(problem.months, before.peaks_kw, after.peaks_kw, strict=True)
    for month, kw, new_kw in peaks:
        most_kw = (kw if month.charge else max(kw, free_kw)) if month.counts and month.demand > 0 else math.inf
        if new_kw > max(kw, min(most_kw, problem.contracted_kw)) + PEAK_KW:
            return True
    return False


def _taken(inputs: PlanInputs, starts: Sequence[int], ordered: OrderProjection) -> list[bool]:
    """Whether an order has the battery in a step, or a signal holds in it."""
    return [
        bool(given.order) or any(s.overlaps(start, start + QUARTER_S) for s in inputs.signals)
        for given, start in zip(ordered.steps, starts, strict=True)
    ]


def stored_after(problem: Problem, solution: Solution) -> list[float]:
    """Energy above the bottom after each step, kWh."""
    rows = zip(problem.hours, solution.charge_kw, solution.discharge_kw, strict=True)
    moves = [h * (c * problem.charge_efficiency - d / problem.discharge_efficiency) for h, c, d in rows]
    return list(accumulate(moves, initial=problem.stored_kwh))[1:]


def _lifted(problem: Problem, full: range, above_kwh: float) -> Problem:
    """With room up to the mark from a while before the full steps on, and a reward for what is stored in them."""
    n, more_kwh = len(problem.hours), max(0.0, above_kwh - fsum(problem.layers_kwh))
    reward = problem.penalties.signal / len(full)  # more than any spread of prices, less than a peak
    return replace(
        problem,
        above_kwh=tuple(more_kwh if t >= full.start - BEFORE_STEPS else 0.0 for t in range(n)),
        full_eur=tuple(reward if t in full else 0.0 for t in range(n)),
    )


def _while_as_cheap(problem: Problem, step: int) -> int:
    """The last of the steps from this one on that are no dearer than it."""
    while step + 1 < len(problem.buy) and problem.buy[step + 1] <= problem.buy[step]:
        step += 1
    return step


def _tops(problem: Problem, solution: Solution, last: int) -> Iterator[tuple[int, float]]:
    """(step, energy after it) of the ends of charging."""
    stored = stored_after(problem, solution)
    for t in range(min(last, len(stored) - 2) + 1):
        if solution.charge_kw[t] > 0 and stored[t + 1] <= stored[t]:
            yield t, stored[t]
