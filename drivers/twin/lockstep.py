"""Runs the twin in lock-step: one loop advances virtual time, physics and controller.

No sockets, no threads, no wall clock: the same seed and the same calls give the same bytes. A snapshot is what a
gateway would have read at this instant: meters late by their delay, a hung device's last values with their age.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TypeVar, cast

import msgspec

from dispatch.model.decision import Decision
from dispatch.model.equipment import Battery, DeviceHealth, Meter, Node, Part, Pcs, Pv, Switch, aged
from dispatch.model.islanding import NodeOrder, SwitchOrder
from dispatch.model.readings import MISSING, Quality, reading, status
from dispatch.model.snapshot import Snapshot
from drivers.clock import VirtualClock
from drivers.twin.grid import PccSwitch
from drivers.twin.load import TwinNode
from drivers.twin.pcs import OpCtl, TwinPcs
from drivers.twin.physics import PHASE_SHARE, STEP_S, TwinMeter, TwinSite
from drivers.twin.pv import TwinPv

Q = TypeVar("Q", bound=Part)

DEFAULT_REVERT_S = 60.0


class LockstepSite:
    """A site and the virtual clock it shares with whoever decides.

    step_s: longest physics step; 0.02 s resolves the PCS's lag, whole seconds will do for days.
    stale_after_s: as `[io]` has it; older values are STALE.
    """

    def __init__(
        self, site: TwinSite, clock: VirtualClock, *, step_s: float = STEP_S, stale_after_s: float = 1.0
    ) -> None:
        self.site, self.clock = site, clock
        self._step_s, self._stale_after_s = step_s, stale_after_s
        self._last: dict[str, tuple[float, Part]] = {}  # device id -> when it last answered, what it said
        self._answers: dict[str, tuple[int, int, int]] = {}  # reads, failures, writes
        self.renewed_s: dict[str, float] = {}  # mono_s at which a PCS's setpoint was last written, with its timer
        self._capped: set[str] = set()  # nodes that were ever capped for the peak: they get the order that ends it

    def advance(self, dt_s: float) -> None:
        """Let `dt_s` pass, for the physics and on the clock."""
        self.site.advance(dt_s, self._step_s)
        self.clock.advance(dt_s)

    def snapshot(self, seq: int) -> Snapshot:
        """Read every device."""
        site = self.site
        meters = {m.role: self._read(m.id, partial(meter_part, m), Meter(m.id)) for m in site.meters}
        pcs = [self._read(p.id, partial(pcs_part, p, site), Pcs(p.id)) for p in site.pcs]
        packs = [(p, p.battery.config.id) for p in site.pcs]
        batteries = [self._read(id, partial(battery_part, p), Battery(id), fault_of=p.id) for p, id in packs]
        pv = [self._read(p.id, partial(pv_part, p), Pv(p.id)) for p in site.pv]
        switches = [self._read(s.id, partial(switch_part, s, site), Switch(s.id)) for s in site.switches]
        served = zip(site.node_devices, site.load.nodes, strict=False)  # the site file may name fewer than there are
        dark = site.load.dark
        nodes = [self._read(d.id, partial(node_part, d.id, d.critical, n, dark), Node(d.id)) for d, n in served]
        kinds = [(m.id, "meter" if m.role == "grid" else "load_meter") for m in site.meters]
        kinds += [(p.id, "pcs") for p in site.pcs] + [(p.id, "pv") for p in site.pv]
        kinds += [(s.id, "switch") for s in site.switches] + [(d.id, "node") for d in site.node_devices]
        return Snapshot(
            seq=seq,
            utc_s=self.clock.utc_s(),
            mono_s=self.clock.mono_s(),
            grid=meters.get("grid", Meter("grid")),
            load=meters.get("load"),
            pcs=tuple(pcs),
            batteries=tuple(batteries),
            pv=tuple(pv),
            switches=tuple(switches),
            nodes=tuple(nodes),
            devices=tuple(self._health(id, kind) for id, kind in kinds),
        )

    def apply(self, decision: Decision) -> None:
        """Write what was decided, as drivers do."""
        self._command_pcs(decision)
        self._command_pv(decision)
        self._command_switch(decision.switch)
        wanted = self._wanted_of_nodes(decision)
        for device, node in zip(self.site.node_devices, self.site.load.nodes, strict=False):
            if device.id in wanted and self._reachable(device.id):
                self._command_node(node, wanted[device.id])

    def _command_pcs(self, decision: Decision) -> None:
        setpoints_w = {s.device_id: s.w for s in decision.setpoints}
        starts = {order.device_id for order in decision.pcs_orders}
        for unit in self.site.pcs:
            if not self._reachable(unit.id):
                continue
            w = setpoints_w.get(unit.id)
            if w is not None:
                self._write_setpoint(unit, w)
            if unit.id in starts and not unit.ready:
                unit.operate(OpCtl.START)

    def _write_setpoint(self, unit: TwinPcs, w: float) -> None:
        """Write a setpoint as the driver does: reversion time, power, enable; again at half of the reversion time."""
        control, revert_s = unit.control, getattr(unit.ratings, "revert_s", DEFAULT_REVERT_S)
        changed = not control.enabled or control.setpoint_w != w
        if not changed and control.remaining_s > revert_s / 2:
            return
        control.revert_enabled, control.revert_w = True, 0.0
        control.set_timeout(revert_s)
        control.in_watts, control.setpoint_w = True, w
        control.enable(True)
        self.renewed_s[unit.id] = self.clock.mono_s()
        self._count(unit.id, writes=1)

    def _command_pv(self, decision: Decision) -> None:
        """Limit inverters as the driver does: reversion time, limit, enable; again at half of the reversion time."""
        limits_w = {limit.device_id: limit.w for limit in decision.pv_limits}
        for unit in self.site.pv:
            if unit.id not in limits_w or not self._reachable(unit.id):
                continue
            w, limit = limits_w[unit.id], unit.limit
            if w is None:
                limit.enable(False)
                continue
            pct = math.floor(10_000 * w / unit.peak_w) / 100
            if not limit.enabled or pct != limit.pct or limit.remaining_s <= DEFAULT_REVERT_S / 2:
                limit.revert_s = DEFAULT_REVERT_S
                limit.set_pct(pct)
                limit.enable(True)
                self._count(unit.id, writes=1)

    def _command_switch(self, order: SwitchOrder | None) -> None:
        for switch in self.site.switches:
            if order is None or order.device_id != switch.id or not self._reachable(switch.id):
                continue
            command = ("none", "open", "close").index(order.action)
            if command != switch.command:
                switch.order(command, self.site.grid_alive)
                self._count(switch.id, writes=1)

    def _wanted_of_nodes(self, decision: Decision) -> dict[str, NodeOrder]:
        """What each node is to be; of two caps the smaller holds."""
        caps = dict(decision.caps.nodes) if decision.caps is not None else {}
        self._capped |= caps.keys()
        wanted = {id: NodeOrder(id) for id in self._capped} | {o.device_id: o for o in decision.nodes}
        for id, cap_w in caps.items():
            own_w = wanted[id].cap_w
            wanted[id] = msgspec.structs.replace(wanted[id], cap_w=cap_w if own_w is None else min(own_w, cap_w))
        return wanted

    def _command_node(self, node: TwinNode, wanted: NodeOrder) -> None:
        if (node.cap_w, node.suspended, node.off) == (wanted.cap_w, wanted.suspended, wanted.off):
            return
        node.cap_w, node.suspended = wanted.cap_w, wanted.suspended
        node.order_off(wanted.off)
        self.site.load.refresh()
        self._count(wanted.device_id, writes=1)

    def _reachable(self, id: str) -> bool:
        """Whether orders reach a device: one with such a fault takes none."""
        fault = self.site.faults.of(id, self.site.t_s)
        return fault is None or fault.kind not in ("hung", "slow", "exception")

    def _read(self, id: str, fresh: Callable[[], Q], nothing: Q, fault_of: str = "") -> Q:
        now_s = self.site.t_s
        fault = self.site.faults.of(fault_of or id, now_s)
        kind = None if fault is None else fault.kind
        if kind in ("hung", "slow", "exception"):
            self._count(id, failures=1)
            if id not in self._last:
                return nothing
            since_s, last = self._last[id]
            age_s = now_s - since_s
            quality = Quality.STALE if age_s > self._stale_after_s else Quality.GOOD
            return cast(Q, aged(last, age_s, quality))
        self._count(id, reads=1)
        part = nothing if kind == "not_implemented" else fresh()
        if kind == "frozen" and id in self._last:
            part = cast(Q, self._last[id][1])
        self._last[id] = (now_s, part)
        return part

    def _count(self, id: str, reads: int = 0, failures: int = 0, writes: int = 0) -> None:
        r, f, w = self._answers.get(id, (0, 0, 0))
        self._answers[id] = (r + reads, f + failures, w + writes)

    def _health(self, id: str, kind: str) -> DeviceHealth:
        now_s = self.site.t_s
        fault = self.site.faults.of(id, now_s)
        online = fault is None or fault.kind in ("frozen", "not_implemented")
        age_s = now_s - self._last[id][0] if id in self._last else None
        reads, failures, writes = self._answers.get(id, (0, 0, 0))
        error = "" if online or fault is None else f"{id}: no usable answer ({fault.kind}); clear the twin's fault"
        return DeviceHealth(id, kind, online, age_s, reads, failures, writes, error)


def meter_part(meter: TwinMeter) -> Meter:
    """What the meter's registers say, delay included."""
    now = meter.reading
    amps = tuple(reading(abs(now.w) * share / now.v if now.v > 0 else 0.0) for share in PHASE_SHARE)
    volts = (reading(now.v),) * 3
    phases_w = tuple(reading(w) for w in meter.phases_w)
    energy_wh = reading(now.import_wh), reading(now.export_wh)
    return Meter(meter.id, reading(now.w), reading(now.hz), volts, amps, *energy_wh, phases_w)


def pcs_part(unit: TwinPcs, site: TwinSite) -> Pcs:
    """What the PCS says of itself."""
    control = unit.control
    return Pcs(
        unit.id,
        w=reading(unit.w),
        hz=reading(site.hz),
        v=reading(site.v),
        state=status(unit.state.name.lower()),
        connection=status("connected" if unit.connected and not unit.grid_lost else "disconnected"),
        mode=status("grid_forming" if unit.forming else "grid_following"),
        control=status("local" if unit.local else "remote"),
        setpoint_w=reading(control.setpoint_w),
        setpoint_enabled=reading(float(control.enabled)),
        revert_remaining_s=reading(control.remaining_s),
        revert_after_s=reading(control.revert_s),
        revert_to_w=reading(control.revert_w) if control.revert_enabled else MISSING,
        charge_limit_w=reading(unit.charge_setting_w),
        discharge_limit_w=reading(unit.discharge_setting_w),
        temp_c=reading(unit.battery.temp_c),
        alarms=("grid_disconnect",) if unit.grid_lost else (),
    )


def battery_part(unit: TwinPcs) -> Battery:
    """What the BMS says; limits at the battery, as DC watts."""
    battery, config = unit.battery, unit.battery.config
    charge_w, discharge_w = battery.limits_w(0.0)
    return Battery(
        config.id,
        soc_pct=reading(battery.shown_soc_pct),
        soh_pct=reading(battery.soh_pct),
        energy_wh=reading(config.energy_kwh * 1000),
        charge_limit_w=reading(charge_w * config.charge_efficiency),
        discharge_limit_w=reading(discharge_w / config.discharge_efficiency),
        temp_c=reading(battery.temp_c),
        state=status("connected"),
    )


def pv_part(pv: TwinPv) -> Pv:
    """What the inverter says."""
    limit_w = pv.peak_w * pv.limit.pct / 100 if pv.limit.enabled else pv.peak_w
    return Pv(pv.id, reading(pv.w), status("mppt" if pv.w > 0 else "sleeping"), limit_w=reading(limit_w))


def switch_part(switch: PccSwitch, site: TwinSite) -> Switch:
    """What the contacts and the synchro-check say."""
    delta_v, delta_hz, delta_deg = site.deltas(switch) or (None, None, None)
    return Switch(
        switch.id,
        position=status(switch.position.name.lower()),
        control=status("local" if switch.local else "remote"),
        grid_voltage=status("present" if site.grid_alive else "absent"),
        command=status(("none", "open", "close")[switch.command]),
        grid_v=reading(site.grid.v(site.t_s, site.grid_w)),
        grid_hz=reading(site.grid.hz(site.t_s)),
        delta_v=reading(delta_v),
        delta_hz=reading(delta_hz),
        delta_deg=reading(delta_deg),
        transfer_ms=reading(switch.last_transfer_ms),
        faults=reading(float(switch.faults)),
        source=status(site.source),
    )


def node_part(id: str, critical: bool, node: TwinNode, dark: bool) -> Node:
    """The readings of a node as a driver would give them."""
    return Node(
        id,
        w=reading(0.0 if dark else node.w),
        cpu_pct=reading(0.0 if dark else node.cpu_pct),
        memory_pct=reading(node.memory_pct),
        gpus_busy=reading(None if dark or node.gpus_busy is None else float(node.gpus_busy)),
        gpus_total=node.gpus_total,
        critical=critical,
        source="twin",
        note=", ".join(word for word, held in (("suspended", node.suspended), ("shut down", node.off)) if held),
    )
