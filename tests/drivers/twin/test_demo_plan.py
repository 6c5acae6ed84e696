"""The demo site in lock-step: from its first second on its plans keep the contract they are made for."""

from __future__ import annotations

from pathlib import Path

from dispatch.control.controller import Controller
from dispatch.model.battery_bank import BatteryBank
from dispatch.model.plan import NEAR_W
from dispatch.planning.pipeline import PlanningState, PlanSource
from drivers.clock import VirtualClock
from drivers.tariffs.csv_file import load as load_prices
from drivers.twin.lockstep import LockstepSite
from drivers.twin.physics import TwinSite
from gateway.quarter_mean import QuarterMean
from gateway.site.loader import load

ROOT = Path(__file__).parents[3]
TICK_S, PLAN_TICKS = 5, 60
HOURS = 2


def test_no_plan_of_the_demo_is_above_its_contract() -> None:
    """It starts with a load above the contract and a job that adds to it: neither is expected to last for 36 h."""
    site = load(ROOT / "sites" / "demo.toml")
    assert site.twin is not None
    nodes = tuple(node for node in site.node if node.source == "modbus")
    twin = TwinSite.from_sections(site.twin, site.grid, site.battery, site.pcs, site.meter, site.pv, site.switch, nodes)
    clock = VirtualClock(twin.utc_s)
    lockstep, controller = LockstepSite(twin, clock, step_s=1.0), Controller(site.dispatch)
    source, prices = PlanSource(site.dispatch), load_prices("bundled:de-lu-2025", ROOT)
    load_mean = QuarterMean(source.observe_load)
    pv_mean = QuarterMean(lambda start_s, w, _: source.observe_pv(start_s, w))
    plan, highest_w = None, 0.0
    for tick in range(HOURS * 3600 // TICK_S):
        seen = lockstep.snapshot(tick)
        load_mean.add(seen.utc_s, seen.load_w)
        pv_mean.add(seen.utc_s, seen.pv_w)
        lockstep.apply(controller.step(seen, plan))
        if tick % PLAN_TICKS == 1:
            soc_pct = BatteryBank(site.dispatch, seen).soc_pct
            assert seen.load_w is not None
            assert soc_pct is not None
            now = PlanningState(
                utc_s=seen.utc_s,
                load_w=seen.load_w,
                pv_w=seen.pv_w,
                soc_pct=soc_pct,
                month_peak_w=controller.month_peak_w,
                interval_energy_wh=controller.interval.energy_wh,
            )
            plan, faults = source.make(source.inputs(now, prices), plan)
            assert faults == []
            # the running step is only the rest of one: its power is no mean of a whole interval
            highest_w = max(highest_w, *(step.grid_w for step in plan.steps[1:]))
        lockstep.advance(TICK_S)
    assert 0 < highest_w <= site.grid.contracted_peak_w + NEAR_W
    assert 0 < controller.month_peak_w <= site.grid.contracted_peak_w + NEAR_W
