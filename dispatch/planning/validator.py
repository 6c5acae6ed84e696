"""Checks a plan before it is used; shares no formula with the planner.

Where the planner sums forward, this compares each step with the one before it, and it reads what it needs from the site
file again, not from `dispatch/config/battery_ratings.py` (a test compares the two). A plan with any error is not used:
the last good one stays.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from itertools import pairwise
from math import isfinite
from operator import attrgetter

from msgspec.structs import asdict, fields

from dispatch.billing.charges.energy_prices import ImportPrices
from dispatch.billing.demand_charge import interval_account
from dispatch.billing.market_prices import PriceSeries
from dispatch.billing.peak_charges import peak_charges
from dispatch.config.demand_terms import DemandTerms
from dispatch.config.schema import DispatchConfig
from dispatch.model.forecast import QUARTER_S
from dispatch.model.plan import Plan, PlanStep
from dispatch.planning.inputs import PlanInputs

POWER_W = 5.0  # tolerance on powers
ENERGY_WH = 30.0  # tolerance on the energy of one step: the solver's feasibility and one second at full power
PRICE_EUR_PER_KWH = 1e-6

_numbers_of = attrgetter(*(field.name for field in fields(PlanStep) if field.type in (int, float)))
_other_numbers_of = attrgetter(*(field.name for field in fields(PlanStep) if field.type == float | None))


def check_plan(plan: Plan, inputs: PlanInputs) -> list[str]:
    """Everything wrong with `plan` as an answer to `inputs`; empty when it may be used."""
    found = _numbers(plan)
    if found:
        return found  # comparisons with NaN would only mislead
    found += _times(plan, inputs)
    site, previous = _Site(inputs), inputs.soc_pct or 0.0
    cost = ImportPrices(inputs.config.tariff, inputs.config.timezone)
    for k, step in enumerate(plan.steps):
        faults = _powers(step, site)
        faults += _energy(step, previous, _seconds(plan, step), site)
        faults += _given(step, inputs, plan.made_utc_s, cost)
        found += [f"step {k} ({step.start_utc_s}): {fault}" for fault in faults]
        previous = step.soc_pct
    if not found:
        found += _peak(plan, inputs)
    return found


def _numbers(plan: Plan) -> list[str]:
    found = _not_finite({name: getattr(plan, name) for name in ("made_utc_s", "peak_target_w", "cost_eur", "co2_eur")})
    for k, step in enumerate(plan.steps):
        if not (all(map(isfinite, _numbers_of(step))) and all(map(_missing_or_finite, _other_numbers_of(step)))):
            found += [f"step {k}: {fault}" for fault in _not_finite(asdict(step))]
    return found


def _missing_or_finite(number: float | None) -> bool:
    return number is None or isfinite(number)


def _not_finite(fields: Mapping[str, object]) -> list[str]:
    numbers = {name: value for name, value in fields.items() if isinstance(value, int | float)}
    return [f"{name} is {value}: expected a finite number" for name, value in numbers.items() if not isfinite(value)]


def _times(plan: Plan, inputs: PlanInputs) -> list[str]:
    if not plan.steps:
        return ["the plan has no steps"]
    found = []
    if plan.step_s != QUARTER_S:
        found.append(f"step_s is {plan.step_s}: expected {QUARTER_S}")
    if plan.made_utc_s != inputs.now_utc_s:
        found.append(f"made at {plan.made_utc_s}: expected {inputs.now_utc_s}, the time of its inputs")
    first = plan.steps[0].start_utc_s
    if first % QUARTER_S or not 0 <= plan.made_utc_s - first < QUARTER_S:
        found.append(f"first step starts at {first}: expected the quarter hour that holds {plan.made_utc_s}")
    for k, (one, two) in enumerate(pairwise(plan.steps)):
        if two.start_utc_s - one.start_utc_s != QUARTER_S:
            found.append(
                f"step {k + 1} starts {two.start_utc_s - one.start_utc_s} s after step {k}: expected {QUARTER_S}"
            )
    return found


def _seconds(plan: Plan, step: PlanStep) -> float:
    """How long a step has from the making of the plan on."""
    return min(float(QUARTER_S), step.start_utc_s + QUARTER_S - plan.made_utc_s)


class _Site:
    """What the site allows, from the site file's numbers, and where the plan starts."""

    def __init__(self, inputs: PlanInputs) -> None:
        config, soc_pct = inputs.config, inputs.soc_pct or 0.0
        batteries, grid = config.batteries, config.grid
        self.charge_w = sum(p.charge_w for p in config.pcs) if batteries else 0.0
        self.discharge_w = sum(p.discharge_w for p in config.pcs) if batteries else 0.0
        self.fuse_w, self.export_w = grid.fuse_a * grid.voltage_v * grid.phases, grid.export_limit_w
        most_w = {pv: max(pv.peak_w, pv.rated_w or 0.0) for pv in config.pv}
        can_w, all_w = sum(w for pv, w in most_w.items() if pv.curtail), sum(most_w.values())
        self.curtailable = can_w / all_w if all_w else 0.0  # share of the PV power
        self.rated_wh = 1000 * sum(b.energy_kwh for b in batteries)
        if not batteries:
            return
        self.charging = sum(b.charge_efficiency * b.energy_kwh * 1000 for b in batteries) / self.rated_wh
        self.discharging = sum(b.discharge_efficiency * b.energy_kwh * 1000 for b in batteries) / self.rated_wh
        self.low_pct = min(soc_pct, sum(b.soc_min_pct * b.energy_kwh for b in batteries) * 1000 / self.rated_wh)
        self.high_pct = max(soc_pct, _full_wh(inputs) / self.rated_wh * 100)


def _full_wh(inputs: PlanInputs) -> float:
    """With each battery at its soc_max, or at its BMS's full mark where that is due."""
    balanced = {due.battery for due in inputs.balance}
    marks = (max(b.soc_max_pct, b.balance_soc_pct if b.id in balanced else 0.0) for b in inputs.config.batteries)
    return sum(mark / 100 * b.energy_kwh * 1000 for mark, b in zip(marks, inputs.config.batteries, strict=True))


def _powers(step: PlanStep, site: _Site) -> list[str]:
    found = []
    if not -site.charge_w - POWER_W <= step.battery_w <= site.discharge_w + POWER_W:
        found.append(f"battery {step.battery_w:.0f} W: ratings allow -{site.charge_w:.0f}..{site.discharge_w:.0f} W")
    alone_w = step.load_w - step.pv_w
    gap_w = alone_w + step.curtail_w - step.grid_w - step.battery_w
    if abs(gap_w) > POWER_W:
        found.append(f"load - grid - pv - battery = {gap_w:.0f} W: expected 0")
    if not -POWER_W <= step.curtail_w <= site.curtailable * step.pv_w + POWER_W:
        found.append(f"PV limited by {step.curtail_w:.0f} W: at most {site.curtailable * step.pv_w:.0f} W can be")
    if step.grid_w > max(site.fuse_w, alone_w + step.curtail_w) + POWER_W:
        found.append(
            f"import {step.grid_w:.0f} W: the fuse carries {site.fuse_w:.0f} W, the load alone takes {alone_w:.0f} W"
        )
    if -step.grid_w > max(site.export_w, -alone_w) + POWER_W:
        found.append(f"export {-step.grid_w:.0f} W: the limit is {site.export_w:.0f} W")
    if not step.load_low_w - POWER_W <= step.load_w <= step.load_high_w + POWER_W:
        found.append(f"load {step.load_w:.0f} W outside its band {step.load_low_w:.0f}..{step.load_high_w:.0f} W")
    return found


def _energy(step: PlanStep, previous_pct: float, seconds: float, site: _Site) -> list[str]:
    """SoC against the power of this step alone, and against its limits."""
    if not site.rated_wh:
        return [] if step.soc_pct == 0 else [f"SoC {step.soc_pct:.1f} % on a site without a battery"]
    rise_wh = (step.soc_pct - previous_pct) / 100 * site.rated_wh
    terminal_wh = step.battery_w * seconds / 3600
    expected_wh = -terminal_wh / site.discharging if step.battery_w > 0 else -terminal_wh * site.charging
    found = []
    if abs(rise_wh - expected_wh) > ENERGY_WH:
        found.append(
            f"SoC {previous_pct:.2f} -> {step.soc_pct:.2f} %: {step.battery_w:.0f} W for {seconds:.0f} s "
            f"moves {expected_wh:.0f} Wh"
        )
    slack = 100 * ENERGY_WH / site.rated_wh
    if not site.low_pct - slack <= step.soc_pct <= site.high_pct + slack:
        found.append(f"SoC {step.soc_pct:.2f} %: limits are {site.low_pct:.1f}..{site.high_pct:.1f} %")
    return found


def _given(step: PlanStep, inputs: PlanInputs, made_utc_s: float, cost: ImportPrices) -> list[str]:
    """What the planner was given must come back unchanged: load, PV, published prices."""
    found = []
    forecast = inputs.load
    k = (step.start_utc_s - forecast.start_utc_s) // QUARTER_S
    if 0 <= k < len(forecast.load_w):
        for name, have, want in (
            ("load", step.load_w, forecast.load_w[k]),
            ("low", step.load_low_w, forecast.low_w[k]),
            ("high", step.load_high_w, forecast.high_w[k]),
        ):
            if abs(have - want) > POWER_W:
                found.append(f"{name} {have:.0f} W: the forecast says {want:.0f} W")
    if 0 <= k < len(inputs.pv_w) and abs(step.pv_w - max(0.0, inputs.pv_w[k])) > POWER_W:
        found.append(f"PV {step.pv_w:.0f} W: the forecast says {inputs.pv_w[k]:.0f} W")
    begin_s = max(float(step.start_utc_s), made_utc_s)
    market = _market_eur_per_mwh(inputs.prices, begin_s, step.start_utc_s + QUARTER_S)
    price = cost.at(begin_s, market)
    if price is not None and isfinite(price) and abs(price - step.price_eur_per_kwh) > PRICE_EUR_PER_KWH:
        found.append(f"price {step.price_eur_per_kwh:.4f} EUR/kWh: the tariff says {price:.4f}")
    return found


def _market_eur_per_mwh(prices: PriceSeries, begin_s: float, end_s: float) -> float | None:
    """Published prices of a step weighted by their time; where they are not known to its end, that of its begin."""
    starts, count = prices.start_utc_s, len(prices.start_utc_s)
    k = bisect_right(starts, begin_s) - 1
    paid = seen_s = 0.0
    while 0 <= k < count and starts[k] < end_s:
        until_s = starts[k + 1] if k + 1 < count else prices.end_utc_s
        price, length_s = prices.eur_per_mwh[k], min(until_s, end_s) - max(starts[k], begin_s)
        if price is None or length_s <= 0:
            break
        paid, seen_s, k = paid + price * length_s, seen_s + length_s, k + 1
    return paid / seen_s if 0 < end_s - begin_s <= seen_s else prices.at(begin_s)


def _peak(plan: Plan, inputs: PlanInputs) -> list[str]:
    """The stated peak: never below the month's peak so far, nor below the next whole interval billed with this one."""
    if plan.peak_target_w < inputs.month_peak_w - POWER_W:
        return [f"peak target {plan.peak_target_w:.0f} W below the month's peak so far, {inputs.month_peak_w:.0f} W"]
    if inputs.peak is not None:
        fuse_w = inputs.config.grid.fuse_a * inputs.config.grid.voltage_v * inputs.config.grid.phases
        if plan.peak_target_w > max(fuse_w, inputs.month_peak_w) + POWER_W:
            return [f"peak target {plan.peak_target_w:.0f} W: the fuse carries {fuse_w:.0f} W"]
        if plan.peak_target_w >= min(inputs.peak.target_w, fuse_w) - POWER_W:
            return []  # the outlook's target is for the running interval: a later one may be let rise when it comes
    length_s = max(inputs.config.grid.metering_interval_s, QUARTER_S)
    intervals: dict[int, list[float]] = {}
    for step in plan.steps:
        intervals.setdefault(step.start_utc_s // length_s, []).append(max(0.0, step.grid_w))
    second = next((w for n, w in intervals.items() if n > plan.steps[0].start_utc_s // length_s), None)
    mean_w = sum(second) / len(second) if second else 0.0
    found = []
    for terms in _on_highest(inputs.config):
        target_w, zone = plan.targets_w.get(terms.id, plan.peak_target_w), inputs.config.timezone
        first = interval_account(terms, zone, plan.steps[0].start_utc_s)
        following = interval_account(terms, zone, (plan.steps[0].start_utc_s // length_s + 1) * length_s)
        if following.counts and following.account == first.account and mean_w > target_w + POWER_W:
            found.append(f"peak target {target_w:.0f} W: the next metering interval alone is planned at {mean_w:.0f} W")
    return found


def _on_highest(config: DispatchConfig) -> list[DemandTerms]:
    """The charges whose peak one interval sets; where what is above a contract adds up, each is paid for by itself."""
    return [terms for terms in peak_charges(config) if not terms.adds]
