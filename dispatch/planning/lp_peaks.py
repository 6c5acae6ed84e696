"""Handles the peaks of a plan: the limit defended in each month or day, and which step raises which peak.

Every charge on peaks (`dispatch.billing.peak_charges`) has its own; one that adds up what intervals have above its
contract has rows in `lp_excess` instead. The main charge, the first, is the one whose end of the period is estimated:
the dearest of those that count within a month (`coming_charges`).
Of the others only the level that is free now is known; each kW above it has the full price.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from dispatch.billing.demand_charge import ChargeTerms, IntervalAccount, interval_account, tier_eur_per_kw
from dispatch.billing.peak_charges import coming_charges
from dispatch.config.demand_terms import DemandTerms
from dispatch.model.charge_levels import ChargeLevel
from dispatch.model.forecast import QUARTER_S
from dispatch.planning.lp_model import Excess, Metering, Month, Problem, Solution

if TYPE_CHECKING:
    from dispatch.planning.inputs import PlanInputs

CHARGE_TOLERANCE_KW = 0.05  # charging above the budget by less is the margins' and the solver's


def levels_of(inputs: PlanInputs) -> list[tuple[DemandTerms, ChargeLevel]]:
    """Each charge and what it leaves free, the main one first; that of one of which nothing is known is its floor."""
    charges, known = coming_charges(inputs.config, inputs.now_utc_s), {level.charge: level for level in inputs.levels}
    later_w = inputs.month_peak_w if inputs.next_day_peak_w is None else inputs.next_day_peak_w
    only = {charges[0].id: ChargeLevel(charges[0].id, True, inputs.month_peak_w, later_w, 0.0)}
    floors = {terms.id: ChargeLevel(terms.id, True, terms.floor_w, terms.floor_w, 0.0) for terms in charges}
    found = {**floors, **only, **known}
    usual_w = inputs.peak.usual_w if inputs.peak is not None and not charges[0].windows else 0.0
    contract_w = inputs.config.grid.contracted_peak_w
    return [(terms, _with_expected_gap(terms, found, usual_w, contract_w)) for terms in charges]


def _with_expected_gap(
    terms: DemandTerms, levels: Mapping[str, ChargeLevel], usual_w: float, contract_w: float
) -> ChargeLevel:
    """What a charge leaves free. The peak that an individual fee is granted in place of is not kept, either, where the
    gap will be reached by what the battery could not have held lower of late, at all times of the day: `usual_w`.
    """
    level, gap = levels[terms.id], terms.gap if isinstance(terms, ChargeTerms) else None
    if gap is None or not gap.reached(max(level.billed_w, usual_w), levels[gap.of].billed_w):
        return level
    free_w, later_w = max(level.free_w, contract_w), max(level.later_w, contract_w)
    return msgspec.structs.replace(level, free_w=free_w, later_w=later_w)


def next_eur_per_kw(inputs: PlanInputs, terms: DemandTerms, level: ChargeLevel) -> float:
    """What one kW more of a day's peak costs: the price of the tier that is tried, or else of the one that the period
    has reached, or is expected to.
    """
    if terms.id in inputs.tier_eur_per_kw:
        return inputs.tier_eur_per_kw[terms.id] / terms.top_days
    usual_w = inputs.peak.usual_w if inputs.peak is not None else inputs.peak_prior_w or 0.0
    reached_w = max(level.billed_w, usual_w) - (terms.floor_w if terms.above else 0.0)
    return tier_eur_per_kw(terms, reached_w) / terms.top_days


def months_of(inputs: PlanInputs, starts: list[int]) -> tuple[list[Month], list[list[int]]]:
    """The peaks in the horizon, charge by charge, and for each charge the one that each step may raise."""
    months: list[Month] = []
    places: list[list[int]] = []
    for charge, (terms, level) in enumerate(levels_of(inputs)):
        if terms.adds and charge:
            continue
        if terms.adds:
            own, of = _contract_only(inputs, starts, level)
        else:
            own, of = _others(inputs, starts, terms, level) if charge else _months(inputs, starts, terms, level)
        places.append([len(months) + k for k in of])
        months += [replace(month, charge=charge) for month in own]
    return months, places


def _contract_only(inputs: PlanInputs, starts: list[int], level: ChargeLevel) -> tuple[list[Month], list[int]]:
    """Where the main charge adds up what is above its contract, its rows keep the contracted peak."""
    most_w = max(inputs.config.grid.contracted_peak_w, level.free_w)
    return [Month(most_w / 1000, counts=False)], [0] * len(starts)


class _Account(NamedTuple):
    """The account that a step's import goes to (`IntervalAccount`), "" where it does not count, and its weight there.

    A kW in a month of little weight raises what is billed by less: it has a peak of its own.
    """

    name: str
    weight: float = 1.0


NOT_COUNTED = _Account("")


def _accounts(inputs: PlanInputs, starts: list[int], terms: DemandTerms) -> list[_Account]:
    """For each step its account."""
    places = (interval_account(terms, inputs.config.timezone, t) for t in starts)
    return [_Account(at.account, at.weight) if at.counts else NOT_COUNTED for at in places]


def _months(
    inputs: PlanInputs, starts: list[int], terms: DemandTerms, level: ChargeLevel
) -> tuple[list[Month], list[int]]:
    """The local months in the horizon, each with the peak to defend, and the month of each step.

    The running month's is its peak so far or the prior, whichever is higher; a month that begins inside the horizon is
    expected to end where the prior says, without a prior where the running one stands. Where the demand charge averages
    days, each day takes the place of a month: what it may reach at no cost is known, and a kW more costs its share.
    That is exact for today; two days of one plan that both rise are charged for a little more than they will cost.
    """
    config = inputs.config
    names = _accounts(inputs, starts, terms)
    # in the order of their steps; what does not count comes last
    order = sorted(dict.fromkeys(names), key=lambda of: not of.name)
    here = interval_account(terms, config.timezone, starts[0])
    prior_w = min(inputs.peak_prior_w or 0.0, config.grid.contracted_peak_w)
    first_w = max(0.0, level.free_w, prior_w)
    later_w = max(terms.floor_w, prior_w if inputs.peak_prior_w is not None else first_w)
    rises: tuple[tuple[float, float], ...] = ()
    if inputs.peak is not None:
        rises = tuple((rise.width_w / 1000, rise.share) for rise in inputs.peak.rises)
        first_w, prior_w, later_w = max(0.0, level.free_w), 0.0, max(terms.floor_w, inputs.peak.usual_w)
    price = next_eur_per_kw(inputs, terms, level)

    def month(of: _Account) -> Month:
        if not of.name:
            return Month(max(config.grid.contracted_peak_w, level.free_w) / 1000, counts=False)
        free, demand = _weighted(of, here), price * of.weight
        if of.name == here.account:  # what the running interval comes to in any case costs nothing more
            return Month(max(first_w * free, running_least_w(inputs, terms)) / 1000, rises, demand=demand)
        if terms.rolling or of.name.startswith(here.period):
            return Month(max(0.0, level.later_w * free, prior_w) / 1000, rises, demand=demand)
        return Month(later_w / 1000, demand=demand)

    return [month(of) for of in order], [order.index(of) for of in names]


def _weighted(of: _Account, here: IntervalAccount) -> float:
    """How many W are free at an account's weight for one W that is free at the running interval's."""
    return (here.weight or 1.0) / of.weight


def _others(
    inputs: PlanInputs, starts: list[int], terms: DemandTerms, level: ChargeLevel
) -> tuple[list[Month], list[int]]:
    """The same for a charge that is not the main one: a rise costs its whole price.

    A charge that counts at all times is expected to reach what the site's past says, as the main one is. Steps that do
    not count share a last month that costs nothing: it is there also if all count, so that the program keeps its shape.
    """
    config, names = inputs.config, _accounts(inputs, starts, terms)
    order = [*dict.fromkeys(of for of in names if of.name), NOT_COUNTED]
    here = interval_account(terms, config.timezone, starts[0])
    usual_w = inputs.peak.usual_w if inputs.peak is not None else inputs.peak_prior_w or 0.0
    expected_w = 0.0 if terms.windows else min(usual_w, config.grid.contracted_peak_w)

    def month(of: _Account) -> Month:
        if not of.name:
            return Month(0.0, counts=False, limits=False)
        free, base_w = _weighted(of, here), max(terms.floor_w, usual_w)
        if of.name == here.account:
            base_w = max(level.free_w * free, expected_w, running_least_w(inputs, terms))
        elif terms.rolling or of.name.startswith(here.period):
            base_w = max(level.later_w * free, expected_w)
        return Month(base_w / 1000, demand=next_eur_per_kw(inputs, terms, level) * of.weight)

    return [month(of) for of in order], [order.index(of) for of in names]


def running_least_w(inputs: PlanInputs, terms: DemandTerms) -> float:
    """The lowest mean with which the running interval can still end, W; 0 where it does not count."""
    return inputs.interval_least_w if _counts_now(inputs, terms) else 0.0


def _counts_now(inputs: PlanInputs, terms: DemandTerms) -> bool:
    length_s = inputs.config.grid.metering_interval_s
    return interval_account(terms, inputs.config.timezone, inputs.now_utc_s // length_s * length_s).counts


def spans_of(
    inputs: PlanInputs, starts: list[int], hours: tuple[float, ...]
) -> list[tuple[tuple[int, ...], float, float]]:
    """The utility meter's intervals in the horizon: steps, hours, and what is known of the import so far, kWh.

    Where the meter's intervals are shorter than the steps, each step's mean is kept below the peak: then so is that of
    the meter's in it. The running one's import counts once it is the last one in its step.
    """
    length_s = inputs.config.grid.interval_of_steps_s(QUARTER_S)
    groups: dict[int, list[int]] = {}
    for k, start in enumerate(starts):
        groups.setdefault(start // length_s, []).append(k)
    # without a reading of what went before, the rest of the interval stands for all of it
    spans = [(tuple(steps), sum(hours[k] for k in steps), 0.0) for steps in groups.values()]
    meters_s = inputs.config.grid.metering_interval_s
    ends_s = (inputs.now_utc_s // meters_s + 1) * meters_s
    if inputs.interval_energy_wh is not None and (meters_s == length_s or ends_s == starts[0] + QUARTER_S):
        spans[0] = (spans[0][0], meters_s / 3600, inputs.interval_energy_wh / 1000)
    return spans


def meterings_of(
    inputs: PlanInputs, starts: list[int], hours: tuple[float, ...], places: list[list[int]]
) -> tuple[Metering, ...]:
    """The utility meter's intervals in the horizon for each charge."""
    spans = spans_of(inputs, starts, hours)
    return tuple(
        Metering(steps, month_of[steps[0]], inside_h, kwh) for month_of in places for steps, inside_h, kwh in spans
    )


def targets_of(inputs: PlanInputs, problem: Problem, solution: Solution) -> list[float]:
    """For each charge the interval mean to keep in its running month, W. Where only some hours count, it is of the next
    that do; the contract is to be kept where none does.
    """
    contract_w, result = inputs.config.grid.contracted_peak_w, []
    for k, (terms, level) in enumerate(levels_of(inputs)):
        counting = _counting_kw(problem, solution, k)
        planned_w = 1000 * counting[0] if counting else contract_w
        if k or terms.adds:
            result.append(max(level.free_w, running_least_w(inputs, terms), planned_w))
        else:
            result.append(_main_target_w(inputs, terms, level, planned_w))
    return result


def _counting_kw(problem: Problem, solution: Solution, charge: int) -> list[float]:
    """The peaks of a charge, kW; of one that adds up what is above its contract the intervals' means of that level or
    more, as each one above is paid for by itself. In order of time.
    """
    peaks = zip(solution.peaks_kw, problem.months, strict=True)
    counting = [kw for kw, month in peaks if month.counts and month.charge == charge]
    return counting or [excess.base_kw + kw for kw, excess in _excesses(problem, solution) if excess.charge == charge]


def _excesses(problem: Problem, solution: Solution) -> list[tuple[float, Excess]]:
    """What each interval has above the contract of a charge, kW, in order of time."""
    found = zip(solution.excess_kw, problem.excesses, strict=True)
    return sorted(((kw, excess) for kw, excess in found if excess.by), key=lambda pair: pair[1].steps)


def _main_target_w(inputs: PlanInputs, terms: DemandTerms, level: ChargeLevel, planned_w: float) -> float:
    """The main charge's. Where peaks cost nothing, the contract is to be kept.

    Where all jobs are announced, the plan's own peak is kept: they are in it, and room to charge before dear hours.
    Else (`gives_way_late`) the outlook's target if that is lower: the plan's own is what its load forecast needs over
    the whole horizon, and giving way to it now would be too early.
    """
    if terms.eur_per_kw <= 0:
        return max(planned_w, inputs.config.grid.contracted_peak_w)
    if inputs.peak is None:
        return max(level.free_w, planned_w)
    most_w = inputs.peak.target_w if gives_way_late(inputs) else planned_w
    return max(level.free_w, running_least_w(inputs, terms), min(planned_w, most_w, inputs.config.grid.fuse_w))


def gives_way_late(inputs: PlanInputs) -> bool:
    """Whether the peak rises no further than the outlook's target: the load ahead is not known, or caps, which the
    program does not know, can hold a peak.
    """
    return not inputs.jobs_sure or inputs.config.caps.max_share > 0


def target_now_w(inputs: PlanInputs, targets_w: Sequence[float]) -> float:
    """The mean to keep in the running interval: the lowest of the charges that count; the main one's if none does."""
    pairs = zip(levels_of(inputs), targets_w, strict=True)
    return min((w for (terms, _), w in pairs if _counts_now(inputs, terms)), default=targets_w[0])


def within_budget(inputs: PlanInputs, problem: Problem, solution: Solution) -> Problem | None:
    """The problem with the charging that the tick would refuse taken away; None where the solution has none of it.

    What the running interval has not used of its mean is there for the load, not for charging: a plan made in its midst
    may not charge above the limit of the rule "interval budget", though the interval's mean would allow it.
    """
    if inputs.now_utc_s % inputs.config.grid.metering_interval_s == 0:
        return None
    most_w = max(inputs.config.grid.contracted_peak_w, inputs.month_peak_w)
    steps = problem.meterings[0].steps
    counts = any(problem.months[m.month].counts for m in problem.meterings if m.steps == steps)
    counts = counts or any(excess.by for excess in problem.excesses if excess.steps == steps)
    target_w = target_now_w(inputs, targets_of(inputs, problem, solution))
    limit_w = min(target_w, most_w) if counts else most_w
    charge_kw = list(problem.charge_kw)
    for t in steps:
        charge_kw[t] = min(charge_kw[t], max(0.0, limit_w / 1000 - problem.net_kw[t]))
    if all(solution.charge_kw[t] <= charge_kw[t] + CHARGE_TOLERANCE_KW for t in steps):
        return None
    return replace(problem, charge_kw=tuple(charge_kw))


def kept_import_w(problem: Problem, solution: Solution, targets_w: Sequence[float]) -> tuple[list[float], list[int]]:
    """(the import to keep in each step for the sake of its peaks, W; the charge that asks for it).

    inf where no charge counts.
    """
    kept = _kept_by_month_w(problem, solution, targets_w)
    result, keepers = [math.inf] * len(problem.hours), [0] * len(problem.hours)
    for metering in problem.meterings:
        for k in metering.steps:
            if kept[metering.month] < result[k]:
                result[k], keepers[k] = kept[metering.month], problem.months[metering.month].charge
    for kw, excess in _excesses(problem, solution):
        kept_w = targets_w[excess.charge] if 0 in excess.steps else 1000 * (excess.base_kw + kw)
        for k in excess.steps:
            if kept_w < result[k]:
                result[k], keepers[k] = kept_w, excess.charge
    return result, keepers


def _kept_by_month_w(problem: Problem, solution: Solution, targets_w: Sequence[float]) -> list[float]:
    """The mean to keep in each month, W: of a charge's running one, or the next that counts, its target."""
    peaks = zip(solution.peaks_kw, problem.months, strict=True)
    kept = [1000 * kw if month.counts else math.inf for kw, month in peaks]
    for charge, target_w in enumerate(targets_w):
        own = next((k for k, month in enumerate(problem.months) if month.counts and month.charge == charge), None)
        if own is not None:
            kept[own] = target_w
    return kept
