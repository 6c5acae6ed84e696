"""A small site to decide for: snapshots made by hand, and a plant with a meter delay and a PCS lag of its own.

The plant is apart from the twin on purpose: it lets a test set ages, noise and delays that the twin does not have.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable

import msgspec

from dispatch.config.schema import BatteryConfig, DispatchConfig, GridConfig, PcsRatings, ReserveConfig, RulesConfig
from dispatch.control.controller import Controller
from dispatch.model.decision import Decision, RuleTrace
from dispatch.model.equipment import Battery, Meter, Pcs, Switch
from dispatch.model.orders import Order, OrderKind
from dispatch.model.plan import Plan, PlanStep
from dispatch.model.readings import Quality, Reading, reading, status
from dispatch.model.reasons import plain
from dispatch.model.snapshot import Snapshot

T0 = 1_758_009_600.0  # 2025-09-16 08:00 UTC, the start of a metering interval


def site_config(
    *,
    contracted_peak_w: float = 30_000,
    fuse_a: float = 160,
    export_limit_w: float = 20_000,
    ramp_w_per_s: float = 0,
    reserve_h: float = 0,
    delay_max_s: float = 2.0,
    interval_s: int = 900,
    rules: RulesConfig | None = None,
    pcs: tuple[PcsRatings, ...] | None = None,
    batteries: tuple[BatteryConfig, ...] | None = None,
    rated_w: float = 60_000,
) -> DispatchConfig:
    """A site with one battery of 100 kWh unless told otherwise."""
    return DispatchConfig(
        grid=GridConfig(
            fuse_a=fuse_a,
            contracted_peak_w=contracted_peak_w,
            export_limit_w=export_limit_w,
            ramp_w_per_s=ramp_w_per_s,
            meter_delay_max_s=delay_max_s,
            metering_interval_s=interval_s,  # type: ignore[arg-type]
        ),
        timezone="Europe/Berlin",
        reserve=ReserveConfig(hours=reserve_h, critical_load_w=10_000),
        batteries=batteries or (BatteryConfig(id="bat1", energy_kwh=100),),
        pcs=pcs or (PcsRatings(id="pcs1", battery="bat1", charge_w=rated_w, discharge_w=rated_w),),
        rules=rules or RulesConfig(rest_soc_pct=50),
    )


def a_pcs(w: float | Reading | None, **changes: object) -> Pcs:
    """A PCS that runs under remote control."""
    base: dict[str, object] = {
        "w": w if isinstance(w, Reading) else reading(w),
        "state": status("running"),
        "connection": status("connected"),
        "mode": status("grid_following"),
        "control": status("remote"),
    }
    return Pcs("pcs1", **(base | changes))  # type: ignore[arg-type]


def a_battery(soc_pct: float | Reading | None, **changes: object) -> Battery:
    """A battery at 20 C."""
    base: dict[str, object] = {
        "soc_pct": soc_pct if isinstance(soc_pct, Reading) else reading(soc_pct),
        "temp_c": reading(20.0),
    }
    return Battery("bat1", **(base | changes))  # type: ignore[arg-type]


def a_snapshot(
    t_s: float = 0.0,
    grid_w: float | Reading | None = 20_000.0,
    pcs: Pcs | tuple[Pcs, ...] | None = None,
    battery: Battery | tuple[Battery, ...] | None = None,
    switch: str | None = "closed",
    **changes: object,
) -> Snapshot:
    """A grid-tied site `t_s` seconds after T0."""
    base: dict[str, object] = {
        "seq": round(t_s * 10),
        "utc_s": T0 + t_s,
        "mono_s": t_s,
        "grid": Meter("grid", w=grid_w if isinstance(grid_w, Reading) else reading(grid_w)),
        "pcs": pcs if isinstance(pcs, tuple) else (pcs or a_pcs(0.0),),
        "batteries": battery if isinstance(battery, tuple) else (battery or a_battery(60.0),),
        "switches": (Switch("pcc", position=status(switch), grid_voltage=status("present")),),
    }
    return Snapshot(**(base | changes))  # type: ignore[arg-type]


def a_plan(battery_w: float, *, peak_target_w: float = 30_000, grid_w: float = 0.0, start_s: float = T0) -> Plan:
    """A plan of eight quarters that all ask the same."""
    steps = tuple(
        PlanStep(
            start_utc_s=int(start_s) + 900 * n,
            price_eur_per_kwh=0.21,
            load_w=20_000,
            load_low_w=15_000,
            load_high_w=25_000,
            pv_w=0,
            battery_w=battery_w,
            grid_w=grid_w,
            soc_pct=60,
            reason=plain("31.0 ct/kWh, a dear hour"),
        )
        for n in range(8)
    )
    return Plan(start_s, 900, steps, peak_target_w, 1.0, 2.0)


class Plant:
    """Load, one lagging PCS, one battery, and a grid meter that is late, noisy and read at its own pace."""

    def __init__(
        self,
        controller: Controller,
        load_w: Callable[[float], float],
        *,
        delay_s: float = 0.2,
        lag_s: float = 0.3,
        dead_s: float = 0.0,
        rate_hz: float = 5.0,
        noise_w: float = 0.0,
        pcs_age_s: float = 0.0,
        grid_age_s: float = 0.0,
        soc_pct: float = 60.0,
        plan: Plan | None = None,
    ) -> None:
        self.controller, self.load_w, self.plan = controller, load_w, plan
        self.delay_s, self.lag_s, self.dead_s, self.rate_hz = delay_s, lag_s, dead_s, rate_hz
        self.noise_w, self.pcs_age_s, self.grid_age_s = noise_w, pcs_age_s, grid_age_s
        self.chance = random.Random(1)
        self.t_s, self.pcs_w, self.soc_pct = 0.0, 0.0, soc_pct
        self.asked_w, self.wanted_w = 0.0, 0.0
        self.on_the_way: deque[tuple[float, float]] = deque()  # t from which it is wanted, W
        self.past: deque[tuple[float, float, float]] = deque()  # t, grid, pcs
        self.energy_wh = 100_000.0
        self.decisions: list[Decision] = []
        self.imports: list[float] = []
        self.powers: list[float] = []

    def run(self, seconds: float) -> Plant:
        """Let it go on; one entry in `decisions`, `imports` and `powers` per tick."""
        steps = max(round(1 / self.rate_hz / 0.02), 1)
        dt_s = 1 / self.rate_hz / steps
        for _ in range(round(seconds * self.rate_hz)):
            decision = self.controller.step(self.snapshot(), self.plan)
            self.decisions.append(decision)
            w = decision.setpoints[0].w
            if w is not None and w != self.asked_w:
                self.asked_w = w
                self.on_the_way.append((self.t_s + self.dead_s, w))
            self._move(steps, dt_s)
            self.imports.append(self.past[-1][1])
            self.powers.append(self.pcs_w)
        return self

    def snapshot(self) -> Snapshot:
        """What is read now: the past, by each device's delay and age."""
        grid_w = self._at(self.t_s - self.delay_s - self.grid_age_s)[1]
        noisy_w = grid_w + self.chance.gauss(0, self.noise_w) if self.noise_w else grid_w
        pcs_w = self._at(self.t_s - self.pcs_age_s)[2]
        hz = Reading(50 + 0.001 * (round(5 * self.t_s) % 7), self.grid_age_s, Quality.GOOD)
        return a_snapshot(
            self.t_s,
            None,
            a_pcs(Reading(pcs_w, self.pcs_age_s, Quality.GOOD)),
            a_battery(self.soc_pct),
            grid=Meter("grid", w=Reading(noisy_w, self.grid_age_s, Quality.GOOD), hz=hz),
        )

    def _at(self, t_s: float) -> tuple[float, float, float]:
        for point in reversed(self.past):
            if point[0] <= t_s + 1e-9:
                return point
        return self.past[0] if self.past else (0.0, self.load_w(0.0), 0.0)

    def _move(self, steps: int, dt_s: float) -> None:
        follows = 1 - math.exp(-dt_s / self.lag_s)
        for _ in range(steps):
            self.t_s += dt_s
            while self.on_the_way and self.on_the_way[0][0] <= self.t_s + 1e-9:
                self.wanted_w = self.on_the_way.popleft()[1]
            self.pcs_w += (self.wanted_w - self.pcs_w) * follows
            flow_w = self.pcs_w / 0.94 if self.pcs_w > 0 else self.pcs_w * 0.94
            self.soc_pct -= 100 * flow_w * dt_s / 3600 / self.energy_wh
            self.past.append((self.t_s, self.load_w(self.t_s) - self.pcs_w, self.pcs_w))
        while len(self.past) > 2 and self.past[0][0] < self.t_s - 6:
            self.past.popleft()


def started(config: DispatchConfig, snapshot: Snapshot, step_s: float = 0.0) -> Controller:
    """A controller that has seen these devices in two samples before: it may write at the next tick."""
    controller = Controller(config, step_s)
    for before_s in (2.0, 1.0):
        utc_s, mono_s = snapshot.utc_s - before_s, snapshot.mono_s - before_s
        controller.step(msgspec.structs.replace(snapshot, utc_s=utc_s, mono_s=mono_s), None)
    return controller


def an_order(kind: OrderKind, value: float = 0.0, target: str = "", ends_s: float = 900.0, id: str = "o1") -> Order:
    return Order(id, kind, value, target, "alice", "feeder test", T0, T0 + ends_s, ends_s)


def decide(
    *orders: Order, snapshot: Snapshot | None = None, controller: Controller | None = None, **config: object
) -> Decision:
    """The decision after 3 s of the same snapshot, the orders given at the last tick only."""
    controller = controller or Controller(site_config(**config))  # type: ignore[arg-type]
    snapshot = snapshot or a_snapshot(0.0, 20_000)
    for n in range(15):
        t_s = 0.2 * n
        now = msgspec.structs.replace(snapshot, utc_s=snapshot.utc_s + t_s, mono_s=snapshot.mono_s + t_s)
        decision = controller.step(now, None, orders=orders if n == 14 else ())
    return decision


def trace(decision: Decision, name: str) -> RuleTrace:
    return next(t for t in decision.chain if t.rule.value == name)
