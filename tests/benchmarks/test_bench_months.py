"""Months put together from traces: the load weekday on weekday, scaled to the site; or a line says what is missing."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner
from replay_cases import write_csv

from benchmarks.months import main, scored_until_s
from console.replay.traces import LOAD_COLUMNS, PV_COLUMNS, instant, read_trace

FROM = "2025-06-30T22:00:00Z"
LIST = f"""
pv = "pv.csv"
[case.summer]
tariff = "NO"
from = "{FROM}"
prices = "prices.csv"
load = "load.csv"
weeks = 1
"""


def a_directory(path: Path) -> list[str]:
    """Three weeks of hourly load from a Friday on, a year of PV, prices; the arguments that point to them."""
    loads = [1_000.0 * day + 10 * hour for day in range(21) for hour in range(24)]
    write_csv(path / "load.csv", "power_w", loads, 3600, int(datetime(2020, 5, 1, tzinfo=UTC).timestamp()))
    sun = [float(hour) for _ in range(366) for hour in range(24)]
    write_csv(path / "pv.csv", "w_per_kwp", sun, 3600, int(datetime(2016, 1, 1, tzinfo=UTC).timestamp()))
    write_csv(path / "prices.csv", "price_eur_per_mwh", [50.0] * (24 * 42), 3600, instant(FROM) - 11 * 86_400)
    (path / "list.toml").write_text(LIST)
    return ["--data", str(path), "--out", str(path / "out"), "--list", str(path / "list.toml")]


def test_a_month_has_its_weekdays_its_peak_and_its_sun(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, a_directory(tmp_path))
    assert result.exit_code == 0, result.output
    folder, start_s = tmp_path / "out" / "summer", instant(FROM) - 10 * 86_400
    load = read_trace(folder / "load.csv.gz", LOAD_COLUMNS)
    assert (load.start_s, load.end_s) == (start_s, start_s + 40 * 86_400)
    assert max(load.w) == 63_000
    assert min(load.w) == 21_120
    # Friday 20 June, 22:00 UTC: the trace's second Friday at 22:00 is day 7, and its first Friday comes 14 days on
    assert load.w[0] == pytest.approx(21_120 + (63_000 - 21_120) * 7_220 / 20_230, abs=1)
    assert load.w[14 * 24] == pytest.approx(21_120 + (63_000 - 21_120) * 220 / 20_230, abs=1)
    assert read_trace(folder / "pv.csv.gz", PV_COLUMNS).w[0] == pytest.approx(22 * 1.4 * 50)
    assert json.loads((folder / "case.json").read_text())["first_scored_utc"] == FROM


def test_prices_that_do_not_reach_the_past_are_told(tmp_path: Path) -> None:
    arguments = a_directory(tmp_path)
    (tmp_path / "list.toml").write_text(LIST.replace("2025-06-30", "2025-06-20"))
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert "expected prices from 2025-06-10T22:00:00Z on, for summer" in result.output


def test_a_month_is_scored_to_its_end_and_never_into_the_next() -> None:
    """Two days of March would be billed a whole month's peak."""
    ends = {
        "2025-01-31T23:00:00Z": "2025-02-28T23:00:00Z",
        "2025-02-28T23:00:00Z": "2025-03-30T23:00:00Z",
        "2025-10-31T23:00:00Z": "2025-11-30T23:00:00Z",
        "2024-11-30T23:00:00Z": "2024-12-30T23:00:00Z",
    }
    for first, end in ends.items():
        assert scored_until_s(instant(first)) == instant(end)
