"""Quarter-hour means of what a meter says, weighted by time, honest about gaps."""

from __future__ import annotations

import pytest

from gateway.quarter_mean import QuarterMean


def means(samples: list[tuple[float, float | None]]) -> list[tuple[int, float]]:
    """What a QuarterMean gives for these samples."""
    given: list[tuple[int, float]] = []

    def observe(start_s: int, w: float, _latest_w: float | None) -> bool:
        given.append((start_s, w))
        return True

    mean = QuarterMean(observe)
    for utc_s, w in samples:
        mean.add(utc_s, w)
    return given


def test_mean_is_weighted_by_time() -> None:
    """Ten minutes at 10 kW, five at 40 kW: 20 kW, given when the quarter is over."""
    samples = [(float(t), 10_000.0 if t <= 600 else 40_000.0) for t in range(0, 901, 10)]
    ((start_s, w),) = means(samples)
    assert start_s == 0
    assert w == pytest.approx(20_000, rel=0.02)


def test_a_quarter_hardly_seen_is_not_given() -> None:
    """Six of fifteen minutes known: no mean, rather than a wrong one."""
    assert means([(float(t), 10_000.0 if t <= 360 else None) for t in range(0, 901, 10)]) == []


def test_clock_stepping_back_does_not_add_energy() -> None:
    """An hour back in the middle: the quarter begins anew, nothing negative, nothing counted twice."""
    samples = [(7200.0 + t, 5_000.0) for t in range(0, 300, 10)] + [(3600.0 + t, 5_000.0) for t in range(0, 901, 10)]
    assert means(samples) == [(3600, pytest.approx(5_000))]


def test_where_the_quarter_left_the_load() -> None:
    """The mean of its last five minutes; not given where most of them were not seen."""
    given: list[float | None] = []
    for unknown_s in (0, 200):
        mean = QuarterMean(lambda _start_s, _w, latest_w: given.append(latest_w) is None)
        for t in range(0, 901, 10):
            w = 10_000.0 if t <= 600 else 40_000.0
            mean.add(float(t), None if 600 < t <= 600 + unknown_s else w)
    assert given == [pytest.approx(40_000, rel=0.02), None]
