"""The forecast benchmark: what it counts, and that it looks at nothing that comes later."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import pytest
from replay_cases import FIRST, utc, write_csv

from benchmarks import forecast
from console.replay.job_file import Job
from console.replay.traces import Trace

DAY = 96


def levels(days: int, seed: int = 2) -> list[float]:
    """Jobs of hours: a level that jumps, with a little noise on it."""
    chance, loads, w = random.Random(seed), [], 30_000.0
    for _ in range(days * DAY):
        w = chance.uniform(20_000, 60_000) if chance.random() < 0.05 else w
        loads.append(w + chance.gauss(0, 300))
    return loads


def test_the_band_covers_what_it_says_and_the_quantile_is_worth_its_name() -> None:
    score = forecast.play(Trace(FIRST, 900, levels(20)))
    assert score.asked == {15: 10 * DAY - 4, 60: 10 * DAY - 4}
    for minutes in score.asked:
        assert abs(score.covered_pct(minutes) - 90) <= 3
    above = sum(1 for w in score.pinball_w if w > 0)
    assert len(score.pinball_w) == score.asked[15]
    assert above > 0


def test_jobs_that_tell_the_load_make_it_better() -> None:
    """Every step is a job that keeps its limit; the log shows it, and the forecast knows its end."""
    chance, loads, jobs = random.Random(4), [20_000.0] * (13 * DAY * 3), []
    for n in range(200):
        start, length = chance.randrange(13 * DAY * 3 - 120), chance.randrange(12, 90)
        for k in range(start, start + length):
            loads[k] += 2_000
        begun = FIRST + 300 * start
        jobs.append(Job(str(n), begun, begun, 300.0 * length, 300.0 * length, 2_000.0, 1))
    load = Trace(FIRST, 300, loads)
    blind, told = forecast.play(load), forecast.play(load, jobs)
    assert sum(told.pinball_w) < 0.9 * sum(blind.pinball_w)


@pytest.mark.parametrize("origin", ["Philly", "Helios"])
def test_cases_are_found_and_judged_by_their_origin(tmp_path: Path, origin: str) -> None:
    folder = tmp_path / "a_case"
    folder.mkdir()
    plain = write_csv(tmp_path / "load.csv", "load_w", levels(11))
    (folder / "load.csv.gz").write_bytes(gzip.compress(plain.read_bytes()))
    (folder / "case.json").write_text(json.dumps({"load": f"Microsoft {origin}, modelled", "first": utc(FIRST)}))
    figures = forecast.measure(cases=tmp_path)
    assert [f.what.split(":")[0] for f in figures[:3]] == [f"a_case (Microsoft {origin})"] * 3
    assert figures[-1].goal == forecast.PINBALL_GOAL_KW[origin.lower()]
