"""What a plan's powers cost."""

from __future__ import annotations

from collections.abc import Sequence

from dispatch.billing.battery_ageing import ageing_eur
from dispatch.planning.lp_excess import excess_eur
from dispatch.planning.lp_model import Problem, Solution


def plan_cost_eur(
    problem: Problem, sell: Sequence[float], battery_w: Sequence[float], grid_w: Sequence[float], solution: Solution
) -> float:
    """EUR: energy, wear and ageing, and peaks above those to defend, less what the change in stored energy is worth."""
    cost, stored, course_kwh = 0.0, 0.0, [problem.stored_kwh]
    for t, hours in enumerate(problem.hours):
        grid_kw, battery_kw = grid_w[t] / 1000, battery_w[t] / 1000
        cost += hours * grid_kw * (problem.buy[t] if grid_kw > 0 else sell[t])
        cost += hours * abs(battery_kw) * problem.wear
        stored -= (
            hours * battery_kw * (problem.charge_efficiency if battery_kw < 0 else 1 / problem.discharge_efficiency)
        )
        course_kwh.append(problem.stored_kwh + stored)
    if (part := problem.ageing) is not None:
        cost += ageing_eur(part.ageing, course_kwh, problem.hours, part.begins_kwh[0])
    for peak_kw, month in zip(solution.peaks_kw, problem.months, strict=True):
        if month.counts:
            cost += month.demand * (peak_kw - month.base_kw)
    cost += excess_eur(problem, solution)
    return cost - problem.penalties.stored_high * stored
