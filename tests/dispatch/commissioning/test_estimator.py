"""Estimates of a proof: near the truth of simulated devices, ranges that hold it, and names for wrong meters."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from proven_pcs import PROOF, about

from benchmarks import prove
from dispatch.commissioning.diagnosis import meter_fault
from dispatch.commissioning.estimator import estimate
from dispatch.commissioning.recording import Recording, TooLittle
from dispatch.commissioning.verdict import fault


@settings(max_examples=2, deadline=None)
@given(st.integers(0, 10_000))
def test_ranges_hold_the_truth_and_estimates_are_near_it(seed: int) -> None:
    truth = prove.drawn(random.Random(seed))
    for name, (true, found) in prove.judged(truth, seed).items():
        assert found.low <= true <= found.high, (name, truth)
        if name in prove.TIMES and truth.noise_w <= 0.005 * prove.RATED_W:
            assert abs(found.value - true) <= prove.goal_s(name, true, truth), (name, truth)


PULSES = prove.Truth(
    dead_s=1.46,
    lag_s=0.0523,
    ramp_w_per_s=76_229.0,
    meter_delay_s=1.434,
    poll_s=0.5,
    refresh_s=1.0,
    noise_w=0.0,
    gain=0.955,
    meter_gain=-1.0,
    meter_refresh_s=1.0,
    memory=0.97,
    pulse_w=3_600.0,
    pulse_s=40.0,
)


def test_the_range_of_the_meters_gain_knows_of_a_load_that_moves_during_the_steps() -> None:
    """Steps of the load that no noise before them has shown, and that the procedure lets pass."""
    true, found = prove.judged(PULSES, 67)["meter gain"]
    assert found.low <= true <= found.high
    assert found.high - found.low > 0.1, "and it says so"
    calm = prove.judged(PULSES._replace(pulse_w=0.0), 67)["meter gain"][1]
    assert calm.high - calm.low < 0.06


def test_a_meter_that_renews_its_values_seldom_is_late_by_half_of_that() -> None:
    slow = prove.Truth(0.1, 0.3, 100_000.0, 0.2, poll_s=0.2, refresh_s=0.0, noise_w=0.0, meter_refresh_s=1.0)
    found = estimate(prove.record(slow, 3), 0.0, 1.0).meter_delay_s
    assert abs(found.value - 0.7) < 0.3
    assert found.low <= 0.2, "it may be this early,"
    assert found.high >= 1.2, "and this late"


def test_figures_that_do_not_pass_are_named() -> None:
    right = PROOF.response
    assert fault(right) is None
    found = fault(msgspec.structs.replace(right, pcs_gain=about(1.2, 0.02)))
    assert found is not None
    assert found.code == "prove.pcs_gain_off"
    found = fault(msgspec.structs.replace(right, meter_gain=about(0.8, 0.02), phase_gains=()))
    assert found is not None
    assert found.code == "prove.meter_gain_off"


def test_a_recording_without_steps_or_readings_says_what_is_missing() -> None:
    with pytest.raises(TooLittle, match="0 steps and 0 readings"):
        estimate(Recording())


@pytest.mark.parametrize(
    ("total", "phases", "code", "names"),
    [
        (1.0, (1.0, 1.0, 1.0), "prove.meter_right", None),
        (1 / 3, (1.0, 1.0, -1.0), "prove.cts_reversed_on", "L3"),
        (-1 / 3, (-1.0, 1.0, -1.0), "prove.cts_reversed_on", "L1, L3"),
        (-1.0, (-1.0, -1.0, -1.0), "prove.meter_reversed", None),
        (0.0, (1.0, -0.5, -0.5), "prove.phases_swapped", "L2, L3"),
        (-0.5, (-0.5, -0.5, -0.5), "prove.phases_rotated", None),
        (0.83, (1.0, 0.5, 1.0), "prove.ct_ratio_on", "L2"),
        (1.0, (3.0, 0.0, 0.0), "prove.single_phase", "L1"),
        (0.5, (0.5, 0.5, 0.5), "prove.ct_ratio", None),
        (1 / 3, (), "prove.one_ct_reversed", None),
        (-1 / 3, (), "prove.two_cts_reversed", None),
        (-1.0, (), "prove.meter_reversed", None),
        (0.02, (), "prove.meter_blind", None),
        (-0.5, (), "prove.phases_rotated", None),
        (4.0, (), "prove.ct_ratio", None),
    ],
)
def test_the_likely_cause_of_a_wrong_gain(total: float, phases: Any, code: str, names: str | None) -> None:
    found = meter_fault(total, phases)
    assert (found.code, found.figures.get("phases")) == (code, names)
