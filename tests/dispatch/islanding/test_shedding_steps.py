"""The steps of load shedding: jobs are saved and requeued, nodes with GPUs never suspended, all of it undone."""

from __future__ import annotations

import os

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_site import a_battery, a_pcs, a_snapshot, site_config

from dispatch.config.off_grid import RideThroughConfig
from dispatch.config.schema import DispatchConfig, NodeTerms
from dispatch.islanding.load_shedding import LoadShedding
from dispatch.islanding.shedding_memory import LoadSheddingMemory, left_suspended, orders_to_undo
from dispatch.islanding.shedding_steps import FORMER, REQUEUE, SHUTDOWN, STEPS, lacking, of_former
from dispatch.model.equipment import Gpu, Node
from dispatch.model.islanding import IslandState, NodeOrder
from dispatch.model.readings import reading
from dispatch.model.snapshot import Snapshot
from dispatch.wording.catalogue import words

S = IslandState
EXAMPLES = int(os.environ.get("SKERRY_SOAK_ISLAND", "40"))
BATCH = NodeTerms(
    id="batch",
    cap_w=500,
    has_gpus=True,
    can_suspend=True,
    can_stop_starts=True,
    can_requeue=True,
    checkpoint_s=120,
    can_power_off=True,
    can_shutdown=True,
)
CPU = NodeTerms(id="cpu", can_suspend=True)
CRITICAL = NodeTerms(id="crit", critical=True, cap_w=800, can_stop_starts=True, can_requeue=True, can_power_off=True)
NODES = (CRITICAL, BATCH, CPU)


def config(nodes: tuple[NodeTerms, ...] = NODES, hours: float = 2.0, **terms: object) -> DispatchConfig:
    ride = RideThroughConfig(settle_s=30, undo_s=30, shutdown_s=300, **terms)  # type: ignore[arg-type]
    return msgspec.structs.replace(site_config(reserve_h=hours), nodes=nodes, ride_through=ride)


def island(t_s: float, soc_pct: float = 30.0, w: float = 30_000.0, nodes: tuple[Node, ...] = ()) -> Snapshot:
    battery = a_battery(soc_pct, discharge_limit_w=reading(60_000.0))
    return msgspec.structs.replace(a_snapshot(t_s, 0.0, a_pcs(w), battery, switch="open"), nodes=nodes)


def tied(t_s: float, soc_pct: float = 30.0) -> Snapshot:
    return a_snapshot(t_s, 5_000.0, a_pcs(0.0), a_battery(soc_pct))


def stages(keeper: LoadShedding, begin_s: int, end_s: int, soc_pct: float = 30.0) -> list[tuple[int, int]]:
    """(second, step) of each change off the grid."""
    found = []
    for t_s in range(begin_s, end_s):
        was = keeper.stage
        keeper.step(island(float(t_s), soc_pct), True, S.ISLANDED)
        if keeper.stage != was:
            found.append((t_s, keeper.stage))
    return found


def orders(keeper: LoadShedding, snapshot: Snapshot, on_battery: bool = True) -> dict[str, NodeOrder]:
    result = keeper.step(snapshot, on_battery, S.ISLANDED if on_battery else S.GRID_TIED)
    return {o.device_id: o for o in result.orders}


def test_jobs_are_told_to_save_have_their_time_and_are_requeued_before_the_next_step() -> None:
    keeper = LoadShedding(config())
    assert stages(keeper, 0, 100) == [(30, 1), (60, 2), (90, 3)]
    batch = orders(keeper, island(100.0))["batch"]
    assert (batch.starts_stopped, batch.cap_w, batch.saving, batch.requeued) == (True, 500, True, False)
    assert stages(keeper, 101, 209) == [], "jobs that save still draw power"
    assert not orders(keeper, island(209.0))["batch"].requeued
    assert orders(keeper, island(210.0))["batch"].requeued
    assert stages(keeper, 211, 300) == [(240, 4), (270, 5)]
    found = orders(keeper, island(300.0))
    assert found["batch"].off_when_empty
    crit = found["crit"]
    assert (crit.cap_w, crit.starts_stopped, crit.saving, crit.off_when_empty) == (800, False, False, False)


def test_nothing_is_requeued_once_the_grid_is_back_and_jobs_are_told_again_in_the_next_outage() -> None:
    keeper = LoadShedding(config())
    stages(keeper, 0, 150)
    for t_s in range(150, 400):  # the battery has not recovered: the steps stay
        batch = orders(keeper, tied(float(t_s), soc_pct=10.0), on_battery=False)["batch"]
        assert (batch.requeued, batch.saving) == (False, False)
    assert keeper.stage == REQUEUE
    assert orders(keeper, island(400.0))["batch"].saving
    assert not orders(keeper, island(519.0))["batch"].requeued
    assert orders(keeper, island(520.0))["batch"].requeued


def test_a_job_that_holds_a_gpu_is_never_suspended() -> None:
    """By the site file, or as soon as the node has shown one; that outlives its readings and a restart."""
    both = (msgspec.structs.replace(BATCH, can_requeue=False), CPU)
    keeper = LoadShedding(config(both))
    stages(keeper, 0, 100)
    found = orders(keeper, island(100.0))
    assert (found["batch"].suspended, found["cpu"].suspended) == (False, True)
    assert words(keeper.step(island(101.0), True, S.ISLANDED).view.rung_name) == "suspend nodes without GPUs"
    for shown in (Node("cpu", gpus=(Gpu(0, "H100"),)), Node("cpu", gpus_total=8)):
        keeper = LoadShedding(config((CPU,)))
        keeper.step(island(0.0, nodes=(shown,)), True, S.ISLANDED)
        assert stages(keeper, 1, 200) == [], "no step changes anything"
        after = LoadShedding(config((CPU,)))
        after.restore(keeper.memory())
        assert stages(after, 200, 400) == []


def test_an_overload_takes_the_first_step_that_sheds_power() -> None:
    keeper = LoadShedding(config(hours=0.0))
    taken = []
    for t_s in range(12):
        keeper.step(island(float(t_s), 90.0, 59_000.0), True, S.ISLANDED)
        taken.append(keeper.stage)
    assert taken[:7] == [0, 2, 2, 2, 2, 3, 4], "jobs end once it has held for 5 s"
    only_starts = LoadShedding(config((NodeTerms(id="n", can_stop_starts=True),), hours=0.0))
    for t_s in range(3):
        only_starts.step(island(float(t_s), 90.0, 59_000.0), True, S.ISLANDED)
    assert only_starts.stage == 1, "there is no other"


def test_a_node_that_was_shut_down_is_not_started_to_be_powered_off() -> None:
    keeper = LoadShedding(config())
    stages(keeper, 0, 400, soc_pct=3.0)
    assert keeper.stage == SHUTDOWN
    assert orders(keeper, island(400.0, 3.0))["batch"].off
    seen: list[tuple[int, bool, bool]] = []
    for t_s in range(401, 700):
        if t_s == 440:
            restarted = LoadShedding(config())
            restarted.restore(keeper.memory())
            keeper = restarted
        batch = orders(keeper, tied(float(t_s), 90.0), on_battery=False)["batch"]
        now = (keeper.stage, batch.off, batch.off_when_empty)
        if now != (seen[-1] if seen else None):
            seen.append(now)
    assert seen == [
        (5, True, False),
        (4, True, False),
        (3, False, False),
        (2, False, False),
        (1, False, False),
        (0, False, False),
    ]


def test_a_step_of_a_version_with_four_is_taken_over_and_the_other_way_round() -> None:
    assert [of_former(rung) for rung in range(6)] == [0, 2, 3, 5, 6, 0]
    assert [FORMER[of_former(rung)] for rung in range(5)] == [0, 1, 2, 3, 4]
    kept = msgspec.convert({"rung": 3, "engaged": True}, LoadSheddingMemory)
    keeper = LoadShedding(config())
    keeper.restore(kept)
    assert keeper.stage == 5
    written = msgspec.to_builtins(keeper.memory())
    assert (written["rung"], written["step"]) == (3, "shedding.cap_critical")
    assert len(FORMER) == len(STEPS)


def test_what_was_ordered_is_undone_where_load_shedding_was_switched_off_since() -> None:
    keeper = LoadShedding(config())
    stages(keeper, 0, 300)
    assert orders_to_undo(config(), keeper.memory()) == ()
    left = {o.device_id: o for o in orders_to_undo(config(enabled=False), keeper.memory())}
    assert (left["batch"].starts_stopped, left["batch"].off_when_empty, left["cpu"].suspended) == (True, True, True)
    assert not left["batch"].saving


SHUT_DOWN_FORMERLY = msgspec.convert({"rung": 4, "engaged": True}, LoadSheddingMemory)


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize(("rung", "suspended"), [(1, set()), (2, {"batch", "cpu"}), (3, {"batch", "cpu"})])
def test_a_node_with_gpus_that_a_former_version_suspended_is_resumed(
    enabled: bool, rung: int, suspended: set[str]
) -> None:
    """Its orders never ask to suspend it, so nothing else would tell that there is something to undo."""
    kept = msgspec.convert({"rung": rung, "engaged": True}, LoadSheddingMemory)
    left = orders_to_undo(config(enabled=enabled), kept)
    assert {o.device_id for o in left if o.suspended} == suspended
    off = {o.device_id: o.suspended for o in orders_to_undo(config(enabled=enabled), SHUT_DOWN_FORMERLY)}
    assert not off.get("batch"), "it is off"
    keeper = LoadShedding(config(enabled=enabled))
    keeper.restore(kept)
    assert not orders(keeper, island(0.0))["batch"].suspended, "so the first order resumes it"
    keeper.restore(msgspec.convert(msgspec.to_builtins(keeper.memory()), LoadSheddingMemory))
    assert not any(o.suspended for o in orders_to_undo(config(), keeper.memory())), "asked once"


def test_a_node_with_gpus_that_nothing_can_resume_any_more_is_named() -> None:
    """Site files of before are read without the keys that suspend and resume such nodes."""
    nodes = tuple(msgspec.structs.replace(node, can_suspend=False) for node in NODES)
    for rung, named in ((1, ()), (2, ("batch",)), (3, ("batch",)), (4, ())):
        kept = msgspec.convert({"rung": rung, "engaged": True}, LoadSheddingMemory)
        assert left_suspended(config(nodes), kept) == named
        assert left_suspended(config(), kept) == (), "it is resumed"
    keeper = LoadShedding(config(nodes))
    keeper.restore(msgspec.convert({"rung": 3, "engaged": True}, LoadSheddingMemory))
    assert left_suspended(config(nodes), keeper.memory()) == ()


def test_no_job_ends_by_an_soc_that_only_its_own_report_tells_of() -> None:
    for nodes, steps in ((NODES, [1, 2]), ((CPU,), [3])):
        keeper = LoadShedding(config(nodes, hours=0.0))
        stages(keeper, 0, 60, soc_pct=60.0)
        taken = []
        for t_s in range(60, 360):
            snapshot = island(float(t_s), 0.0)
            alone = tuple(msgspec.structs.replace(b, soc_state="alone") for b in snapshot.batteries)
            keeper.step(msgspec.structs.replace(snapshot, batteries=alone), True, S.ISLANDED)
            taken.append(keeper.stage)
        assert sorted(set(taken) - {0}) == steps


def test_what_a_site_lacks_is_said_by_step_and_number_of_nodes() -> None:
    nodes = (CRITICAL, BATCH, CPU, NodeTerms(id="seen"))
    said = [words(reason) for reason in lacking(config(nodes), frozenset({"batch"}))]
    assert said == [
        "stop new starts, not on 2 of 3",
        "cap deferrable, not on 2 of 3",
        "save and requeue jobs, not on 1 of 3",
        "power off empty nodes, not on 2 of 3",
        "shutdown, not on 3 of 4",
    ]
    keeper = LoadShedding(config(nodes))
    assert [words(r) for r in keeper.step(island(0.0), True, S.ISLANDED).view.lacks] == said
    assert lacking(config((msgspec.structs.replace(BATCH, can_suspend=False),)), frozenset()) == ()


TICK = st.tuples(
    st.sampled_from((1.0, 1.0, 5.0, 20.0, 130.0)),  # s since the last
    st.sampled_from(("island", "island", "island", "tied")),
    st.sampled_from((2.0, 12.0, 30.0, 90.0)),  # SoC
    st.sampled_from((100.0, 10_000.0, 30_000.0, 59_000.0)),  # drawn, W; the last is an overload
    st.sampled_from((0, 0, 0, 2)),  # GPUs that the node called cpu shows
    st.sampled_from((False,) * 9 + (True,)),  # the gateway is started again before it
)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(TICK, max_size=40))
def test_whatever_happens_no_gpu_is_suspended_and_no_job_requeued_before_its_time(ticks: list[tuple]) -> None:  # type: ignore[type-arg]
    """Off the grid a step is never taken back; jobs are requeued off the grid only, and after their whole time."""
    keeper, t_s, has_shown = LoadShedding(config()), 0.0, False
    told_s: float | None = None
    was, was_stage, was_requeued = "tied", 0, False
    for dt_s, where, soc_pct, w, gpus, restarts in ticks:
        t_s, has_shown = t_s + dt_s, has_shown or gpus > 0
        if restarts:
            after = LoadShedding(config())
            after.restore(keeper.memory())
            keeper, told_s, was_requeued = after, None, False
        islanded = where == "island"
        snapshot = island(t_s, soc_pct, w) if islanded else tied(t_s, soc_pct)
        snapshot = msgspec.structs.replace(snapshot, nodes=(Node("cpu", gpus_total=gpus),))
        found = orders(keeper, snapshot, on_battery=islanded)
        if islanded and was == "island":
            assert keeper.stage >= was_stage
        for order in found.values():
            assert not order.suspended or (order.device_id == "cpu" and not has_shown)
        if "batch" in found:
            batch = found["batch"]
            told_s = (told_s if told_s is not None else t_s) if batch.saving else None
            if batch.requeued and not was_requeued:
                assert islanded
                assert told_s is not None
                assert t_s - told_s >= BATCH.checkpoint_s
            assert not batch.saving or islanded
            assert not (batch.off and batch.off_when_empty)
            was_requeued = batch.requeued
        was, was_stage = where, keeper.stage
