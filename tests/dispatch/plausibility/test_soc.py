"""The SoC that a BMS reports, against the energy moved, its limits and its own next reports."""

from __future__ import annotations

from itertools import cycle

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from soc_rig import TICK_S, SocRig

from dispatch.model.readings import Quality
from dispatch.plausibility.soc import CONFIRM_S, SocMemory


def test_a_report_that_energy_explains_is_used_as_it_is() -> None:
    rig = SocRig().run(5, 0.0)
    assert (rig.pct, rig.state) == (60.0, "alone"), "at the start nothing else speaks for it"
    rig.run(400, 30_000.0)
    assert rig.pct == pytest.approx(rig.soc_pct)
    assert (rig.state, rig.said) == ("reported", []), "two points have moved, and it with them"


@pytest.mark.parametrize("seconds", [0.2, 1.0, 5.0, CONFIRM_S - TICK_S])
@pytest.mark.parametrize("wrong", [0.0, 30.0, 57.0, 63.0, 100.0])
@pytest.mark.parametrize("w", [0.0, 20_000.0, -20_000.0])
def test_a_wrong_report_of_less_than_ten_seconds_changes_nothing(seconds: float, wrong: float, w: float) -> None:
    rig = SocRig().run(20, w).run(seconds, w, wrong)
    assert rig.pct == pytest.approx(rig.soc_pct, abs=0.01)
    assert (rig.state, rig.battery.soc_reported_pct.good) == ("carried", wrong)
    assert rig.run(0.2, w).pct == pytest.approx(rig.soc_pct)
    assert rig.state != "carried"
    assert len(rig.said) == 1
    assert f"SoC {wrong:.1f} %" in rig.said[0]


@pytest.mark.parametrize("to", [30.0, 90.0])
def test_a_recalibration_is_followed_within_ten_seconds(to: float) -> None:
    rig = SocRig().run(20).run(CONFIRM_S, 0.0, to)
    assert rig.state == "carried"
    rig.run(2 * TICK_S, 0.0, to)
    assert (rig.pct, rig.state) == (to, "alone")
    assert rig.said[-1] == (
        f"SoC {to:.1f} % is taken as a recalibration of the BMS (its reports have agreed for 10 s); "
        "by energy it was 60.0 %"
    )


def test_after_a_recalibration_the_energy_that_moves_confirms_it() -> None:
    rig = SocRig().run(20, 30_000.0)
    rig.run(20, 30_000.0, lambda true_pct: true_pct - 30)
    assert rig.state == "alone"
    rig.run(350, 30_000.0, lambda true_pct: true_pct - 30)
    assert rig.state == "reported"


@pytest.mark.parametrize("how", [{"discharge_w": 5_000.0}, {"alarms": ("under_volt_warning",)}], ids=str)
def test_a_drop_that_the_bms_shows_otherwise_too_is_believed_at_the_second_sample(how: dict[str, object]) -> None:
    rig = SocRig().run(20).run(0.2, 0.0, 5.0, **how)  # type: ignore[arg-type]
    assert rig.pct == pytest.approx(60), "one read of the registers may be wrong as a whole"
    rig.run(1.2, 0.0, 5.0, **how)  # type: ignore[arg-type]
    assert (rig.pct, rig.state) == (5.0, "reported")
    assert "(its own limits agree)" in rig.said[-1]


def test_a_rise_that_the_bms_shows_otherwise_too_is_believed_at_the_second_sample() -> None:
    rig = SocRig().run(20).run(1.4, 0.0, 100.0, charge_w=0.0)
    assert (rig.pct, rig.state) == (100.0, "reported")


def test_limits_that_fall_in_heat_are_no_witness() -> None:
    from dispatch.model.readings import reading

    rig = SocRig().run(20).run(5, 0.0, 5.0, discharge_w=5_000.0, temp_c=reading(42.0))
    assert rig.state == "carried"


def test_a_report_that_comes_back_to_what_energy_explains_is_believed_at_once() -> None:
    rig = SocRig().run(20, 20_000.0).run(60, 20_000.0, 0.0)
    assert (rig.pct, rig.state) == (0.0, "alone")
    rig.run(0.2, 20_000.0)
    assert rig.pct == pytest.approx(rig.soc_pct)
    assert rig.said[-1].endswith("it was no recalibration")


@pytest.mark.parametrize("step", [0.3, 1.0, 1.4])
def test_a_jump_in_small_steps_is_a_jump(step: float) -> None:
    """As a filter between BMS and gateway makes it."""
    rig, shown = SocRig().run(400, 30_000.0), 56.0

    def sinking(_: float) -> float:
        nonlocal shown
        shown = max(shown - step, 0.0)
        return shown

    rig.run(9, 30_000.0, sinking)
    assert rig.state == "carried"
    assert rig.pct == pytest.approx(rig.soc_pct, abs=2.6)
    rig.run(60, 30_000.0, sinking)
    assert (rig.pct, rig.state) == (0.0, "alone")


def test_an_soc_that_sinks_faster_than_energy_explains_is_alone() -> None:
    rig, shown = SocRig().run(400, 30_000.0), 56.0

    def sinking(_: float) -> float:
        nonlocal shown
        shown -= 0.04
        return shown

    rig.run(60, 30_000.0, sinking)
    assert rig.state == "alone"
    assert rig.run(0.2, 30_000.0).pct == pytest.approx(rig.soc_pct)


@pytest.mark.parametrize("settled_s", [2, 400])
def test_an_soc_that_creeps_down_for_long_is_not_confirmed_by_the_little_energy_that_moved(settled_s: int) -> None:
    rig = SocRig().run(settled_s, 30_000.0)
    shown = rig.soc_pct

    def creeping(_: float) -> float:
        nonlocal shown
        shown = max(shown - 10 * TICK_S / 60, 0.0)
        return shown

    for seconds in (330, 600):  # in the end it stands at 0
        rig.run(seconds, 20_000.0, creeping)
        assert (rig.pct, rig.state) == (pytest.approx(shown), "alone")
        assert rig.battery.soc_counted_pct.value == pytest.approx(rig.soc_pct, abs=1)


def test_of_two_jumps_the_account_from_before_both_counts() -> None:
    rig = SocRig().run(400, 30_000.0).run(15, 30_000.0, 0.0).run(15, 30_000.0, 30.0)
    assert (rig.pct, rig.state) == (30.0, "alone")
    assert rig.battery.soc_counted_pct.value == pytest.approx(rig.soc_pct, abs=0.5)
    assert f"by energy it was {rig.soc_pct:.0f}." in rig.said[-1]


def test_reports_that_agree_with_nothing_become_missing() -> None:
    noise = cycle([0.0, 95.0, 20.0, 80.0])
    rig = SocRig().run(20).run(59, 0.0, lambda _: next(noise))
    assert rig.pct == pytest.approx(60)
    rig.run(5, 0.0, lambda _: next(noise))
    assert (rig.battery.soc_pct.quality, rig.state) == (Quality.MISSING, "rejected")
    assert rig.run(0.2).pct == 60.0


@pytest.mark.parametrize("reported", [100.0, 100.4, 101.0, 105.0, 110.0])
def test_up_to_110_is_full(reported: float) -> None:
    rig = SocRig(100.0).run(2, 0.0, reported)
    assert (rig.pct, rig.said) == (100.0, [])


@pytest.mark.parametrize("reported", [-0.1, 110.1, 655.35, float("nan"), float("inf")])
def test_what_is_no_soc_is_told_and_not_used(reported: float) -> None:
    rig = SocRig().run(20).run(2, 0.0, reported)
    assert rig.pct == pytest.approx(60)
    assert rig.said == [f"SoC {reported:.1f} % is outside 0 to 110 %"]
    assert SocRig().run(2, 0.0, reported).pct is None, "and before any other there is none"


def test_the_first_report_counts_only_with_a_second() -> None:
    rig = SocRig().run(0.2, 0.0, 0.0)
    assert (rig.pct, rig.state) == (0.0, "alone")
    rig.run(0.4)
    assert rig.pct == 60.0
    assert rig.run(2.0).run(1.0, 0.0, 0.0).pct == 60.0


# ── an SoC that stands still ────────────────────────────────────────────────────────────────────────────────────────


def test_an_soc_that_stands_still_is_counted_from_energy() -> None:
    rig = SocRig().run(10).run(60, 60_000.0, 60.0)
    assert (rig.pct, rig.state) == (60.0, "alone"), "1.8 points: a BMS may be late"
    rig.run(150, 60_000.0, 60.0)
    assert (rig.state, rig.battery.soc_high_pct.good, rig.battery.soc_reported_pct.good) == ("stands_still", 60, 60)
    assert rig.pct == pytest.approx(rig.soc_pct, abs=0.05)
    assert len(rig.said) == 1
    assert "SoC stands still at 60.0 % although 3" in rig.said[0]
    rig.run(600, 60_000.0, 60.0)
    assert rig.pct == pytest.approx(rig.soc_pct, abs=0.05)
    assert len(rig.said) == 1


def test_charging_goes_by_the_higher() -> None:
    rig = SocRig().run(10).run(300, -60_000.0, 60.0)
    assert (rig.pct, rig.state) == (60.0, "stands_still")
    assert rig.battery.soc_high_pct.good == pytest.approx(rig.soc_pct, abs=0.05)


@pytest.mark.parametrize("step", [0.1, 0.5, 1.0])
def test_an_soc_that_only_flickers_stands_still(step: float) -> None:
    flicker = cycle([60.0] * 7 + [60.0 + step] * 5)
    rig = SocRig().run(10).run(200, 60_000.0, lambda _: next(flicker))
    assert rig.state == "stands_still"
    assert rig.pct == pytest.approx(rig.soc_pct, abs=1.2)


def test_an_soc_that_creeps_stands_still() -> None:
    rig = SocRig().run(10).run(400, 60_000.0, lambda true_pct: 60 - 0.1 * (60 - true_pct))
    assert rig.state == "stands_still"
    assert rig.pct == pytest.approx(rig.soc_pct, abs=1.0)


def test_an_soc_that_goes_the_wrong_way_stands_still() -> None:
    rig = SocRig().run(10).run(400, 60_000.0, lambda true_pct: 60 + (60 - true_pct))
    assert rig.state == "stands_still"
    assert rig.pct == pytest.approx(rig.soc_pct, abs=1.0)


def test_it_ends_when_the_bms_says_what_energy_says() -> None:
    rig = SocRig().run(10).run(600, 60_000.0, 60.0).run(0.2, 60_000.0)
    assert rig.state == "reported"
    assert rig.pct == pytest.approx(rig.soc_pct)
    assert rig.said[-1].endswith("is what energy explains: the BMS is believed again")


def test_it_ends_when_the_soc_moves_with_the_energy() -> None:
    rig = SocRig().run(10).run(600, 60_000.0, 60.0)
    true_pct = rig.soc_pct
    rig.run(200, 60_000.0, lambda now_pct: 60 - (true_pct - now_pct))
    assert rig.state == "reported"
    assert rig.pct == pytest.approx(60 - (true_pct - rig.soc_pct))
    assert "follows the energy again" in rig.said[-1]


def test_one_wrong_report_does_not_end_it() -> None:
    rig = SocRig().run(10).run(600, 60_000.0, 60.0).run(0.2, 60_000.0, 80.0)
    assert rig.state == "carried"
    assert rig.pct == pytest.approx(rig.soc_pct, abs=0.1)
    assert rig.run(0.2, 60_000.0, 60.0).state == "stands_still"


def test_a_restart_goes_on_with_the_count_while_the_bms_says_the_same() -> None:
    rig = SocRig().run(10).run(600, 60_000.0, 60.0)
    again = rig.again().run(5, 60_000.0, 60.0)
    assert again.state == "stands_still"
    assert again.pct == pytest.approx(again.soc_pct, abs=0.1)
    assert rig.again().run(5, 60_000.0).state == "alone"
    assert SocRig().run(10).check.memory() == {}


def test_the_count_and_what_is_kept_survive_a_gateway_that_ends_before_its_first_reading() -> None:
    rig = SocRig()
    rig.check.restore({"bat1": SocMemory(60.0, 50.0), "gone": SocMemory(1.0, 2.0)})
    assert rig.check.memory() == {"bat1": SocMemory(60.0, 50.0)}
    assert rig.run(1, 0.0, 60.0).pct == pytest.approx(50)


# ── what a sound BMS does ───────────────────────────────────────────────────────────────────────────────────────────


def whole(pct: float) -> float:
    return float(round(pct))


@pytest.mark.parametrize("w", [-59_000.0, -5_000.0, 700.0, 5_000.0, 59_000.0])
@pytest.mark.parametrize("report", [whole, lambda pct: pct, lambda pct: 2 * whole(pct / 2)], ids=["1", "all", "2"])
def test_coarse_reports_raise_nothing(w: float, report: object) -> None:
    rig = SocRig(50.0).run(5, w, report)  # type: ignore[arg-type]
    rig.run(1_500, w, report)  # type: ignore[arg-type]
    assert rig.said == []


def test_a_bms_that_reports_once_a_minute_raises_nothing() -> None:
    rig, shown = SocRig(90.0), 90.0

    def late(true_pct: float) -> float:
        nonlocal shown
        if round(rig.t_s / TICK_S) % 300 == 0:
            shown = true_pct
        return shown

    rig.run(1_200, 60_000.0, late).run(600, -60_000.0, late)
    assert rig.said == []


def test_standby_for_days_moves_nothing() -> None:
    """300 W that the PCS reports while the battery is disconnected: 0.5 % of its rating."""
    rig = SocRig()
    rig.run(5)
    for _ in range(3 * 24 * 60):
        rig.run(TICK_S, 300.0, 60.0)
        rig.t_s += 4.8
    assert rig.said == []


def test_resting_at_100_pct_while_its_own_count_is_above_raises_nothing() -> None:
    rig = SocRig(100.0).run(10, 0.0, 100.0)
    rig.run(600, 30_000.0, lambda true_pct: min(true_pct + 5, 100.0))
    assert (rig.said, rig.state) == ([], "alone")


def test_resting_at_99_pct_while_the_cells_are_balanced_raises_nothing() -> None:
    rig = SocRig(94.0).run(300, -30_000.0).run(1_800, -6_000.0, lambda true_pct: min(true_pct, 96.5))
    assert rig.said == []


@pytest.mark.parametrize("health", [0.4, 0.6, 1.1])
def test_an_aged_battery_raises_nothing(health: float) -> None:
    rig = SocRig(90.0).run(5, 0.0, 90.0).run(1_500, 40_000.0, lambda true_pct: 90 - (90 - true_pct) / health)
    assert rig.said == []


def test_a_pcs_that_was_silent_explains_what_may_have_moved() -> None:
    rig = SocRig().run(10).run(120, None, None)
    rig.soc_pct -= 3.5
    rig.run(5)
    assert rig.said == []
    assert rig.pct == pytest.approx(rig.soc_pct)


def test_each_battery_is_judged_on_its_own() -> None:
    from small_site import a_battery, a_pcs, a_snapshot, site_config

    from dispatch.config.schema import BatteryConfig, PcsRatings
    from dispatch.plausibility.soc import SocCheck

    batteries = tuple(BatteryConfig(id=f"bat{n}", energy_kwh=100) for n in (1, 2))
    pcs = tuple(PcsRatings(id=f"pcs{n}", battery=f"bat{n}", charge_w=60_000, discharge_w=60_000) for n in (1, 2))
    check = SocCheck(site_config(batteries=batteries, pcs=pcs))
    replace = msgspec.structs.replace
    for n in range(100):
        second = 80.0 if n < 50 else 10.0
        found = (a_battery(60.0), replace(a_battery(second), id="bat2"))
        seen = check.check(a_snapshot(0.2 * n, 0.0, (a_pcs(0.0), replace(a_pcs(0.0), id="pcs2")), found))
    assert [(b.soc_pct.good, b.soc_state) for b in seen] == [(60.0, "alone"), (80.0, "carried")]


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(st.sampled_from([-60_000.0, -9_000.0, 0.0, 4_000.0, 60_000.0]), st.floats(5, 40)),
        min_size=2,
        max_size=4,
    ),
    st.floats(20, 80),
    st.sampled_from([lambda pct: pct, whole]),
    st.floats(-20, 130),
    st.floats(0, 1),
    st.floats(0.2, 9.6),
)
def test_no_report_of_less_than_ten_seconds_moves_what_is_reckoned_with(
    spells: list[tuple[float, float]], soc_pct: float, report: object, wrong: float, where: float, seconds: float
) -> None:
    """Whatever the battery does: no further from the truth than the report's own resolution and the slack."""
    clean = SocRig(soc_pct).run(4, 0.0, report)  # type: ignore[arg-type]
    for w, for_s in spells:
        clean.run(for_s, w, report)  # type: ignore[arg-type]
    assert clean.said == []
    rig = SocRig(soc_pct).run(4, 0.0, report)  # type: ignore[arg-type]
    hit = int(where * (len(spells) - 1))
    for n, (w, for_s) in enumerate(spells):
        if n == hit:
            rig.run(seconds, w, wrong)
            assert rig.pct == pytest.approx(rig.soc_pct, abs=2.1)
        rig.run(for_s, w, report)  # type: ignore[arg-type]
        assert rig.pct == pytest.approx(rig.soc_pct, abs=1.1)
    assert not any("recalibration" in text for text in rig.said)


def test_a_count_that_is_read_late_goes_on_if_the_report_still_stands_there() -> None:
    rig = SocRig(60.0).run(60, 0.0, lambda _: 70.0)
    assert rig.state != "stands_still"
    rig.check.recover({"bat1": SocMemory(70.0, 60.0)})
    rig.run(1, 0.0, lambda _: 70.0)
    assert (rig.state, rig.battery.soc_pct.good) == ("stands_still", pytest.approx(60.0, abs=0.2))
    other = SocRig(60.0).run(60, 0.0)
    other.check.recover({"bat1": SocMemory(70.0, 55.0)})
    assert other.run(1, 0.0).state != "stands_still", "the report is another one by now"
