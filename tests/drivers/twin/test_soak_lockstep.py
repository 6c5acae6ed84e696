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
from gateway.site.loader import load

HOURS = float(os.environ.get("SKERRY_SOAK_HOURS", "0.025"))
STEP_S = 1.0
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


@pytest.mark.timeout(300 + 1200 * HOURS)
def test_hours_of_the_demo() -> None:
    day = DemoDay(load(SITES / "demo.toml"), step_s=STEP_S)
    begun_s = day.clock.utc_s()
    day.run_until(begun_s + 3600 * HOURS * SETTLED)
    settled_mb, opened = rss_mb(), files()
    unexplained: list[str] = []
    while day.clock.utc_s() < begun_s + 3600 * HOURS:
        day.step()
        unexplained += [e.text for e in day.events if e.severity == "alarm" and not explained(e.subject, day)]
    grown_mb = rss_mb() - settled_mb
    assert unexplained == []
    assert files() == opened
    assert grown_mb <= NOISE_MB + MOST_MB_PER_H * HOURS * (1 - SETTLED)
    tell("h of site time", HOURS)
    tell("MB/h more memory", grown_mb / HOURS / (1 - SETTLED))
    tell("alarms without a cause", 0)
