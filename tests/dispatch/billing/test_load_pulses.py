"""Load pulses."""

from __future__ import annotations

from collections.abc import Callable

from dispatch.billing.load_pulses import LoadPulses


def play(
    load_w: Callable[[float], float], seconds: float, peak_w: float = 30_000
) -> tuple[LoadPulses, list[float | None]]:
    pulses, since = LoadPulses(peak_w), []
    for n in range(round(seconds * 5)):
        pulses.update(1_000 + n / 5, n / 5, load_w(n / 5))
        since.append(pulses.since_utc_s)
    return pulses, since


def test_a_pulse_begins_and_ends() -> None:
    pulses, since = play(lambda t: 40_000 if 30 <= t < 90 else 10_000, 120)
    assert pulses.seen == 1
    assert since[30 * 5] == 1_030
    assert since[89 * 5] == 1_030
    assert since[91 * 5] is None


def test_a_rise_below_the_threshold_is_none() -> None:
    assert play(lambda t: 12_900 if t > 30 else 10_000, 90)[0].seen == 0
    assert play(lambda t: 19_000 if t > 30 else 10_000, 90, peak_w=100_000)[0].seen == 0


def test_a_slow_rise_is_none() -> None:
    assert play(lambda t: 10_000 + 20 * t, 600)[0].seen == 0


def test_a_train_of_pulses_is_counted_one_by_one() -> None:
    assert play(lambda t: 40_000 if t % 60 >= 30 else 10_000, 300)[0].seen == 5


def test_what_lasts_for_long_becomes_the_new_normal() -> None:
    pulses, since = play(lambda t: 40_000 if t >= 30 else 10_000, 3_600)
    assert pulses.seen == 1
    assert since[-1] is None
