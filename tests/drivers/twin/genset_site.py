"""A site with a generator in lock-step: physics, controller, and what happened."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from twin_sites import BATTERY, GRID, METERS, PV, sections

from dispatch.config.off_grid import GensetConfig, IslandConfig
from dispatch.config.schema import DispatchConfig, NodeTerms, ReserveConfig, RulesConfig
from dispatch.control.controller import Controller
from dispatch.model.decision import Decision
from dispatch.model.equipment import Switch
from dispatch.model.orders import Order
from dispatch.model.snapshot import Snapshot
from drivers.clock import VirtualClock
from drivers.config import MeterDevice
from drivers.twin.faults import Fault
from drivers.twin.genset import TwinGenset
from drivers.twin.lockstep import LockstepSite
from drivers.twin.physics import TwinSite

TICK_S = 0.2
GENSET = GensetConfig(rated_w=30_000, min_load_w=6_000)
NIGHT, NOON = "2025-09-18T22:00:00Z", "2025-09-18T10:00:00Z"
BUS_METER = MeterDevice(id="grid", url="twin", side="site")
NODES = (NodeTerms(id="gpu-1", cap_w=500.0), NodeTerms(id="gpu-2", critical=True, cap_w=800.0))


class GensetSite:
    """The grid goes with `outage`; the generator takes the site 5 s later and gives it back 5 s after the grid."""

    def __init__(
        self,
        load_w: float | Callable[[float], float],
        *,
        soc_pct: float = 60.0,
        start: str = NIGHT,
        curtail: bool = True,
        reserve_h: float = 0.0,
    ) -> None:
        self.load = {"w": 0.0 if callable(load_w) else load_w}  # may be changed
        function = load_w if callable(load_w) else lambda _: self.load["w"]
        parts = sections(soc_pct=soc_pct, meter_delay_s=0.2, genset_start_s=5.0, reconnect_wait_s=5.0, start_utc=start)
        pv, meters = msgspec.structs.replace(PV, curtail=curtail), (BUS_METER, METERS[1])
        self.site = TwinSite.from_sections(**parts | {"pv": (pv,), "meters": meters}, genset=GENSET, load_w=function)
        assert self.site.genset is not None
        self.genset: TwinGenset = self.site.genset
        self.lockstep = LockstepSite(self.site, VirtualClock(self.site.start_utc_s), step_s=0.1)
        self.controller = Controller(
            DispatchConfig(
                grid=GRID,
                timezone="UTC",
                batteries=(BATTERY,),
                pcs=(self.site.pcs[0].ratings,),
                pv=(pv.terms,),
                switches=("pcc",),
                meters=tuple(meter.terms for meter in meters),
                genset=GENSET,
                nodes=NODES,
                reserve=ReserveConfig(hours=reserve_h, critical_load_w=10_000),
                rules=RulesConfig(rest_soc_pct=0.0),
                island=IslandConfig(reclose="device"),
            )
        )
        self.decisions: list[Decision] = []
        self.feeds: list[float] = []  # what grid or generator gave, W
        self.written: set[str] = set()  # modes in which the PCS was given a setpoint
        self.change: Callable[[Snapshot], Snapshot] = lambda snapshot: snapshot  # what devices are made to say

    def run(self, seconds: float, orders: Iterable[Order] = (), **more: Any) -> Decision:
        """Let time pass; the last decision."""
        for _ in range(round(seconds / TICK_S)):
            self.lockstep.advance(TICK_S)
            snapshot = self.change(self.lockstep.snapshot(len(self.decisions)))
            decision = self.controller.step(snapshot, None, orders=orders, **more)
            if any(setpoint.w is not None for setpoint in decision.setpoints):
                self.written.add("forming" if self.site.pcs[0].forming else "following")
            self.lockstep.apply(decision)
            self.decisions.append(decision)
            self.feeds.append(self.site.grid_w)
        return self.decisions[-1]

    def outage(self) -> None:
        self.site.faults.put(Fault("outage"))

    def grid_back(self) -> None:
        self.site.faults.clear("")

    def on_genset(self) -> Decision:
        """From the grid to the generator, until the battery has settled on it."""
        self.run(2)
        self.outage()
        decision = self.run(9)
        self.feeds.clear()
        return decision

    def states(self) -> list[str]:
        """Every state in its order, each once."""
        found: list[str] = []
        for decision in self.decisions:
            if not found or found[-1] != decision.island.value:
                found.append(decision.island.value)
        return found

    def texts(self, subject: str) -> list[str]:
        """Events of one subject."""
        return [event.text for d in self.decisions for event in d.events if event.subject == subject]


def without_source(snapshot: Snapshot) -> Snapshot:
    """As with a switch that does not answer."""
    return msgspec.structs.replace(snapshot, switches=(Switch("pcc"),))
