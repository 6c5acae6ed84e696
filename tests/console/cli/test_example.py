"""`skerry replay --example` and `skerry size --example`: run from any directory, on what comes with Skerry."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from console.cli.main import run
from console.cli.size import _base, _Options, _points, size
from gateway import exit_codes
from gateway.site.loader import load

TWO = "2025-09-15T02:00"


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_replay_needs_no_files_and_says_what_it_ran(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["replay", "--example", "--to", TWO]) == 0
    summary = json.loads((elsewhere / "skerry-example" / "summary.json").read_text())
    assert summary["partial"] is False
    schedule = (elsewhere / "skerry-example" / "schedule.csv").read_text().splitlines()[1:]
    assert max(abs(float(row.split(",")[1])) for row in schedule) > 1_000, "the battery takes part"
    told = capsys.readouterr()
    assert "perfect foresight" in told.out
    meant = next(line for line in told.err.splitlines() if "stands for" in line).partition("stands for: ")[2]
    words = shlex.split(meant)
    assert words[:2] == ["skerry", "replay"], "what can be typed instead"
    assert words[-2:] == ["--to", TWO]
    assert len([word for word in words if Path(word).is_file()]) == 3


def test_sizing_needs_no_files(capsys: pytest.CaptureFixture[str]) -> None:
    """Its points are made, which reads site, load and prices; they are played by the same replay."""
    asked = size.make_context("size", ["--example", "--power=60kW"]).params
    base = _base(load(asked["site"]), asked["site"], options := _Options(**without_site(asked)))
    assert [(point.energy_kwh, point.power_kw) for point in _points(base, options)] == [(e, 60) for e in (50, 100, 150)]
    assert "30..60kW" not in capsys.readouterr().err, "a size that is given counts, as --power=… too"


def without_site(asked: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in asked.items() if name not in ("site", "out")}


def test_without_example_files_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["replay"]) == exit_codes.USAGE
    assert "Missing" in capsys.readouterr().err
    assert run(["size", "SITE.toml", "--example"]) == exit_codes.USAGE, "two sites"
