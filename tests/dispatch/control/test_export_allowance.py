"""What may be exported so that the mean over every window keeps the limit."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatch.config.schema import GridConfig
from dispatch.control.export_allowance import PARTS, ExportAllowance

LIMIT_W = 10_000.0


def allowance(window_s: int, margin_w: float = 0.0) -> ExportAllowance:
    return ExportAllowance(
        GridConfig(
            fuse_a=160,
            contracted_peak_w=30_000,
            export_limit_w=LIMIT_W,
            export_window_s=window_s,  # type: ignore[arg-type]
            export_margin_w=margin_w,
        )
    )


def test_without_a_window_it_is_the_limit_less_the_margin() -> None:
    exports = allowance(0, margin_w=700)
    assert [exports.update(t_s, 20_000) for t_s in (0.0, 0.2, 60.0)] == [9_300] * 3


def test_what_was_not_exported_may_be_and_what_was_not_measured_earns_nothing() -> None:
    exports = allowance(60)
    assert exports.update(0, None) == LIMIT_W
    for tick in range(300):
        allowed_w = exports.update(0.2 * tick, None if tick < 150 else 0.0)
    assert LIMIT_W < allowed_w <= 2 * LIMIT_W
    for tick in range(300, 450):
        allowed_w = exports.update(0.2 * tick, None)
    assert allowed_w == pytest.approx(LIMIT_W, rel=0.2)


@settings(max_examples=15)
@given(wanted=st.lists(st.sampled_from([0.0, 2_000.0, 9_000.0, 15_000.0, 60_000.0]), min_size=2, max_size=12))
def test_every_window_keeps_the_limit_if_what_is_allowed_is_kept(wanted: list[float]) -> None:
    """Wanted export in stretches of 17 s; what flows is what is allowed of it."""
    exports, tick_s = allowance(60), 0.5
    flows, allowed_w = [], LIMIT_W
    for tick in range(34 * len(wanted)):
        flows.append(min(wanted[tick // 34], allowed_w))
        allowed_w = exports.update(tick_s * (tick + 1), flows[-1])
    sums = [0.0, *itertools.accumulate(flows)]
    n = round(60 / tick_s)
    means = [(b - a) / n for a, b in zip(sums, sums[n:], strict=False)]
    assert all(mean <= LIMIT_W * (1 + 2 / PARTS) for mean in means), max(means)
