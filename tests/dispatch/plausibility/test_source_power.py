"""A step of a source's power against the balance of the meters."""

from __future__ import annotations

from dispatch.model.readings import Quality, Reading
from dispatch.plausibility.source_power import BusNow, SourceCheck

STEP_W = 2_000.0


def after(check: SourceCheck, w: float, outlet_w: float, start_s: float, ticks: int) -> float:
    """Feed samples of a second each, all different; the time after the last."""
    for n in range(ticks):
        bus = BusNow(start_s + n, outlet_w, exact=True)
        check.check(Reading(w + n % 2, 0.0, Quality.GOOD), (w, n), None, STEP_W, bus, None)
    return start_s + ticks


def test_a_step_that_the_balance_shows_is_believed_though_a_meter_stood_still_before() -> None:
    """The grid meter stood still until the site left the grid: the balance of before says nothing of the step."""
    check = SourceCheck("pcs1", 1.0)
    now_s = after(check, -4_200.0, 20_000.0, 0.0, 10)
    after(check, 27_600.0, 27_600.0, now_s, 2)
    assert check.power.value is not None
    assert abs(check.power.value - 27_600.0) < 10.0
    assert not check.power.doubted


def test_a_step_that_the_balance_does_not_show_is_not_believed() -> None:
    check = SourceCheck("pcs1", 1.0)
    now_s = after(check, -4_200.0, -4_200.0, 0.0, 10)
    after(check, 27_600.0, -4_200.0, now_s, 120)
    assert check.power.doubted
    assert check.power.value is not None
    assert abs(check.power.value + 4_200.0) < 10.0
