"""`skerry queue`: the jobs of all pages, as a table and as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from click.testing import CliRunner

from console.cli.check import check
from console.cli.queue import _lines, _Page
from gateway.api.server import LinkServer
from tests.console.cli.conftest import JOBS, NOON_UTC_S, QUEUE

if TYPE_CHECKING:
    from tests.console.cli.conftest import Machine

ROOT = Path(__file__).parents[3]


async def test_jobs_that_run_and_wait_with_what_is_known_of_them(machine: Machine, gateway: LinkServer) -> None:
    ran = await machine.skerry("queue")
    assert ran.code == 0, ran.err
    counts, _, runs, waits, limited = ran.out.splitlines()
    assert counts == "alpha: 1 running on 4 GPUs, 2 waiting, read 20 s ago"
    assert runs.split() == [
        "41",
        "running",
        "4",
        "8",
        "ann",
        "train\N{REPLACEMENT CHARACTER}[31m",
        "2",
        "h",
        "00",
        "gpu01",
        "gpu02",
    ]
    assert waits.endswith("Priority, expected in 30 min")
    assert limited.endswith("JobArrayTaskLimit")
    ran = await machine.skerry("queue", "--json", "--limit", "2", "--node", "gpu01")
    told = json.loads(ran.out)
    assert [job["id"] for job in told["jobs"]] == ["41", "50_3"]
    assert (told["of"], told["queues"][0]["waiting"]) == (3, 2)
    assert ("queue.jobs", {"skip": 0, "node": "gpu01"}) in machine.asked


def test_who_sees_own_names_only_is_told_so() -> None:
    page = _Page((QUEUE,), JOBS, 3, "ann")
    assert "names are shown of the jobs of ann only; operators see all" in list(_lines(page, list(JOBS), NOON_UTC_S))
    page = _Page((QUEUE,), JOBS, 3, None)
    assert not any("names are shown" in line for line in _lines(page, list(JOBS), NOON_UTC_S))


def test_what_an_owner_is_told_stands_below_its_job() -> None:
    page = _Page((QUEUE,), JOBS, 3, None)
    lines = list(_lines(page, list(JOBS), NOON_UTC_S, {1: "waits for power"}))
    at = next(n for n, line in enumerate(lines) if line.startswith(JOBS[1].id))
    assert lines[at + 1].strip() == "waits for power"
    assert "waits for power" not in "".join(_lines(page, list(JOBS), NOON_UTC_S))


def test_check_says_by_what_a_queue_is_read_and_that_its_file_is_missing(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    section = '[[scheduler]]\nid = "farm"\nkind = "file"\nfile = "jobs.jsonl"\n'
    site.write_text((ROOT / "sites" / "demo.toml").read_text().replace("[twin]", f"{section}\n[twin]"))
    file = tmp_path / "jobs.jsonl"
    ran = CliRunner().invoke(check, [str(site)], standalone_mode=False)
    assert f"jobs      farm: file, by cat -- {file}, every 30 s; only read" in ran.stdout
    assert f"the file of scheduler farm is not there: {file}" in ran.stderr
    file.write_text("")
    assert "not there" not in CliRunner().invoke(check, [str(site)], standalone_mode=False).stderr
