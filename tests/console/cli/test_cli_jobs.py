"""`skerry jobs`: the lines and the CSV; from the record when no gateway runs; what a prolog reports."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from click.testing import CliRunner
from waiting import LIMIT_S

from console.cli.job_text import CSV_HEADER, csv_rows, group_lines, live_lines, past_lines
from console.cli.jobs import jobs
from console.cli.main import COMMANDS
from dispatch.accounting.records import JobRecord, SiteQuarter
from dispatch.config.schema import DispatchConfig, GridConfig
from dispatch.model.jobs import QueueNow
from storage.config import DISPATCH, StorageConfig
from storage.recorder import Recorder

if TYPE_CHECKING:
    from gateway.api.server import LinkServer
    from tests.console.cli.conftest import Machine

T0 = 1_758_016_800.0  # 2025-09-16 12:00 in Berlin
BERLIN = ZoneInfo("Europe/Berlin")


def a_run(**more: Any) -> JobRecord:
    given = {"gpu_wh": 1400.0, "gpu_how": "measured", "host_wh": 600.0, "host_how": "apportioned", "cost_eur": 0.5}
    names = {"user": "anna", "name": "train", "gpus": 2, "cpus": 16, "nodes": 1, "covered_pct": 100.0, "mean_w": 1000.0}
    key = {"scheduler": "slurm", "id": "4711", "started_utc_s": T0 - 7200, "ended_utc_s": T0}
    return JobRecord(**(given | names | key | more))


def told(record: JobRecord) -> dict[str, Any]:
    built: dict[str, Any] = msgspec.to_builtins(record)
    return built | {"energy_wh": record.energy_wh, "how": record.how, "number": 1, "pseudonym": False, "peak_eur": 3.0}


SITE = {
    "n": 4,
    "first_s": T0 - 3600,
    "last_s": T0 - 900,
    "import_wh": 9000.0,
    "load_wh": 10_000.0,
    "known_s": 3600.0,
    "jobs_wh": 6000.0,
    "idle_wh": 1500.0,
    "gap_s": 7200.0,
}
PEAK = {"account": "2025-09", "start_utc_s": T0 - 1800, "import_w": 31_000.0, "load_wh": 8000.0, "eur": 310.0}


def test_a_job_that_runs_is_a_line_that_no_name_can_break() -> None:
    run = a_run(id="4711\n1 root", user="a\x1b[31mb", ended_utc_s=None, from_start=False, capped_s=3600.0)
    answer = {"jobs": [told(run)], "of": 3, "user": None, "not_metered": True}
    head, line, *notes = live_lines(answer, T0)
    assert head.split()[:3] == ["JOB", "USER", "GPU"]
    assert "\x1b" not in line
    assert "\n" not in line
    assert line.endswith("apportioned (GPUs measured, host by allocated CPUs), ran before metering began")
    assert " 2 h 00     2.000    1.00     0.50  100% " in line
    assert notes[0] == "2 more are not shown: raise --limit"
    assert notes[1].startswith("NOTE: so many jobs run")
    assert notes[2] == "1 were capped, 1.0 node hours together: about 0.00 kWh less"
    answer["jobs"] = [told(a_run(capped_s=3600.0, withheld_wh=960.0, lost_gpu_h=0.88))]
    capped = "1 were capped, 1.0 node hours together: about 0.96 kWh less, 0.88 GPU-hours lost"
    assert capped in list(live_lines(answer, T0))
    assert list(live_lines(answer | {"jobs": [], "user": "anna"}, T0)) == ["no job of anna runs"]


def test_a_run_that_has_ended_is_not_shown_as_one_that_runs() -> None:
    answer = {"jobs": [told(a_run(cost_eur=None))], "of": 1, "user": None, "not_metered": False}
    line = list(live_lines(answer, T0 + 600))[1]
    assert " 2 h 00 " in line, "it lasts no longer than it ran"
    assert line.endswith("apportioned (GPUs measured, host by allocated CPUs), ended, cost not known yet")


@pytest.mark.parametrize(
    ("more", "known_by"),
    [
        ({"host_how": "measured"}, "measured"),
        ({"by_cpu_time_wh": 372.0}, "apportioned (GPUs measured, host 62 % by CPU time)"),
        ({"gpu_how": "apportioned", "by_activity_wh": 1400.0, "host_how": None, "host_wh": 0.0},
         "apportioned (GPUs 100 % by activity)"),
        ({"gpu_how": "apportioned", "host_how": "estimated"}, "estimated (GPUs by number, host estimated)"),
        ({"node_wh": 500.0, "node_how": "apportioned"},
         "apportioned (GPUs measured, host by allocated CPUs, nodes by what is allocated)"),
    ],
)  # fmt: skip
def test_how_each_part_is_known_is_shown(more: dict[str, Any], known_by: str) -> None:
    answer = {"jobs": [told(a_run(**more))], "of": 1, "user": None, "not_metered": False}
    line = list(live_lines(answer, T0))[1]
    assert line.partition("100% ")[2] == known_by


def test_a_queue_that_is_not_read_is_said_where_its_jobs_are_listed() -> None:
    answer = {"jobs": [], "of": 0, "user": None, "not_metered": False}
    never, lost = QueueNow(scheduler="a", error="no file"), QueueNow(scheduler="b", read_utc_s=T0, age_s=90, error="no")
    first, second, none = live_lines(answer, T0, (never, lost, QueueNow(scheduler="c", read_utc_s=T0, age_s=1.0)))
    assert first == "a: not read: no file"
    assert second.startswith("b: 0 running, 0 waiting, ")
    assert second.endswith("NOT READ: no")
    assert none == "no job is known to run"


def test_the_rest_is_a_line_of_its_own_and_all_lines_add_up_to_the_load() -> None:
    report = {"jobs": [told(a_run(covered_pct=80.0))], "peaks": [PEAK], "site": SITE}
    lines = list(past_lines(report, T0 - 86_400, T0, BERLIN))
    assert lines[1].startswith("2025-09-16 12:00 4711")
    assert lines[2] == "1 of them had nodes without readings for a time (SEEN): nothing is filled in there"
    assert lines[3] == "peak of 2025-09: 31.0 kW in the interval from 2025-09-16 11:30: 310.00 EUR"
    assert lines[4] == "of the billed peaks these runs caused 3.00 EUR, by their share of the load then"
    assert lines[5] == "the site from 2025-09-16 11:00 to 2025-09-16 12:00, in 4 quarter hours"
    account = {line[:12].strip(): float(line[12:24]) for line in lines[6:10]}
    assert account == {"jobs": 6.0, "idle nodes": 1.5, "rest": 2.5, "load meter": 10.0}
    assert lines[10].startswith("nodes were without readings for 2.0 node hours")
    assert list(past_lines(report, T0 - 86_400, T0, BERLIN, 1))[1].startswith("the last 1 shown; there may be more")
    without = past_lines(report | {"site": None, "peaks": [], "jobs": []}, T0 - 86_400, T0, BERLIN)
    assert list(without) == ["no job ended from 2025-09-15 12:00 to 2025-09-16 12:00"]
    own = report | {"user": "anna", "site": None, "peaks": []}
    assert next(past_lines(own, T0 - 86_400, T0, BERLIN)) == "jobs of anna; operators see all"
    assert next(past_lines(own | {"jobs": []}, T0 - 86_400, T0, BERLIN)).startswith("no job of anna ended from ")


def test_groups_say_what_has_no_price() -> None:
    group = {"name": "anna", "runs": 3, "energy_wh": 9000.0, "cost_eur": None, "unpriced_wh": 9000.0, "co2_g": 2500.0}
    group |= {"capped_s": 0.0, "withheld_wh": 0.0, "gpu_h": 12.0, "node_h": 3.0, "peak_eur": 1.5}
    lines = list(group_lines({"groups": [group], "peaks": [], "site": None}, "user", T0 - 86_400, T0, BERLIN))
    assert lines[1].split() == ["USER", "RUNS", "GPU", "h", "kWh", "EUR", "PEAK", "EUR", "CO2", "kg"]
    assert lines[2].split() == ["anna", "3", "12.0", "9.00", "—", "1.50", "2.5"]
    assert lines[3] == "9.00 kWh have no cost: no price or no load was known then"


def test_csv_has_every_figure_and_the_account_of_the_site() -> None:
    rows = list(csv_rows({"jobs": [told(a_run())], "site": SITE}, None))
    assert all(len(row) == len(CSV_HEADER) for row in rows)
    job = dict(zip(CSV_HEADER, rows[0], strict=True))
    assert (job["kind"], job["job"], job["energy_wh"], job["energy_how"]) == ("job", "4711", 2000.0, "apportioned")
    assert (job["peak_share_eur"], job["pseudonym"], job["from_start"]) == (3.0, 0, 1)
    assert [(row[0], row[CSV_HEADER.index("energy_wh")]) for row in rows[1:]] == [
        ("jobs", 6000.0),
        ("idle nodes", 1500.0),
        ("rest", 2500.0),
        ("load meter", 10_000.0),
    ]


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A record without a gateway: three runs of two users."""
    recorder = Recorder(tmp_path, StorageConfig(flush_s=0.1), "boot")
    grid = GridConfig(fuse_a=63, contracted_peak_w=30_000)
    recorder.save_state(DISPATCH, msgspec.to_builtins(DispatchConfig(grid=grid, timezone="Europe/Berlin")))
    for n, user in enumerate(("anna", "anna", "=cmd|'/c calc'!A1")):
        recorder.account(a_run(id=str(n), user=user, started_utc_s=T0 + n, ended_utc_s=T0 + 60 + n))
    quarter = {"import_wh": 800.0, "load_wh": 9000.0, "jobs_wh": 6000.0, "idle_wh": 100.0, "known_s": 900.0}
    recorder.account(SiteQuarter(start_utc_s=int(T0), gap_s=0, eur_per_kwh=None, co2_g_per_kwh=None, **quarter))
    recorder.flush().result(LIMIT_S)
    assert recorder.close()
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    monkeypatch.delenv("SKERRY_SITE", raising=False)
    return tmp_path


def shown(*args: str) -> str:
    ran = CliRunner().invoke(jobs, args, catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    return ran.stdout


def test_without_a_gateway_the_record_is_read(record: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    since = ("--since", "2025-09-16T12:00", "--until", "2025-09-16T13:00")
    found = json.loads(shown(*since, "--json"))
    assert [job["id"] for job in found["jobs"]] == ["2", "1", "0"]
    assert found["site"]["load_wh"] == 9000
    monkeypatch.setattr("console.cli.jobs.PAGE", 2)
    rows = list(csv.DictReader(io.StringIO(shown(*since, "--csv"))))
    assert [row["kind"] for row in rows] == ["job", "job", "job", "jobs", "idle nodes", "rest", "load meter"]
    assert rows[0]["user"] == "'=cmd|'/c calc'!A1"
    groups = list(csv.DictReader(io.StringIO(shown(*since, "--by", "user", "--csv"))))
    assert [(row["kind"], row["user"], row["runs"]) for row in groups[:2]] == [
        ("group", "anna", "2"),
        ("group", "'=cmd|'/c calc'!A1", "1"),
    ]
    one = json.loads(shown(*since, "--user", "anna", "--json"))
    assert ([job["id"] for job in one["jobs"]], one["site"]) == (["1", "0"], None)
    assert "rest " in shown(*since)


def test_runs_are_compared_with_what_slurm_says(record: Path, tmp_path: Path) -> None:
    ran = tmp_path / "sacct"
    ran.write_text(f"JobID|Start|ConsumedEnergyRaw\n0|{T0:.0f}|7200000\n1|{T0:.0f}|7100000\n")
    since = ("--since", "2025-09-16T12:00", "--until", "2025-09-16T13:00")
    lines = shown("compare", str(ran), *since).splitlines()
    assert lines[1].split()[:5] == ["1", "anna", "2.000", "1.972", "+1.4"]
    assert lines[-1].startswith("1 are not in sacct's output")
    found = json.loads(shown("compare", str(ran), *since, "--part", "host", "--json"))
    assert (found["not_told"], found["compared"][1]["ours_wh"]) == (1, 600.0)
    ran.write_text("sacct: error: no database\n")
    refused = CliRunner().invoke(jobs, ["compare", str(ran)])
    assert "line 1: expected the columns" in str(refused.exception)


def test_one_output_is_asked_for_and_not_two() -> None:
    done = CliRunner().invoke(jobs, ["--csv", "--json"])
    assert done.exit_code == 2
    assert "--csv or --json, not both" in done.output


def test_the_group_takes_a_site_file_first() -> None:
    assert COMMANDS["jobs"][0] == "console.cli.jobs:jobs"
    ran = CliRunner().invoke(jobs, ["nowhere/site.toml", "--past"])
    assert ran.exit_code != 0
    assert "No such command" not in ran.output


async def test_a_prolog_reports_to_the_gateway(machine: Machine, gateway: LinkServer) -> None:
    ran = await machine.skerry(
        "jobs", "report", "start", "--job", "7_3", "--node", "n1", "--gpu", "GPU-1", "--gpu", "GPU-2"
    )
    assert ran.code != 0  # this gateway knows no such request: the hook goes on all the same
    assert "job.report" in ran.err
    ran = await machine.skerry("jobs", "progress", "7_3", "1200")
    assert ran.code != 0
    assert "job.progress" in ran.err
