"""Compares the bill of a replay with those of no battery, a night-valley rule and perfect foresight.

Foresight ends with the energy it began with; what others end with is charged at the mean import price. Over a month
that hardly matters; over hours an emptier battery may look cheaper than foresight's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from math import gcd
from zoneinfo import ZoneInfo

import msgspec

from console.replay.engine import Case, Schedule
from console.replay.remarks import (
    beyond_market,
    doubtful_jobs,
    no_bound,
    over_contract,
    over_export,
    short_period,
    unpriced,
)
from dispatch.billing.battery_ageing import schedule_ageing_eur
from dispatch.billing.bill import Bill, Flow, bill, stored_change_kwh
from dispatch.billing.charges.energy_prices import uses_market
from dispatch.billing.market_prices import filled_means
from dispatch.billing.peak_charges import main_charge
from dispatch.config.battery_ratings import full_kwh, mean_efficiency, reserve_soc_pct
from dispatch.evaluation.curtailment import curtailed_w, most_curtailed_w
from dispatch.evaluation.foresight import idle_schedule, perfect_battery_w
from dispatch.model.forecast import QUARTER_S
from dispatch.power_caps.pricing import linear

VALLEY = (0, 6)  # local hours in which the night-valley rule charges
DAY = (7, 21)  # and discharges


class Comparison(msgspec.Struct, frozen=True):
    """Bills by name: "none", "night_valley", "skerry", "perfect_foresight"."""

    bills: dict[str, Bill]
    notes: tuple[str, ...]
    co2_eur_per_tonne: float = 0.0  # what CO2 is priced at beside the bills
    comparable: bool = True  # False: too short for a share, what was left in the battery outweighs what was saved

    def captured_pct(self, name: str) -> float | None:
        """Share of perfect foresight's saving; None where there is none to be had, or no share can be said.

        Where CO2 has a price it is part of the saving, as it is of what plan and foresight minimise.
        """
        if not self.comparable:
            return None
        none, best = self.bills["none"].minimised_eur, self.bills["perfect_foresight"].minimised_eur
        return 100 * (none - self.bills[name].minimised_eur) / (none - best) if none - best > 0.005 else None


class ScoredPeriod:
    """The part of a case that is scored: powers at the finest step of trace and schedule, prices filled."""

    def __init__(self, case: Case, end_s: int) -> None:
        self.case, self.end_s = case, end_s
        span = gcd(end_s - case.start_s, case.start_s)
        self.perfect_s = QUARTER_S if span % QUARTER_S == 0 else case.step_s  # the step of perfect foresight
        self.fine_s = gcd(case.load.step_s, case.step_s, self.perfect_s)
        self.load_w = case.load.means_w(case.start_s, end_s, self.fine_s)
        self.pv_w = case.pv.means_w(case.start_s, end_s, self.fine_s)
        self.eur_per_mwh, self._published = self._prices(self.fine_s)

    def _prices(self, step_s: int) -> tuple[list[float], list[bool]]:
        """The price of each step, and whether it was published."""
        case = self.case
        starts = range(case.start_s, self.end_s, step_s)
        if not uses_market(case.config.tariff):
            return [0.0] * len(starts), [True] * len(starts)
        market, published = filled_means(case.prices, starts, step_s, case.config.timezone)
        return [0.0] * len(starts) if market is None else market, published

    def charge(
        self,
        battery_w: Sequence[float],
        step_s: int,
        stored_kwh: float | None = None,
        shed_w: Sequence[float] = (),
        limited_w: Sequence[float] = (),
    ) -> Bill:
        """The bill with this battery power, this taken from compute and PV limited by this, held over `step_s` each.

        `stored_kwh` is by how much the stored energy has changed; None: all batteries taken as one.
        """
        config = self.case.config
        ageing_eur = 0.0
        if any(battery_w):  # without a battery none ages
            begin_kwh = self.case.soc_pct / 100 * config.energy_kwh
            ageing_eur = schedule_ageing_eur(config, step_s, battery_w, begin_kwh)
        if stored_kwh is None:
            stored_kwh = stored_change_kwh(config, step_s, battery_w)
        shed_eur_per_kwh = linear(config.caps).value_eur_per_kwh
        flow = self.flow(battery_w, step_s, shed_w, limited_w)
        return bill(config, flow, stored_kwh, shed_eur_per_kwh, ageing_eur)

    def flow(
        self,
        battery_w: Sequence[float],
        step_s: int,
        shed_w: Sequence[float] = (),
        limited_w: Sequence[float] = (),
    ) -> Flow:
        """All that is charged for, at the finest step."""
        times = step_s // self.fine_s
        held, shed, limited = ([w for w in watts for _ in range(times)] for watts in (battery_w, shed_w, limited_w))
        pv_w = self.pv_w
        if any(limited):
            pv_w = [max(0.0, w - less) for w, less in zip(pv_w, limited, strict=True)]
        return Flow(
            start_utc_s=self.case.start_s,
            step_s=self.fine_s,
            load_w=self.load_w,
            pv_w=pv_w,
            eur_per_mwh=self.eur_per_mwh,
            battery_w=held,
            shed_w=shed,
        )

    def remarks(self, schedule: Schedule) -> Iterator[str]:
        """What must be said beside the bills."""
        case = self.case
        yield from unpriced(case.start_s, self.fine_s, self._published)
        yield from beyond_market(case.start_s, self.end_s, case.prices)
        yield from doubtful_jobs(case.start_s, self.end_s, case.jobs, case.gpus_total)
        grid_w = self.grid_w(schedule)
        yield from over_contract(case.config.grid, case.start_s, self.fine_s, grid_w)
        yield from over_export(case.config.grid, case.start_s, self.fine_s, grid_w)
        yield from short_period(main_charge(case.config), self.end_s - case.start_s)
        yield from (*case.notes, *case.load.notes, *case.pv.notes)

    def grid_w(self, schedule: Schedule) -> list[float]:
        """Import at the finest step with what was done, W; < 0 is export."""
        done = self.flow(schedule.battery_w, self.case.step_s, schedule.shed_w, schedule.curtailed_w)
        return list(done.grid_w())

    def perfect_w(self) -> tuple[list[float], list[float], int]:
        """Perfect foresight's battery power, what it limits PV by, and its step, s."""
        case = self.case
        step_s = self.perfect_s
        load, pv = (t.means_w(case.start_s, self.end_s, step_s) for t in (case.load, case.pv))
        net_w = [a - b for a, b in zip(load, pv, strict=True)]
        prices, _ = self._prices(step_s)
        idle = idle_schedule(case.config, case.start_s, step_s, len(net_w), case.soc_pct)
        idle = msgspec.structs.replace(idle, curtail_w=most_curtailed_w(case.config, load, pv))
        best_w = perfect_battery_w(case.config, step_s, net_w, prices, idle)
        return best_w, curtailed_w(case.config, idle.starts_utc_s, prices, net_w, best_w, idle.curtail_w), step_s


def compare(case: Case, schedule: Schedule) -> Comparison:
    """All four bills over what was done. Raises SolverFailed."""
    stretch = ScoredPeriod(case, schedule.end_s)
    perfect_w, perfect_limited_w, perfect_s = stretch.perfect_w()
    idle = [0.0] * len(schedule)
    stored_kwh = (schedule.soc_pct[-1] - case.soc_pct) / 100 * case.config.energy_kwh
    bills = {
        "none": stretch.charge(idle, case.step_s),
        "night_valley": stretch.charge(night_valley_w(case, schedule.end_s), case.step_s),
        "skerry": stretch.charge(schedule.battery_w, case.step_s, stored_kwh, schedule.shed_w, schedule.curtailed_w),
        "perfect_foresight": stretch.charge(perfect_w, perfect_s, limited_w=perfect_limited_w),
    }
    notes = (*stretch.remarks(schedule), *no_bound(bills))
    return Comparison(bills, notes, case.config.tariff.co2_eur_per_tonne)


def night_valley_w(case: Case, end_s: int) -> list[float]:
    """Charge evenly 00 to 06 local time, discharge evenly 07 to 21, between reserve and soc_max, never exporting."""
    config, zone = case.config, ZoneInfo(case.config.timezone)
    charging, discharging = mean_efficiency(config)
    if not config.energy_kwh:
        return [0.0] * ((end_s - case.start_s) // case.step_s)
    top_kwh = full_kwh(config)
    floor_kwh = min(reserve_soc_pct(config) / 100 * config.energy_kwh, top_kwh)
    charge_w = min(1000 * (top_kwh - floor_kwh) / charging / (VALLEY[1] - VALLEY[0]), config.charge_w)
    discharge_w = min(1000 * (top_kwh - floor_kwh) * discharging / (DAY[1] - DAY[0]), config.discharge_w)
    stored_kwh, hours, result = case.soc_pct / 100 * config.energy_kwh, case.step_s / 3600, []
    for t_s in range(case.start_s, end_s, case.step_s):
        hour = datetime.fromtimestamp(t_s, UTC).astimezone(zone).hour
        w = 0.0
        if VALLEY[0] <= hour < VALLEY[1]:
            w = -min(charge_w, max(top_kwh - stored_kwh, 0.0) / charging / hours * 1000)
        elif DAY[0] <= hour < DAY[1]:
            net_w = case.load.mean_w(t_s, t_s + case.step_s) - case.pv.mean_w(t_s, t_s + case.step_s)
            spare_w = max(stored_kwh - floor_kwh, 0.0) * discharging / hours * 1000
            w = min(discharge_w, spare_w, max(net_w, 0.0))
        stored_kwh -= w / 1000 * hours * (charging if w < 0 else 1 / discharging)
        result.append(w)
    return result
