"""Job logs as schedulers export them: what is a job, what is not, and what is refused by name."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from console.replay.job_file import JobFile, read_jobs
from console.replay.output import write_jobs
from console.replay.traces import TraceFileError

HEAD = "job_id,submit_utc,reference_start_utc,duration_s,time_limit_s,power_w,gpus\n"
WHEN = "2025-09-18T10:00:00Z,2025-09-18T10:05:00Z"


def written(path: Path, rows: list[str], head: str = HEAD) -> Path:
    path.write_text(head + "".join(f"{row}\n" for row in rows), encoding="utf-8")
    return path


def log(tmp_path: Path, *ids: str) -> JobFile:
    """A log with a row for each id, of 5 kW."""
    return read_jobs(written(tmp_path / "jobs.csv", [f"{id},{WHEN},3600,7200,5000,8" for id in ids]))


def test_a_job_log_with_holes(tmp_path: Path) -> None:
    """No limit is no limit; a figure that is none, or a row that is cut off, is named."""
    head = "job_id,reference_start_utc,submit_utc,duration_s,time_limit_s,power_w,gpus\n"
    when = "2025-09-16T06:00:00Z,2025-09-16T05:00:00Z"
    jobs = read_jobs(written(tmp_path / "jobs.csv", [f"a,{when},600,,9000,8", f"b,{when},600,0,9000,"], head)).jobs
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
    assert [job.id for job in read_jobs(path).jobs] == ["a", "b"]
    with pytest.raises(TraceFileError, match=r"jobs\.csv:1: expected the columns reference_start_utc"):
        read_jobs(written(tmp_path / "jobs.csv", ["a,1"], "job_id,gpus\n"))
    with pytest.raises(TraceFileError, match=r":2: expected 3 columns, job_id,gpus,reference_start_utc, found 2"):
        read_jobs(written(tmp_path / "jobs.csv", ["a,1"], head))
    twice = ["a,1,2025-09-16T06:00:01Z", "a,1,2025-09-16T07:00:01Z"]
    with pytest.raises(TraceFileError, match=r"jobs\.csv:3: job a was given before"):
        read_jobs(written(tmp_path / "jobs.csv", twice, head))


@pytest.mark.parametrize(
    ("ids", "jobs", "said"),
    [
        (["101", "102.batch", "102.extern", "102"], ["101", "102"], "2 rows of steps, such as 102.batch"),
        (["7", "7.0", "7.1", "7.interactive", "7.ba+"], ["7"], "4 rows of steps, such as 7.0"),
        (["101", "102_[1-4]", "102_1"], ["101", "102_1"], "1 row of arrays or jobs in parts, such as 102_[1-4]"),
        (["4711_[1-99%4]", "4711_7", "4711_7.batch"], ["4711_7"], "such as 4711_[1-99%4]"),
        (["4711_[3,5-", "4711_1"], ["4711_1"], "such as 4711_[3,5-"),
        (["4711+0", "4711+1", "4711+0.batch"], ["4711+0", "4711+1"], "1 row of steps, such as 4711+0.batch"),
        (["4711", "4711+0", "4711+1"], ["4711+0", "4711+1"], "1 row of arrays or jobs in parts, such as 4711:"),
        (["99", "99_1", "99_2"], ["99_1", "99_2"], "such as 99:"),
        (["render.7.pbs01", "123.server", "123"], ["123", "123.server", "render.7.pbs01"], ""),  # not Slurm's
    ],
)
def test_steps_and_wholes_are_not_counted_beside_their_jobs(
    tmp_path: Path, ids: list[str], jobs: list[str], said: str
) -> None:
    for order in (ids, ids[::-1]):
        found = log(tmp_path, *(f'"{id}"' for id in order))
        assert [job.id for job in found.jobs] == jobs
        assert sum(job.power_w for job in found.jobs) == 5000 * len(jobs)
        assert bool(found.notes) == bool(said)
    assert any(said in note for note in log(tmp_path, *(f'"{id}"' for id in ids)).notes) or not said


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        (["101", "102.batch"], "jobs.csv:3: job_id = '102.batch' is a step: expected a row of its job 102"),
        (
            ["102_[1-4]"],
            "jobs.csv:2: job_id = '102_[1-4]' stands for the tasks of an array: expected a row for each task",
        ),
        (["102", "102_[1-4]"], "such as 102_1 (squeue -r)"),
        (["102_1.extern"], "expected a row of its job 102_1"),
    ],
)
def test_steps_and_arrays_without_their_jobs_are_refused(tmp_path: Path, ids: list[str], said: str) -> None:
    with pytest.raises(TraceFileError) as caught:
        log(tmp_path, *ids)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "limit_s"),
    [
        ("7200", 7200),
        ("UNLIMITED", None),
        ("infinite", None),
        ("Partition_Limit", None),
        ("NOT_SET", None),
        ("1-00:00:00", 86_400),
        ("2-12", 216_000),
        ("1-06:30", 109_800),
        ("02:00:00", 7200),
        ("30:15", 1815),
        ("4294967294", None),  # NO_VAL
        ("4294967295", None),  # INFINITE
        ("18446744073709551614", None),  # NO_VAL64
    ],
)
def test_time_limits_as_slurm_writes_them(tmp_path: Path, text: str, limit_s: float | None) -> None:
    (job,) = read_jobs(written(tmp_path / "jobs.csv", [f"1,{WHEN},3600,{text},5000,8"])).jobs
    assert job.time_limit_s == limit_s


SAMPLES = Path(__file__).resolve().parents[2] / "slurm_samples"


def accounted(part: int) -> list[str]:
    """Rows of a job log, from what sacct printed: without a job's second start, or (2) with it."""
    (sample,) = SAMPLES.glob("sacct-*.txt")
    header, *lines = sample.read_text().split("# Slurm ")[part].splitlines()[1:]
    rows = []
    for line in lines:
        if re.match(r"\d", line):  # else it is the rest of a name
            told = dict(zip(header.split("|"), line.split("|", header.count("|")), strict=True))
            utc = [
                f"{datetime.fromtimestamp(int(text), UTC):%Y-%m-%dT%H:%M:%SZ}" if text.isdigit() else text
                for text in (told["Submit"], told["Start"])
            ]
            gpus = re.findall(r"gres/gpu=(\d+)", told["AllocTRES"])
            rows.append(
                f'"{told["JobID"]}",{",".join(utc)},{told["ElapsedRaw"]},{told["Timelimit"]},5000,{"".join(gpus)}'
            )
    return rows


def test_a_log_as_sacct_printed_it(tmp_path: Path) -> None:
    """Found: an array of which no task had begun was refused."""
    found = read_jobs(written(tmp_path / "jobs.csv", accounted(1)))
    assert {job.id: (job.time_limit_s, job.gpus) for job in found.jobs} == {
        "1": (None, 2),
        "2_1": (600, 1),
        "2_2": (600, 1),
        "3+0": (86_400, 0),
        "3+1": (9000, 0),
        "5": (5400, 0),
        "7": (1860, 4),
    }
    assert [note.partition(": ")[2] for note in found.notes] == [
        "7 rows of steps, such as 1.batch: left out, their jobs count",
        "1 row without a start (line 16): left out",
    ]
    with pytest.raises(TraceFileError, match=r"job 5 was given before .*: expected one \(sacct without --duplicates"):
        read_jobs(written(tmp_path / "jobs.csv", accounted(2)))


@pytest.mark.parametrize("part", [1, 2], ids=["squeue", "squeue -r"])
def test_ids_and_limits_as_slurm_printed_them(tmp_path: Path, part: int) -> None:
    """All that squeue tells of jobs of every kind; the name comes last, and may hold | and newlines."""
    (sample,) = SAMPLES.glob("squeue-*.txt")
    text = sample.read_text().split("# Slurm ")[part].partition("\n")[2]
    told = [line.split("|", 7) for line in text.splitlines() if re.match(r"\d+[^ |]*\|", line)]
    limits = {id: limit for id, *_, limit, _ in told}
    rows = [f'"{id}",{WHEN},60,{limit},5000,1' for id, limit in limits.items()]
    if part == 1:
        rows += [f"{array}_1,{WHEN},60,60,5000,1" for array in ("13", "14")]  # as sacct has them, once they have begun
    found = read_jobs(written(tmp_path / "jobs.csv", rows))
    left_out = {id for id in limits if "[" in id}
    assert {job.id for job in found.jobs} >= limits.keys() - left_out
    assert left_out == ({"13_[1-99%4]", "14_[3,5-7]"} if part == 1 else set())
    assert ["2 rows of arrays or jobs in parts, such as 13_[1-99%4]" in note for note in found.notes] == [True][
        : 2 - part
    ]
    read = {job.id: job.time_limit_s for job in found.jobs}
    assert {limits[id]: read[id] for id in limits.keys() & read.keys()} == (
        {
            "10:00": 600,
            "20:00": 1200,
            "1-00:00:00": 86_400,
            "UNLIMITED": None,
            "365-00:00:00": 31_536_000,
            "2:00:00": 7200,
            "5:00": 300,
            "2:30:00": 9000,
            "2-12:00:00": 216_000,
            "31:00": 1860,
        }
        if part == 1
        else {"1:30:00": 5400}
    )


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (f"1,{WHEN},3600,soon,5000,8", "time_limit_s = 'soon': expected a number >= 0, D-HH:MM:SS or UNLIMITED"),
        (f"1,{WHEN},4294967294,60,5000,8", "duration_s = '4294967294': expected a number >= 0, the seconds that"),
        (f"1,{WHEN},UNLIMITED,60,5000,8", "duration_s = 'UNLIMITED'"),
        (f"1,{WHEN},60,60,4294967294,8", "power_w = '4294967294': expected W, at most 1e+09"),
        (f"1,{WHEN},60,60,5000,4294967294", "gpus = '4294967294': expected a number >= 0 and at most 1000000"),
        ("1,Unknown,2025-09-18T10:05:00Z,60,60,5000,8", "submit_utc = 'Unknown': expected ISO 8601"),
        ("1,2025-10-26T02:30:00,2025-10-26T02:35:00Z,60,60,1,8", "submit_utc = '2025-10-26T02:30:00': expected UTC"),
        (
            "1,2025-10-26T00:30:00Z,2025-10-26T02:35:00,60,60,1,8",
            "reference_start_utc = '2025-10-26T02:35:00': expected",
        ),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, row: str, said: str) -> None:
    with pytest.raises(TraceFileError) as caught:
        read_jobs(written(tmp_path / "jobs.csv", [row]))
    assert f"jobs.csv:2: {said}" in str(caught.value)


def test_elapsed_times_are_read(tmp_path: Path) -> None:
    (job,) = read_jobs(written(tmp_path / "jobs.csv", [f"1,{WHEN},1-01:00:00,,5000,8"])).jobs
    assert job.duration_s == 90_000


@pytest.mark.parametrize("start", ["Unknown", "None", "None assigned", "N/A", ""])
def test_jobs_that_never_started_are_left_out_and_told(tmp_path: Path, start: str) -> None:
    rows = [f"1,{WHEN},60,60,5000,8", f"2,2025-09-18T10:00:00Z,{start},0,60,5000,8"]
    found = read_jobs(written(tmp_path / "jobs.csv", rows))
    assert [job.id for job in found.jobs] == ["1"]
    assert found.notes == ("jobs.csv: 1 row without a start (line 3): left out",)


def test_ids_are_neutral_wherever_they_are_shown(tmp_path: Path) -> None:
    """Whoever names a job may write what moves a cursor, ends a line, or colours the screen."""
    ids = ['"a|b"', '"x\n2,y"', '"\x1b[31mred\x1b[0m"', '"\u202efdp"']
    found = log(tmp_path, *ids)
    assert sorted(job.id for job in found.jobs) == sorted(["a|b", "x 2,y", "[31mred [0m", "fdp"])
    write_jobs(tmp_path / "out.csv", found.jobs, 0, 2_000_000_000)
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 5
    with pytest.raises(TraceFileError) as caught:
        log(tmp_path, '"1\x1b]0;t\x07.batch"', '"9\x1b.batch"', "9.batch")
    assert str(caught.value).isprintable() or "\x1b" not in str(caught.value)
