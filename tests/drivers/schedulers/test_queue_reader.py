"""Queues read by commands: what they print, and whatever else commands do."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import sys
from pathlib import Path

import pytest
from slurm_answers import FAKE_SQUEUE
from waiting import until

from drivers.schedulers import command
from drivers.schedulers.config import Scheduler
from drivers.schedulers.errors import QueueNotRead
from drivers.schedulers.job_list import QueueRead
from drivers.schedulers.reader import QueueReader, with_environment
from drivers.schedulers.slurm_text import ENVIRONMENT

HEADER = {"format": "skerry-jobs/1", "jobs": 1, "utc_s": 1796010600}
JOB = {"id": "7", "state": "running", "submitted_utc_s": 1796010550, "started_utc_s": 1796010560, "gpus": 4}


async def turn() -> None:
    await asyncio.sleep(0)


def read(directory: Path, **keys: object) -> QueueRead:
    config = Scheduler(**{"id": "alpha", "kind": "command", "deadline_s": 20.0} | keys)  # type: ignore[arg-type]
    return asyncio.run(QueueReader(config, directory).read(turn))


def refused(directory: Path, **keys: object) -> str:
    with pytest.raises(QueueNotRead) as refusal:
        read(directory, **keys)
    return str(refusal.value)


def script(directory: Path, text: str) -> str:
    file = directory / "squeue"
    file.write_text(f"#!{sys.executable}\n{text}")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return str(file)


def lines(*rows: object) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_squeue_is_called_with_the_fields_and_the_environment(tmp_path: Path) -> None:
    found = read(tmp_path, kind="slurm", squeue=(script(tmp_path, FAKE_SQUEUE), "-M", "alpha"))
    assert [(job.id, job.name) for job in found.jobs] == [("41", "%s 0 -M alpha -a --noconvert")]


def test_through_ssh_the_environment_goes_before_squeue() -> None:
    there = with_environment(("ssh", "head", "/opt/slurm/bin/squeue", "-M", "a"))
    settings = tuple(f"{name}={value}" for name, value in ENVIRONMENT.items())
    assert there == ("ssh", "head", "env", *settings, "/opt/slurm/bin/squeue", "-M", "a")
    assert with_environment(("squeue",)) == ("squeue",)
    assert with_environment(("wrapper", "x")) == ("wrapper", "x")


def test_a_file_of_json_lines(tmp_path: Path) -> None:
    (tmp_path / "jobs.jsonl").write_text(lines(HEADER, JOB | {"nodes": ["a"], "unknown": [1]}))
    found = read(tmp_path, kind="file", file="jobs.jsonl")
    (job,) = found.jobs
    assert (job.id, job.gpus, job.nodes, job.node_count, found.asked_utc_s) == ("7", 4, ("a",), 1, 1796010600)
    assert "No such file" in refused(tmp_path, kind="file", file="gone.jsonl")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "found nothing: expected the line {"),
        ("<html>\n<body>", "line 1: '<html>': expected the line {"),
        (lines(HEADER), "found 0 jobs: expected 1, as its first line says; was it cut off"),
        (lines(HEADER, JOB, JOB | {"id": "8"}), "found 2 jobs: expected 1"),
        (lines(HEADER, JOB)[:-5], "line 2: "),
        (lines(HEADER, JOB | {"state": "RUNNING"}), "Invalid enum value 'RUNNING'"),
        (lines(HEADER, JOB | {"gpus": -1}), "$.gpus"),
        (lines(HEADER, JOB | {"submitted_utc_s": 1e300}), "$.submitted_utc_s"),
        (lines(HEADER, JOB).replace("1796010560", "NaN"), "line 2"),
        (lines(HEADER | {"format": "skerry-jobs/2"}), "skerry-jobs/1"),
        ("[" * 100_000, "line 1"),
    ],
)
def test_lines_that_cannot_be_used(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "jobs.jsonl").write_text(text)
    said = refused(tmp_path, kind="file", file="jobs.jsonl")
    assert expected in said
    assert said.startswith(f"{tmp_path / 'jobs.jsonl'}: "), "it names the file"


def test_a_command_that_fails_is_quoted(tmp_path: Path) -> None:
    said = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"
    text = refused(tmp_path, kind="slurm", squeue=(script(tmp_path, f"import sys; sys.exit({said!r})"),))
    assert text.endswith(f"ended with exit code 1: {said}")
    assert "ended with exit code 3 and said nothing" in refused(tmp_path, command=("sh", "-c", "exit 3"))
    assert "was ended by signal 15" in refused(tmp_path, command=("sh", "-c", "kill $$"))
    assert "/none/squeue cannot be run: No such file" in refused(tmp_path, kind="slurm", squeue=("/none/squeue",))
    said = "squeue: error: Invalid job format specification: x"
    assert said in refused(tmp_path, command=("sh", "-c", f"echo @@; echo '{said}' >&2"))


def test_what_takes_too_long_or_drips_is_ended_with_all_it_has_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    drips = f"sleep 600 & echo $! $$ > {pids}; while echo '{{'; do sleep 0.05; done"
    text = refused(tmp_path, command=("sh", "-c", drips), deadline_s=1.0)
    assert "expected the line {" in text or "no whole answer within 1 s" in text
    hangs = ("sh", "-c", f"sleep 600 & echo $! $$ > {pids}; wait")
    for deadline_s in (0.5, 3.0, 20.0):  # until it had the time to begin
        pids.write_text("")
        text = refused(tmp_path, command=hangs, deadline_s=deadline_s)
        assert text.endswith(f"no whole answer within {deadline_s:g} s, nothing came")
        if pids.read_text():
            break
    assert len(pids.read_text().split()) == 2
    asyncio.run(until(lambda: not any(map(lives, pids.read_text().split()))))


def lives(pid: str) -> bool:
    """Whether a process is there, and not only its exit code."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_child_that_leaves_the_session_and_keeps_the_pipe_does_not_keep_us(tmp_path: Path) -> None:
    leaves = "import os, subprocess; subprocess.Popen(['sleep', '20'], start_new_session=True); print('{', flush=True)"
    assert "no whole answer within 0.5 s" in refused(
        tmp_path, command=(sys.executable, "-c", leaves.replace("print('{'", "print(''")), deadline_s=0.5
    )


def test_what_prints_too_much_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "MOST_BYTES", 100_000)
    assert "prints more than" in refused(tmp_path, command=("sh", "-c", "yes ''"))


def test_only_one_call_at_a_time_and_the_second_works(tmp_path: Path) -> None:
    config = Scheduler(id="a", kind="file", file="jobs.jsonl")
    (tmp_path / "jobs.jsonl").write_text(lines(HEADER, JOB))

    async def twice() -> list[int]:
        reader = QueueReader(config, tmp_path)
        return [len((await reader.read(turn)).jobs) for _ in range(2)]

    assert asyncio.run(twice()) == [1, 1]
    assert "SQUEUE_USERS" not in os.environ
