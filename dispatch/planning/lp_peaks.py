"""Handles the peaks of a plan: the limit defended in each month or day, and which step raises which peak."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from dispatch.billing.demand_charge import interval_account
from dispatch.config.schema import DispatchConfig
from dispatch.planning.lp_model import Metering, Month, Problem, Solution

if TYPE_CHECKING:
    from dispatch.planning.inputs import PlanInputs

CHARGE_TOLERANCE_KW = 0.05  # charging above the budget by less is the margins' and the solver's


def _accounts(config: DispatchConfig, starts: list[int]) -> list[str]:
    """For each step the account its import goes to (`IntervalAccount.account`), "" where it does not count."""
    places = (interval_account(config.tariff.demand_terms, config.timezone, t) for t in starts)
    return [at.account if at.counts else "" for at in places]


def months_of(inputs: PlanInputs, starts: list[int]) -> tuple[list[Month], list[int]]:
    """The local months in the horizon, each with the peak to defend, and the month of each step.

    The running month's is its peak so far or the prior, whichever is higher; a month that begins inside the horizon is
    expected to end where the prior says, without a prior where the running one stands. Where the demand charge averages
    days, each day takes the place of a month: what it may reach at no cost is known, and a kW more costs its share.
    That is exact for today; two days of one plan that both rise are charged for a little more than they will cost.
    """
    config, terms = inputs.config, inputs.config.tariff.demand_terms
    names = _accounts(config, starts)
    order = sorted(set(names), key=lambda name: (not name, name))  # what does not count comes last
    here = interval_account(terms, config.timezone, starts[0])
    prior_w = min(inputs.peak_prior_w or 0.0, config.grid.contracted_peak_w)
    first_w = max(0.0, inputs.month_peak_w, prior_w)
    later_w = max(terms.floor_w, prior_w if inputs.peak_prior_w is not None else first_w)
    next_day_w = inputs.month_peak_w if inputs.next_day_peak_w is None else inputs.next_day_peak_w
    rises: tuple[tuple[float, float], ...] = ()
    if inputs.peak is not None:
        rises = tuple((rise.width_w / 1000, rise.share) for rise in inputs.peak.rises)
        first_w, prior_w, later_w = max(0.0, inputs.month_peak_w), 0.0, max(terms.floor_w, inputs.peak.usual_w)

    def month(name: str) -> Month:
        if not name:
            return Month(max(config.grid.contracted_peak_w, inputs.month_peak_w) / 1000, counts=False)
        if name == here.account:  # what the running interval comes to in any case costs nothing more
            return Month(max(first_w, running_least_w(inputs)) / 1000, rises)
        if name.startswith(here.period):
            return Month(max(0.0, next_day_w, prior_w) / 1000, rises)
        return Month(later_w / 1000)

    return [month(name) for name in order], [order.index(name) for name in names]


def running_least_w(inputs: PlanInputs) -> float:
    """The lowest mean with which the running interval can still end, W; 0 where it does not count."""
    config, length_s = inputs.config, inputs.config.grid.metering_interval_s
    at = interval_account(config.tariff.demand_terms, config.timezone, inputs.now_utc_s // length_s * length_s)
    return inputs.interval_least_w if at.counts else 0.0


def meterings_of(
    inputs: PlanInputs, starts: list[int], hours: tuple[float, ...], month_of: list[int]
) -> tuple[Metering, ...]:
    """The utility meter's intervals in the horizon, each with what is known of its import so far."""
    length_s = inputs.config.grid.metering_interval_s
    groups: dict[int, list[int]] = {}
    for k, start in enumerate(starts):
        groups.setdefault(start // length_s, []).append(k)
    result = []
    for number, steps in groups.items():
        inside_h = sum(hours[k] for k in steps)
        if number == starts[0] // length_s and inputs.interval_energy_wh is not None:
            metering = Metering(tuple(steps), month_of[steps[0]], length_s / 3600, inputs.interval_energy_wh / 1000)
        else:  # no reading of what went before: the rest of the interval stands for all of it
            metering = Metering(tuple(steps), month_of[steps[0]], inside_h)
        result.append(metering)
    return tuple(result)


def target_of(inputs: PlanInputs, problem: Problem, solution: Solution) -> float:
    """The interval mean to keep in the running month. Where peaks cost nothing, the contract is to be kept.

    With an outlook the target is its own if that is lower: the plan's peak is what its load forecast needs over the
    whole horizon, and giving way to it now would be too early. Where only some hours count, it is of the next that do.
    """
    config = inputs.config
    counting = [kw for kw, month in zip(solution.peaks_kw, problem.months, strict=True) if month.counts]
    planned_w = 1000 * counting[0] if counting else config.grid.contracted_peak_w
    if config.tariff.demand_terms.eur_per_kw <= 0:
        return max(planned_w, config.grid.contracted_peak_w)
    if inputs.peak is None:
        return max(inputs.month_peak_w, planned_w)
    return max(inputs.month_peak_w, running_least_w(inputs), min(planned_w, inputs.peak.target_w, config.grid.fuse_w))


def within_budget(inputs: PlanInputs, problem: Problem, solution: Solution) -> Problem | None:
    """The problem with the charging that the tick would refuse taken away; None where the solution has none of it.

    What the running interval has not used of its mean is there for the load, not for charging: a plan made in its midst
    may not charge above the limit of the rule "interval budget", though the interval's mean would allow it.
    """
    if inputs.now_utc_s % inputs.config.grid.metering_interval_s == 0:
        return None
    most_w = max(inputs.config.grid.contracted_peak_w, inputs.month_peak_w)
    counts = problem.months[problem.meterings[0].month].counts
    limit_w = min(target_of(inputs, problem, solution), most_w) if counts else most_w
    charge_kw = list(problem.charge_kw)
    for t in problem.meterings[0].steps:
        charge_kw[t] = min(charge_kw[t], max(0.0, limit_w / 1000 - problem.net_kw[t]))
    if all(solution.charge_kw[t] <= charge_kw[t] + CHARGE_TOLERANCE_KW for t in problem.meterings[0].steps):
        return None
    return replace(problem, charge_kw=tuple(charge_kw))


def kept_import_w(problem: Problem, solution: Solution, target_w: float) -> list[float]:
    """The import to keep in each step for the sake of its peak, W; inf where it does not count."""
    peaks = zip(solution.peaks_kw, problem.months, strict=True)
    kept = [1000 * kw if month.counts else math.inf for kw, month in peaks]
    running = next((k for k, month in enumerate(problem.months) if month.counts), None)
    if running is not None:
        kept[running] = target_w
    result = [math.inf] * len(problem.hours)
    for metering in problem.meterings:
        for k in metering.steps:
            result[k] = kept[metering.month]
    return result
