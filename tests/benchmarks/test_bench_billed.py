"""Peaks of other months: on the case's scale, whole months only, never the scored one."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner
from replay_cases import write_csv

from benchmarks.billed import main, whole_months
from console.replay.traces import Trace, instant

TRACE_S, CASE_S = instant("2024-04-30T22:00:00Z"), instant("2025-06-20T22:00:00Z")
SHIFT_DAYS = 365
LIST = f"""
pv = "pv.csv"
[case.july]
load = "load.csv"
shift_days = {SHIFT_DAYS}
"""


def a_directory(path: Path, trace_from_s: int, days: int) -> list[str]:
    """A trace of 1 W, higher in each month by one; the case has the same on another scale. No sun."""
    first_s = trace_from_s + SHIFT_DAYS * 86_400
    hours = [month_w(first_s + 3600 * k) for k in range(24 * days)]
    write_csv(path / "load.csv", "power_w", hours, 3600, trace_from_s)
    write_csv(path / "pv.csv", "w_per_kwp", [0.0] * (24 * 366), 3600, instant("2016-01-01T00:00:00Z"))
    folder = path / "july"
    folder.mkdir()
    case = [20_000.0 + 5_000 * month_w(CASE_S + 3600 * k) for k in range(24 * 41)]
    write_csv(folder / "load.csv", "load_w", case, 3600, CASE_S)
    (folder / "load.csv.gz").write_bytes(gzip.compress((folder / "load.csv").read_bytes()))
    meta = {"tariff": "DE", "first_scored_utc": "2025-06-30T22:00:00Z", "end_utc": "2025-07-31T22:00:00Z"}
    (folder / "case.json").write_text(json.dumps(meta))
    (path / "list.toml").write_text(LIST)
    return ["--data", str(path), "--cases", str(path), "--out", str(path / "out"), "--list", str(path / "list.toml")]


def month_w(utc_s: int) -> float:
    """1 W in May, 2 W in June and so on, of Berlin."""
    return max(0.0, (utc_s - instant("2025-04-30T22:00:00Z")) // (31 * 86_400) + 1.0)


@pytest.mark.parametrize(
    ("from_utc", "days", "expected"),
    [
        ("2024-04-30T22:00:00Z", 123, {"2025-05": 25.0, "2025-06": 30.0}),
        ("2024-06-15T22:00:00Z", 80, {"2024-08": 40.0}),  # August is all that it has besides the scored month
        ("2024-06-15T22:00:00Z", 60, {}),
    ],
)
def test_whole_months_before_the_scored_one_else_after_it(
    tmp_path: Path, from_utc: str, days: int, expected: dict[str, float]
) -> None:
    result = CliRunner().invoke(main, a_directory(tmp_path, instant(from_utc), days))
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "out").read_text())["july"]
    assert found == pytest.approx(expected, abs=0.5), "the battery begins full, which lowers a flat load a little"


def test_months_begin_at_local_midnight() -> None:
    trace = Trace(instant("2025-02-28T22:00:00Z"), 3600, [0.0] * 24 * 60)
    months = list(whole_months(trace, ZoneInfo("Europe/Berlin")))
    assert months == [(instant("2025-02-28T23:00:00Z"), instant("2025-03-31T22:00:00Z"))]
