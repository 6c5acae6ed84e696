"""Prices in a plan what each interval has above a contract, where the charge adds that up (`dispatch.billing.excess`).

A row of the program is one metering interval, an `Excess` what it has above the contract of the charge that counts in
it. Its parts cost what the charge would: by the sum each kW its price; by the root of the sum of squares the more, the
higher it is, given what the period has already; by hours all or nothing.

* The root of S0 + sum(d^2) is concave in that sum, so it is at most R + (S0 + sum(d^2) - R^2) / (2 R) for any R > 0:
  a square for each interval, here in pieces. R is of what is expected (first of load and PV without the battery); the
  solution gives the next R (majorisation-minimisation).
* Hours are a step at the contract. Their price for a kW is that of the interval by what it is expected to have above:
  an interval that will be above in any case costs little more, one that can be kept below is kept (reweighted l1 norm:
  Candes, Wakin, Boyd, J. Fourier Anal. Appl. 14, 2008).

The planner solves again with the next prices, and takes the cheapest by what the charges would cost (`excess_eur`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from dispatch.billing.demand_charge import ChargeTerms, interval_account
from dispatch.billing.excess import HOURS, ROOT, measure, quantity
from dispatch.model.forecast import QUARTER_S
from dispatch.planning.lp_model import EXCESS_PARTS, Excess, Problem, Solution
from dispatch.planning.lp_peaks import levels_of, spans_of

if TYPE_CHECKING:
    from dispatch.planning.inputs import PlanInputs

NEAR_KW = 0.01  # an excess below this is the solver's
HOURS_KW = 0.5  # added to an excess that costs by the hour: a price per kW stays finite
CHANGED = 0.1  # of an expected excess: prices that differ less are left
FREE: tuple[tuple[float, float], ...] = ((math.inf, 0.0),)
NONE = Excess(steps=(), hours=0.0)  # no charge counts


def excesses_of(
    inputs: PlanInputs, starts: list[int], hours: tuple[float, ...], net_kw: Sequence[float]
) -> tuple[Excess, ...]:
    """The rows, priced by what load and PV have above without the battery; empty where no charge adds that up.

    Charges that never count together share rows.
    """
    if not any(terms.adds for terms, _ in levels_of(inputs)):
        return ()
    spans = spans_of(inputs, starts, hours)
    counting = [list(_counting(inputs, starts[0], starts[steps[0]])) for steps, _, _ in spans]
    slots = max(1, *map(len, counting))
    rows = [
        replace(own[slot] if slot < len(own) else NONE, steps=steps, hours=inside_h, energy_kwh=kwh)
        for slot in range(slots)
        for own, (steps, inside_h, kwh) in zip(counting, spans, strict=True)
    ]
    import_kwh = [max(0.0, kw) * h for kw, h in zip(net_kw, hours, strict=True)]
    return priced(rows, [above_kw(row, import_kwh) for row in rows])


def _counting(inputs: PlanInputs, now_s: int, start_s: int) -> Iterator[Excess]:
    """What an interval may have above the contract of each charge that counts in it and adds that up."""
    length_s, zone = inputs.config.grid.interval_of_steps_s(QUARTER_S), inputs.config.timezone
    for charge, (terms, level) in enumerate(levels_of(inputs)):
        at = interval_account(terms, zone, start_s)
        if not terms.adds or not at.counts or not isinstance(terms, ChargeTerms):
            continue
        runs = at.account == interval_account(terms, zone, now_s).account
        yield replace(
            NONE,
            base_kw=terms.floor_w / 1000,
            charge=charge,
            account=at.account,
            by=terms.adds,
            price=terms.rise_eur_per_kw,
            share=length_s / 3600 if terms.adds == HOURS else length_s / (terms.interval_s or length_s),
            before=_in_kw(terms.adds, level.added) if runs else 0.0,
        )


def _in_kw(by: str, added: float) -> float:
    """What has added up in W (W^2, h), in kW (kW^2, h)."""
    return added if by == HOURS else added / 1e6 if by == ROOT else added / 1e3


def above_kw(row: Excess, import_kwh: Sequence[float]) -> float:
    """How far the mean of a row's interval is above its contract, of what is imported in each step."""
    return max(0.0, (row.energy_kwh + sum([import_kwh[t] for t in row.steps])) / row.hours - row.base_kw)


def priced(rows: Sequence[Excess], expected_kw: Sequence[float]) -> tuple[Excess, ...]:
    """The rows with their parts priced, where each is expected to have so much above."""
    roots = {key: math.sqrt(max(0.0, total)) for key, total in _totals(rows, expected_kw).items()}
    tops: dict[tuple[int, str], float] = {}
    for row, kw in zip(rows, expected_kw, strict=True):
        tops[row.key] = max(tops.get(row.key, 0.0), kw)
    return tuple(
        replace(row, expected_kw=kw, parts=_parts(row, kw, roots.get(row.key, 0.0), tops[row.key]))
        for row, kw in zip(rows, expected_kw, strict=True)
    )


def _totals(rows: Sequence[Excess], kw: Sequence[float]) -> dict[tuple[int, str], float]:
    """What each period of each charge has added up with these excesses: kW, kW^2, h."""
    totals: dict[tuple[int, str], float] = {}
    for row, above in zip(rows, kw, strict=True):
        if row.by:
            each = measure(row.by, above, row.share) if row.by == HOURS else row.share * measure(row.by, above, 0.0)
            totals[row.key] = totals.get(row.key, row.before) + each
    return totals


def _parts(row: Excess, expected_kw: float, root_kw: float, top_kw: float) -> tuple[tuple[float, float], ...]:
    """(width, EUR/kW) of the parts of what a row has above, each dearer than the one before."""
    if not row.by:
        return FREE
    if row.by == HOURS:
        return ((math.inf, row.price * row.share / (expected_kw + HOURS_KW)),)
    if row.by != ROOT:
        return ((math.inf, row.price * row.share),)
    most = row.price * math.sqrt(row.share)  # of a kW more in the only interval that is above
    if root_kw <= NEAR_KW:
        return ((math.inf, most),)
    return _pieces(row, most, root_kw, top_kw if top_kw > NEAR_KW else root_kw)


def _pieces(row: Excess, most: float, root_kw: float, top_kw: float) -> tuple[tuple[float, float], ...]:
    """The square of an excess up to `top_kw` in pieces, halved towards 0; what is above costs the most."""
    edges = [0.0, *(top_kw / 2**k for k in range(EXCESS_PARTS - 2, -1, -1))]
    slopes = [row.price * row.share * (a + b) / (2 * root_kw) for a, b in pairwise(edges)]
    widths = [b - a for a, b in pairwise(edges)]
    return (*((w, min(most, eur)) for w, eur in zip(widths, slopes, strict=True)), (math.inf, most))


def repriced(problem: Problem, solution: Solution) -> Problem | None:
    """The problem with the prices that its solution suggests; None where they are what they were.

    Where an interval is kept below the contract nothing changes: its first kW becomes dearer, so it stays there.
    """
    changed = any(
        row.by in (ROOT, HOURS) and kw > NEAR_KW and abs(kw - row.expected_kw) > CHANGED * row.expected_kw
        for row, kw in zip(problem.excesses, solution.excess_kw, strict=True)
    )
    return replace(problem, excesses=priced(problem.excesses, solution.excess_kw)) if changed else None


def excess_eur(problem: Problem, solution: Solution) -> float:
    """What the charges would bill more for what a solution has above their contracts, EUR."""
    rows = problem.excesses
    real = [kw if kw > NEAR_KW else 0.0 for kw in solution.excess_kw]
    prices = {row.key: (row.by, row.price, row.before) for row in rows if row.by}
    totals = _totals(rows, real)
    return sum(
        price * (quantity(by, totals[key]) - quantity(by, before)) for key, (by, price, before) in prices.items()
    )


def minimised_eur(problem: Problem, solution: Solution) -> float:
    """What a solution costs by the program, with the real cost of what is above the contracts, EUR."""
    return solution.objective_eur - sum(_linear_eur(problem, solution)) + excess_eur(problem, solution)


def _linear_eur(problem: Problem, solution: Solution) -> Iterator[float]:
    for row, kw in zip(problem.excesses, solution.excess_kw, strict=True):
        left = kw
        for width, price in row.parts:
            yield min(left, width) * price
            left = max(0.0, left - width)
