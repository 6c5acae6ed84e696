"""Makes a plan: inputs in watts and percent -> linear program -> steps, each with its reason.

Steps are the UTC quarter hours from the running one on. The running one counts only for the time it has left: its
powers are means over that rest, and its SoC is the one at its end. highspy and numpy load with the first solve.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise

import msgspec

from dispatch.billing.battery_ageing import CycleDepths, ageing_of
from dispatch.config.battery_ratings import (
    full_kwh,
    full_soc_pct,
    lowest_kwh,
    mean_efficiency,
    reserve_soc_pct,
    wear_eur_per_kwh,
)
from dispatch.config.schema import DispatchConfig
from dispatch.model.forecast import QUARTER_S
from dispatch.model.plan import Plan, PlanStep
from dispatch.model.reasons import Reason, joined
from dispatch.planning.balance_words import balance_notes, balance_reasons
from dispatch.planning.balancing import with_balancing
from dispatch.planning.explanations import reasons
from dispatch.planning.hysteresis import keep_previous
from dispatch.planning.inputs import PlanFailed, PlanInputs
from dispatch.planning.lp_ageing import AgeingPart, above_bottom
from dispatch.planning.lp_excess import excesses_of, minimised_eur, repriced
from dispatch.planning.lp_model import LAYERS, READY_LAYERS, Problem, Solution, curtailed_kw
from dispatch.planning.lp_peaks import (
    gives_way_late,
    kept_import_w,
    levels_of,
    meterings_of,
    months_of,
    next_eur_per_kw,
    target_now_w,
    targets_of,
    within_budget,
)
from dispatch.planning.lp_solver import LinearProgram, SolverFailed
from dispatch.planning.lp_tiers import cheapest
from dispatch.planning.month_end import month_end
from dispatch.planning.order_projection import project_orders, with_raised_reserve
from dispatch.planning.plan_cost import plan_cost_eur
from dispatch.planning.sketch import Sketch
from dispatch.planning.step_inputs import StepPrices, step_forecasts, step_prices
from dispatch.planning.step_limits import StepLimits, limit_notes, limits_of

SHORTEST_S = 1.0  # a running quarter with less than this left counts as this long
QUIET_W = 1.0  # smaller battery powers are the solver's rounding
REPRICED = 1  # times that what adds up above a contract is priced anew
BOTH_KW = 1e-6  # charging and discharging at once, beyond rounding


class Planner:
    """Keeps the solver's model from plan to plan. One thread at a time; `solve` is meant for a worker thread."""

    def __init__(self, config: DispatchConfig) -> None:
        self._program = LinearProgram(config.plan.deadline_s)
        self.last: Plan | None = None

    def solve(self, inputs: PlanInputs, before: Plan | None = None) -> Plan:
        """Make a plan and remember it as `last`. Raises PlanFailed; `last` then stays what it was."""
        self.last = make_plan(inputs, self._program, before)
        return self.last


def make_plan(inputs: PlanInputs, program: LinearProgram | None = None, before: Plan | None = None) -> Plan:
    """Plan the next `config.plan.horizon_h` hours. Raises PlanFailed: inputs unusable, or no verdict of the solver.

    before: the plan in force; what it means the battery to do stays unless a new one is better by `hysteresis_pct`.
    """
    starts = _starts(inputs)
    _reject(inputs)
    prices, ahead = step_prices(inputs, starts), step_forecasts(inputs, starts)
    ordered = project_orders(inputs, starts, ahead.net_w)
    config = with_raised_reserve(inputs.config, inputs.orders)
    inputs = msgspec.structs.replace(inputs, config=config)
    after = msgspec.structs.replace(inputs, soc_pct=ordered.soc_pct)
    left_w = [net - given.battery_w for net, given in zip(ahead.net_w, ordered.steps, strict=True)]
    limits = limits_of(inputs, starts, ahead)
    orders = [given.order for given in ordered.steps]
    optimum = partial(_optimum, inputs, program or LinearProgram(config.plan.deadline_s))
    problem, solution = cheapest(
        after, lambda way: optimum(ordered.limited(_problem(way, starts, prices, limits, left_w)))
    )
    balancing = with_balancing(inputs, starts, ordered, (problem, solution), prices.sell, optimum)
    if balancing is not None:
        problem, solution = balancing.problem, balancing.solution
    elif before is not None and config.batteries and config.plan.hysteresis_pct > 0:
        solution = keep_previous(before, problem, starts, solution, config.plan.hysteresis_pct, orders) or solution

    planned_w = [
        _without_rounding(1000 * (d - c)) for c, d in zip(solution.charge_kw, solution.discharge_kw, strict=True)
    ]
    battery_w = [planned + given.battery_w for planned, given in zip(planned_w, ordered.steps, strict=True)]
    curtail_w = [
        _without_rounding(1000 * kw) for kw in curtailed_kw(problem, solution.charge_kw, solution.discharge_kw).tolist()
    ]
    flows = zip(ahead.net_w, curtail_w, battery_w, strict=True)
    grid_w = [net + curtailed - battery for net, curtailed, battery in flows]
    soc_pct = _soc(inputs, problem, battery_w)
    targets_w, levels = targets_of(inputs, problem, solution), levels_of(inputs)
    keep_w, keepers = kept_import_w(problem, solution, targets_w)
    listed = any(terms.id for terms, _ in levels)
    all_eur = cost_eur = plan_cost_eur(problem, prices.sell, battery_w, grid_w, solution)
    if config.tariff.co2_eur_per_kwh:
        paid = replace(problem, buy=tuple(prices.buy))  # without the price of CO2
        cost_eur = plan_cost_eur(paid, prices.sell, battery_w, grid_w, solution)
    sketch = Sketch(
        config=config,
        starts_utc_s=starts,
        buy=prices.buy,
        sell=prices.sell,
        net_w=ahead.net_w,
        curtail_w=curtail_w,
        limits=limits,
        ordered=[given.reason for given in ordered.steps],
        battery_w=battery_w,
        grid_w=grid_w,
        soc_pct=soc_pct,
        soc_now_pct=inputs.soc_pct or 0.0,
        keep_w=keep_w,
        levels=levels,
        keepers=keepers,
        now_utc_s=inputs.now_utc_s,
        ready=() if inputs.peak is None else inputs.peak.ready,
        reservations=inputs.reservations,
        waiting_w=inputs.waiting_w,
        expected=inputs.expected,
        assumed=prices.assumed,
        prices_known=prices.known,
        balanced=balance_reasons(inputs, balancing, battery_w, soc_pct),
    )
    numbers = (starts, prices.buy, ahead.load_w, ahead.low_w, ahead.high_w, ahead.pv_w, battery_w, grid_w, soc_pct)
    co2 = (*inputs.co2_g_per_kwh, *[None] * len(starts))[: len(starts)]
    rows = zip(*numbers, reasons(sketch), prices.assumed, orders, co2, curtail_w, prices.sell, strict=True)
    steps = tuple(PlanStep(*row) for row in rows)
    told = balance_notes(inputs, balancing, starts)
    notes = [*prices.notes, *ahead.notes, *told, *_notes(inputs, steps, limits)]
    return Plan(
        made_utc_s=inputs.now_utc_s,
        step_s=QUARTER_S,
        steps=steps,
        peak_target_w=target_now_w(inputs, targets_w),
        cost_eur=cost_eur,
        solve_ms=1000 * solution.seconds,
        targets_w={terms.id: w for (terms, _), w in zip(levels, targets_w, strict=True)} if listed else {},
        keep_w=tuple(w if w < math.inf else None for w in keep_w) if listed else (),
        note=joined(notes) if notes else None,
        pv_source=inputs.pv_source,
        month_end=month_end(inputs),
        co2_eur_per_tonne=config.tariff.co2_eur_per_tonne,
        co2_eur=all_eur - cost_eur,
    )


def _optimum(inputs: PlanInputs, program: LinearProgram, problem: Problem) -> tuple[Problem, Solution]:
    """The solution, and the problem it solves: where it charges more than the tick would allow, a tighter one."""
    solution = _solve(problem, program)
    problem, solution = _repriced(problem, solution, program)
    within = within_budget(inputs, problem, solution)
    if within is None:
        return problem, solution
    again = _solve(within, program)
    return within, replace(again, seconds=solution.seconds + again.seconds)


def _repriced(problem: Problem, solution: Solution, program: LinearProgram) -> tuple[Problem, Solution]:
    """The cheapest of a few solutions where what is above a contract adds up: its price depends on the solution."""
    best, seconds = (problem, solution), solution.seconds
    for _ in range(REPRICED):
        again = repriced(problem, solution)
        if again is None:
            break
        problem, solution = again, _solve(again, program)
        seconds += solution.seconds
        if minimised_eur(problem, solution) < minimised_eur(*best):
            best = problem, solution
    return best[0], replace(best[1], seconds=seconds)


def _notes(inputs: PlanInputs, steps: Sequence[PlanStep], limits: StepLimits) -> list[Reason]:
    """What must be said of the plan as a whole."""
    config, notes = inputs.config, list(inputs.load.notes)
    reserve_pct, full_pct = reserve_soc_pct(config), full_soc_pct(config)
    if reserve_pct > full_pct:
        reserve_wh = 1000 * config.reserve_kwh
        notes.append(Reason("plan.reserve", {"reserve_wh": reserve_wh, "need_pct": reserve_pct, "full_pct": full_pct}))
    if (ageing := ageing_of(config)) is not None and ageing.eur_per_kwh:
        least, most = ageing.eur_per_kwh[0], ageing.eur_per_kwh[-1]
        notes.append(Reason("plan.ageing", {"least_eur_per_kwh": least, "most_eur_per_kwh": most}))
    over_w = max(step.grid_w for step in steps) - config.grid.fuse_w
    if over_w > QUIET_W:
        notes.append(Reason("plan.over_fuse", {"over_w": over_w}))
    return notes + limit_notes(config, steps, limits)


def _solve(problem: Problem, program: LinearProgram) -> Solution:
    """Solve; where the answer charges and discharges at once, solve again with one direction open in each step.

    That happens where room in the battery is worth more than the energy in it: before hours that pay for import, on a
    site that may not export. Then burning energy in its losses would pay, which no plan may do.
    """
    try:
        first = program.solve(problem)
        if not any(min(c, d) > BOTH_KW for c, d in zip(first.charge_kw, first.discharge_kw, strict=True)):
            return first
        mean = sum(problem.buy) / len(problem.buy)
        net = [d - c for c, d in zip(first.charge_kw, first.discharge_kw, strict=True)]
        discharges = [w > BOTH_KW or (w >= -BOTH_KW and p > mean) for w, p in zip(net, problem.buy, strict=True)]
        charge = tuple(0.0 if way else kw for way, kw in zip(discharges, problem.charge_kw, strict=True))
        discharge = tuple(kw if way else 0.0 for way, kw in zip(discharges, problem.discharge_kw, strict=True))
        second = program.solve(replace(problem, charge_kw=charge, discharge_kw=discharge))
        return replace(second, seconds=first.seconds + second.seconds)
    except SolverFailed as error:
        raise PlanFailed(Reason("no_plan.solver", {"error": str(error)})) from error


def _starts(inputs: PlanInputs) -> list[int]:
    if not math.isfinite(inputs.now_utc_s):
        raise PlanFailed(Reason("no_plan.not_finite", {"name": "now_utc_s", "found": str(inputs.now_utc_s)}))
    first = int(inputs.now_utc_s // QUARTER_S) * QUARTER_S
    return [first + k * QUARTER_S for k in range(max(1, math.ceil(inputs.config.plan.horizon_h * 3600 / QUARTER_S)))]


def _reject(inputs: PlanInputs) -> None:
    """Raise PlanFailed for what no plan can be made from."""
    if inputs.config.batteries and inputs.soc_pct is None:
        raise PlanFailed(Reason("no_plan.no_soc"))
    forecast = inputs.load
    if not forecast.load_w or not len(forecast.load_w) == len(forecast.low_w) == len(forecast.high_w):
        raise PlanFailed(Reason("no_plan.no_load"))
    numbers = {
        "soc_pct": (inputs.soc_pct or 0.0,),
        "month_peak_w": (inputs.month_peak_w,),
        "peak_prior_w": (inputs.peak_prior_w or 0.0,),
        "interval_energy_wh": (inputs.interval_energy_wh or 0.0,),
        "pv_w": inputs.pv_w,
        "load forecast": (*forecast.load_w, *forecast.low_w, *forecast.high_w),
    }
    for name, values in numbers.items():
        for value in values:
            if not math.isfinite(value):
                raise PlanFailed(Reason("no_plan.not_finite", {"name": name, "found": str(value)}))


def _problem(
    inputs: PlanInputs, starts: list[int], prices: StepPrices, limits: StepLimits, net_w: list[float]
) -> Problem:
    config = inputs.config
    left_s = max(SHORTEST_S, starts[0] + QUARTER_S - inputs.now_utc_s)
    hours = (left_s / 3600, *(QUARTER_S / 3600 for _ in starts[1:]))
    months, places = months_of(inputs, starts)
    (main, level), *others = levels_of(inputs)
    charge_w, discharge_w = (config.charge_w, config.discharge_w) if config.batteries else (0.0, 0.0)
    bottom_kwh, stored_kwh, layers_kwh, part_of, resting_layers = _layers(inputs)
    efficiency = mean_efficiency(config)
    # the same whichever tiers are tried: their solutions are compared
    reached = msgspec.structs.replace(inputs, tier_eur_per_kw={})
    demand = next_eur_per_kw(reached, main, level)
    ready: tuple[tuple[float, ...], ...] = ()
    if inputs.peak is not None:
        ready = tuple([tuple([demand * row[part] for part in part_of]) for row in inputs.peak.ready[: len(starts)]])
    return Problem(
        hours=hours,
        net_kw=tuple(w / 1000 for w in net_w),
        buy=tuple(price + config.tariff.co2_eur_per_kwh for price in prices.buy),
        sell=tuple(prices.sell),
        charge_kw=tuple(min(charge_w / 1000, kw) for kw in limits.charge_kw),
        discharge_kw=(discharge_w / 1000,) * len(starts),
        charge_efficiency=efficiency.charge,
        discharge_efficiency=efficiency.discharge,
        stored_kwh=stored_kwh - bottom_kwh,
        layers_kwh=layers_kwh,
        resting_layers=resting_layers,
        wear=wear_eur_per_kwh(config),
        demand=demand + sum(next_eur_per_kw(reached, *other) for other in others),
        fuse_kw=config.grid.fuse_w / 1000,
        export_limit_kw=limits.export_kw,
        contracted_kw=config.grid.contracted_peak_w / 1000,
        meterings=meterings_of(inputs, starts, hours, places),
        months=tuple(months),
        excesses=excesses_of(inputs, starts, hours, [w / 1000 for w in net_w]),
        ready=ready,
        target_kw=None
        if inputs.peak is None or not gives_way_late(inputs) or not months[places[0][0]].counts
        else max(inputs.peak.target_w, level.free_w) / 1000,
        quarter=starts[0] // QUARTER_S,
        import_limit_kw=limits.import_kw,
        curtail_kw=limits.curtail_kw,
        curtail_least_kw=limits.curtail_least_kw,
        ageing=_ageing_part(inputs, bottom_kwh, stored_kwh),
    )


def _ageing_part(inputs: PlanInputs, bottom_kwh: float, stored_kwh: float) -> AgeingPart | None:
    """What ageing costs, in energy above the bottom; None: nothing."""
    ageing = ageing_of(inputs.config)
    if ageing is None:
        return None
    depths = CycleDepths(ageing, stored_kwh, inputs.depths_kwh)
    depths.follow(stored_kwh)
    return above_bottom(ageing, depths.filled_kwh, bottom_kwh)


def _layers(inputs: PlanInputs) -> tuple[float, float, tuple[float, ...], tuple[int, ...], int]:
    """(energy below which nothing is planned, energy stored now, widths of the layers above), kWh; then which of the
    equal parts between reserve and ceiling each layer above the reserve belongs to, and how many layers rest below the
    resting level.

    The floor is the reserve, or what is stored now if that is less: the plan does not discharge below it, and comes
    back up to the reserve. An SoC outside its limits is where the plan starts from; it is not left further.
    """
    config = inputs.config
    energy_kwh = config.energy_kwh
    if not energy_kwh:
        return 0.0, 0.0, (0.0,) * LAYERS, (0,) * (LAYERS - 2), 2
    now = min(100.0, max(0.0, inputs.soc_pct or 0.0)) / 100 * energy_kwh
    lowest, highest = lowest_kwh(config), full_kwh(config)
    bottom, ceiling = min(lowest, now), max(highest, now)
    reserve = min(highest, max(lowest, reserve_soc_pct(config) / 100 * energy_kwh))
    floor = min(reserve, now)
    resting = min(highest, max(reserve, config.rules.rest_soc_pct / 100 * energy_kwh))
    part = (ceiling - reserve) / READY_LAYERS
    cut = min(READY_LAYERS - 1, int((resting - reserve) / part)) if part > 0 else 0
    edges = sorted([*(reserve + k * part for k in range(READY_LAYERS)), resting, ceiling])
    widths = tuple(b - a for a, b in pairwise(edges))
    part_of = tuple(k if k <= cut else k - 1 for k in range(READY_LAYERS + 1))
    return bottom, now, (floor - bottom, reserve - floor, *widths), part_of, 2 + cut + 1


def _soc(inputs: PlanInputs, problem: Problem, battery_w: list[float]) -> list[float]:
    """SoC at the end of each step, %, from the battery power that the plan states."""
    energy_kwh = inputs.config.energy_kwh
    if not energy_kwh:
        return [0.0] * len(battery_w)
    stored = min(100.0, max(0.0, inputs.soc_pct or 0.0)) / 100 * energy_kwh
    result = []
    for w, hours in zip(battery_w, problem.hours, strict=True):
        stored -= w / 1000 * hours * (problem.charge_efficiency if w < 0 else 1 / problem.discharge_efficiency)
        result.append(100 * stored / energy_kwh)
    return result


def _without_rounding(w: float) -> float:
    return 0.0 if abs(w) < QUIET_W else w
