"""A site with 60 kW of contract and no battery, as what lets jobs start sees it: it draws what a test says."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
from plan_site import NOON, ask, hourly, site
from waiting import LIMIT_S

from dispatch.model.islanding import IslandState
from drivers.schedulers.config import Scheduler
from gateway.job_starts import JobStarts
from gateway.parts_in_trouble import PartsInTrouble
from gateway.starts_in_trouble import StartsInTrouble
from gateway.supervised_calls import SupervisedCalls


class PoweredSite:
    """Loop, planner, clock and event sink of a `JobStarts`."""

    def __init__(self) -> None:
        self.mono_s, self.events = 1000.0, list[tuple[str, str]]()
        self.load_w: float | None = 20_000.0
        self.island, self.known = IslandState.GRID_TIED, True
        self.trouble = StartsInTrouble()

    @property
    def published(self) -> Any:
        snapshot = SimpleNamespace(load_w=self.load_w, net_load_w=None, mono_s=self.mono_s)
        return SimpleNamespace(snapshot=snapshot, decision=SimpleNamespace(island=self.island, contacts=()))

    def inputs(self) -> Any:
        config = site(grid={"contracted_peak_w": 60_000.0})
        config = msgspec.structs.replace(config, batteries=(), pcs=(), nameplates=())
        return ask(config, hourly([80.0] * 36), [20_000.0]) if self.known else None

    def event(self, kind: str, severity: str, subject: str, text: str, who: str = "") -> None:
        self.events.append((severity, text))

    def starts(self, config: Scheduler, **more: Any) -> JobStarts:
        """A gateway's, as one that has just begun has it."""
        planner: Any = SimpleNamespace(inputs=self.inputs, plan=None)
        clock: Any = SimpleNamespace(utc_s=lambda: NOON, mono_s=lambda: self.mono_s, speed=1.0)
        calls = SupervisedCalls("job starts", LIMIT_S, PartsInTrouble())
        parts: Any = {"loop": self, "planner": planner, "calls": calls, "trouble": self.trouble} | more
        made = JobStarts(config, "Render farm", clock, self, **parts)
        made.observe()
        return made
