"""The demo's days in lock-step: memory and files stay as they are, and no alarm comes without a cause.

A minute and a half of the site's time in `make test`; `make soak-lockstep HOURS=24` at length.
"""

from __future__ import annotations

import gc
import os
from pathlib import Path

import psutil
import pytest
from demo_day import SITES, DemoDay

from benchmarks.reliability import tell
from dispatch.model.plan import NEAR_W
from gateway.site.loader import load

HOURS = float(os.environ.get("SKERRY_SOAK_HOURS", "0.025"))
STEP_S = 1.0
LEAST_KEPT_PCT = 95.0  # of metering intervals within the contract, and of the plans' steps
SETTLED = 0.1  # of the time, after which memory is compared
MOST_MB_PER_H = 2.0
NOISE_MB = 4.0  # what an allocator keeps: in a short run it would count for much


def rss_mb() -> float:
    """Of this process."""
    gc.collect()
    return psutil.Process().memory_info().rss / 1e6


def files() -> int:
    """Open in this process."""
    return len(list(Path("/proc/self/fd").iterdir()))


def explained(alarm: str, day: DemoDay) -> bool:
    """Whether the site is as the alarm says, by what is measured beside it."""
    interval = day.controller.interval
    return alarm == "peak-exceeded" and interval.energy_wh * 3600 > interval.limit_w * interval.length_s


class Contract:
    """Which whole metering intervals were within the contract by the meter's own register, and which planned steps."""

    def __init__(self, day: DemoDay) -> None:
        self.day, self.limit_w = day, day.site.grid.contracted_peak_w + NEAR_W
        self.kept: list[bool] = []
        self.planned: list[bool] = []
        self._start_s, self._start_wh = 0.0, 0.0  # of the interval, and what the register said then
        self._intervals = 0  # begun, or in which looking began

    def look(self) -> None:
        """Once a tick."""
        length_s = self.day.site.grid.metering_interval_s
        start_s = self.day.clock.utc_s() // length_s * length_s
        if start_s != self._start_s:
            self._next(start_s, length_s)

    def _next(self, start_s: float, length_s: float) -> None:
        meter = next(m for m in self.day.twin.meters if m.role == "grid")
        now_wh = meter.reading.import_wh
        if self._intervals > 1:  # of the first the begin was not seen
            self.kept.append((now_wh - self._start_wh) * 3600 / length_s <= self.limit_w)
        self._start_s, self._start_wh = start_s, now_wh
        self._intervals += 1
        if self.day.plan is not None:
            self.planned += [step.grid_w <= self.limit_w for step in self.day.plan.steps[1:]]


def share_pct(kept: list[bool]) -> float:
    """How many of them; all, where there are none."""
    return 100 * sum(kept) / len(kept) if kept else 100.0


@pytest.mark.timeout(300 + 1200 * HOURS)
def test_hours_of_the_demo() -> None:
    day = DemoDay(load(SITES / "demo.toml"), step_s=STEP_S)
    begun_s = day.clock.utc_s()
    day.run_until(begun_s + 3600 * HOURS * SETTLED)
    settled_mb, opened = rss_mb(), files()
    unexplained: list[str] = []
    contract = Contract(day)
    while day.clock.utc_s() < begun_s + 3600 * HOURS:
        day.step()
        contract.look()
        unexplained += [e.text for e in day.events if e.severity == "alarm" and not explained(e.subject, day)]
    grown_mb = rss_mb() - settled_mb
    assert unexplained == []
    assert files() == opened
    assert share_pct(contract.kept) >= LEAST_KEPT_PCT
    assert share_pct(contract.planned) >= LEAST_KEPT_PCT
    assert grown_mb <= NOISE_MB + MOST_MB_PER_H * HOURS * (1 - SETTLED)
    tell("h of site time", HOURS)
    tell("MB/h more memory", grown_mb / HOURS / (1 - SETTLED))
    tell("alarms without a cause", 0)
    tell("% of metering intervals within the contract", share_pct(contract.kept))
    tell("% of planned quarter hours within it", share_pct(contract.planned))
