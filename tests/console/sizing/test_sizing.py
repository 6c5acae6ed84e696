"""Sizing: what may be typed, what a point is, and a sweep from files to files; the same on a Dask cluster."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import signal
import subprocess
import sys
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
from replay_cases import CONFIG, FIRST, START, load_w, prices, pv_w, utc, write_csv

from console.cli.main import run
from console.replay.compare import compare
from console.replay.engine import Case, Replay
from console.replay.traces import Trace
from console.sizing.maps import terminal
from console.sizing.sweep import Base, Outcome, Point, configured, play, points, values
from console.sizing.workers import WorkersFailed, outcomes
from dispatch.config.tariff_terms import TariffTerms

HOURS = 6
SITES = Path(__file__).parents[3] / "sites"


def a_base(hours: float = HOURS) -> Base:
    return Base(
        config=CONFIG,
        tariffs={"now": CONFIG.tariff, "dearer": TariffTerms(fee_eur_per_kwh=0.2, demand_eur_per_kw_month=20)},
        prices=prices(),
        load=Trace(FIRST, 900, load_w()),
        pv=Trace(FIRST, 900, pv_w()),
        pv_kwp=12.0,
        start_s=START,
        end_s=START + int(hours * 3600),
        step_s=900,
    )


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("50..200kWh/50", (50, 100, 150, 200)),
        ("50..120 kWh/50", (50, 100)),
        ("100", (100,)),
        ("100kwh, 50, 100", (50, 100)),
        ("0..1kWh/0.5", (0, 0.5, 1)),
    ],
)
def test_sizes_are_ranges_or_lists(text: str, found: tuple[float, ...]) -> None:
    assert values(text, "kWh") == pytest.approx(found)


@pytest.mark.parametrize("text", ["", "50..", "many", "200..50kWh/10", "1..9kWh/0", "0..1000kWh/1", "50 kW", "-5"])
def test_other_sizes_are_refused_with_what_was_expected(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected kWh as 50\.\.200kWh/25, or as a list"):
        values(text, "kWh")


def test_points_are_every_combination() -> None:
    found = points((50, 100), (25, 50), (0, 10), ("a", "b"))
    assert len(set(found)) == 16
    with pytest.raises(ValueError, match="2500 points: expected at most 2000"):
        points(range(50), range(50), (0,), ("a",))


def test_a_point_is_the_site_with_another_battery() -> None:
    config = configured(a_base(), Point("dearer", 12.0, 200.0, 25.0))
    assert (config.energy_kwh, config.charge_w, config.discharge_w) == (200, 25_000, 25_000)
    assert config.tariff.demand_eur_per_kw_month == 20
    assert config.reserve == CONFIG.reserve
    none = configured(a_base(), Point("now", 12.0, 0.0, 25.0))
    assert (none.batteries, none.pcs, none.reserve_kwh) == ((), (), 0)


def test_a_point_is_what_the_replay_of_that_site_says() -> None:
    base, point = a_base(), Point("now", 6.0, 100.0, 50.0)
    outcome = play(base, point)
    assert outcome is not None
    half = Trace(FIRST, 900, [w / 2 for w in pv_w()])
    case = Case(
        config=CONFIG, prices=base.prices, load=base.load, pv=half, start_s=base.start_s, end_s=base.end_s, step_s=900
    )
    replay = Replay(case)
    for _ in replay.run():
        pass
    bills = compare(case, replay.schedule).bills
    assert (outcome.none_eur, outcome.own_eur) == (bills["none"].total_eur, bills["skerry"].total_eur)
    saved = outcome.saving_pct("battery")
    assert saved == pytest.approx(100 * (1 - bills["skerry"].total_eur / bills["none"].total_eur))
    with_pv = outcome.saving_pct("site")
    assert with_pv is not None
    assert with_pv >= (saved or 0.0)


def test_a_reserve_that_does_not_fit_is_told_and_no_figure_is_made_up() -> None:
    outcome = play(a_base(), Point("now", 12.0, 10.0, 50.0))
    assert outcome is not None
    assert outcome.saving_pct("battery") is None
    assert outcome.why.startswith("reserve.hours = 1.0: expected a reserve that fits: 10 kWh needs SoC")


def test_no_battery_saves_nothing() -> None:
    outcome = play(a_base(), Point("now", 12.0, 0.0, 50.0))
    assert outcome is not None
    assert outcome.saving_pct("battery") == 0


def test_a_point_stops_when_told() -> None:
    assert play(a_base(), Point("now", 12.0, 100.0, 50.0), lambda: True) is None


def outcome(kwh: float, own_eur: float | None) -> Outcome:
    why = "" if own_eur is not None else "too small"
    return Outcome(point=Point("de", 10.0, kwh, 50.0), why=why, bare_eur=200.0, none_eur=100.0, own_eur=own_eur)


def test_the_map_marks_where_the_wanted_saving_holds() -> None:
    asked = [Point("de", 10.0, kwh, 50.0) for kwh in (50, 100, 150, 200)]
    lines = terminal([outcome(50, None), outcome(100, 65.0), outcome(150, 59.9)], asked, 40.0, "battery")
    assert lines[:6] == [
        "saving %, tariff de, PV 10 kWp",
        "               50 kW",
        "200 kWh           · ",
        "150 kWh        40.1*",
        "100 kWh        35.0 ",
        "50 kWh            x ",
    ]
    assert lines[7:] == [
        "most      40.1 % of the bill without the battery: 150 kWh, 50 kW, PV 10 kWp, tariff de",
        "wanted    40 % holds at 1 of 2 points (*)",
        "smallest  150 kWh, 50 kW, PV 10 kWp, tariff de",
        "x         too small",
        "partial   3 of 4 points were played",
    ]
    more = terminal([outcome(100, 65.0), outcome(150, 59.9)], asked[1:3], 90.0, "site")
    assert "wanted    90 % holds at 0 of 2 points" in more


def test_what_was_done_before_a_stop_is_kept() -> None:
    asked = [Point("de", 10.0, kwh, 50.0) for kwh in (50, 100, 150)]
    futures: dict[Point, Future[Outcome | None]] = {point: Future() for point in asked}
    futures[asked[1]].set_result(outcome(100, 65.0))
    futures[asked[2]].set_result(None)  # stopped on the way
    found = []

    def stopped() -> bool:
        return bool(found)

    for one in outcomes(futures.__getitem__, asked, stopped):
        found.append(one)
    assert [one.point.energy_kwh for one in found] == [100]
    assert futures[asked[0]].cancelled()


def test_a_process_that_ends_on_its_own_is_told() -> None:
    broken: Future[Outcome | None] = Future()
    broken.set_exception(BrokenProcessPool("gone"))
    with pytest.raises(WorkersFailed, match="a process ended on its own, out of memory"):
        list(outcomes(lambda point: broken, [Point("de", 10.0, 50.0, 50.0)], lambda: False))


# ── from files to files ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def options(tmp_path: Path) -> dict[str, str]:
    write_csv(tmp_path / "load.csv", "load_w", load_w())
    write_csv(tmp_path / "pv.csv", "pv_w", pv_w())
    write_csv(tmp_path / "prices.csv", "price_eur_per_mwh", [p or 0.0 for p in prices().eur_per_mwh], step_s=3600)
    return {
        "--load": str(tmp_path / "load.csv"),
        "--pv": str(tmp_path / "pv.csv"),
        "--prices": str(tmp_path / "prices.csv"),
        "--from": utc(START),
        "--to": utc(START + HOURS * 3600),
        "--energy": "50,200",
        "--power": "100",
        "--want": "5%",
        "--out": str(tmp_path / "out"),
        "--jobs": "2",
    }


def arguments(options: dict[str, str]) -> list[str]:
    return ["size", str(SITES / "yardstick-de.toml"), *(word for option in options.items() for word in option)]


def test_a_sweep_writes_map_and_rows(
    options: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments(options)) == 0
    with (tmp_path / "out" / "sizing.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["energy_kwh"], row["power_kw"]) for row in rows] == [("50.0", "100.0"), ("200.0", "100.0")]
    small, large = rows
    assert small["note"] == ""
    assert float(large["saving_battery_pct"]) >= float(small["saving_battery_pct"])
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["partial"] is False
    assert (tmp_path / "out" / "map.png").read_bytes().startswith(b"\x89PNG")
    out, err = capsys.readouterr()
    assert "6 h bears the demand charge of a whole month" in err
    assert "saving %, tariff yardstick-de, PV 50 kWp" in out
    assert f"{float(large['saving_battery_pct']):.1f}" in out


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"--energy": "lots"}, "'lots': expected kWh as 50..200kWh/25"),
        ({"--to": "2027-01-01"}, "load.csv: holds"),
        ({"--nodes": "2", "--node-kw": "nan"}, "expected both, and a power above 0 kW"),
        ({"--step": "7m"}, "--step 7m: expected 1m or more that divides 900 s"),
        ({"--load": "nowhere.csv"}, "nowhere.csv: No such file or directory"),
        ({"--want": "much"}, "'much': expected a percentage such as 80%"),
        ({"--want": "140%"}, "140 %: expected at most 100 %"),
        ({"--to": "2025-09-17"}, "--to 2025-09-17 must be after --from"),
        ({"--from": utc(START + 60)}, "expected whole steps of 15m between them"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(
    options: dict[str, str], capsys: pytest.CaptureFixture[str], changes: dict[str, str], said: str
) -> None:
    assert run(arguments(options | changes)) == 2
    assert said in capsys.readouterr().err
    assert not Path(options["--out"]).exists()


def test_a_site_without_pv_has_nothing_to_scale(options: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    without = {name: value for name, value in options.items() if name != "--pv"}
    assert run(arguments(without | {"--pv-kwp": "10"})) == 2
    assert "--pv-kwp: expected --pv with it" in capsys.readouterr().err


def test_ctrl_c_keeps_the_points_that_are_done(options: dict[str, str], tmp_path: Path) -> None:
    """As a person does it: one SIGINT to the whole group of processes, once the first point is done."""
    many = options | {"--energy": "50..250kWh/5", "--jobs": "1", "--to": utc(START + 12 * 3600)}
    process = subprocess.Popen(
        [sys.executable, "-c", PROBE, *arguments(many)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env=os.environ | {"PYTHONPATH": str(SITES.parent)},
    )  # fmt: skip
    assert process.stderr is not None
    assert "one is done\n" in iter(process.stderr.readline, ""), "after what it has to note"
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=240)
    assert process.returncode == 130, said
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["partial"] is True
    assert 1 <= summary["played"] < summary["points"] == 41
    with (tmp_path / "out" / "sizing.csv").open() as file:
        assert len(list(csv.DictReader(file))) == summary["played"]


PROBE = """
import sys
import console.sizing.workers as workers
from console.cli.main import run
whole = workers.outcomes
def telling(*arguments):
    for outcome in whole(*arguments):
        yield outcome
        print("one is done", file=sys.stderr, flush=True)
workers.outcomes = telling
if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
"""

CLUSTER = """
import sys
from distributed import LocalCluster
if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1") as cluster:
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()
"""


def test_without_dask_or_a_scheduler_it_says_what_to_do(
    options: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert run(arguments(options | {"--scheduler": "tcp://127.0.0.1:1"})) == 1
    assert "--scheduler needs Dask: pip install 'skerry[dask]'" in capsys.readouterr().err


@pytest.mark.soak
@pytest.mark.timeout(300)
@pytest.mark.skipif(
    not os.environ.get("SKERRY_SOAK") or importlib.util.find_spec("distributed") is None,
    reason="starts a Dask cluster: make soak, with the extra [dask]",
)
def test_a_dask_cluster_gives_the_same(options: dict[str, str], tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(SITES.parent)}
    script = tmp_path / "cluster.py"
    script.write_text(CLUSTER)
    pipe = subprocess.PIPE
    cluster = subprocess.Popen([sys.executable, str(script)], stdin=pipe, stdout=pipe, text=True, env=environment)
    assert cluster.stdout is not None
    address = cluster.stdout.readline().strip()
    here, there = tmp_path / "here", tmp_path / "there"
    for out, more in ((here, {}), (there, {"--scheduler": address})):
        command = [sys.executable, "-m", "skerry", *arguments(options | {"--out": str(out)} | more)]
        subprocess.run(command, check=True, env=environment, timeout=120)
    cluster.communicate(timeout=60)
    assert (here / "sizing.csv").read_text() == (there / "sizing.csv").read_text()
