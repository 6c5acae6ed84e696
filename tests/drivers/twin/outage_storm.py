"""Random outages in lock-step: the twin's physics and the very controller, everything drawn from one seed.

`ride(seed)` plays one; whatever breaks raises AssertionError with the seed in its text. The truth is the twin's own,
undelayed; what the controller sees comes through late and faulty devices.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable

import msgspec

from dispatch.config.off_grid import IslandConfig, RideThroughConfig
from dispatch.config.schema import BatteryConfig, DispatchConfig, GridConfig, NodeTerms, ReserveConfig
from dispatch.control.controller import Controller
from dispatch.islanding.grid_code import grid_code
from dispatch.model.decision import Decision
from dispatch.model.islanding import IslandRequest, IslandState
from dispatch.model.snapshot import Snapshot
from dispatch.wording.catalogue import words
from drivers.clock import VirtualClock
from drivers.config import MeterDevice, PcsDevice, PvDevice, SwitchDevice
from drivers.node_config import NodeDevice
from drivers.twin.config import TwinConfig
from drivers.twin.faults import Fault
from drivers.twin.lockstep import LockstepSite
from drivers.twin.physics import TwinSite

TICK_S, QUICK_S, QUICK_FOR_S = 1.0, 0.2, 2.0  # ticks come quickly for a while after anything has happened
PHYSICS_S, QUICK_PHYSICS_S = 0.5, 0.05
METER_FAULTS = ("frozen", "hung", "not_implemented", "exception")
SHUTDOWN_S = 120.0


class Draw(msgspec.Struct, frozen=True):
    """What one seed draws."""

    seed: int
    soc_pct: float
    energy_kwh: float
    load_w: float
    pulse_w: float
    pv_peak_w: float
    lag_s: float
    auto_reclose: bool
    reclose: str
    trouble: tuple[tuple[float, float, float, float], ...]  # from, until, share of voltage, Hz (0, 0: outage)
    fault: tuple[str, str, float, float] | None  # kind, device, from, until
    end_s: float


class Ride(msgspec.Struct, frozen=True):
    """What came of it."""

    seed: int
    states: tuple[str, ...]
    unserved_s: float  # beyond the device's own transfer
    blackout_why: str
    closings: int
    shut_down: bool


def draw(seed: int) -> Draw:
    """Everything random of one run."""
    chance = random.Random(f"outage/{seed}")
    start_s = chance.uniform(3, 20)
    trouble = []
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        length_s = chance.uniform(*chance.choice(((0.3, 5), (5, 60), (60, 300), (100, 300))))
        share, hz = (0.0, 0.0) if chance.random() < 0.7 else (chance.uniform(0.55, 0.9), chance.uniform(49.0, 50.5))
        trouble.append((start_s, start_s + length_s, share, hz))
        start_s += length_s + chance.uniform(2, 90)
    fault = None
    if chance.random() < 0.6:
        from_s = chance.uniform(0, start_s)
        device = chance.choice(("grid", "grid", "grid", "pcc", "pcs1"))
        kind = chance.choice(METER_FAULTS if device == "grid" else ("hung",))
        fault = (kind, device, from_s, from_s + chance.uniform(2, 60))
    return Draw(
        seed=seed,
        soc_pct=chance.uniform(10, 96),
        energy_kwh=chance.choice((100.0, 100.0, 20.0, 6.0, 6.0)),
        load_w=chance.uniform(4_000, 40_000) if chance.random() < 0.8 else chance.uniform(40_000, 62_000),
        pulse_w=chance.choice((0.0, chance.uniform(0, 12_000))),
        pv_peak_w=chance.choice((0.0, chance.uniform(0, 20_000))),
        lag_s=chance.uniform(0.05, 1.5),
        auto_reclose=chance.random() < 0.4,
        reclose=chance.choice(("permit", "permit", "device")),
        trouble=tuple(trouble),
        fault=fault,
        end_s=start_s + 20,
    )


def kinds(drawn: Draw) -> tuple[tuple[str, object], ...]:
    """What sort of run it is, each property with its value."""
    lengths_s = [until_s - from_s for from_s, until_s, *_ in drawn.trouble]
    sags = [hz > 0 for *_, hz in drawn.trouble]
    during = drawn.fault is not None and any(
        drawn.fault[2] < until_s and from_s < drawn.fault[3] for from_s, until_s, *_ in drawn.trouble
    )
    return (
        ("troubles", len(drawn.trouble)),
        ("begins with a sag", sags[0]),
        ("has a sag", any(sags)),
        ("lasts more than a minute", max(lengths_s) > 60),
        ("battery kWh", drawn.energy_kwh),
        ("SoC above 60 %", drawn.soc_pct > 60),
        ("load above 40 kW", drawn.load_w > 40_000),
        ("pulses", drawn.pulse_w > 0),
        ("PV", drawn.pv_peak_w > 0),
        ("slow PCS", drawn.lag_s > 0.8),
        ("closes by itself", drawn.auto_reclose),
        ("who closes", drawn.reclose),
        ("fault", None if drawn.fault is None else drawn.fault[:2]),
        ("fault during trouble", during),
    )


def covering(seeds: Iterable[int]) -> list[int]:
    """Few of these seeds, in which every two properties that occur together among all of them do so, too."""
    pairs = {seed: set(itertools.combinations(kinds(draw(seed)), 2)) for seed in seeds}
    missing, chosen = set[object]().union(*pairs.values()), []
    while missing:
        best = max(pairs, key=lambda seed: len(pairs[seed] & missing) / draw(seed).end_s ** 0.3)
        chosen.append(best)
        missing -= pairs[best]
    return sorted(chosen)


class Storm:
    """One run, tick by tick."""

    def __init__(self, drawn: Draw) -> None:
        self.drawn = drawn
        auto = drawn.auto_reclose or drawn.reclose == "device"
        battery = BatteryConfig(id="bat1", energy_kwh=drawn.energy_kwh)
        pcs = PcsDevice(id="pcs1", battery="bat1", charge_w=60_000, discharge_w=60_000, url="twin")
        nodes = tuple(NodeDevice(id=f"n{n}", source="modbus", critical=n < 2, cap_w=1_500) for n in range(6))
        grid = GridConfig(fuse_a=160, contracted_peak_w=60_000, export_limit_w=20_000)
        self.config = DispatchConfig(
            grid=grid,
            timezone="Europe/Berlin",
            reserve=ReserveConfig(hours=0.5, critical_load_w=5_000),
            batteries=(battery,),
            pcs=(pcs,),
            island=IslandConfig(reclose=drawn.reclose, wait_s=20.0, close_timeout_s=40.0),  # type: ignore[arg-type]
            ride_through=RideThroughConfig(shutdown_s=SHUTDOWN_S, settle_s=10.0, undo_s=10.0),
            switches=("pcc",),
            nodes=tuple(NodeTerms(**msgspec.structs.asdict(n.terms)) for n in nodes),
        )
        twin = TwinConfig(
            seed=drawn.seed,
            soc_pct=drawn.soc_pct,
            pcs_lag_s=drawn.lag_s,
            auto_reclose=auto,
            pv_peak_w=drawn.pv_peak_w,
            start_utc="2025-09-18T10:00:00Z",
            host_node=False,
            nodes=len(nodes),
        )
        site = TwinSite.from_sections(
            twin,
            grid,
            (battery,),
            (pcs,),
            (MeterDevice(id="grid", url="twin"), MeterDevice(id="load", role="load", url="twin")),
            (PvDevice(id="pv1", peak_w=20_000, url="twin"),),
            (SwitchDevice(id="pcc", url="twin"),),
            nodes,
            load_w=self._load(),
        )
        self.lockstep = LockstepSite(site, VirtualClock(site.start_utc_s), step_s=PHYSICS_S)
        self.site = site
        self.controller = Controller(self.config)
        self.code = grid_code(self.config.island)
        self.fit_since_s: float | None = 0.0  # truth: the grid inside the profile's window
        self.unserved_s = 0.0
        self.blackout_why = ""
        self.closings = 0
        self.asked: str | None = None
        self.physics_s = PHYSICS_S
        self.shut_down = False
        self.states: list[str] = []
        self.dark_since_s: float | None = None

    def _load(self) -> Callable[[float], float]:
        d = self.drawn
        return lambda t_s: d.load_w + (d.pulse_w if int(t_s / 40) % 3 == 1 else 0.0)

    def run(self) -> Ride:
        """To the end; raises AssertionError with the seed when a promise is broken."""
        seq, quick_until_s = 0, 0.0
        changes = sorted({t for a, b, *_ in self.drawn.trouble for t in (a, b)})
        while self.site.t_s < self.drawn.end_s or (not self.settled and self.site.t_s < self.drawn.end_s + 600):
            t_s = self.site.t_s
            step_s = QUICK_S if t_s < quick_until_s else TICK_S
            due = next((c for c in changes if t_s < c <= t_s + step_s), None)
            before = self.site.switches[0].position
            self.physics_s = QUICK_PHYSICS_S if step_s == QUICK_S or due is not None else PHYSICS_S
            self._advance(step_s if due is None else max(due - t_s, 1e-3))
            if due is not None or self.site.switches[0].position is not before:
                quick_until_s = self.site.t_s + QUICK_FOR_S
            seq += 1
            snapshot = self.lockstep.snapshot(seq)
            decision = self.controller.step(snapshot, None, self._engineer(snapshot))
            self._check(snapshot, decision)
            self.lockstep.apply(decision)
            self.shut_down |= all(n.down for n in self.site.load.nodes)
        self._check_end()
        d = self.drawn
        return Ride(d.seed, tuple(self.states), self.unserved_s, self.blackout_why, self.closings, self.shut_down)

    @property
    def settled(self) -> bool:
        """Back to normal, or dark for a reason."""
        return self.controller.island.state is IslandState.GRID_TIED

    def _advance(self, dt_s: float) -> None:
        end_s = self.site.t_s + dt_s
        while self.site.t_s < end_s - 1e-9:
            t_s = self.site.t_s
            now = next(((v, hz) for a, b, v, hz in self.drawn.trouble if a <= t_s + 1e-9 < b), None)
            grid = self.site.grid
            grid.sag = None if now is None or now == (0.0, 0.0) else now
            if now == (0.0, 0.0):
                self.site.faults.put(Fault("outage"))
            else:
                self.site.faults.clear("")
            self._fault(t_s)
            was_dark, limit_w = self.site.blackout, self._most_w()
            self.lockstep.advance(min(self.physics_s, end_s - t_s))
            v_pct, hz = 100 * grid.v(self.site.t_s, 0.0) / grid.nominal_v, grid.hz(self.site.t_s)
            fit = self.code.v_low_pct <= v_pct <= self.code.v_high_pct and self.code.hz_low <= hz <= self.code.hz_high
            if not fit:
                self.fit_since_s = None
            elif self.fit_since_s is None:
                self.fit_since_s = self.site.t_s
            if self.site.blackout and not was_dark:
                self._blackout(limit_w)
            if self.site.load_w < self.site.load.w - 1 and not self.site.joined:
                self.unserved_s += min(self.physics_s, end_s - t_s)

    def _most_w(self) -> float:
        return self.site.pcs[0].limits_w(self.physics_s)[1]

    def _fault(self, t_s: float) -> None:
        if self.drawn.fault is None:
            return
        kind, device, from_s, until_s = self.drawn.fault
        if from_s <= t_s < until_s:
            self.site.faults.put(Fault(kind, device, until_s))  # type: ignore[arg-type]

    def _blackout(self, limit_w: float) -> None:
        """A blackout must have a reason that is not ours: the rating, or a battery that is empty."""
        soc_pct, need_w = self.site.pcs[0].battery.soc_pct, self.site.load.w - sum(p.available_w for p in self.site.pv)
        empty = soc_pct < 5 or self.site.pcs[0].battery.energy_wh < 150
        figures = f"{need_w:.0f} W asked, {limit_w:.0f} W possible, SoC {soc_pct:.1f} %"
        assert need_w > limit_w, f"{self}: dark with {figures}"
        self.blackout_why = "empty" if empty else "rating"
        assert empty or need_w > 0.5 * limit_w, f"{self}: dark at SoC {soc_pct:.1f} %"
        if empty and self._enough_time():
            alive = [n for n in self.site.load.nodes if not n.down]
            assert not alive, f"{self}: {len(alive)} nodes still up at the cut-off"

    def _enough_time(self) -> bool:
        """Whether a shutdown could have been finished: the outage found enough energy for it."""
        since_s = self.controller.ride._since
        if since_s is None or self.started_wh is None:
            return False
        return self.started_wh * 3600 / max(self.drawn.load_w + self.drawn.pulse_w, 1) > 1.6 * SHUTDOWN_S

    started_wh: float | None = None

    def _engineer(self, snapshot: Snapshot) -> tuple[IslandRequest, ...]:
        """Somebody comes and starts a dark site after a while; and resets a fault."""
        state = self.controller.island.state
        if state not in (IslandState.BLACKOUT, IslandState.FAULT):
            self.dark_since_s = None
            return ()
        if self.dark_since_s is None:
            self.dark_since_s = snapshot.mono_s
        if snapshot.mono_s - self.dark_since_s < 60:
            return ()
        self.dark_since_s = snapshot.mono_s
        if state is IslandState.FAULT:
            return (IslandRequest(id="r", kind="reset", who="engineer", reason="looked at it"),)
        return (IslandRequest(id="b", kind="black-start", who="engineer", confirmed=True),)

    def _check(self, snapshot: Snapshot, decision: Decision) -> None:
        state = decision.island.value
        if not self.states or self.states[-1] != state:
            self.states.append(state)
            assert any(f"→ {state}" in e.text for e in decision.events), f"{self}: no event for {state}"
        if state == "islanded" and self.started_wh is None:
            battery = self.site.pcs[0].battery
            self.started_wh = battery.energy_wh * battery.config.discharge_efficiency
        forming = any(p.mode.good == "grid_forming" for p in snapshot.pcs)
        if forming or snapshot.switches[0].position.good == "open":
            assert all(s.w is None for s in decision.setpoints), f"{self}: a setpoint to a forming PCS"
        asks = None if decision.switch is None else decision.switch.action
        if asks == "close" and self.asked != "close":
            self._check_closing()
        self.asked = asks
        assert asks != "open", f"{self}: nobody asked for a drill"

    def _check_closing(self) -> None:
        self.closings += 1
        t_s = self.site.t_s
        assert self.fit_since_s is not None, f"{self}: closing asked for at {t_s:.1f} s, the grid is not fit"
        fit_s = t_s - self.fit_since_s
        assert fit_s >= self.code.wait_s - 1e-6, f"{self}: closing asked for after {fit_s:.1f} s"
        ours = self.site.pcs[0].forming and not self.site.blackout
        assert ours, f"{self}: closing asked for on a bus that is not ours"

    def _check_end(self) -> None:
        if self.blackout_why:
            return  # a dark site may stay dark until somebody closes the switch by hand
        assert self.settled, (
            f"{self}: still {self.controller.island.state.value}: {words(self.controller.island.reason)}"
        )
        allowed_s = 0.0
        assert self.unserved_s <= allowed_s, f"{self}: load unserved for {self.unserved_s:.1f} s"

    def __str__(self) -> str:
        return f"seed {self.drawn.seed} at {self.site.t_s:.1f} s, {'/'.join(self.states)}"


def ride(seed: int) -> Ride:
    """Play one seed."""
    return Storm(draw(seed)).run()
