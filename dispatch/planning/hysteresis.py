"""Decides whether a new plan is enough better than the one in force to replace it.

Both are continued from now on, with the same state, prices and forecasts, and compared by the objective of the linear
program. If the old plan stays, its battery power stays; load, SoC and reasons are those of now.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dispatch.model.plan import Plan
from dispatch.planning.lp_excess import above_kw
from dispatch.planning.lp_model import (
    BLOCKS,
    CHARGE,
    CURTAIL,
    DISCHARGE,
    EXCESS_PARTS,
    EXPORT,
    IMPORT,
    LAYER,
    OVER_EXPORT,
    OVER_FUSE,
    PEAKS,
    ModelNumbers,
    Problem,
    Solution,
    curtailed_kw,
    first_excess,
    import_limits,
    target_column,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

LOST_SHARE = 0.02  # of the battery's room: what an old plan may fail to charge or discharge for want of room or energy
NEAR = 1e-6


def keep_previous(
    before: Plan,
    problem: Problem,
    starts_utc_s: Sequence[int],
    new: Solution,
    margin_pct: float,
    orders: Sequence[str] = (),
) -> Solution | None:
    """The plan in force, followed from here, if the new one saves less than the margin; None: take the new one.

    margin_pct: of what the hours to come would cost in energy without the battery. Beyond the old plan's end, the new
    one's powers follow. An old plan that can no longer be followed is never kept, nor one made under other orders:
    `orders` has for each step the id of the manual order that has the battery, empty where the program decides.
    """
    planned = _carried_over(before, starts_utc_s, new, orders)
    followed = None if planned is None else _feasible(problem, *planned)
    if followed is None:
        return None
    old_eur, solution = evaluate_powers(problem, *followed)
    new_eur, _ = evaluate_powers(problem, new.charge_kw, new.discharge_kw)
    ahead = zip(problem.hours, problem.net_kw, problem.buy, strict=True)
    bill_eur = sum(hours * max(0.0, kw) * abs(price) for hours, kw, price in ahead)
    if old_eur - new_eur > margin_pct / 100 * bill_eur + NEAR:
        return None
    return replace(solution, seconds=new.seconds)


def _carried_over(
    before: Plan, starts_utc_s: Sequence[int], new: Solution, orders: Sequence[str]
) -> tuple[list[float], list[float]] | None:
    """(charge, discharge), kW, of the plan in force, and the new one's beyond its end; None: made under other orders,
    or it does not reach the running step.
    """
    planned = {step.start_utc_s: step for step in before.steps}
    if starts_utc_s[0] not in planned:
        return None
    charge, discharge = list(new.charge_kw), list(new.discharge_kw)
    for k, start in enumerate(starts_utc_s):
        step, order = planned.get(start), orders[k] if orders else ""
        if step is None:
            continue
        if step.order != order:
            return None
        if not order:  # what an order does is not in the problem
            kw = step.battery_w / 1000
            charge[k], discharge[k] = max(0.0, -kw), max(0.0, kw)
    return charge, discharge


def _feasible(
    problem: Problem, charge_kw: Sequence[float], discharge_kw: Sequence[float]
) -> tuple[list[float], list[float]] | None:
    """The powers as far as the energy stored and the room left allow; None where too much of them is lost."""
    room = sum(problem.layers_kwh)
    stored, lost = problem.stored_kwh, 0.0
    charge, discharge = [], []
    for hours, into, out in zip(problem.hours, charge_kw, discharge_kw, strict=True):
        most_in = max(0.0, room - stored) / problem.charge_efficiency / hours
        most_out = max(0.0, stored) * problem.discharge_efficiency / hours
        lost += hours * (max(0.0, into - most_in) + max(0.0, out - most_out))
        charge.append(min(into, most_in))
        discharge.append(min(out, most_out))
        stored += hours * (charge[-1] * problem.charge_efficiency - discharge[-1] / problem.discharge_efficiency)
    return None if lost > LOST_SHARE * room else (charge, discharge)


def evaluate_powers(
    problem: Problem, charge_kw: Sequence[float], discharge_kw: Sequence[float]
) -> tuple[float, Solution]:
    """(what the program minimises, EUR, for these powers; the solution they make). Infinite beyond a limit."""
    import numpy as np

    n, numbers = len(problem.hours), problem.numbers
    hours, net = np.array(problem.hours), np.array(problem.net_kw)
    charge, discharge = np.array(charge_kw), np.array(discharge_kw)
    stored = problem.stored_kwh + np.cumsum(
        hours * (charge * problem.charge_efficiency - discharge / problem.discharge_efficiency)
    )
    curtailed = curtailed_kw(problem, charge_kw, discharge_kw)
    grid = net + curtailed + charge - discharge
    imported, exported = np.maximum(grid, 0.0), np.maximum(-grid, 0.0)
    x = np.zeros(len(numbers.cost))

    def put(block: int, values: Any) -> None:
        x[block * n : (block + 1) * n] = values

    put(CHARGE, charge)
    put(DISCHARGE, discharge)
    put(CURTAIL, curtailed)
    limit, export = import_limits(problem), np.array(problem.export_limit_kw)
    put(IMPORT, np.minimum(imported, limit))
    put(OVER_FUSE, np.maximum(imported - limit, 0.0))
    put(EXPORT, np.minimum(exported, export))
    put(OVER_EXPORT, np.maximum(exported - export, 0.0))
    below = 0.0
    for k, width in enumerate(problem.layers_kwh):
        put(LAYER + k, np.clip(stored - below, 0.0, width))
        below += width
    peaks = _fill_peaks(problem, numbers, x, imported)
    excess_kw = _fill_excesses(problem, numbers, x, imported)
    if problem.ageing is not None:
        x[target_column(problem) + 1 :] = problem.ageing.values([problem.stored_kwh, *stored.tolist()])
    over = np.any(x[: BLOCKS * n] > numbers.upper[: BLOCKS * n] + NEAR)
    outside = stored.min() < -NEAR or stored.max() > below + NEAR
    cost = math.inf if over or outside else float(numbers.cost @ x)
    return cost, Solution(charge.tolist(), discharge.tolist(), peaks, 0.0, excess_kw, cost)


def _fill_excesses(problem: Problem, numbers: ModelNumbers, x: Floats, imported: Floats) -> tuple[float, ...]:
    """Fill in what each interval has above the contract of a charge that adds it up, cheapest part first; that, kW."""
    import numpy as np

    column, found = first_excess(problem), list[float]()
    import_kwh = (np.array(problem.hours) * imported).tolist()
    for excess in problem.excesses:
        found.append(above_kw(excess, import_kwh))
        left = found[-1]
        for part in range(column, column + EXCESS_PARTS):
            x[part] = min(left, numbers.upper[part])
            left -= float(x[part])
        column += EXCESS_PARTS
    return tuple(found)


def _fill_peaks(problem: Problem, numbers: ModelNumbers, x: Floats, imported: Floats) -> list[float]:
    """Fill in what the months' peaks and the running interval's target take, cheapest part first; the peaks."""
    import numpy as np

    first, own = BLOCKS * len(problem.hours), problem.meterings[0]
    peaks = [month.base_kw for month in problem.months]
    import_kwh = (np.array(problem.hours) * imported).tolist()
    for metering in problem.meterings:
        inside_kwh = sum([import_kwh[t] for t in metering.steps])
        peaks[metering.month] = max(peaks[metering.month], (metering.energy_kwh + inside_kwh) / metering.hours)
    for month, peak in enumerate(peaks):
        left = peak
        for part in range(first + PEAKS * month, first + PEAKS * (month + 1)):
            x[part] = min(left, numbers.upper[part])
            left -= float(x[part])
    if problem.target_kw is not None:
        inside_kwh = sum([import_kwh[t] for t in own.steps])
        x[target_column(problem)] = max(0.0, (own.energy_kwh + inside_kwh) / own.hours - problem.target_kw)
    return peaks
