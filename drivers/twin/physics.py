"""Simulates the physics of a site: one bus on which grid, PCS, PV and load balance exactly.

    load = grid + sum(pcs) + sum(pv)

No clock, no randomness beyond the seeded generators, no I/O but reading the trace at the start: `advance` alone lets
time pass, and the same sections and the same calls give the same site, bit for bit.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from dispatch.config.off_grid import GensetConfig
from dispatch.config.schema import BatteryConfig, GridConfig, PcsRatings
from drivers.config import MeterDevice, PvDevice, SwitchDevice
from drivers.node_config import NodeDevice
from drivers.twin.battery import TwinBattery
from drivers.twin.config import TwinConfig
from drivers.twin.faults import FaultBook
from drivers.twin.genset import TwinGenset
from drivers.twin.grid import ABSENT, GridSource, PccSwitch, Position
from drivers.twin.load import TwinLoad
from drivers.twin.pcs import TwinPcs
from drivers.twin.pv import SOURCE, TwinPv
from drivers.twin.trace import read_trace, trace_path

PHASE_SHARE = (0.345, 0.325, 0.330)  # of the load's and the grid's power on L1..L3; PCS and PV are balanced
CURTAIL_FROM_HZ, CURTAIL_SPAN_HZ = 50.2, 1.3  # an island with too much PV runs fast: P(f) of VDE-AR-N 4105
STEP_S = 0.02
NOMINAL_HZ = 50.0


class MeterReading(NamedTuple):
    """What a meter's registers hold. `t_s` is when it was true."""

    t_s: float
    w: float
    hz: float
    v: float
    import_wh: float
    export_wh: float
    true_w: float = 0.0  # what really flowed; `w` is what the meter makes of it
    balanced_w: float = 0.0  # of that, in equal parts on the phases: what PCS and PV give


class Ct(NamedTuple):
    """A current transformer of a meter: the phase on whose conductor it sits, and what it makes of the current."""

    phase: int
    factor: float = 1.0  # -1: turned round


RIGHT = (Ct(0), Ct(1), Ct(2))
WRONG_PHASE = -0.5  # cos 120 degrees: what a current in phase with its own voltage counts for with another one


Registers = tuple[float, float]  # of import and export, Wh
ZERO: Registers = (0.0, 0.0)


class TwinMeter:
    """A power meter whose readings arrive `delay_s` late. `w` > 0 is import (grid) or consumption (load).

    `cts` may be wired wrongly; its registers of import and export, which begin at `wh`, go on counting rightly.
    """

    def __init__(self, id: str, role: str, delay_s: float, on_bus: bool = False, wh: Registers = ZERO) -> None:
        self.id, self.role, self.delay_s = id, role, delay_s
        self.on_bus = on_bus  # on the site's side of the switch
        self.cts: tuple[Ct, ...] = RIGHT
        self._line: deque[MeterReading] = deque()
        self._import_wh, self._export_wh = wh

    @property
    def reading(self) -> MeterReading:
        """The newest reading that has come through."""
        return self._line[0]

    @property
    def phases_w(self) -> tuple[float, ...]:
        """The power of L1..L3 in that reading, as its current transformers are wired."""
        return self._seen_w(self._line[0])

    def _seen_w(self, now: MeterReading) -> tuple[float, ...]:
        true_w = [share * (now.true_w - now.balanced_w) + now.balanced_w / len(PHASE_SHARE) for share in PHASE_SHARE]
        angles = [1.0 if ct.phase == phase else WRONG_PHASE for phase, ct in enumerate(self.cts)]
        return tuple(true_w[ct.phase] * ct.factor * angle for ct, angle in zip(self.cts, angles, strict=True))

    def measure(self, t_s: float, dt_s: float, w: float, hz: float, v: float, balanced_w: float = 0.0) -> None:
        """`w` flowed for the `dt_s` that end at `t_s`, `balanced_w` of it in equal parts on the phases."""
        if w >= 0:
            self._import_wh += w * dt_s / 3600
        else:
            self._export_wh -= w * dt_s / 3600
        line = self._line
        now = MeterReading(t_s, w, hz, v, self._import_wh, self._export_wh, w, balanced_w)
        line.append(now if self.cts is RIGHT else now._replace(w=sum(self._seen_w(now))))
        due_s = t_s - self.delay_s + 1e-9
        while len(line) > 1 and line[1].t_s <= due_s:
            line.popleft()


class TwinSite:
    """A whole site. `t_s` counts site seconds from `start_utc_s`."""

    def __init__(
        self,
        grid: GridSource,
        switches: list[PccSwitch],
        load: TwinLoad,
        pcs: list[TwinPcs],
        pv: list[TwinPv],
        meters: list[TwinMeter],
        nodes: list[NodeDevice],
        start_utc_s: float,
        genset: TwinGenset | None = None,
    ) -> None:
        self.genset = genset
        self.grid, self.switches, self.load, self.pcs, self.pv, self.meters = grid, switches, load, pcs, pv, meters
        self.node_devices = nodes
        self.faults = FaultBook()
        self.start_utc_s, self.t_s = start_utc_s, 0.0
        self.load_w = self.grid_w = 0.0
        self.hz, self.v = 50.0, grid.nominal_v
        self.blackout = False
        self.demand_wh = self.unserved_wh = 0.0
        self.written: dict[str, float] = {}  # "pcs1.704.WSet" -> CLOCK_MONOTONIC of its last change, kept by the server
        self._step(0.0)  # devices answer with sense from the first moment

    @classmethod
    def from_sections(
        cls,
        twin: TwinConfig,
        grid: GridConfig,
        batteries: Sequence[BatteryConfig] = (),
        pcs: Sequence[PcsRatings] = (),
        meters: Sequence[MeterDevice] = (),
        pv: Sequence[PvDevice] = (),
        switches: Sequence[SwitchDevice] = (),
        nodes: Sequence[NodeDevice] = (),
        *,
        genset: GensetConfig | None = None,
        load_w: Callable[[float], float] | None = None,
        base: Path | None = None,
    ) -> TwinSite:
        """Build a site of its sections; every device given is simulated.

        load_w: site load in W as a function of site seconds, instead of the trace. base: the site file's directory.
        Raises TraceError when the trace cannot be played, ValueError when `twin.start_utc` is not an instant.
        """
        start_utc_s = instant_s(twin.start_utc)
        ratings = {p.battery: p for p in pcs}
        packs = {
            b.id: TwinBattery(b, ratings[b.id].charge_w, ratings[b.id].discharge_w, twin.soc_pct, twin.ambient_c, twin)
            for b in batteries
            if b.id in ratings
        }
        wh = {"grid": (twin.import_wh, twin.export_wh)}
        panels = min(1.0, twin.pv_peak_w / total_w) if (total_w := sum(p.peak_w for p in pv)) else 1.0
        place = (twin.latitude_deg, twin.longitude_deg)
        served = [n for n in nodes if n.source == "modbus"]
        trace = None if load_w is not None else read_trace(trace_path(twin.load_trace, base))
        return cls(
            GridSource(twin.seed, grid.voltage_v),
            [PccSwitch(s.id, twin.reconnect_wait_s, twin.auto_reclose) for s in switches],
            TwinLoad(twin, trace, max(twin.nodes, len(served)), load_w),
            [TwinPcs(p, packs[p.battery], twin) for p in pcs],
            [TwinPv(p.id, p.peak_w * panels, twin.seed, start_utc_s, place) for p in pv],
            [TwinMeter(m.id, m.role, twin.meter_delay_s, m.terms.side == "site", wh.get(m.role, ZERO)) for m in meters],
            served,
            start_utc_s,
            None if genset is None else TwinGenset(genset, twin.genset_start_s, twin.reconnect_wait_s),
        )

    @property
    def utc_s(self) -> float:
        """POSIX seconds on the simulated calendar."""
        return self.start_utc_s + self.t_s

    @property
    def grid_alive(self) -> bool:
        """Whether there is voltage on the grid's side."""
        return self.grid.v(self.t_s, 0.0) > ABSENT * self.grid.nominal_v

    @property
    def joined(self) -> bool:
        """Whether site and grid are connected."""
        return all(s.conducting for s in self.switches)

    def deltas(self, switch: PccSwitch) -> tuple[float, float, float] | None:
        """Bus minus grid, V, Hz and degrees, as the switch's synchro-check sees them; None unless both are alive.

        With a grid to follow the forming PCS holds its frequency and voltage near the grid's and turns its phase.
        """
        if switch.position is Position.CLOSED:
            return 0.0, 0.0, 0.0
        if self.blackout or not self.grid_alive:
            return None
        return self.v - self.grid.v(self.t_s, 0.0), 0.05 if switch.delta_deg > 0 else 0.0, switch.delta_deg

    @property
    def on_genset(self) -> bool:
        """Whether the generator feeds the site."""
        return self.genset is not None and self.genset.connected

    @property
    def source(self) -> str | None:
        """What the switch joins the site to: grid, genset, none; None on a site without a generator."""
        if self.genset is None:
            return None
        return "genset" if self.on_genset else "grid" if self.joined else "none"

    @property
    def islanded(self) -> bool:
        """Whether the site runs on its own sources."""
        return not self.joined and not self.on_genset and not self.blackout

    def advance(self, dt_s: float, step_s: float = STEP_S) -> None:
        """Let `dt_s` pass in steps of at most `step_s`."""
        end_s = self.t_s + dt_s
        for n in range(math.ceil(dt_s / step_s - 1e-9), 0, -1):
            self._step((end_s - self.t_s) / n)

    def _step(self, dt_s: float) -> None:
        self.t_s += dt_s
        t_s = self.t_s
        self.grid.present = self.faults.of("", t_s) is None
        v_share, hz = self.grid.v(t_s, self.grid_w if self.joined else 0.0) / self.grid.nominal_v, self.grid.hz(t_s)
        for switch in self.switches:
            switch.interlocked = self.on_genset
            switch.step(dt_s, v_share, hz, alive=not self.blackout)
        if self.genset is not None:
            self.genset.step(dt_s, v_share > ABSENT, not self.joined, self.grid_w)
        self._protect(dt_s, v_share, hz)
        self.load.update(t_s, self.start_utc_s + t_s)
        for pv in self.pv:
            pv.update(t_s)
        if self.genset is not None and self.genset.connected:
            self._follow(dt_s)
            self.hz, self.v = self.genset.hz(self.grid_w), self.grid.nominal_v
        elif not self.joined:
            self._island(dt_s)
        elif self.grid_alive:
            self._follow(dt_s)
            self.hz, self.v = self.grid.hz(t_s), self.grid.v(t_s, self.grid_w)
        else:
            self._de_energise()
        self.demand_wh += self.load.w * dt_s / 3600
        self.unserved_wh += (self.load.w - self.load_w) * dt_s / 3600
        for pcs in self.pcs:
            pcs.settle(t_s, dt_s)
        for meter in self.meters:
            self._measure(meter, dt_s)

    def _measure(self, meter: TwinMeter, dt_s: float) -> None:
        grid = meter.role == "grid"
        w = self.grid_w if grid else self.load_w
        if grid and not self.joined and not meter.on_bus:
            meter.measure(self.t_s, dt_s, 0.0, self.grid.hz(self.t_s), self.grid.v(self.t_s, 0.0))  # on the grid's side
        else:
            balanced_w = self.grid_w - self.load_w if grid and not self.islanded else 0.0
            meter.measure(self.t_s, dt_s, w, self.hz, self.v, balanced_w)

    def _protect(self, dt_s: float, v_share: float, hz: float) -> None:
        """A PCS that trips at its own windows takes the site off the grid: its transfer switch opens with it."""
        for pcs in self.pcs:
            if not self.switches or not self.joined or not pcs.ready:
                pcs.protection.reset()
            elif tripped := pcs.protection.step(dt_s, v_share, hz - NOMINAL_HZ):
                pcs.tripped = tripped
                for switch in self.switches:
                    if switch.position is Position.CLOSED:
                        switch.open_at_once(0.0)

    def _follow(self, dt_s: float) -> None:
        """Grid or generator gives and takes what is left."""
        self.blackout = self.load.dark = False
        self.load_w = self.load.w
        sources_w = 0.0
        for pcs in self.pcs:
            if not pcs.connected or pcs.grid_lost:
                pcs.restart()
            pcs.forming = False
            pcs.follow(self.t_s, dt_s)
            sources_w += pcs.w
        for pv in self.pv:
            pv.settle(pv.available_w, dt_s)
            sources_w += pv.w
        self.grid_w = self.load_w - sources_w

    def _island(self, dt_s: float) -> None:
        """The ready PCS form the grid and share, by what each can give, what PV leaves of the load."""
        if self.blackout and any(p.black_starting and p.ready for p in self.pcs):
            self.blackout = False
        formers = [] if self.blackout else [p for p in self.pcs if p.ready]
        limits = [p.limits_w(dt_s) for p in formers]
        pv_w = sum(p.available_w for p in self.pv)
        need_w = self.load.w - pv_w
        most_w = sum(discharge_w for _, discharge_w in limits)
        least_w = -sum(charge_w for charge_w, _ in limits)
        if not formers or need_w > most_w:
            self._collapse(bool(formers))
            return
        curtailed_w = max(0.0, least_w - need_w)
        self._form(formers, limits, need_w + curtailed_w)
        left = 1 - curtailed_w / pv_w if pv_w > 0 else 1.0
        for pv in self.pv:
            pv.settle(pv.available_w * left, dt_s)
        self.load.dark = False
        self.load_w, self.grid_w = self.load.w, 0.0
        self.hz = CURTAIL_FROM_HZ + CURTAIL_SPAN_HZ * (1 - left) if left < 1 else 50.0
        self.v = self.grid.nominal_v

    def _collapse(self, overloaded: bool) -> None:
        """No PCS can carry the island: those that did, or were asked for too much, trip."""
        if overloaded or not self.blackout:
            for pcs in self.pcs:
                pcs.trip()
        self.blackout = True
        self._de_energise()

    def _form(self, formers: list[TwinPcs], limits: list[tuple[float, float]], carried_w: float) -> None:
        """These PCS form the grid and carry this power together, by their limits (charge, discharge)."""
        for pcs in self.pcs:
            pcs.forming, pcs.grid_lost = pcs in formers, not self.grid_alive
            if not pcs.forming:
                pcs.carry(0.0)
        possible_w = [discharge_w if carried_w > 0 else charge_w for charge_w, discharge_w in limits]
        total_w = sum(possible_w)
        for pcs, w in zip(formers, possible_w, strict=True):
            pcs.carry(carried_w * (w / total_w if total_w > 0 else 0.0))

    def _de_energise(self) -> None:
        """No source carries the bus: everything stands still."""
        self.load.dark = True
        self.load_w = self.grid_w = self.hz = self.v = 0.0
        for pcs in self.pcs:
            pcs.grid_lost = True
            pcs.carry(0.0)
        for pv in self.pv:
            pv.settle(0.0, 0.0)
        if not self.switches:
            self.blackout = True
            for pcs in self.pcs:
                pcs.trip()

    def true_state(self) -> dict[str, object]:
        """Everything as it really is, undelayed; for tests and benchmarks. W, Wh, %."""
        return {
            "t_s": self.t_s,
            "utc_s": self.utc_s,
            "load_w": self.load_w,
            "grid_w": self.grid_w,
            "pcs_w": {p.id: p.w for p in self.pcs},
            "pv_w": {p.id: p.w for p in self.pv},
            "soc_pct": {p.battery.config.id: p.battery.soc_pct for p in self.pcs},
            "shown_soc_pct": {p.battery.config.id: p.battery.shown_soc_pct for p in self.pcs},
            "energy_wh": {p.battery.config.id: p.battery.energy_wh for p in self.pcs},
            "injected_wh": {p.id: p.injected_wh for p in self.pcs},
            "absorbed_wh": {p.id: p.absorbed_wh for p in self.pcs},
            "setpoint_w": {p.id: p.control.wanted_w for p in self.pcs},
            "setpoint_enabled": {p.id: p.control.enabled for p in self.pcs},
            "reversions": {p.id: p.control.reversions for p in self.pcs},
            "demand_wh": self.demand_wh,
            "unserved_wh": self.unserved_wh,
            "tripped": {p.id: p.tripped for p in self.pcs},
            "switch": {s.id: s.position.name.lower() for s in self.switches},
            "grid_present": self.grid.present,
            "source": self.source,
            "islanded": self.islanded,
            "blackout": self.blackout,
            "hz": self.hz,
            "v": self.v,
            "pv_source": SOURCE,
            "written_mono_s": self.written,
        }


def instant_s(text: str) -> float:
    """POSIX seconds of an ISO 8601 instant with its offset, such as 2025-09-16T06:55:00Z. Raises ValueError."""
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    if moment.tzinfo is None:
        raise ValueError(
            f"twin.start_utc = {text!r}: expected an instant with its offset, such as 2025-09-16T06:55:00Z"
        )
    return moment.timestamp()
