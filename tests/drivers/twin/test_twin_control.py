"""Reversion timer, heartbeat and the three personalities, without wires."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.twin.control import ActivePowerControl, Personality, whole_seconds


def control_of(personality: Personality = "compliant") -> ActivePowerControl:
    return ActivePowerControl(60_000, personality, heartbeat_timeout_s=10)


def test_reverts_at_the_timeout_to_the_reversion_values() -> None:
    control = control_of()
    control.revert_w, control.revert_enabled = -5_000, True
    control.set_timeout(60)
    control.setpoint_w = 20_000
    control.enable(True)
    control.step(59.9)
    assert (control.wanted_w, whole_seconds(control.remaining_s)) == (20_000, 1)
    control.step(60.0)
    assert (control.wanted_w, control.remaining_s, control.reversions) == (-5_000, 0, 1)


@given(st.lists(st.floats(0.1, 59.9), min_size=1, max_size=20))
def test_rewriting_the_timer_extends_it(pauses: list[float]) -> None:
    control, now_s = control_of(), 0.0
    control.set_timeout(60)
    control.setpoint_w = 20_000
    control.enable(True)
    for pause_s in pauses:
        now_s += pause_s
        control.step(now_s)
        control.set_timeout(60)
        assert control.remaining_s == pytest.approx(60)
    control.step(now_s + 59.99)
    assert control.enabled
    control.step(now_s + 60.01)
    assert not control.enabled


def test_enabling_again_does_not_extend_and_zero_cancels() -> None:
    control = control_of()
    control.set_timeout(60)
    control.enable(True)
    control.step(40)
    control.enable(True)
    assert control.remaining_s == pytest.approx(20)
    control.set_timeout(0)
    control.step(1000)
    assert control.enabled


def test_cosmetic_timer_counts_down_and_nothing_reverts() -> None:
    control = control_of("cosmetic-revert")
    control.set_timeout(60)
    control.setpoint_w = 20_000
    control.enable(True)
    control.step(45)
    assert whole_seconds(control.remaining_s) == 15
    control.step(500)
    assert (control.wanted_w, control.remaining_s, control.reversions) == (20_000, 0, 0)


@pytest.mark.parametrize(("personality", "reverts"), [("compliant", True), ("deaf-heartbeat", False)])
def test_heartbeat_counts_once_it_moved(personality: Personality, reverts: bool) -> None:
    control = control_of(personality)
    control.setpoint_w = 20_000
    control.enable(True)
    control.step(100)
    assert control.enabled, "a controller that never beat is not missed"
    control.write_heartbeat(1)
    control.step(109)
    control.write_heartbeat(2)
    control.step(118)
    assert control.enabled
    control.write_heartbeat(2)  # the same number again is no heartbeat
    control.step(119.5)
    assert control.enabled is not reverts


def test_percent_of_rating() -> None:
    control = control_of()
    control.in_watts, control.setpoint_pct = False, -25.0
    control.enable(True)
    assert control.wanted_w == -15_000
