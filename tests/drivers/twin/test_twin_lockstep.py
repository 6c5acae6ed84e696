"""Lock-step: what a snapshot holds, what a decision does, and that it repeats to the byte."""

from __future__ import annotations

import msgspec
import pytest
from twin_sites import site_of

from dispatch.model.decision import Decision, Mode, Setpoint
from dispatch.model.islanding import IslandState, NodeOrder
from dispatch.model.power_caps import CapsView
from dispatch.model.readings import Quality
from dispatch.model.reasons import RuleId, plain
from dispatch.model.snapshot import Snapshot
from drivers.clock import VirtualClock
from drivers.twin.faults import Fault
from drivers.twin.lockstep import LockstepSite


def decision(seq: int, w: float | None) -> Decision:
    return Decision(
        seq, 0.0, Mode.RULES, IslandState.GRID_TIED, (Setpoint("pcs1", w),), w, None, None, RuleId.IDLE, plain("test")
    )


def lockstep_of(*args: object, **twin: object) -> LockstepSite:
    site = site_of(*args, **twin)  # type: ignore[arg-type]
    return LockstepSite(site, VirtualClock(site.start_utc_s))


def recording(seed: int) -> bytes:
    lockstep = lockstep_of(None, seed=seed, load_noise=0.02)
    lines = []
    for seq in range(300):
        lockstep.advance(0.2)
        if seq == 100:
            lockstep.site.faults.put(Fault("outage", until_s=lockstep.site.t_s + 5))
        snapshot = lockstep.snapshot(seq)
        lines.append(msgspec.json.encode(snapshot))
        lockstep.apply(decision(seq, 5_000.0 * (seq % 7 - 3)))
    return b"\n".join(lines)


def test_same_seed_same_bytes() -> None:
    first = recording(7)
    assert first == recording(7)
    assert first != recording(8)


def test_snapshot_is_whole_and_balances() -> None:
    lockstep = lockstep_of(None)
    lockstep.advance(2.0)
    snapshot = lockstep.snapshot(1)
    assert (snapshot.seq, snapshot.mono_s) == (1, 2.0)
    assert snapshot.utc_s == lockstep.site.start_utc_s + 2
    assert snapshot.load is not None
    assert snapshot.load_w == pytest.approx(snapshot.load.w.good)
    assert [d.id for d in snapshot.devices] == ["grid", "load", "pcs1", "pv1", "pcc", "gpu-1", "gpu-2"]
    assert all(d.online for d in snapshot.devices)
    assert snapshot.switches[0].position.good == "closed"
    assert snapshot.batteries[0].soc_pct.good == 55
    assert snapshot.pcs[0].mode.good == "grid_following"
    again = msgspec.convert(msgspec.to_builtins(snapshot), Snapshot)
    assert again == snapshot


def test_meter_delay_shows_in_the_snapshot() -> None:
    lockstep = lockstep_of(lambda t_s: 10_000.0 if t_s < 1 else 70_000.0, meter_delay_s=0.5, pv_peak_w=0.0)
    seen = []
    for seq in range(20):
        lockstep.advance(0.1)
        seen.append(lockstep.snapshot(seq).grid.w.good)
    assert seen.index(70_000.0) in (14, 15)  # 1.5 s, give or take a physics step


def test_decision_is_obeyed_and_renewed_before_it_reverts() -> None:
    lockstep = lockstep_of()
    for seq in range(200):
        lockstep.apply(decision(seq, 15_000.0))
        lockstep.advance(1.0)
        assert lockstep.snapshot(seq).pcs[0].setpoint_enabled.good == 1
    snapshot = lockstep.snapshot(200)
    assert snapshot.pcs[0].w.good == pytest.approx(15_000)
    assert next(d for d in snapshot.devices if d.id == "pcs1").writes == 7  # 1 + one each 30 s
    lockstep.advance(61.0)
    reverted = lockstep.snapshot(201).pcs[0]
    assert (reverted.setpoint_enabled.good, reverted.setpoint_w.good) == (1, 0)  # as the driver has it revert


def test_no_setpoint_leaves_the_device_alone() -> None:
    lockstep = lockstep_of()
    lockstep.apply(decision(1, None))
    lockstep.advance(1.0)
    assert lockstep.snapshot(1).pcs[0].setpoint_enabled.good == 0


def test_hung_device_ages_then_is_stale_and_is_not_written() -> None:
    lockstep = lockstep_of()
    lockstep.advance(1.0)
    before = lockstep.snapshot(1).grid
    lockstep.site.faults.put(Fault("hung", "grid", until_s=4.0))
    lockstep.site.faults.put(Fault("hung", "pcs1", until_s=4.0))
    lockstep.advance(0.6)
    young = lockstep.snapshot(2).grid.w
    assert (young.value, young.quality) == (before.w.value, Quality.GOOD)
    assert young.age_s == pytest.approx(0.6)
    lockstep.advance(0.6)
    snapshot = lockstep.snapshot(3)
    assert snapshot.grid.w.quality is snapshot.batteries[0].soc_pct.quality is Quality.STALE
    assert snapshot.grid.w.good is None
    assert "hung" in next(d for d in snapshot.devices if d.id == "grid").error
    lockstep.apply(decision(3, 30_000.0))
    lockstep.advance(2.0)
    snapshot = lockstep.snapshot(4)
    assert snapshot.grid.w.age_s == 0
    assert snapshot.pcs[0].setpoint_enabled.good == 0


def test_frozen_meter_repeats_itself_and_a_blank_one_says_nothing() -> None:
    lockstep = lockstep_of(lambda t_s: 10_000.0 + t_s, pv_peak_w=0.0)
    lockstep.advance(1.0)
    value = lockstep.snapshot(1).grid.w.value
    lockstep.site.faults.put(Fault("frozen", "grid"))
    lockstep.advance(5.0)
    frozen = lockstep.snapshot(2).grid.w
    assert (frozen.value, frozen.quality) == (value, Quality.GOOD)
    lockstep.site.faults.put(Fault("not_implemented", "grid"))
    assert lockstep.snapshot(3).grid.w.quality is Quality.MISSING


def test_caps_for_the_peak_reach_the_nodes_and_go_again() -> None:
    lockstep = lockstep_of(None)

    def apply(cap_w: float | None, ride_w: float | None = None) -> float | None:
        nodes = () if cap_w is None else (("gpu-1", cap_w),)
        view = CapsView(nodes, 0.0, 0.0, plain("test"), None, 0.0, 0.0)
        ride = () if ride_w is None else (NodeOrder("gpu-1", cap_w=ride_w),)
        lockstep.apply(msgspec.structs.replace(decision(1, None), caps=view, nodes=ride))
        return lockstep.site.load.nodes[0].cap_w

    assert apply(900.0) == 900.0
    assert apply(900.0, ride_w=700.0) == 700.0
    assert apply(600.0, ride_w=700.0) == 600.0
    assert apply(None) is None
