"""Records scenes for the console's tests and pictures: the twin in lock-step, steered by the real controller.

`python tests/console/tui/record.py` writes `scenes.json`: per scene a welcome, a plan, the snapshot to show, the trends
before it and the last events. Same seed, same bytes; nothing in it depends on the machine's clock.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from scenes import SCENES, Scene  # noqa: E402

from console.link.protocol import LoopStats, Published, TariffNow, Welcome  # noqa: E402
from console.planning import QuarterMean  # noqa: E402
from console.site import Site, compose  # noqa: E402
from console.tui.viewmodel import Model, received  # noqa: E402
from dispatch.alarm_conditions import Facts, conditions  # noqa: E402
from dispatch.alarm_definitions import DEFINITIONS  # noqa: E402
from dispatch.alarms import AlarmBook  # noqa: E402
from dispatch.controller import Controller  # noqa: E402
from dispatch.forecast import LoadForecaster, PvForecaster  # noqa: E402
from dispatch.model import Event, Plan, Snapshot  # noqa: E402
from dispatch.planner import PlanInputs, Planner  # noqa: E402
from drivers.clock import VirtualClock  # noqa: E402
from drivers.tariffs.csv_file import load as load_prices  # noqa: E402
from drivers.twin.faults import Fault  # noqa: E402
from drivers.twin.lockstep import LockstepSite  # noqa: E402
from drivers.twin.physics import TwinSite  # noqa: E402

START = "2025-09-16T03:00:00Z"
STEP_S = 1.0
PLAN_EVERY_S = 900


def site() -> Site:
    """A render farm of eight nodes: the demo site's sizes, with a name of its own."""
    nodes = [{"id": f"gpu-{n:02d}", "source": "modbus", "unit": n, "critical": n <= 2} for n in range(1, 9)]
    raw: dict[str, Any] = {
        "site": {"name": "Fjord One", "timezone": "Europe/Oslo"},
        "grid": {
            "fuse_a": 160,
            "contracted_peak_w": "32 kW",
            "export_limit_w": "50 kW",
            "ramp_w_per_s": "0.5 kW/s",
            "meter_delay_max_s": 1.0,
        },
        "reserve": {"hours": 1.0, "critical_load_w": "12 kW"},
        "tariff": {
            "file": "bundled:de-lu-2025",
            "fee_eur_per_kwh": 0.025,
            "tax_eur_per_kwh": 0.04,
            "export_margin_eur_per_kwh": 0.005,
            "demand_eur_per_kw_month": 10.0,
        },
        "battery": [{"id": "bat1", "energy_kwh": 100}],
        "pcs": [
            {
                "id": "pcs1",
                "battery": "bat1",
                "charge_w": "60 kW",
                "discharge_w": "60 kW",
                "url": "twin",
                "revert_s": 60,
            }
        ],
        "meter": [{"id": "grid", "role": "grid", "url": "twin"}, {"id": "load", "role": "load", "url": "twin"}],
        "pv": [{"id": "pv1", "peak_w": "20 kW", "url": "twin"}],
        "switch": [{"id": "pcc", "url": "twin"}],
        "node": nodes,
        "twin": {"seed": 7, "start_utc": START},
    }
    return compose(ROOT / "sites" / "fjord-one.toml", raw)


class Recorder:
    """A site in lock-step with its controller, planner and alarms, and the console's model of it."""

    def __init__(self) -> None:
        self.site = site()
        cfg = self.site
        assert cfg.twin is not None
        self.twin = TwinSite.from_sections(
            cfg.twin, cfg.grid, cfg.battery, cfg.pcs, cfg.meter, cfg.pv, cfg.switch, cfg.node
        )
        self.clock = VirtualClock(self.twin.utc_s)
        self.lockstep = LockstepSite(self.twin, self.clock, step_s=0.25)
        self.controller = Controller(cfg.dispatch)
        self.planner, self.plan = Planner(cfg.dispatch), None
        self.load, self.pv = LoadForecaster(), PvForecaster(cfg.site.timezone)
        self.load_mean, self.pv_mean = QuarterMean(self.load.observe), QuarterMean(self.pv.observe)
        self.prices = load_prices("bundled:de-lu-2025", ROOT)
        self.alarms = AlarmBook(DEFINITIONS)
        limits = {
            "fuse_w": cfg.grid.fuse_w,
            "contracted_peak_w": cfg.grid.contracted_peak_w,
            "energy_kwh": cfg.dispatch.energy_kwh,
            "reserve_soc_pct": cfg.dispatch.reserve_soc_pct,
            "pv_peak_w": 20_000.0,
            "demand_eur_per_kw_month": 10.0,
        }
        welcome = Welcome(
            1, cfg.site.name, cfg.site.timezone, "tech1", 4711, self.clock.utc_s(), 1.0, True, 1 / STEP_S, limits
        )
        start = Event(self.clock.utc_s(), "gateway", "info", "start", "gateway started, pid 4711, 1 Hz")
        self.model = Model(welcome=welcome, events=(start,))
        self.seq = 0

    def step(self) -> Published:
        """One second: physics, snapshot, decision, alarms, and what a console is told of it."""
        self.lockstep.advance(STEP_S)
        self.seq += 1
        snapshot = self.lockstep.snapshot(self.seq)
        self._plan(snapshot)
        decision = self.controller.step(snapshot, self.plan)
        self.lockstep.apply(decision)
        found = conditions(snapshot, decision, self.facts(snapshot.utc_s))
        events = tuple(self.alarms.update(found, snapshot.utc_s, snapshot.mono_s))
        published = Published(
            snapshot,
            decision,
            self.alarms.active(),
            self.controller.interval,
            self.controller.month_peak_w,
            self.tariff(snapshot.utc_s),
            LoopStats(ticks=self.seq, period_s=STEP_S, consoles=1),
            self.controller.pulse_since_utc_s,
            self.controller.pulses_seen,
        )
        self.model = msgspec.structs.replace(self.model, plan=self.plan, events=self.model.events + events)
        self.model = received(self.model, published)
        return published

    def _plan(self, snapshot: Snapshot) -> None:
        self.load_mean.add(snapshot.utc_s, snapshot.load_w)
        self.pv_mean.add(snapshot.utc_s, snapshot.pv_w)
        soc = snapshot.soc_pct
        if self.seq % PLAN_EVERY_S != 2 or soc is None or snapshot.load_w is None or snapshot.pv_w is None:
            return
        start_s, steps = int(snapshot.utc_s // 900) * 900, int(self.site.plan.horizon_h * 4)
        self.plan = self.planner.solve(
            PlanInputs(
                now_utc_s=snapshot.utc_s,
                config=self.site.dispatch,
                prices=self.prices,
                load=self.load.predict(start_s, steps, now_w=snapshot.load_w),
                pv_w=self.pv.predict(start_s, steps, now_w=snapshot.pv_w),
                soc_pct=soc,
                month_peak_w=self.controller.month_peak_w,
            )
        )

    def tariff(self, utc_s: float) -> TariffNow:
        """What the gateway would say of prices."""
        terms = self.site.tariff
        changes = self.prices.changes(int(utc_s // 3600) * 3600, utc_s + 36 * 3600)
        ahead = tuple((int(at), round(terms.import_eur_per_kwh(p), 5)) for at, p in changes if p is not None)
        now = self.prices.at(utc_s)
        return TariffNow(None if now is None else round(terms.import_eur_per_kwh(now), 5), ahead, self.prices.end_utc_s)

    def facts(self, utc_s: float) -> Facts:
        """What the gateway would tell the alarms besides."""
        return Facts(
            config=self.site.dispatch,
            interval=self.controller.interval,
            plan_age_s=None if self.plan is None else utc_s - self.plan.made_utc_s,
            prices_end_utc_s=self.prices.end_utc_s,
        )

    def until(self, reached: Callable[[Published], bool], limit_s: int) -> Published:
        """Let time pass until something is so; at most `limit_s`."""
        for _ in range(limit_s):
            published = self.step()
            if reached(published):
                return published
        raise RuntimeError(f"not within {limit_s} s of site time")

    def run(self, seconds: int) -> None:
        """Let time pass."""
        for _ in range(seconds):
            self.step()

    def scene(self) -> Scene:
        """The moment as it is."""
        m = self.model
        assert m.welcome is not None
        assert m.published is not None
        return Scene(m.welcome, m.published, m.plan, m.trend[-160:], m.day, m.events[-60:])


def scenes() -> dict[str, Scene]:
    """A calm morning; an evening with a pulse; then the grid meter hangs, and the PV inverter too."""
    rec = Recorder()
    rec.run(5 * 3600 + 280)
    found = {"calm": rec.scene()}
    rec.run(8 * 3600)
    rec.until(lambda p: p.pulse_since_utc_s is not None and (p.snapshot.pcs_w or 0) > 9000, 4 * 3600)
    rec.run(150)
    found["pulse"] = rec.scene()
    rec.twin.faults.put(Fault("hung", "grid"))
    rec.run(4)
    found["stale"] = rec.scene()
    rec.run(40)
    rec.twin.faults.put(Fault("hung", "pv1"))
    rec.run(15)
    found["alarms"] = rec.scene()
    return found


def feed(seconds: int) -> Iterator[tuple[Published, Plan | None]]:
    """A living site, second by second, beginning in an ordinary morning hour."""
    rec = Recorder()
    rec.run(1800)
    for _ in range(seconds):
        yield rec.step(), rec.plan


if __name__ == "__main__":
    made = scenes()
    SCENES.write_bytes(msgspec.json.encode(made))
    print(f"{SCENES}: {', '.join(f'{name} {len(msgspec.json.encode(s)) // 1024} kB' for name, s in made.items())}")
