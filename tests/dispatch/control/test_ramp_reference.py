"""The reference of the grid ramp: kept through one wrong limit, given up where the battery cannot hold it."""

from __future__ import annotations

from small_site import site_config

from dispatch.control.ramp_reference import KEPT_S, GridRamp
from dispatch.control.rules.situation import Ramp

CONFIG = site_config(ramp_w_per_s=500.0)
TICK_S = 0.2


def followed(ramp: GridRamp, start_s: float, seconds: float, net_w: float, battery_w: float) -> Ramp:
    """The reference after ticks in which the battery gave this."""
    for n in range(round(seconds / TICK_S)):
        mono_s = start_s + n * TICK_S
        ramp.follow(mono_s, ramp.reference(mono_s, net_w, battery_w), net_w, battery_w)
    found = ramp.reference(start_s + seconds, net_w, battery_w)
    assert found is not None
    return found


def test_it_moves_no_faster_than_the_limit() -> None:
    ramp = GridRamp(CONFIG, 0.0)
    followed(ramp, 0.0, 1.0, 20_000, 0.0)
    found = followed(ramp, 1.0, TICK_S, 40_000, 19_900)
    assert 20_000 <= found.import_w <= 20_000 + 500 * TICK_S


def test_one_sample_without_the_battery_leaves_the_reference() -> None:
    """Found: a limit that read 0 W once ended the ramp; the load's step of 20 kW was then left to the grid."""
    ramp = GridRamp(CONFIG, 0.0)
    followed(ramp, 0.0, 1.0, 20_000, 0.0)
    followed(ramp, 1.0, TICK_S, 40_000, 19_900)
    found = followed(ramp, 1.0 + TICK_S, TICK_S, 40_000, 0.0)
    assert found.import_w < 20_500


def test_a_battery_that_cannot_hold_it_gives_the_ramp_up() -> None:
    ramp = GridRamp(CONFIG, 0.0)
    followed(ramp, 0.0, 1.0, 20_000, 0.0)
    found = followed(ramp, 1.0, KEPT_S + 2 * TICK_S, 40_000, 0.0)
    assert found.import_w == 40_000


def test_long_steps_give_it_up_at_once() -> None:
    ramp = GridRamp(CONFIG, 60.0)
    ramp.follow(0.0, ramp.reference(0.0, 20_000, 0.0), 20_000, 0.0)
    ramp.follow(60.0, ramp.reference(60.0, 90_000, 0.0), 90_000, 0.0)
    found = ramp.reference(120.0, 90_000, 0.0)
    assert found is not None
    assert found.import_w == 90_000


def test_ticks_that_are_far_apart_do_not_hold_the_battery_for_good() -> None:
    """Found: with ticks of 4 s, of a simulated site at speed 4, the reference gave no step, and it never moved."""
    ramp, battery_w = GridRamp(CONFIG, 0.0), 0.0
    for n in range(20):
        found = ramp.reference(4.0 * n, 20_000, battery_w)
        assert found is not None
        assert found.step_w <= 500 * 2
        battery_w = min(20_000 - (found.import_w - found.step_w), 9_000)
        ramp.follow(4.0 * n, found, 20_000, battery_w)
    assert battery_w == 9_000


def test_forgotten_it_starts_from_where_import_is() -> None:
    ramp = GridRamp(CONFIG, 0.0)
    followed(ramp, 0.0, 1.0, 20_000, 0.0)
    ramp.forget()
    assert ramp.reference(1.0, 50_000, 5_000) == Ramp(45_000, 0.0)
