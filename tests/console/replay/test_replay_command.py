"""`skerry replay` from files to files: what it writes, how it stops, what it says of bad input."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from replay_cases import CONFIG, HOURS, START, a_case, load_w, prices, pv_w, utc, write_csv

from console.cli.main import run
from console.cli.pictures import drawn
from console.cli.replay_report import _table
from console.replay.compare import compare
from console.replay.engine import Replay, Schedule
from dispatch.config.schema import CapsConfig
from gateway import exit_codes

SITE = Path(__file__).parents[3] / "sites" / "yardstick-de.toml"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """The options of a run of six hours."""
    market = prices().eur_per_mwh
    write_csv(tmp_path / "load.csv", "load_w", load_w())
    write_csv(tmp_path / "pv.csv", "pv_w", pv_w())
    write_csv(tmp_path / "prices.csv", "price_eur_per_mwh", [p or 0.0 for p in market], step_s=3600)
    return {
        "--load": str(tmp_path / "load.csv"),
        "--pv": str(tmp_path / "pv.csv"),
        "--prices": str(tmp_path / "prices.csv"),
        "--from": "2025-09-17",  # local midnight
        "--to": utc(START + 6 * 3600),
        "--step": "15m",
        "--out": str(tmp_path / "out"),
    }


def replay(options: dict[str, str]) -> int:
    return run(["replay", str(SITE), *(word for option in options.items() for word in option)])


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_it_writes_schedule_summary_and_chart(
    files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert replay(files) == 0
    schedule = rows(tmp_path / "out" / "schedule.csv")
    assert list(schedule[0]) == ["start_utc", "battery_w", "grid_w", "load_w", "pv_w", "soc", "shed_w", "curtailed_w"]
    assert [row["start_utc"] for row in schedule] == [utc(START + 900 * k) for k in range(24)]
    for row in schedule:
        balance = float(row["load_w"]) - float(row["pv_w"]) - float(row["battery_w"]) - float(row["shed_w"])
        assert float(row["grid_w"]) == pytest.approx(balance, abs=0.01)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["partial"] is False
    assert summary["plans"]["made"] == 24
    assert summary["soc_end"] == pytest.approx(float(schedule[-1]["soc"]))
    own = summary["strategies"]["skerry"]
    parts = own["energy_eur"] + own["peak_eur"] + own["wear_eur"] + own["shed_eur"] - own["stored_value_eur"]
    assert own["total_eur"] == pytest.approx(parts, abs=0.03)
    out = capsys.readouterr().out
    for name in ("no battery", "night-valley rule", "Skerry", "perfect foresight"):
        assert name in out


@pytest.mark.parametrize("shed_w", [0.0, 4_000.0])
def test_the_printed_parts_of_the_bill_add_up(shed_w: float) -> None:
    config = msgspec.structs.replace(CONFIG, caps=CapsConfig(value_eur_per_kwh=0.3, max_share=0.3))
    case = a_case(hours=1, config=config)
    schedule = Schedule(case.start_s, case.step_s)
    for _ in range(4):
        schedule.add(1_000.0, 20_000.0, 0.0, 49.0, shed_w)
    head, *lines = _table(compare(case, schedule))
    assert ("shed" in head) == bool(shed_w)
    assert len(lines) == 4
    for line in lines:
        total, *parts = [float(word) for word in line[18:].split()[: 4 + bool(shed_w)]]
        assert total == pytest.approx(sum(parts), abs=0.03), line


def test_a_price_of_co2_has_its_line_and_counts_in_what_is_captured_only() -> None:
    scored = []
    for terms in ({"co2_g_per_kwh": 400.0, "co2_eur_per_tonne": 250.0}, {"fee_eur_per_kwh": 0.15}, {}):
        tariff = msgspec.structs.replace(CONFIG.tariff, **terms)  # a fee of 5 ct is there in any case
        case = a_case(hours=1, config=msgspec.structs.replace(CONFIG, tariff=tariff))
        schedule = Schedule(case.start_s, case.step_s)
        for _ in range(4):
            schedule.add(1_000.0, 20_000.0, 0.0, 49.0)
        scored.append(compare(case, schedule))
    co2, fee, bare = scored
    assert co2.captured_pct("skerry") == pytest.approx(fee.captured_pct("skerry"))
    assert co2.bills["skerry"].total_eur == bare.bills["skerry"].total_eur
    *_, last = _table(co2)
    none = co2.bills["none"]
    assert none.co2_eur == pytest.approx(0.1 * none.import_kwh)
    assert last.startswith(f"CO2 at 250 EUR/t: no battery {none.co2_eur:.2f}, night-valley rule ")
    assert not any("CO2" in line for line in _table(bare))


def test_the_chart_is_drawn_where_the_home_directory_cannot_be_written(files: dict[str, str], tmp_path: Path) -> None:
    """Nothing but progress and notes on stderr, no display, no date in the file: signature, then these chunks."""
    arguments = ["replay", str(SITE), *(word for option in files.items() for word in option)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("XDG", "MPL", "DISPLAY"))}
    done = subprocess.run(
        [sys.executable, "-c", f"from console.cli.main import main; main({arguments!r})"],
        cwd=SITE.parents[1], env=environment | {"HOME": "/dev/null"},
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stderr.splitlines() if not line.startswith("skerry: note: ")]
    assert told == ["replay"], "the progress bar's label, where there is no terminal for the bar"
    data = (tmp_path / "out" / "chart.png").read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    chunks, at = [], 8
    while at < len(data):
        chunks.append(data[at + 4 : at + 8])
        at += 12 + int.from_bytes(data[at : at + 4])
    assert set(chunks) == {b"IHDR", b"pHYs", b"IDAT", b"IEND"}


def test_without_matplotlib_the_figures_are_there_and_what_to_install_is_named(
    files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # an import of it fails, as if it were not installed
    for module in ("console.plotting", "console.replay.picture"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    assert replay(files) == exit_codes.FAILED
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("skerry: ")]
    (error,) = [line for line in said if not line.startswith("skerry: note: ")]
    assert "chart.png is not drawn: matplotlib is not installed: pip install 'skerry[pictures]'" in error
    assert len(rows(tmp_path / "out" / "schedule.csv")) == 24
    assert not (tmp_path / "out" / "chart.png").exists()


def test_another_module_that_is_missing_is_not_taken_for_it(tmp_path: Path) -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module"), drawn(tmp_path / "chart.png"):
        import no_such_module  # noqa: F401


def test_ctrl_c_keeps_what_was_done(
    files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = Replay.run

    def interrupted(self: Replay) -> Iterator[Schedule]:
        for step, done in enumerate(whole(self)):
            if step == 9:
                os.kill(os.getpid(), signal.SIGINT)
            yield done

    monkeypatch.setattr(Replay, "run", interrupted)
    before = signal.getsignal(signal.SIGINT)
    assert replay(files) == 130
    assert signal.getsignal(signal.SIGINT) is before
    assert len(rows(tmp_path / "out" / "schedule.csv")) == 10
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["partial"] is True
    assert summary["to_utc"] == utc(START + 10 * 900)
    assert "interrupted after 42 %" in capsys.readouterr().err


def test_jobs_that_started_are_listed(files: dict[str, str], tmp_path: Path) -> None:
    log = tmp_path / "jobs.csv"
    lines = [f"j{k},{utc(START + s)}" for k, s in enumerate((-60, 60, 6 * 3600))]
    log.write_text("\n".join(["job_id,reference_start_utc", *lines, ""]))
    assert replay(files | {"--jobs": str(log)}) == 0
    started = rows(tmp_path / "out" / "jobs_started.csv")
    assert started == [{"job_id": "j1", "start_utc": utc(START + 60)}]


def test_an_earlier_result_is_named_before_it_is_replaced(
    files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short, out = files | {"--to": utc(START + 3600)}, tmp_path / "out"
    assert replay(short) == 0
    assert "replaced" not in capsys.readouterr().err
    (out / "jobs_started.csv").write_text("job_id,start_utc\n")
    (out / "mine.txt").write_text("kept")
    assert replay(short | {"--to": utc(START + 7200)}) == 0
    said = capsys.readouterr().err
    assert f"{out} held the result of {utc(START)} to {utc(START + 3600)}, step 900 s: it is replaced" in said
    assert sorted(path.name for path in out.iterdir()) == ["chart.png", "mine.txt", "schedule.csv", "summary.json"]
    (out / "summary.json").write_text("{")
    assert replay(short) == 0
    assert f"{out} held a summary.json that cannot be read" in capsys.readouterr().err


def test_what_must_be_asked_is_printed(
    files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Load in kW, PV in kW, prices in EUR/kWh, steps of jobs: each on its line, and in the summary."""
    write_csv(tmp_path / "load.csv", "load_w", [w / 1000 for w in load_w()])
    write_csv(tmp_path / "pv.csv", "pv_w", [w / 1000 for w in pv_w()])
    write_csv(tmp_path / "prices.csv", "price_eur_per_mwh", [(p or 0.0) / 1000 for p in prices().eur_per_mwh], 3600)
    (tmp_path / "jobs.csv").write_text(
        f"job_id,reference_start_utc\n7,{utc(START)}\n7.batch,{utc(START)}\n8\x1b[2J,{utc(START)}\n"
    )
    assert replay(files | {"--jobs": str(tmp_path / "jobs.csv")}) == 0
    said = capsys.readouterr().err
    for what in (
        "load.csv: the highest load is 0.048 kW beside a connection of 100.0 kW",
        "pv.csv: the highest PV power is 0.012 kW beside peak_w = 50.0 kW",
        "prices.csv: the highest price is 0.144 EUR/MWh",
        "Used as declared here; a gateway would not use the file",
        "jobs.csv: 1 row of steps, such as 7.batch",
    ):
        assert what in said
    assert "\x1b" not in said
    assert "\x1b" not in (tmp_path / "out" / "jobs_started.csv").read_text()
    notes = json.loads((tmp_path / "out" / "summary.json").read_text())["notes"]
    assert any("is the column in W" in note for note in notes)


def test_without_a_market_no_prices_are_needed(
    files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An hour at 0.50 EUR/kWh, and 100 kW contracted at 2 EUR; a site that follows the market says what is missing."""
    del files["--prices"]
    assert replay(files) == 2
    assert "--prices: expected a file of market prices" in capsys.readouterr().err
    text = SITE.read_text(encoding="utf-8")
    begin = text.index("[tariff]")
    tariff = """[tariff]
[[tariff.charge]]
id = "energy"
kind = "energy"
price = 0.5
[[tariff.charge]]
id = "contract"
kind = "contract"
price = 2
contract_kw = 100
"""
    site = tmp_path / "site.toml"
    site.write_text(text[:begin] + tariff + text[text.index("\n[", begin) :], encoding="utf-8")
    files["--to"] = utc(START + 3600)
    assert run(["replay", str(site), *(word for option in files.items() for word in option)]) == 0
    told = capsys.readouterr()
    assert "Each total has 200.00 EUR of contract, fixed and reactive charges." in told.out
    assert "prices:" not in told.err
    none = json.loads((tmp_path / "out" / "summary.json").read_text())["strategies"]["none"]
    assert none["standing_eur"] == 200
    assert none["total_eur"] == pytest.approx(0.5 * none["import_kwh"] + 200, abs=0.05)


def test_gaps_are_told(files: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(files["--load"])
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-40] + lines[-30:]))
    assert replay(files) == 0
    assert f"load.csv: 10 of {4 * HOURS} rows are missing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"--to": "2026-01-01"}, "load.csv: holds 2025-09-13T22:00:00Z to"),
        ({"--from": "soon"}, "'soon': expected an instant such as 2025-11-01"),
        ({"--to": "2025-09-17"}, "--to 2025-09-17 must be after --from 2025-09-17"),
        ({"--to": "2025-09-15"}, "--to 2025-09-15 must be after --from 2025-09-17"),
        ({"--to": "2025-09-15", "--step": "100ms"}, "--to 2025-09-15 must be after --from 2025-09-17"),
        ({"--from": "2025-09-17T00:00:07"}, "from 2025-09-16T22:00:07Z to 2025-09-17T04:00:00Z: expected whole steps"),
        ({"--step": "7m"}, "step of 420 s: expected to divide the metering interval of 900 s evenly"),
        ({"--prices": "nope.csv"}, "nope.csv: No such file or directory (see"),
        ({"--step": "fast"}, "'fast': expected a duration such as 5m"),
        ({"--load": "nowhere.csv"}, "nowhere.csv: No such file or directory"),
        ({"--pv": "PRICES"}, "expected the columns start_utc,pv_w or start_utc,power_w"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(
    files: dict[str, str], capsys: pytest.CaptureFixture[str], changes: dict[str, str], said: str
) -> None:
    if changes.get("--pv") == "PRICES":
        changes = {"--pv": files["--prices"]}
    assert replay(files | changes) == 2
    assert said in capsys.readouterr().err
    assert not Path(files["--out"]).exists()
