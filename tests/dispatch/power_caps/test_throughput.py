"""Throughput against power: what a cap costs, how deep a tier lets it go, which curves are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatch.power_caps.throughput import DEFAULT, Curve, fault


def test_a_cap_above_what_is_drawn_costs_nothing() -> None:
    assert DEFAULT.slowdown(400.0, 300.0) == 0.0
    assert DEFAULT.slowdown(300.0, 300.0) == 0.0
    assert DEFAULT.slowdown(300.0, 0.0) == 0.0


def test_the_default_curve_says_what_was_measured() -> None:
    """Zeus' traces: at 70 % of its power the middle training keeps 89 % of its throughput, one of ten 85 % or less."""
    assert DEFAULT.slowdown(280.0, 400.0) == pytest.approx(0.11)
    assert DEFAULT.slowdown(280.0, 400.0, careful=True) == pytest.approx(0.149)
    assert DEFAULT.slowdown(260.0, 400.0) == pytest.approx(0.165), "half way between two points"
    assert DEFAULT.slowdown(100.0, 400.0) == pytest.approx(0.70), "below the curve: on the line to nothing"
    assert DEFAULT.slowdown(-5.0, 400.0) == 1.0
    assert (DEFAULT.basis, DEFAULT.jobs, fault(DEFAULT.points), fault(DEFAULT.low)) == ("curve", 65, "", "")


@pytest.mark.parametrize(("tolerated", "share"), [(0.0, 1.0), (0.10, 0.77), (0.25, 0.6327), (0.50, 0.5)])
def test_how_deep_a_tier_lets_a_cap_go(tolerated: float, share: float) -> None:
    assert DEFAULT.lowest_share(tolerated) == pytest.approx(share, abs=1e-4)


def test_a_sites_own_curve_has_no_spread() -> None:
    own = Curve(((0.6, 0.9), (1.0, 1.0)))
    assert own.slowdown(80.0, 100.0) == own.slowdown(80.0, 100.0, careful=True) == pytest.approx(0.05)
    assert own.lowest_share(0.05) == pytest.approx(0.8)
    assert own.lowest_share(0.5) == 0.6, "nothing is known below"


@given(st.floats(0, 500), st.floats(0, 500), st.floats(1, 500), st.sampled_from([0.0, 0.1, 0.25, 0.5]))
def test_a_deeper_cap_never_costs_less_and_a_tier_is_kept(a_w: float, b_w: float, w: float, tolerated: float) -> None:
    low_w, high_w = sorted((a_w, b_w))
    assert 0 <= DEFAULT.slowdown(high_w, w) <= DEFAULT.slowdown(low_w, w) <= 1
    assert DEFAULT.slowdown(low_w, w) <= DEFAULT.slowdown(low_w, w, careful=True) + 1e-9
    assert DEFAULT.slowdown(DEFAULT.lowest_share(tolerated) * w, w, careful=True) <= tolerated + 1e-6


@pytest.mark.parametrize(
    ("points", "said"),
    [
        (((1.0, 1.0),), "at least two"),
        (((0.5, 0.6), (0.9, 1.0)), "the last point must be"),
        (((0.0, 0.5), (1.0, 1.0)), "above 0"),
        (((0.6, 0.8), (0.5, 0.7), (1.0, 1.0)), "must rise"),
        (((0.5, 0.9), (0.9, 0.92), (1.0, 1.0)), "bend the other way"),
    ],
)
def test_a_curve_that_cannot_be_is_refused(points: tuple[tuple[float, float], ...], said: str) -> None:
    assert said in fault(points)
