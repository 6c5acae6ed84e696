"""Sub-second replays: the controller at tick rate on the twin's physics, with a late meter and a slow PCS."""

from __future__ import annotations

import csv
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from replay_cases import START, prices, utc, write_csv

from console.cli.main import run
from console.replay.engine import Schedule
from console.replay.fine import FineCase, FineReplay, longest, mean_slopes, slopes
from console.replay.samples import Samples, read_samples
from console.replay.traces import TraceFileError
from gateway.site.loader import load
from gateway.site.schema import Site

SITE = """
[site]
name = "Fine"
[gateway]
rate_hz = {rate}
[io]
deadline_s = 0.04
[grid]
fuse_a = 160
contracted_peak_w = 30000
export_limit_w = 20000
meter_delay_max_s = 0.4
ramp_w_per_s = {ramp}
[rules]
deadband_w = 100
[[battery]]
id = "bat1"
energy_kwh = 50
[[pcs]]
id = "pcs1"
battery = "bat1"
charge_w = 40000
discharge_w = 40000
url = "tcp://127.0.0.1:1"
[[meter]]
id = "grid"
url = "tcp://127.0.0.1:2"
"""


def a_site(directory: Path, ramp_w_per_s: float, rate_hz: float = 10) -> Site:
    path = directory / "fine.toml"
    path.write_text(SITE.format(ramp=ramp_w_per_s, rate=rate_hz))
    return load(path)


def pulses(seconds: int, low_w: float, high_w: float, period_s: int) -> Samples:
    """A load that jumps between two powers, sampled every 100 ms."""
    times = [START * 1000 + 100 * k for k in range(10 * seconds)]
    return Samples(times, [high_w if k // (10 * period_s) % 2 else low_w for k in range(10 * seconds)])


def played(site: Site, seconds: int, load_: Samples, **changes: object) -> FineReplay:
    given: dict[str, object] = {"meter_delay_s": 0.2, "pcs_lag_s": 0.3} | changes
    replay = FineReplay(
        FineCase(
            site=site, prices=prices(), load=load_, pv=None, start_s=START, end_s=START + seconds, step_ms=100,
            soc_pct=60.0, **given,
        )  # type: ignore[arg-type]
    )  # fmt: skip
    for _ in replay.run():
        pass
    return replay


def test_jumps_of_the_load_become_slopes_at_the_pcc(tmp_path: Path) -> None:
    """20 kW up and down every 20 s: after delay and lag import follows the limit of 1 kW/s, without it it does not."""
    limited = played(a_site(tmp_path, 1_000), 60, pulses(60, 5_000, 25_000, 20))
    ramp = limited.extremes()["ramp"]
    assert ramp["net_load_max_w_per_s_of_1s_means"] == pytest.approx(20_000)
    assert ramp["import_longest_above_limit_s"] < 2.5  # delay, lag and the second that is looked at
    assert ramp["net_load_max_w_per_s_of_10s_means"] == pytest.approx(2_000)
    assert ramp["import_max_w_per_s_of_10s_means"] <= 1_000
    free = played(a_site(tmp_path, 0), 60, pulses(60, 5_000, 25_000, 20))
    assert free.extremes()["ramp"]["import_max_w_per_s_of_10s_means"] > 1_500
    assert limited.plan_counts.safe_steps == 0
    done = limited.schedule
    assert len(done) == 600
    assert min(done.load_w) == 5_000
    assert max(map(abs, done.battery_w)) <= 40_000


def test_a_quicker_plant_strays_for_a_shorter_time(tmp_path: Path) -> None:
    site = a_site(tmp_path, 1_000)
    quick = played(site, 40, pulses(40, 5_000, 25_000, 20), meter_delay_s=0.05, pcs_lag_s=0.05)
    slow = played(site, 40, pulses(40, 5_000, 25_000, 20), meter_delay_s=0.4, pcs_lag_s=1.0)
    above = [run_.extremes()["ramp"]["import_above_limit_s"] for run_ in (quick, slow)]
    assert above[0] < above[1]


def test_the_interval_budget_holds_on_a_load_that_jumps(tmp_path: Path) -> None:
    """Half the time 60 kW, half 10: 35 kW as a mean, 30 contracted; the battery holds the mean of the interval."""
    run_ = played(a_site(tmp_path, 0, rate_hz=2), 900, pulses(900, 10_000, 60_000, 15))
    found = run_.extremes()["interval"]
    assert found["whole"] == 1
    assert found["net_load_max_w"] == pytest.approx(35_000, rel=0.02)
    assert found["import_max_w"] <= 30_000
    assert found["means"][0]["start_utc_s"] == START


def test_what_comes_after_changes_nothing_before(tmp_path: Path) -> None:
    """The load after 12.3 s may be anything: every row before is the same."""
    site, plain = a_site(tmp_path, 1_000), pulses(20, 5_000, 25_000, 7)
    other = Samples(plain.times_ms, [w if k < 123 else 40_000 for k, w in enumerate(plain.w)])
    first, second = (played(site, 20, load_).schedule for load_ in (plain, other))
    for name in ("battery_w", "load_w", "soc_pct"):
        assert getattr(first, name)[:123] == getattr(second, name)[:123], name
    assert first.load_w[123:] != second.load_w[124:]


def test_seconds_add_up_to_what_the_steps_say(tmp_path: Path) -> None:
    run_ = played(a_site(tmp_path, 0), 30, pulses(30, 5_000, 25_000, 7))
    _, whole = run_.by_second()
    assert len(whole) == 30
    assert sum(whole.battery_w) * 10 == pytest.approx(sum(run_.schedule.battery_w))
    assert whole.soc_pct[-1] == run_.schedule.soc_pct[-1]


def test_slopes_and_runs() -> None:
    assert slopes([0, 1, 3, 2], 2, 0.5) == [3, 1]
    assert mean_slopes([0, 2, 3, 3, 9], 2, 0.5) == [2, 3.5]
    assert longest([True, False, True, True, False]) == 2
    assert longest([]) == 0


# ── samples ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_samples_are_held_until_the_next_and_repeat_if_asked(tmp_path: Path) -> None:
    path = tmp_path / "gpu.csv"
    lines = ["start_utc,gpu_power_w"]
    lines += [f"2025-09-16T22:00:0{s}Z,{w}" for s, w in (("0.945", 100), ("1.059", 200), ("1.159", 300), ("6.0", 400))]
    path.write_text("\n".join([*lines, ""]))
    samples = read_samples(path, 10.0)
    start = samples.start_ms
    assert [samples.at(start + ms) for ms in (-5, 0, 113, 114, 300, 6000, 99_000)] == [
        1000,
        1000,
        1000,
        2000,
        3000,
        4000,
        4000,
    ]
    assert samples.notes == (
        "gpu.csv: 1 gaps of up to 4.8 s: the last value held",
        "gpu.csv: the power of its GPUs alone (gpu_power_w), times 10",
    )
    samples.repeat = True
    length = samples.end_ms - start
    assert samples.at(start + length + 120) == 2000
    assert samples.at(start - length + 120) == 2000


def test_samples_that_cannot_be_played_are_told_by_line(tmp_path: Path) -> None:
    path = tmp_path / "load.csv"
    path.write_text(
        "start_utc,load_w\n2025-09-16T22:00:00Z,1\nnow,2\n2025-09-16T22:00:00Z,-3\n2025-09-16T21:00:00Z,4\n"
    )
    with pytest.raises(TraceFileError) as caught:
        read_samples(path)
    assert str(caught.value).splitlines() == [
        f"{path}:3: start_utc = 'now': expected ISO 8601 such as 2025-09-16T06:00:00.100Z",
        f"{path}:4: load_w = '-3': expected a power in W, >= 0 and at most 1e+09",
        f"{path}:5: start_utc = '2025-09-16T21:00:00Z': expected an instant after the row before it",
    ]
    path.write_text("node,start_utc,load_w\na\n")
    with pytest.raises(TraceFileError, match=":2: expected 3 columns, node,start_utc,load_w, found 1"):
        read_samples(path)
    path.write_text("t,w\n1,2\n")
    with pytest.raises(TraceFileError, match=":1: expected the columns start_utc,load_w or start_utc,power_w or"):
        read_samples(path)


# ── the command ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def options(tmp_path: Path) -> dict[str, str]:
    a_site(tmp_path, 1_000)
    rows = [
        f"{utc(START + s)[:-1]}.{ms:03}Z,{500 if (s // 5) % 2 else 100}"
        for s in range(20)
        for ms in range(0, 1000, 100)
    ]
    (tmp_path / "gpus.csv").write_text("\n".join(["start_utc,gpu_power_w", *rows, ""]))
    write_csv(tmp_path / "prices.csv", "price_eur_per_mwh", [p or 0.0 for p in prices().eur_per_mwh], step_s=3600)
    return {
        "--load": str(tmp_path / "gpus.csv"),
        "--prices": str(tmp_path / "prices.csv"),
        "--from": utc(START),
        "--to": utc(START + 30),
        "--step": "100ms",
        "--load-scale": "40",
        "--out": str(tmp_path / "out"),
    }


def replay(options: dict[str, str], *flags: str) -> int:
    site = Path(options["--out"]).parent / "fine.toml"
    return run(["replay", str(site), *(word for option in options.items() for word in option), *flags])


def test_the_command_writes_rows_of_100_ms_and_the_extremes(
    options: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert replay(options, "--repeat") == 0
    with (tmp_path / "out" / "schedule.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 300
    assert rows[1]["start_utc"] == utc(START)[:-1] + ".100Z"
    for row in rows:
        balance = float(row["load_w"]) - float(row["pv_w"]) - float(row["battery_w"])
        assert float(row["grid_w"]) == pytest.approx(balance, abs=0.01)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["step_s"] == 0.1
    assert summary["ramp"]["limit_w_per_s"] == 1000
    assert summary["ramp"]["net_load_max_w_per_s_of_1s_means"] == pytest.approx(16_000)
    assert summary["strategies"]["skerry"]["captured_pct"] is None  # half a minute says nothing of it
    assert summary["interval"]["whole"] == 0
    assert set(summary["strategies"]) == {"none", "night_valley", "skerry", "perfect_foresight"}
    assert summary["twin"] == {"meter_delay_s": 0.2, "pcs_lag_s": 0.3}
    assert (tmp_path / "out" / "chart.png").exists()
    said = capsys.readouterr()
    assert "no metering interval was played from end to end" in said.out
    assert "gpus.csv: the power of its GPUs alone (gpu_power_w), times 40" in said.err


def test_ctrl_c_keeps_the_seconds_that_are_done(
    options: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = FineReplay.run

    def interrupted(self: FineReplay) -> Iterator[Schedule]:
        for step, done in enumerate(whole(self)):
            if step == 24:
                os.kill(os.getpid(), signal.SIGINT)
            yield done

    monkeypatch.setattr(FineReplay, "run", interrupted)
    assert replay(options, "--repeat") == 130
    with (tmp_path / "out" / "schedule.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 25
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["partial"], summary["to_utc"]) == (True, utc(START + 2))
    assert "interrupted after 8 %" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "flags", "said"),
    [
        ({}, (), "expected all of --from"),
        ({"--step": "300ms"}, ("--repeat",), "step of 300 ms: expected to divide a second"),
        ({"--step": "7s"}, ("--repeat",), "step of 7000 ms: expected to divide a second"),
        ({"--jobs": "x.csv"}, ("--repeat",), "--jobs: expected a --step of at least 10 s"),
        ({"--step": "5m"}, ("--repeat",), "--repeat, --meter-delay, --pcs-lag: expected a --step below 10 s"),
        ({"--step": "10500ms"}, (), "expected whole seconds from 10 s on, not 10500 ms"),
        ({"--meter-delay": "soon"}, ("--repeat",), "'soon': expected a duration such as 5m, 60s or 100ms"),
    ],
)
def test_bad_usage(
    options: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, str],
    flags: tuple[str, ...],
    said: str,
) -> None:
    assert replay(options | changes, *flags) == 2
    assert said in capsys.readouterr().err
