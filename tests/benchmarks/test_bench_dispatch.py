"""The dispatch benchmark: cases found, replayed and set beside the others."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from replay_cases import START, load_w, prices, pv_w, utc, write_csv

from benchmarks.dispatch import Setup, bundled_case, line, main, play


def a_folder(path: Path, hours: int = 3) -> Path:
    """A case of a few hours, gzipped as cases are."""
    path.mkdir()
    market = [p or 0.0 for p in prices().eur_per_mwh]
    for name, column, values, step_s in (
        ("load", "load_w", load_w(), 900),
        ("pv", "pv_w", pv_w(), 900),
        ("prices", "price_eur_per_mwh", market, 3600),
    ):
        plain = write_csv(path / f"{name}.csv", column, values, step_s)
        (path / f"{name}.csv.gz").write_bytes(gzip.compress(plain.read_bytes()))
    meta = {"tariff": "NO", "first_scored_utc": utc(START), "end_utc": utc(START + 3600 * hours)}
    (path / "case.json").write_text(json.dumps(meta))
    return path


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_case_has_its_line_and_the_pool_its_share(tmp_path: Path, jobs: int) -> None:
    for name in ("autumn", "spring", "with_jobs"):
        a_folder(tmp_path / name)
    (tmp_path / "with_jobs" / "jobs.csv.gz").touch()
    result = CliRunner().invoke(main, ["--cases", str(tmp_path), "--jobs", str(jobs), "--step", "900"])
    assert result.exit_code == 0, result.output
    head, *lines = result.output.splitlines()
    assert [word in head for word in ("none", "valley", "Skerry", "foresight")] == [True] * 4
    assert [line.split()[0] for line in lines] == ["autumn", "spring", "pooled"]
    none, _, own, best = map(float, lines[0].split()[1:5])
    assert float(lines[0].split()[5]) == pytest.approx(100 * (none - own) / (none - best), abs=1)


def test_a_directory_without_cases_says_what_was_expected(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["--cases", str(tmp_path)])
    assert result.exit_code == 2
    assert "expected folders with a case.json" in result.output


def test_the_bundled_case_is_there_for_everyone() -> None:
    """Ten days with ten of past, prices to the end."""
    case = bundled_case(300)
    assert case.load.start_s <= case.start_s - 10 * 86400
    assert case.load.end_s >= case.end_s
    assert case.prices.at(case.end_s - 1) is not None


def test_minutes_above_the_export_limit_are_counted(tmp_path: Path) -> None:
    """200 kW of PV that nobody limits, behind a limit of 50 kW."""
    folder = a_folder(tmp_path / "sunny", hours=1)
    sunny = write_csv(tmp_path / "pv.csv", "pv_w", [200_000.0] * len(pv_w()), 900)
    (folder / "pv.csv.gz").write_bytes(gzip.compress(sunny.read_bytes()))
    result = play("sunny", folder, Setup(step_s=900))
    assert result.over_export_s > 0
    assert f"{result.over_export_s / 60:.0f} min of export above its limit" in line(result)
