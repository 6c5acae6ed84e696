"""A day like the demo's in lock-step, at tick rate; readings may be corrupted on their way to the controller."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from dispatch.control.controller import Controller
from dispatch.model.decision import Decision
from dispatch.model.islanding import IslandRequest, IslandState
from dispatch.model.snapshot import Snapshot
from drivers.clock import VirtualClock
from drivers.twin.faults import Fault
from drivers.twin.lockstep import LockstepSite
from drivers.twin.physics import TwinSite
from gateway.site.loader import load

DEMO = Path(__file__).resolve().parents[3] / "console" / "demo.toml"
TICK_S, PHYSICS_S = 0.2, 0.1

Corrupt = Callable[[Snapshot], Snapshot]


class Day:
    """The demo site with pulses of load; `events` holds what was not believed."""

    def __init__(self, load_w: Callable[[float], float] | None = None, meter_delay_s: float | None = None) -> None:
        site = load(DEMO)
        assert site.twin is not None
        twin = site.twin
        if meter_delay_s is not None:
            twin = msgspec.structs.replace(twin, meter_delay_s=meter_delay_s)
        self.config = site.dispatch
        self.twin = TwinSite.from_sections(
            twin, site.grid, site.battery, site.pcs, site.meter, site.pv, site.switch, site.node, load_w=load_w
        )
        self.lockstep = LockstepSite(self.twin, VirtualClock(self.twin.start_utc_s), step_s=PHYSICS_S)
        self.controller = Controller(self.config)
        self.seq = 0
        self.import_wh = 0.0
        self.decisions: list[Decision] = []
        self.shown: list[Snapshot] = []
        self.events: list[str] = []
        self.requests: list[IslandRequest] = []

    def tick(self, corrupt: Corrupt | None = None) -> Decision:
        """0.2 s of physics, one decision."""
        self.lockstep.advance(TICK_S)
        self.seq += 1
        self.import_wh += max(self.twin.grid_w, 0.0) * TICK_S / 3600
        raw = self.lockstep.snapshot(self.seq)
        raw = raw if corrupt is None else corrupt(raw)
        requests, self.requests = self.requests, []
        decision = self.controller.step(raw, None, requests)
        self.lockstep.apply(decision)
        t_s = self.twin.t_s
        self.events += [f"{t_s:.1f} s {e.subject}: {e.text}" for e in decision.events if "not believed" in e.text]
        self.decisions.append(decision)
        self.shown.append(self.controller.checked(raw))
        return decision

    def run(self, seconds: float, corrupt: Corrupt | None = None) -> Day:
        for _ in range(round(seconds / TICK_S)):
            self.tick(corrupt)
        return self

    def outage(self, seconds: float) -> None:
        self.twin.faults.put(Fault("outage", until_s=self.twin.t_s + seconds))

    def ask(self, kind: str, **more: object) -> None:
        request = IslandRequest(id=f"r{self.seq}", kind=kind, who="test", **more)  # type: ignore[arg-type]
        self.requests.append(request)

    def until(self, state: IslandState, limit_s: float) -> None:
        """Run until this state; AssertionError after `limit_s`."""
        end_s = self.twin.t_s + limit_s
        while self.tick().island is not state:
            assert self.twin.t_s < end_s, f"{state} not reached, {self.decisions[-1].island}"


def pulses(t_s: float) -> float:
    """A base load with a job of 25 kW for two minutes of every five, and one of 9 kW beside it."""
    return 14_000.0 + (25_000.0 if 60 <= t_s % 300 < 180 else 0.0) + (9_000.0 if 100 <= t_s % 170 < 130 else 0.0)
