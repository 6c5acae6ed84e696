"""Checks that span keys of a site file: contradicting limits, ids that do not exist.

Each check stands alone, so that a reader of half a site can make those that it can (`gateway/site/cross_checks.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial

from dispatch.config.battery_ratings import full_soc_pct, reserve_soc_pct
from dispatch.config.demand_terms import parsed
from dispatch.config.schema import BatteryConfig, DispatchConfig, PcsRatings

Finding = tuple[str, object, str]  # key, value, what was expected
Check = Callable[[], Iterator[Finding]]
MOST_POINTS = 5  # of a cycle life: each makes the plan's program larger
ROUNDED = 0.01  # a datasheet's cycles are rounded


def inconsistencies(config: DispatchConfig) -> Iterator[Finding]:
    """Every contradiction of a site that could be read whole."""
    for check in checks(config):
        yield from check()


def checks(config: DispatchConfig) -> Iterator[Check]:
    """Every check of a site, each to be made by itself."""
    for check in (_peak, _export_margin, _order_times, _meter_delay, _demand_twice, _demand_windows):
        yield partial(check, config)
    for n, battery in enumerate(config.batteries):
        yield partial(_soc_range, n, battery)
        yield partial(_temperatures, n, battery)
        yield partial(_cycle_life, n, battery)
        yield partial(_balancing, config, n, battery)
    for n, pcs in enumerate(config.pcs):
        yield partial(_pcs_battery, config, n, pcs)
    for check in (_drill_minutes, _drill_switch, _drill_pcs, _island_switch, _reserve, _genset):
        yield partial(check, config)


def _peak(config: DispatchConfig) -> Iterator[Finding]:
    grid = config.grid
    if grid.contracted_peak_w > grid.fuse_w:
        carried = f"{grid.fuse_a:g} A x {grid.voltage_v:g} V x {grid.phases} carry: {grid.fuse_w:g} W"
        yield "grid.contracted_peak_w", grid.contracted_peak_w, f"at most what {carried}"


def _export_margin(config: DispatchConfig) -> Iterator[Finding]:
    grid = config.grid
    if grid.export_margin_w > grid.export_limit_w:
        yield "grid.export_margin_w", grid.export_margin_w, f"at most export_limit_w = {grid.export_limit_w:g}"


def _order_times(config: DispatchConfig) -> Iterator[Finding]:
    if config.orders.default_s > config.orders.max_s:
        yield "orders.default_s", config.orders.default_s, f"at most orders.max_s = {config.orders.max_s:g}"


def _meter_delay(config: DispatchConfig) -> Iterator[Finding]:
    grid = config.grid
    if grid.meter_delay_min_s > grid.meter_delay_max_s:
        yield "grid.meter_delay_min_s", grid.meter_delay_min_s, f"at most {grid.meter_delay_max_s:g}, its maximum"


def _demand_twice(config: DispatchConfig) -> Iterator[Finding]:
    tariff = config.tariff
    if tariff.demand is not None and tariff.demand_eur_per_kw_month:
        yield "tariff.demand_eur_per_kw_month", tariff.demand_eur_per_kw_month, "not to be here beside [tariff.demand]"


def _demand_windows(config: DispatchConfig) -> Iterator[Finding]:
    demand, length_min = config.tariff.demand, config.grid.metering_interval_s // 60
    if demand is None:
        return
    for text, window in zip(demand.windows, parsed(demand.windows), strict=True):
        if window.from_min % length_min or window.to_min % length_min:
            yield "tariff.demand.windows", text, f"ends of whole metering intervals, {length_min} min"


def _soc_range(n: int, battery: BatteryConfig) -> Iterator[Finding]:
    if battery.soc_min_pct >= battery.soc_max_pct:
        yield f"battery[{n}].soc_min_pct", battery.soc_min_pct, f"below soc_max_pct = {battery.soc_max_pct:g}"


def _temperatures(n: int, battery: BatteryConfig) -> Iterator[Finding]:
    if battery.temp_min_c >= battery.temp_max_c:
        yield f"battery[{n}].temp_min_c", battery.temp_min_c, f"below temp_max_c = {battery.temp_max_c:g}"
    low_c, high_c = battery.temp_min_c, battery.temp_max_c
    for way, window_c in (("charge", battery.charge_window_c), ("discharge", battery.discharge_window_c)):
        at_least, at_most = window_c
        if not low_c <= at_least <= high_c:
            yield (
                f"battery[{n}].{way}_temp_min_c",
                at_least,
                f"between temp_min_c and temp_max_c, {low_c:g}..{high_c:g}",
            )
        elif not at_least <= at_most <= high_c:
            yield f"battery[{n}].{way}_temp_max_c", at_most, f"between {at_least:g} and temp_max_c = {high_c:g}"


def _cycle_life(n: int, battery: BatteryConfig) -> Iterator[Finding]:
    key, points = f"battery[{n}].cycle_life", battery.cycle_life
    if bool(points) != (battery.replacement_eur_per_kwh > 0):
        expected = "above 0 beside cycle_life" if points else "0 without cycle_life"
        yield f"battery[{n}].replacement_eur_per_kwh", battery.replacement_eur_per_kwh, expected
    if len(points) > MOST_POINTS:
        yield key, len(points), f"at most {MOST_POINTS} points"
    last_pct = last_share = last_slope = 0.0
    for depth_pct, cycles in points:
        if not last_pct < depth_pct <= 100 or not 0 < cycles < math.inf:
            expected = f"a depth above {last_pct:g} %, at most 100 %, and a number of cycles above 0"
            yield key, [depth_pct, cycles], expected
            return
        slope = (1 / cycles - last_share) / (depth_pct - last_pct)
        if slope < last_slope * (1 - ROUNDED) or slope <= 0:
            expected = (
                f"at most {1 / (last_share + last_slope * (depth_pct - last_pct)):.0f} cycles at {depth_pct:g} %: "
                "each further % of depth must cost at least as much as the one before it"
            )
            yield key, [depth_pct, cycles], expected
            return
        last_pct, last_share, last_slope = depth_pct, 1 / cycles, slope


def _balancing(config: DispatchConfig, n: int, battery: BatteryConfig) -> Iterator[Finding]:
    if battery.balance_every_days <= 0:
        return
    if battery.balance_soc_pct < battery.soc_max_pct:
        expected = f"at least soc_max_pct = {battery.soc_max_pct:g}"
        yield f"battery[{n}].balance_soc_pct", battery.balance_soc_pct, expected
    if not config.plan.enabled:
        expected = "0 with [plan] enabled = false: only a plan finds the hours for it"
        yield f"battery[{n}].balance_every_days", battery.balance_every_days, expected


def _pcs_battery(config: DispatchConfig, n: int, pcs: PcsRatings) -> Iterator[Finding]:
    known = {b.id for b in config.batteries}
    if pcs.battery not in known:
        there = ", ".join(sorted(known)) or "there is none"
        yield f"pcs[{n}].battery", pcs.battery, f"the id of a [[battery]]: {there}"


def _drill_minutes(config: DispatchConfig) -> Iterator[Finding]:
    if config.drills.schedule and config.drills.minutes > config.island.drill_minutes_max:
        most = config.island.drill_minutes_max
        yield "drills.minutes", config.drills.minutes, f"at most island.drill_minutes_max = {most:g}"


def _drill_switch(config: DispatchConfig) -> Iterator[Finding]:
    if config.drills.schedule and config.switch_id is None:
        yield "drills.schedule", config.drills.schedule, "a [[switch]] that may be asked (island.switch names it)"


def _drill_pcs(config: DispatchConfig) -> Iterator[Finding]:
    if config.drills.schedule and not config.pcs:
        yield "drills.schedule", config.drills.schedule, "a [[pcs]] that can form a grid"


def _island_switch(config: DispatchConfig) -> Iterator[Finding]:
    if config.island.switch and config.island.switch not in config.switches:
        there = ", ".join(config.switches) or "there is none"
        yield "island.switch", config.island.switch, f"the id of a [[switch]]: {there}"


def _reserve(config: DispatchConfig) -> Iterator[Finding]:
    if config.batteries:
        usable, highest = reserve_soc_pct(config), full_soc_pct(config)
        if usable > highest:
            needs = f"{config.reserve_kwh:g} kWh needs SoC {usable:.0f} %, above soc_max {highest:g} %"
            yield "reserve.hours", config.reserve.hours, f"a reserve that fits: {needs}"
    elif config.reserve_kwh > 0:
        yield "reserve.hours", config.reserve.hours, "0 on a site without a battery"


def _genset(config: DispatchConfig) -> Iterator[Finding]:
    genset = config.genset
    if genset is None:
        return
    if genset.min_load_w > genset.charge_up_to_w:
        most = f"at most {genset.charge_up_to_w:g}, rated_w less margin_pct"
        yield "genset.min_load_w", genset.min_load_w, most
    if config.rules.meter_lost_w != 0:
        expected = "0 on a site with a [genset]: a PCS that hears nothing more reverts to it on the generator as well"
        yield "rules.meter_lost_w", config.rules.meter_lost_w, expected
    if len(config.switches) != 1:
        found = f"found {len(config.switches)}"
        yield "genset.rated_w", genset.rated_w, f"exactly one [[switch]], which tells the source of the site; {found}"
