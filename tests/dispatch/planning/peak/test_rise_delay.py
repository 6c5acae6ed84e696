"""A rise of the month's peak that one plan allows is taken only when the plans of an hour allow it."""

from dispatch.planning.peak.rise_delay import DELAY_S, RiseDelay

T0, QUARTER_S = 1_750_000_000.0, 900.0


def test_a_rise_waits_for_an_hour_of_plans_that_allow_it() -> None:
    delay = RiseDelay()
    allowed = [50_000.0, 60_000.0, 50_000.0, 58_000.0, 59_000.0, 60_000.0, 60_000.0]
    assert [delay.lowest_w(T0 + QUARTER_S * k, w) for k, w in enumerate(allowed)] == [
        50_000.0, 50_000.0, 50_000.0, 50_000.0, 50_000.0, 50_000.0, 58_000.0
    ]  # fmt: skip


def test_a_lower_target_holds_at_once_and_the_first_one_too() -> None:
    delay = RiseDelay()
    assert delay.lowest_w(T0, 60_000.0) == 60_000.0
    assert delay.lowest_w(T0 + QUARTER_S, 52_000.0) == 52_000.0


def test_after_a_gap_or_a_clock_that_was_set_back_nothing_is_remembered() -> None:
    delay = RiseDelay()
    delay.lowest_w(T0, 50_000.0)
    assert delay.lowest_w(T0 + DELAY_S, 60_000.0) == 60_000.0
    assert delay.lowest_w(T0, 61_000.0) == 61_000.0
