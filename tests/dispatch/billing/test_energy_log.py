"""The energy of each second, kept for a day: what any two instants have between them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatch.billing.energy_log import DROPPED_S, KEPT_S, EnergyLog


@given(
    gaps=st.lists(st.floats(0.05, 4.9), min_size=2, max_size=60),
    powers=st.lists(st.floats(0, 1e5), min_size=61, max_size=61),
    begin_s=st.floats(0, 1e6),
    cuts=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
@settings(max_examples=60)
def test_parts_add_up_to_the_whole_which_is_the_integral(
    gaps: list[float], powers: list[float], begin_s: float, cuts: tuple[float, float]
) -> None:
    log, at_s, whole_ws = EnergyLog(), begin_s, 0.0
    log.read(at_s, powers[0])
    for gap_s, before_w, w in zip(gaps, powers, powers[1:], strict=False):
        at_s += gap_s
        log.read(at_s, w)
        whole_ws += gap_s * (before_w + w) / 2
    ws, known_s = log.measured(begin_s, at_s)
    assert ws == pytest.approx(whole_ws, rel=1e-6, abs=1e-3)
    assert known_s == pytest.approx(at_s - begin_s, abs=1e-3)
    a, b = sorted(begin_s + cut * (at_s - begin_s) for cut in cuts)
    parts = [log.measured(x, y) for x, y in ((begin_s, a), (a, b), (b, at_s + 1))]
    assert sum(part[0] for part in parts) == pytest.approx(whole_ws, rel=1e-6, abs=1e-2)
    for part_ws, part_s in parts:
        assert part_ws >= 0
        assert part_s >= 0


def test_holes_are_not_measured_and_one_rejected_sample_is_bridged() -> None:
    log = EnergyLog()
    for at_s, w in ((0.0, 100.0), (1.0, None), (2.0, 300.0), (9.0, 300.0), (10.0, None), (13.0, 300.0), (14.0, 300.0)):
        log.read(at_s, w)
    assert log.measured(0, 20) == (pytest.approx(2 * 200 + 300), pytest.approx(3.0))
    log.forget_since(13.0)
    assert log.measured(0, 20) == (pytest.approx(400), pytest.approx(2.0))


def test_a_day_is_kept_and_a_silence_of_days_takes_no_memory() -> None:
    log = EnergyLog()
    for n in range(0, KEPT_S + DROPPED_S + 100, 4):
        log.read(float(n), 1_000.0)
    assert log.drop_old(float(n))
    assert not log.drop_old(float(n))
    assert n - KEPT_S - 1 <= log.begin_s <= n - KEPT_S
    assert log.dropped_ws == pytest.approx(1_000 * log.begin_s, rel=1e-3)
    assert log.measured(0, 1e9)[1] == pytest.approx(n - log.begin_s)
    log.read(1e9, 1_000.0)
    log.read(1e9 + 1, 1_000.0)
    assert log.measured(0, 2e9) == (pytest.approx(1_000), pytest.approx(1))
    assert log.dropped_ws == pytest.approx(1_000 * n)
