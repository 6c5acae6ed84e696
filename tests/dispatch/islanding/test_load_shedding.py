"""The ladder: what is given up, in which order, and how it comes back."""

from __future__ import annotations

import msgspec
import pytest
from small_site import a_battery, a_pcs, a_snapshot, site_config

from dispatch.config.off_grid import RideThroughConfig
from dispatch.config.schema import BatteryConfig, DispatchConfig, NodeTerms, PcsRatings
from dispatch.islanding.load_shedding import LoadShedding
from dispatch.islanding.shedding_memory import LoadSheddingMemory
from dispatch.model.islanding import IslandState
from dispatch.model.readings import reading, status
from dispatch.model.reasons import Reason
from dispatch.model.snapshot import Snapshot
from dispatch.wording.catalogue import words

S = IslandState
NODES = (
    NodeTerms(id="crit", critical=True, cap_w=800, can_suspend=True, can_shutdown=True),
    NodeTerms(id="batch", cap_w=500, can_suspend=True, can_shutdown=True),
)


def config(hours: float = 2, nodes: tuple[NodeTerms, ...] = NODES) -> DispatchConfig:
    return msgspec.structs.replace(
        site_config(reserve_h=hours),
        nodes=nodes,
        ride_through=RideThroughConfig(settle_s=30, undo_s=30, shutdown_s=300),
    )


def island(t_s: float, soc_pct: float, w: float, most_w: float = 60_000) -> Snapshot:
    return a_snapshot(t_s, 0.0, a_pcs(w), a_battery(soc_pct, discharge_limit_w=reading(most_w)), switch="open")


def climb(keeper: LoadShedding, soc_pct: float, w: float, seconds: int, from_s: int = 0) -> list[int]:
    stages: list[int] = []
    for t_s in range(from_s, from_s + seconds):
        keeper.step(island(float(t_s), soc_pct, w), True, S.ISLANDED)
        if not stages or stages[-1] != keeper.stage:
            stages.append(keeper.stage)
    return stages


def test_enough_energy_gives_nothing_up() -> None:
    keeper = LoadShedding(config())
    assert climb(keeper, 90.0, 10_000, 300) == [0]
    result = keeper.step(island(300.0, 90.0, 10_000), True, S.ISLANDED)
    assert result.orders == ()
    assert result.view.runtime_s is not None
    assert 7 * 3600 < result.view.runtime_s < 9 * 3600
    assert result.view.low_s is not None
    assert result.view.low_s < result.view.runtime_s


def test_one_step_at_a_time_each_with_its_reason() -> None:
    keeper = LoadShedding(config())
    assert climb(keeper, 30.0, 30_000, 29) == [0], "the first step waits until the draw has shown itself"
    assert climb(keeper, 30.0, 30_000, 200, 29) == [0, 2, 3, 5]
    orders = {o.device_id: o for o in keeper.step(island(300.0, 30.0, 30_000), True, S.ISLANDED).orders}
    assert (orders["batch"].cap_w, orders["batch"].suspended, orders["batch"].off) == (500, True, False)
    assert (orders["crit"].cap_w, orders["crit"].suspended) == (800, False), "critical jobs are never suspended"
    assert " promised" in words(orders["crit"].reason)


def test_critical_nodes_are_untouched_until_the_step_that_is_theirs() -> None:
    keeper, seen = LoadShedding(config()), []
    for t_s in range(200):
        result = keeper.step(island(float(t_s), 30.0, 30_000), True, S.ISLANDED)
        if result.view.rung and (not seen or seen[-1][0] != result.view.rung):
            seen.append((result.view.rung, {o.device_id: (o.cap_w, o.suspended, o.off) for o in result.orders}))
    free = (None, False, False)
    assert seen == [
        (2, {"crit": free, "batch": (500, False, False)}),
        (3, {"crit": free, "batch": (500, True, False)}),
        (5, {"crit": (800, False, False), "batch": (500, True, False)}),
    ]


def test_a_drill_gives_nothing_up_for_the_hours_promised_but_an_overload_and_an_empty_battery_do() -> None:
    keeper = LoadShedding(config())
    for t_s in range(200):
        keeper.step(island(float(t_s), 30.0, 30_000), True, S.ISLANDED, drilling=True)
    assert keeper.stage == 0
    keeper.step(island(200.0, 30.0, 30_000), True, S.ISLANDED, drilling=False)
    assert keeper.stage == 2, "the grid went away: the promise counts from here"
    keeper = LoadShedding(config())
    keeper.step(island(0.0, 90.0, 59_900), True, S.ISLANDED, drilling=True)
    assert keeper.step(island(2.0, 90.0, 59_900), True, S.ISLANDED, drilling=True).view.rung == 2
    keeper = LoadShedding(config())
    low = [keeper.step(island(float(t_s), 11.0, 60_000), True, S.ISLANDED, drilling=True) for t_s in range(11)]
    assert low[-1].view.rung == 6


def test_shutdown_comes_in_time_whatever_was_promised() -> None:
    keeper = LoadShedding(config(hours=0))
    assert climb(keeper, 60.0, 30_000, 120) == [0]
    assert climb(keeper, 6.0, 30_000, 10, 120) == [0], "what cannot be undone waits until it has held for 10 s"
    assert climb(keeper, 6.0, 30_000, 1, 130) == [6]
    assert all(o.off for o in keeper.step(island(132.0, 6.0, 30_000), True, S.ISLANDED).orders)


def test_an_overload_waits_for_a_second_sample_only() -> None:
    keeper, stages = LoadShedding(config()), []
    climb(keeper, 90.0, 10_000, 5)
    for t_s in range(6, 16):
        keeper.step(island(float(t_s), 90.0, 20_000, most_w=20_500), True, S.ISLANDED)
        stages.append(keeper.stage)
    assert stages == [0, 2, 3, 3, 3, 5, 5, 5, 5, 5], "critical nodes are capped once it has held for 5 s"


@pytest.mark.parametrize("seconds", [0.2, 1.0, 4.0])
def test_a_limit_that_reads_0_for_a_moment_caps_no_critical_node(seconds: float) -> None:
    keeper = LoadShedding(config())
    for n in range(100):
        t_s = 0.2 * n
        most_w = 0.0 if 10 <= t_s < 10 + seconds - 1e-9 else 60_000
        keeper.step(island(t_s, 90.0, 20_000, most_w=most_w), True, S.ISLANDED)
        assert keeper.stage < 5
    assert (keeper.stage > 0) is (seconds > 1)


def test_a_sample_of_the_moment_of_opening_is_not_the_draw() -> None:
    """The PCS still gave 60 kW for the peak when the switch opened; the site draws 10 kW."""
    keeper = LoadShedding(config(hours=0))
    keeper.step(island(0.0, 15.0, 60_000), True, S.ISLANDED)
    assert climb(keeper, 15.0, 10_000, 60, 1) == [0]
    view = keeper.step(island(61.0, 15.0, 10_000), True, S.ISLANDED).view
    assert view.draw_w == pytest.approx(10_000, rel=0.01)


def test_what_is_behind_a_pcs_in_fault_carries_nothing() -> None:
    """Two equal batteries at 60 %: with one PCS in fault half of the energy and of the power are left."""
    base = config()
    batteries = tuple(BatteryConfig(id=f"bat{n}", energy_kwh=100) for n in (1, 2))
    pcs = tuple(PcsRatings(id=f"pcs{n}", battery=f"bat{n}", charge_w=60_000, discharge_w=60_000) for n in (1, 2))
    keeper = LoadShedding(msgspec.structs.replace(base, batteries=batteries, pcs=pcs))

    def seen(t_s: float, state: str) -> Snapshot:
        both = tuple(
            msgspec.structs.replace(a_battery(60.0, discharge_limit_w=reading(25_000.0)), id=f"bat{n}") for n in (1, 2)
        )
        other = msgspec.structs.replace(a_pcs(0.0, state=status(state)), id="pcs2")
        return a_snapshot(t_s, 0.0, (a_pcs(22_500.0), other), both, switch="open")

    runtimes, stages = [], []
    for t_s, state in enumerate(("running", "fault", "fault", "running")):
        result = keeper.step(seen(5.0 * t_s, state), True, S.ISLANDED)
        runtimes.append(result.view.runtime_s or 0.0)
        stages.append(keeper.stage)
    assert stages == [0, 0, 2, 2], "22.5 kW of 47 are no overload, of 23.5 they are"
    assert runtimes[1] == pytest.approx(runtimes[0] / 2)
    assert runtimes[3] == pytest.approx(runtimes[0])


def test_the_way_back_is_the_reverse_and_waits_for_the_battery() -> None:
    keeper = LoadShedding(config())
    climb(keeper, 8.0, 30_000, 60)
    assert keeper.stage == 6
    stages = [6]
    for t_s in range(60, 400):
        soc_pct = 20.0 if t_s < 100 else 40.0  # the reserve: 5 % and 20 kWh
        keeper.step(a_snapshot(float(t_s), 5_000.0, a_pcs(0.0), a_battery(soc_pct)), False, S.GRID_TIED)
        if keeper.stage != stages[-1]:
            stages.append(keeper.stage)
            assert t_s >= 100
    assert stages == [6, 5, 3, 2, 0]
    last = keeper.step(a_snapshot(401.0, 5_000.0), False, S.GRID_TIED)
    assert all((o.cap_w, o.suspended, o.off) == (None, False, False) for o in last.orders)
    assert len(last.orders) == 2, "whoever carries it out is told until the node is free"


def alone(snapshot: Snapshot) -> Snapshot:
    """With an SoC that only its own report tells of."""
    batteries = tuple(msgspec.structs.replace(b, soc_state="alone") for b in snapshot.batteries)
    return msgspec.structs.replace(snapshot, batteries=batteries)


def test_an_soc_that_only_its_report_tells_of_takes_one_step_after_the_other() -> None:
    keeper, taken, foretold = LoadShedding(config(hours=0)), [], []
    climb(keeper, 60.0, 30_000, 60)
    for t_s in range(60, 200):
        result = keeper.step(alone(island(float(t_s), 0.0, 30_000)), True, S.ISLANDED)
        taken += [(t_s, e.text) for e in result.events if "step" in e.text]
        foretold.append(result.view.shutdown_in_s)
    assert [t_s for t_s, _ in taken] == [60, 90], "30 s each"
    assert min(foretold) > 3600
    assert "step 2, cap deferrable: by the SoC that the BMS reports" in taken[0][1]


def test_how_long_the_battery_lasts_by_its_report_alone_is_said() -> None:
    keeper, told = LoadShedding(config(hours=0)), []
    climb(keeper, 60.0, 30_000, 60)
    for t_s in range(60, 200):
        result = keeper.step(alone(island(float(t_s), 8.0, 30_000)), True, S.ISLANDED)
        told += [e.text for e in result.events if "nothing is shut down for it" in e.text]
    assert len(told) == 1
    assert "the BMS reports the battery lasts 11 min" in told[0], told


def test_the_count_outlives_a_restart_and_is_good_for_a_quarter_of_an_hour() -> None:
    for gap_s, steps in ((60, [2, 3]), (1200, [2, 3, 6])):
        keeper = LoadShedding(config(hours=0))
        climb(keeper, 60.0, 10_000, 60)
        after = LoadShedding(config(hours=0))
        after.restore(keeper.memory())
        taken = [0]
        for t_s in range(60 + gap_s, 460 + gap_s):
            after.step(alone(island(float(t_s), 0.0, 10_000)), True, S.ISLANDED)
            if after.stage != taken[-1]:
                taken.append(after.stage)
        assert taken[1:] == steps


def test_steps_that_change_nothing_are_skipped() -> None:
    keeper = LoadShedding(config(nodes=(NodeTerms(id="crit", critical=True, cap_w=800),)))
    assert climb(keeper, 30.0, 30_000, 200) == [0, 5]


def test_a_restart_keeps_the_step_and_the_promise() -> None:
    keeper = LoadShedding(config())
    climb(keeper, 30.0, 30_000, 100)
    before = keeper.step(island(100.0, 30.0, 30_000), True, S.ISLANDED).view
    after = LoadShedding(config())
    after.restore(keeper.memory())
    view = after.step(island(101.0, 30.0, 30_000), True, S.ISLANDED).view
    assert view.rung == before.rung > 0
    assert before.promised_left_s is not None
    assert view.promised_left_s == before.promised_left_s - 1


def test_a_ladder_that_is_switched_off_leaves_nobody_on_it() -> None:
    """Found on a site whose nodes had been shut down, and stayed so for good."""
    keeper = LoadShedding(config())
    climb(keeper, 30.0, 30_000, 200)
    assert keeper.stage == 5
    off = msgspec.structs.replace(config(), ride_through=RideThroughConfig(enabled=False))
    after = LoadShedding(off)
    after.restore(keeper.memory())
    result = after.step(a_snapshot(300.0, 10_000.0, a_pcs(0.0), a_battery(30.0)), False, S.GRID_TIED)
    assert result.view.rung == 0
    assert {(o.cap_w, o.suspended, o.off) for o in result.orders} == {(None, False, False)}


def test_not_known_is_not_zero() -> None:
    keeper = LoadShedding(config())
    snapshot = a_snapshot(0.0, 0.0, a_pcs(10_000.0), a_battery(None), switch="open")
    view = keeper.step(snapshot, True, S.ISLANDED).view
    assert (view.runtime_s, view.low_s, view.rung) == (None, None, 0)


def test_a_stage_that_is_read_late_is_taken_over_and_undone() -> None:
    """The nodes are as the last gateway left them: a deeper stage goes on, an islanding that goes on is older."""
    before = LoadShedding(config())
    climb(before, 30.0, 30_000, 200)
    kept = before.memory()
    assert kept.stage > 0
    keeper = LoadShedding(config())
    climb(keeper, 90.0, 10_000, 10, from_s=200)
    keeper.recover(kept)
    result = keeper.step(island(210.0, 90.0, 10_000), True, S.ISLANDED)
    assert (keeper.stage, result.view.why) == (kept.stage, Reason("ride.kept"))
    assert {o.device_id for o in result.orders} == {"crit", "batch"}
    assert keeper.memory().since_utc_s == kept.since_utc_s
    on_grid = a_snapshot(220.0, 10_000, a_pcs(0.0), a_battery(90.0))
    for n in range(2_000):
        keeper.step(msgspec.structs.replace(on_grid, mono_s=220.0 + n, utc_s=on_grid.utc_s + n), False, S.GRID_TIED)
    assert keeper.stage == 0, "undone, as after any outage"
    deeper = LoadShedding(config())
    climb(deeper, 30.0, 30_000, 400)
    stage = deeper.stage
    deeper.recover(LoadSheddingMemory(engaged=True))
    assert deeper.stage == stage, "a shallower one changes nothing"
