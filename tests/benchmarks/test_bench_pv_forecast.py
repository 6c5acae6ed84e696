"""The PV forecast benchmark: both methods are measured on the same quarter hours, and the goal is the recent days'."""

from __future__ import annotations

from pathlib import Path

import pytest
from replay_cases import FIRST, utc

from benchmarks import pv_forecast
from dispatch.forecasting.clear_sky import clear_quarter_w


@pytest.mark.parametrize("origin", sorted(pv_forecast.ORIGINS))
def test_a_trace_is_judged_where_its_planes_are_known(tmp_path: Path, origin: str) -> None:
    site, first = pv_forecast.ORIGINS[origin], FIRST // 900
    rows = [
        f"{utc(900 * (first + k))},{clear_quarter_w(site, first + k) * (0.9 - 0.002 * k / 96):.1f}"
        for k in range(17 * 96)
    ]
    (tmp_path / f"{origin}_x_15min.csv").write_text("\n".join(["start_utc,w_per_kwp", *rows]), encoding="utf-8")
    (tmp_path / "elsewhere_15min.csv").write_text("start_utc,w_per_kwp\n", encoding="utf-8")
    figures = pv_forecast.measure(tmp_path)
    assert len(figures) == 2 * len(pv_forecast.AHEAD)
    days, sun = figures[0::2], figures[1::2]
    assert all(0 < b.got < a.got for a, b in zip(days, sun, strict=True))
    goals = [None] * 3 if origin == pv_forecast.GUESSED else [a.got for a in days]
    assert [b.goal for b in sun] == goals
