"""The ablation: what is known in each way, its table, and that a loss by knowing more is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from test_bench_dispatch import a_folder

from benchmarks.ablation import WAYS, losses, main, setup_of, table
from benchmarks.dispatch import Result, Setup
from console.replay.compare import Comparison
from dispatch.billing.bill import Bill

FILE = Path("peaks.json")


def result(name: str, saved_eur: float, best_eur: float = 100.0) -> Result:
    def bill(total_eur: float) -> Bill:
        nothing = dict.fromkeys(("peak", "wear", "shed", "stored"), 0.0)
        kwh = dict.fromkeys(("import_kwh", "export_kwh", "throughput_kwh"), 0.0)
        return Bill(energy_eur=total_eur, **{f"{kind}_eur": eur for kind, eur in nothing.items()}, **kwh, peaks_w={})

    bills = {"none": bill(1000.0), "skerry": bill(1000.0 - saved_eur), "perfect_foresight": bill(1000.0 - best_eur)}
    return Result(name, Comparison(bills, ()), 0.0, 0.0, 0.0, 0.0, 0.0, 0, 0.0, 0.0)


def test_a_way_knows_what_its_name_says() -> None:
    known = {way: setup_of(way, Setup(step_s=900), 12.0, FILE) for way in WAYS}
    assert {way for way, setup in known.items() if setup.queue} == {"queue", "queue+billed"}
    assert {way for way, setup in known.items() if setup.notice_h == 12.0} == {"notice", "notice+billed"}
    assert {way for way, setup in known.items() if setup.billed == FILE} == {"billed", "queue+billed", "notice+billed"}
    assert all(setup.step_s == 900 for setup in known.values())


def test_a_month_that_loses_much_and_a_pooled_loss_are_named() -> None:
    results = {
        "nothing": {"a": result("a", 80.0), "b": result("b", 80.0)},
        "queue": {"a": result("a", 76.0), "b": result("b", 81.0)},
        "notice": {"a": result("a", 90.0), "b": result("b", 79.0)},
    }
    assert list(losses(results)) == [
        "queue against nothing: -1.5 points pooled: MISSED",
        "  a: -4.0 points: MISSED, at most 3 less is the goal",
        "notice against queue: +6.0 points pooled",
    ]
    head, *rows = table(results)
    assert head.split() == ["%", "nothing", "queue", "notice"]
    assert rows[0].split() == ["a", "80.0", "76.0", "90.0"]
    assert rows[2].split()[-3:] == ["80.0", "78.5", "84.5"]


def test_a_case_is_played_in_each_way_asked_for(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "spring", hours=1)
    header = "reference_start_utc,job_id,submit_utc,gpus,duration_s,time_limit_s,power_w"
    (folder / "jobs.csv").write_text(header + "\n")
    result = CliRunner().invoke(main, ["--cases", str(tmp_path), "--only", "nothing"])
    assert result.exit_code == 2, "no case has a packed job log"
    assert "expected folders with case.json and jobs.csv.gz" in result.output


@pytest.mark.parametrize(
    ("options", "said"),
    [(["--only", "gossip"], "expected some of nothing, queue"), (["--only", "billed"], "expected --billed FILE")],
)
def test_what_cannot_be_asked_is_refused(tmp_path: Path, options: list[str], said: str) -> None:
    folder = a_folder(tmp_path / "spring", hours=1)
    (folder / "jobs.csv.gz").touch()
    result = CliRunner().invoke(main, ["--cases", str(tmp_path), *options])
    assert result.exit_code == 2
    assert said in result.output
