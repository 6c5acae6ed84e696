"""The demo site in lock-step, as its gateway runs it: snapshot, plan each `plan.period_s`, decision, alarms.

Physics, controller, planner and alarms are those of the product; only the clock is virtual. Same calls, same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from dispatch.alarms.conditions import conditions
from dispatch.alarms.definitions import DEFINITIONS
from dispatch.alarms.facts import Facts
from dispatch.alarms.points import Conditions
from dispatch.alarms.states import AlarmBook
from dispatch.control.controller import Controller
from dispatch.model.battery_bank import BatteryBank
from dispatch.model.decision import Decision
from dispatch.model.events import Event
from dispatch.model.orders import Order
from dispatch.model.plan import Plan
from dispatch.model.signals import Signal
from dispatch.model.snapshot import Snapshot
from dispatch.planning.pipeline import PlanningState, PlanSource
from drivers.clock import VirtualClock
from drivers.tariffs.csv_file import load as load_prices
from drivers.twin.lockstep import LockstepSite
from drivers.twin.physics import TwinSite
from gateway.quarter_mean import QuarterMean
from gateway.site.loader import load
from gateway.site.schema import Site

SITES = Path(__file__).resolve().parents[3] / "sites"


def demo_site() -> Site:
    """The site file of `skerry demo` with a load half as high again as the trace: pulses then pass the contract."""
    site = load(SITES / "demo.toml")
    assert site.twin is not None
    return msgspec.structs.replace(site, twin=msgspec.structs.replace(site.twin, load_scale=1.5))


class DemoDay:
    """One running demo. `snapshot`, `decision`, `plan` and `events` are those of the last step.

    step_s: time between two ticks, 0.2 s or more; the physics run in slices of half of it.
    """

    def __init__(self, site: Site | None = None, step_s: float = 0.2) -> None:
        self.site, self.step_s = site or demo_site(), step_s
        cfg = self.site
        assert cfg.twin is not None
        self.twin = TwinSite.from_sections(
            cfg.twin, cfg.grid, cfg.battery, cfg.pcs, cfg.meter, cfg.pv, cfg.switch, cfg.node
        )
        self.clock = VirtualClock(self.twin.utc_s)
        self.lockstep = LockstepSite(self.twin, self.clock, step_s=step_s / 2, stale_after_s=cfg.io.stale_after_s)
        self.controller = Controller(cfg.dispatch)
        self.alarms = AlarmBook(DEFINITIONS)
        self.plan: Plan | None = None
        self.events: tuple[Event, ...] = ()
        self.found: Conditions = {}
        self._source = PlanSource(cfg.dispatch)
        self._load_mean = QuarterMean(self._source.observe_load)
        self._pv_mean = QuarterMean(lambda start_s, w, _: self._source.observe_pv(start_s, w))
        self._prices = load_prices(cfg.tariff.file, SITES)
        self._planned: float | None = None  # number of the planning period that has its plan
        self._seq = 0
        self.snapshot: Snapshot = self.lockstep.snapshot(0)
        self.decision: Decision | None = None

    def step(self, orders: Sequence[Order] = (), signals: Sequence[Signal] = ()) -> Decision:
        """One tick later: read, plan when it is time, decide, write. What is asked is in force for this tick."""
        self.lockstep.advance(self.step_s)
        self._seq += 1
        self.snapshot = snapshot = self.lockstep.snapshot(self._seq)
        self._make_plan(snapshot)
        self.decision = self.controller.step(snapshot, self.plan, orders=orders, signals=signals)
        self.lockstep.apply(self.decision)
        facts = Facts(  # the prices are a file for the whole day: nothing to say of them
            config=self.site.dispatch, interval=self.controller.interval, plan_age_s=0.0, prices_expected=False
        )
        self.found = conditions(snapshot, self.decision, facts)
        self.events = (*self.decision.events, *self.alarms.update(self.found, snapshot.utc_s, snapshot.mono_s))
        self._load_mean.add(snapshot.utc_s, snapshot.load_w)
        self._pv_mean.add(snapshot.utc_s, snapshot.pv_w)
        return self.decision

    def run_until(self, utc_s: float) -> None:
        """Step until the site's clock has reached `utc_s`."""
        while self.clock.utc_s() < utc_s:
            self.step()

    def _make_plan(self, snapshot: Snapshot) -> None:
        """At once, then at each multiple of the period, from what the last tick left: as the planning service does."""
        period = self.clock.mono_s() // self.site.plan.period_s
        soc_pct = BatteryBank(self.site.dispatch, snapshot).soc_pct
        load_w, pv_w = snapshot.load_w, snapshot.pv_w
        if period == self._planned or soc_pct is None or load_w is None or pv_w is None:
            return
        if self.decision is None:
            return
        self._planned = period
        now = PlanningState(
            utc_s=snapshot.utc_s,
            load_w=load_w,
            pv_w=pv_w,
            soc_pct=soc_pct,
            month_peak_w=self.controller.month_peak_w,
            next_day_peak_w=self.controller.next_day_peak_w,
            interval_energy_wh=self.controller.interval.energy_wh,
            interval_least_w=self.controller.interval_least_w,
        )
        plan, faults = self._source.make(self._source.inputs(now, self._prices), self.plan)
        assert not faults, faults
        self.plan = msgspec.structs.replace(plan, solve_ms=0.0)
