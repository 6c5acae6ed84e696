"""Traces from files: means, gaps, duplicates, local times, and every error with its line."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from console.replay.traces import LOAD_COLUMNS, Trace, TraceFileError, instant, read_jobs, read_trace

HEAD = "start_utc,load_w\n"


def written(path: Path, rows: list[str], head: str = HEAD) -> Path:
    path.write_text(head + "\n".join(rows) + "\n", encoding="utf-8")
    return path


def minutes(*values: str) -> list[str]:
    return [f"2025-09-16T06:{n:02d}:00Z,{value}" for n, value in enumerate(values)]


def test_means_over_part_of_a_row_and_over_several() -> None:
    trace = Trace(0, 60, [100.0, 200.0, 300.0])
    assert trace.mean_w(0, 180) == pytest.approx(200.0)
    assert trace.mean_w(30, 90) == pytest.approx(150.0)
    assert trace.mean_w(60, 70) == pytest.approx(200.0)
    assert trace.means_w(0, 180, 60) == pytest.approx([100.0, 200.0, 300.0])
    assert trace.mean_w(180, 240) == pytest.approx(300.0)  # after the end: held


def test_gzip_and_plain_read_alike(tmp_path: Path) -> None:
    plain = written(tmp_path / "a.csv", minutes("100", "200"))
    packed = tmp_path / "a.csv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    for path in (plain, packed):
        trace = read_trace(path, LOAD_COLUMNS)
        assert (trace.start_s, trace.step_s, list(trace.w)) == (instant("2025-09-16T06:00:00Z"), 60, [100.0, 200.0])


def test_gaps_are_held_and_told(tmp_path: Path) -> None:
    rows = minutes("100", "200", "", "nan", "500", "-3", "700")
    del rows[1]
    trace = read_trace(written(tmp_path / "load.csv", [rows[0], *rows[1:], "2025-09-16T06:07:00Z,800"]), LOAD_COLUMNS)
    assert list(trace.w) == [100, 100, 100, 100, 500, 500, 700, 800]
    assert trace.notes == ("load.csv: 4 of 8 rows are missing or no power (3 unreadable): the last held",)


def test_the_same_row_twice_is_taken_once_another_value_is_an_error(tmp_path: Path) -> None:
    rows = [*minutes("100", "200"), "2025-09-16T06:01:00Z,200"]
    trace = read_trace(written(tmp_path / "a.csv", rows), LOAD_COLUMNS)
    assert list(trace.w) == [100, 200]
    assert "twice" in trace.notes[0]
    with pytest.raises(TraceFileError, match=r"a\.csv:4: 2025-09-16T06:01:00Z was given before as 200 W, now 999 W"):
        read_trace(written(tmp_path / "a.csv", [*rows[:2], "2025-09-16T06:01:00Z,999"]), LOAD_COLUMNS)


def test_local_times_are_refused_with_the_reason(tmp_path: Path) -> None:
    """In October an hour comes twice: only UTC says which one is meant."""
    rows = ["2025-10-26T02:30:00,100", "2025-10-26T02:30:00+02:00,100"]
    with pytest.raises(TraceFileError) as caught:
        read_trace(written(tmp_path / "a.csv", rows), LOAD_COLUMNS)
    assert str(caught.value).count("expected UTC, ending in Z") == 2


@pytest.mark.parametrize(
    ("head", "rows", "said"),
    [
        ("when,load_w\n", minutes("1", "2"), r"a\.csv:1: expected the columns start_utc,load_w or start_utc,power_w"),
        (HEAD, minutes("1"), "expected at least two rows"),
        (HEAD, [], "expected at least two rows"),
        (HEAD, ["yesterday,1", "2025-09-16T06:01:00Z,2"], r"a\.csv:2: start_utc = 'yesterday': expected ISO 8601"),
        (HEAD, [*minutes("1", "2"), "2025-09-16T06:02:30Z,3"], "expected rows evenly spaced by 60 s"),
    ],
)
def test_what_cannot_be_used_says_where_and_what_was_expected(
    tmp_path: Path, head: str, rows: list[str], said: str
) -> None:
    with pytest.raises(TraceFileError, match=said):
        read_trace(written(tmp_path / "a.csv", rows, head), LOAD_COLUMNS)


def test_not_gzip(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_text("start_utc,load_w\n")
    with pytest.raises(TraceFileError, match=r"expected gzip.*drop the suffix"):
        read_trace(path, LOAD_COLUMNS)


def test_many_errors_are_not_all_shown(tmp_path: Path) -> None:
    with pytest.raises(TraceFileError) as caught:
        read_trace(written(tmp_path / "a.csv", [f"day {n},1" for n in range(9)]), LOAD_COLUMNS)
    assert len(str(caught.value).splitlines()) == 6
    assert "and 4 more lines" in str(caught.value)


def test_a_job_log_with_holes(tmp_path: Path) -> None:
    """No limit is no limit; a figure that is none, or a row that is cut off, is named."""
    head = "job_id,reference_start_utc,submit_utc,duration_s,time_limit_s,power_w,gpus\n"
    when = "2025-09-16T06:00:00Z,2025-09-16T05:00:00Z"
    jobs = read_jobs(written(tmp_path / "jobs.csv", [f"a,{when},600,,9000,8", f"b,{when},600,0,9000,"], head))
    assert [(job.time_limit_s, job.gpus) for job in jobs] == [(None, 8), (None, 0)]
    rows = [f"a,{when},nan,,9000,8", f"b,{when},600,-5,9000,8", f"c,{when},600,60,inf,8", f"d,{when}"]
    with pytest.raises(TraceFileError) as caught:
        read_jobs(written(tmp_path / "jobs.csv", rows, head))
    said = str(caught.value).splitlines()
    assert "jobs.csv:2: duration_s = 'nan': expected a number >= 0" in said[0]
    assert "jobs.csv:3: time_limit_s = '-5': expected a number >= 0" in said[1]
    assert "jobs.csv:4: power_w = 'inf'" in said[2]
    assert "jobs.csv:5: duration_s = ''" in said[3]


def test_jobs(tmp_path: Path) -> None:
    head = "job_id,gpus,reference_start_utc\n"
    path = written(tmp_path / "jobs.csv", ["b,2,2025-09-16T06:00:01Z", "a,1,2025-09-16T05:00:00Z"], head)
    assert [job.id for job in read_jobs(path)] == ["a", "b"]
    with pytest.raises(TraceFileError, match=r"jobs\.csv:1: expected the columns reference_start_utc"):
        read_jobs(written(tmp_path / "jobs.csv", ["a,1"], "job_id,gpus\n"))
    with pytest.raises(TraceFileError, match=r":2: expected 3 columns, job_id,gpus,reference_start_utc, found 2"):
        read_jobs(written(tmp_path / "jobs.csv", ["a,1"], head))
    twice = ["a,1,2025-09-16T06:00:01Z", "a,1,2025-09-16T07:00:01Z"]
    with pytest.raises(TraceFileError, match=r"jobs\.csv:3: job a was given before"):
        read_jobs(written(tmp_path / "jobs.csv", twice, head))
