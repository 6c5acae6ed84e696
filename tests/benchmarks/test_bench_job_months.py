"""Months with a job log: the same for a seed, jobs that add up to the load, announcements before their starts."""

from __future__ import annotations

import json
import random
from itertools import pairwise
from pathlib import Path

from click.testing import CliRunner

from benchmarks.job_months import STEP_S, Row, announced, drawn, jobs_of, main
from benchmarks.months import IDLE_W, PEAK_W
from console.replay.job_file import read_jobs
from console.replay.traces import LOAD_COLUMNS, instant, read_trace

WEEK_S = 7 * 86_400


def test_the_bundled_traces_make_a_month_whose_jobs_draw_its_load(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["--seeds", "3", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    (folder,) = tmp_path.iterdir()  # the others need --data
    meta = json.loads((folder / "case.json").read_text())
    load = read_trace(folder / "load.csv.gz", LOAD_COLUMNS)
    assert load.end_s == instant(meta["end_utc"])
    assert load.end_s - load.start_s == 40 * 86_400
    assert min(load.w) == IDLE_W
    assert max(load.means_w(load.start_s, load.end_s, 900)) <= PEAK_W + 1
    jobs = read_jobs(folder / "jobs.csv.gz").jobs
    at_s = load.start_s + 9 * 86_400
    running_w = sum(job.power_w for job in jobs if job.reference_s <= at_s < job.reference_s + job.duration_s)
    assert abs(IDLE_W + running_w - load.mean_w(at_s, at_s + STEP_S)) < 200
    told = [job for job in jobs if job.announced_s is not None]
    assert 0 < len(told) < len(jobs)
    assert all(job.announced_s is not None and job.announced_s <= job.reference_s for job in told)
    assert all(job.announced_s is not None for job in jobs if not job.duration_s)
    assert all(job.time_limit_s is not None and job.time_limit_s >= job.duration_s for job in jobs if job.duration_s)


def test_falls_end_jobs_and_split_those_that_are_larger() -> None:
    load = [IDLE_W, IDLE_W + 3000, IDLE_W + 5000, IDLE_W + 1000, IDLE_W]
    rows = list(jobs_of(load, 0, random.Random(1)))
    for k, w in enumerate(load):
        at = [row.w for row in rows if row.start_s <= k * STEP_S < row.start_s + row.duration_s]
        assert abs(sum(at) - (w - IDLE_W)) < 1e-6


def test_stretches_keep_the_weekday_and_the_hour() -> None:
    instants = list(drawn(0, 3 * WEEK_S, 5 * WEEK_S + 3600, 8 * WEEK_S, random.Random(2)))
    assert all((t - 3600 - k * STEP_S) % WEEK_S == 0 for k, t in enumerate(instants))
    assert max(instants) < 3 * WEEK_S
    assert any(b - a != STEP_S for a, b in pairwise(instants))


def test_a_seed_draws_the_same_announcements_and_another_one_others() -> None:
    jobs = [Row(900 * k, 3600, 500.0) for k in range(200)]
    one, same, other = (list(announced(jobs, random.Random(seed))) for seed in (1, 1, 2))
    assert one == same
    assert one != other
