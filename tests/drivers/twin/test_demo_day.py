"""The demo day in lock-step: no plan tightens the running interval, the ramp gives way to true peaks only."""

from __future__ import annotations

import os
from collections import deque
from datetime import UTC, datetime

import pytest
from demo_day import DemoDay

from dispatch.model.reasons import RuleId
from dispatch.wording.catalogue import words
from dispatch.wording.formatting import kw

pytestmark = pytest.mark.usefixtures("claims_judged")

CALM_S = 5  # so long after a step of load or PV meter delay and PCS lag have passed
TOLERANCE_W = 300.0  # load flickers by as much, and the deadband is the ramp's own
BEFORE_RAMP = (RuleId.FUSE, RuleId.RESERVE, RuleId.INTERVAL_BUDGET, RuleId.DEVICE_LIMITS)


def at(hour: int, minute: int, second: int) -> float:
    """A time of the demo's day, by the site's clock."""
    return datetime(2025, 9, 18, hour - 2, minute, second, tzinfo=UTC).timestamp()


def test_a_plan_made_25_s_before_the_interval_s_end_swings_nothing() -> None:
    """A new plan at 15:29:35 lowered its target below what was spent: 27 kW of battery, ramp broken, false alarm."""
    day = DemoDay(step_s=0.5)
    day.run_until(at(15, 29, 34))
    before_w, plan = day.decision.battery_w if day.decision else None, day.plan
    assert before_w is not None
    while day.clock.utc_s() < at(15, 30, 0) - 0.6:
        decision = day.step()
        assert decision.battery_w is not None
        assert abs(decision.battery_w - before_w) < 3_000
        assert "peak-exceeded" not in {e.subject for e in day.events}
        interval = day.controller.interval
        assert interval.limit_w >= interval.energy_wh * 3600 / interval.length_s
    assert day.plan is not plan
    assert day.plan is not None
    assert day.plan.peak_target_w >= day.controller.interval.energy_wh * 4 - 250


END = at(16, 31, 0) if os.environ.get("SKERRY_SOAK") else at(16, 1, 0)


@pytest.mark.soak
def test_the_ramp_gives_way_to_true_peaks_only_and_so_does_the_alarm() -> None:
    """Two metering intervals with all their pulses, four at length; import as the meter's own register counts it."""
    day = DemoDay(step_s=1.0)
    calm: deque[tuple[float, float]] = deque(maxlen=CALM_S)
    start, begun_wh, steepest = 0.0, 0.0, 0.0
    while day.clock.utc_s() < END:
        decision, interval = day.step(), day.controller.interval
        register_wh = day.snapshot.grid.import_wh.good or 0.0
        if interval.start_utc_s != start:
            start, begun_wh = interval.start_utc_s, register_wh
        mean_w = (register_wh - begun_wh) * 3600 / interval.length_s
        if any(e.subject == "peak-exceeded" and e.severity != "info" for e in day.events):
            assert mean_w > min(day.site.grid.contracted_peak_w, day.controller.month_peak_w) - TOLERANCE_W
        ramp = next(t for t in decision.chain if t.rule is RuleId.GRID_RAMP)
        if ramp.unmet:
            assert any(rule.value in words(ramp.reason) for rule in BEFORE_RAMP), words(ramp.reason)
            budget = next(words(t.reason) for t in decision.chain if t.rule is RuleId.INTERVAL_BUDGET)
            assert "contracted peak 34.0 kW" in budget or f"month's peak {kw(day.controller.month_peak_w)}" in budget
            calm.clear()
        calm.append((day.twin.load_w - sum(p.w for p in day.twin.pv), day.twin.grid_w))
        if len(calm) == calm.maxlen and max(w for w, _ in calm) - min(w for w, _ in calm) < 1_500:
            steepest = max(steepest, abs(calm[-1][1] - calm[-2][1]))
    assert 100 < steepest < day.site.grid.ramp_w_per_s + 2 * TOLERANCE_W
