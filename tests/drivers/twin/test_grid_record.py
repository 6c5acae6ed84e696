"""A recorded blackout: the PCS leaves it at its own windows, the controller follows the contact and waits its time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from test_drill_lockstep import Bench, S

from drivers.twin.commands import answer
from drivers.twin.config import TwinConfig
from drivers.twin.grid_record import RecordError, Row, player, read_record
from drivers.twin.lockstep import LockstepSite
from drivers.twin.protection import PROFILES, Protection

NOMINAL_V = 230.0


def order(bench: Bench, **what: Any) -> dict[str, Any]:
    reply: dict[str, Any] = json.loads(answer(bench.site, json.dumps(what).encode()))
    assert reply["ok"], reply
    return reply


def write(path: Path, points: list[tuple[float, float, float]], step_s: float) -> Path:
    """A CSV through some points (s, V, Hz), in straight lines, sampled every `step_s`."""
    at = player([Row(*p) for p in points], 0.0)
    count = round(points[-1][0] / step_s)
    rows = [(n * step_s, *list(at(n * step_s))[1:]) for n in range(count + 1)]  # type: ignore[misc, call-overload]
    path.write_text("t_s,v,hz\n" + "".join(f"{t:.3f},{v:.3f},{hz:.4f}\n" for t, v, hz in rows))
    return path


SAG_THEN_COLLAPSE = [(0.0, 230, 50.0), (0.3, 229, 49.9), (0.35, 165, 49.6), (1.0, 160, 48.0), (1.5, 140, 47.0),
                     (1.7, 40, 46.0), (2.0, 0, 45.0)]  # fmt: skip
OVERVOLTAGE_THEN_COLLAPSE = [(0.0, 238, 50.0), (0.8, 262, 49.6), (1.2, 300, 49.0), (1.5, 80, 48.0), (2.0, 0, 47.0)]
BROWN_OUT = [(0.0, 230, 50.0), (0.1, 170, 49.8), (6.0, 168, 49.9), (6.2, 226, 50.0)]


def play(bench: Bench, path: Path, ticks: int) -> tuple[float, float, float]:
    """Play it; when it began, when the switch opened and when the controller was islanded."""
    bench.lockstep = LockstepSite(bench.site, bench.lockstep.clock)  # in steps of 20 ms, fine enough for the windows
    began_s = bench.site.t_s
    order(bench, grid_record=str(path))
    opened_s = followed_s = None
    for _ in range(ticks):
        decision = bench.tick()
        assert decision.switch is None, "nothing is asked of the switch"
        if opened_s is None and not bench.site.joined:
            opened_s = bench.site.t_s
        if followed_s is None and decision.island is S.ISLANDED:
            followed_s = bench.site.t_s
    assert opened_s is not None
    assert followed_s is not None
    assert followed_s - opened_s <= 2 * 0.2 + 1e-6, "within two ticks of the contact"
    return began_s, opened_s, followed_s


@pytest.mark.parametrize("step_s", [0.001, 0.02, 0.1])
@pytest.mark.parametrize(
    ("points", "stage"), [(SAG_THEN_COLLAPSE, "f<"), (OVERVOLTAGE_THEN_COLLAPSE, "U>>")], ids=["sag", "overvoltage"]
)
def test_a_blackout_is_left_at_the_pcs_own_windows_and_followed(
    tmp_path: Path, points: list[tuple[float, float, float]], stage: str, step_s: float
) -> None:
    bench = Bench(pv_peak_w=0.0)
    path = write(tmp_path / "blackout.csv", points, step_s)
    began_s, opened_s, _ = play(bench, path, 20)
    assert bench.site.pcs[0].tripped.startswith(stage)
    assert opened_s - began_s < 2.0, "before the voltage was gone"
    bench.run(30)
    assert not any(d.switch for d in bench.decisions), "nothing is asked on a dead grid"
    order(bench, grid_record="")
    back_s = bench.site.t_s
    bench.until(lambda d: d.switch is not None and d.switch.action == "close")
    assert bench.site.t_s - back_s >= bench.storm.code.wait_s
    bench.until(lambda d: d.island is S.GRID_TIED)
    assert bench.site.unserved_wh == 0
    assert bench.site.load_w > 0


def test_the_switch_sees_a_collapse_that_no_window_has_time_for(tmp_path: Path) -> None:
    bench = Bench(pv_peak_w=0.0)
    path = write(tmp_path / "cut.csv", [(0.0, 230, 50.0), (1.0, 230, 50.0), (1.001, 0, 50.0), (2.0, 0, 50.0)], 0.001)
    began_s, opened_s, _ = play(bench, path, 12)
    assert opened_s - began_s <= 1.2 + 1e-6
    assert bench.site.pcs[0].tripped == ""
    assert bench.site.switches[0].last_transfer_ms == 20
    assert bench.site.unserved_wh == 0


def test_a_brown_out_that_flaps_is_waited_out_and_each_time_longer(tmp_path: Path) -> None:
    bench = Bench(pv_peak_w=0.0)
    path, asked = write(tmp_path / "brown-out.csv", BROWN_OUT, 0.05), []
    for _ in range(3):
        began_s, opened_s, _ = play(bench, path, 30)
        assert opened_s - began_s == pytest.approx(0.1 + 3.0, abs=0.3), "U< after its 3 s"
        assert bench.site.pcs[0].tripped.startswith("U<")
        bench.until(lambda d: d.switch is not None and d.switch.action == "close", 600)
        asked.append(bench.site.t_s - (began_s + 6.2))
        bench.until(lambda d: d.island is S.GRID_TIED)
        bench.run(5)
        bench.decisions.clear()
    wait_s = bench.storm.code.wait_s
    assert asked == [pytest.approx(wait_s * 2**n, abs=2.0) for n in range(3)]
    assert all(a >= wait_s * 2**n - 1e-6 for n, a in enumerate(asked))
    assert bench.site.unserved_wh == 0


def test_a_grid_outside_the_window_after_its_blackout_is_not_closed_onto(tmp_path: Path) -> None:
    bench = Bench(pv_peak_w=0.0)
    points = [*SAG_THEN_COLLAPSE, (3.0, 0.0, 0.0), (3.1, 200.0, 50.4), (4.0, 228.0, 50.3)]  # back, and too fast
    play(bench, write(tmp_path / "r.csv", points, 0.02), 40)
    bench.run(120)
    assert bench.decisions[-1].island is S.ISLANDED
    assert not any(d.switch for d in bench.decisions)
    order(bench, clear="all")
    bench.until(lambda d: d.island is S.GRID_TIED)


def test_a_brown_out_is_left_and_not_returned_to() -> None:
    bench = Bench(pv_peak_w=0.0)
    order(bench, sag=0.7)
    bench.run(120)
    assert bench.decisions[-1].island is S.ISLANDED
    assert not any(d.switch for d in bench.decisions)
    order(bench, sag=1)
    bench.until(lambda d: d.island is S.GRID_TIED)


def test_values_go_in_a_straight_line_and_stay_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("t_s,v,hz\n3,230,50\n4,130,48\n")
    at = player(read_record(path, NOMINAL_V).rows, 10.0)
    assert at(9.9) is None
    assert at(10.5) == pytest.approx((0.5, 180 / 230, 49))
    assert at(99.0) == pytest.approx((89.0, 130 / 230, 48))


def test_after_its_end_the_grid_flutters_as_a_real_one(tmp_path: Path) -> None:
    """A meter whose figures stand still to the last digit is not believed."""
    bench = Bench(pv_peak_w=0.0)
    path = tmp_path / "r.csv"
    path.write_text("t_s,v,hz\n0,230,50\n2,225,49.98\n")
    order(bench, grid_record=str(path))
    bench.run(4)
    grid = bench.site.grid
    assert grid.hz(bench.site.t_s) != grid.hz(bench.site.t_s - 1)
    assert grid.v(bench.site.t_s, 0.0) == pytest.approx(225, abs=3)
    order(bench, grid_record="")


# ── windows ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def stages() -> Iterator[tuple[str, int]]:
    for profile, found in PROFILES.items():
        yield from ((profile, n) for n in range(len(found)))


@pytest.mark.parametrize(("profile", "n"), stages())
def test_each_window_trips_after_its_time_and_not_before(profile: str, n: int) -> None:
    stage = PROFILES[profile][n]
    beyond = stage.limit + (0.001 if stage.side == "above" else -0.001)
    v, hz = (beyond, 0.0) if stage.quantity == "v" else (1.0, beyond)
    protection, dt_s = Protection([stage]), stage.for_s / 100
    for _ in range(99):
        assert protection.step(dt_s, v, hz) == ""
    assert protection.step(dt_s, 1.0, 0.0) == "", "a moment inside begins it anew"
    assert all(protection.step(dt_s, v, hz) == "" for _ in range(99))
    assert protection.step(dt_s, v, hz).startswith(stage.name)


def test_profiles_are_in_order() -> None:
    """What is further out trips no later."""
    for found in PROFILES.values():
        for a, b in pairwise(sorted((s for s in found if s.side == "below"), key=lambda s: (s.quantity, s.limit))):
            assert a.quantity != b.quantity or a.for_s <= b.for_s
    assert msgspec.convert({"trip_profile": "ieee-1547-cat-3"}, TwinConfig).trip_profile in PROFILES


# ── the file ────────────────────────────────────────────────────────────────────────────────────────────────────────

SHARES = [(0.0, 1.0, 50.0), (0.5, 0.5, 49.0)]


@pytest.mark.parametrize(
    "text",
    [
        "t_s,v,hz\n0,230,50\n0.5,115,49\n",
        "hz,v,t_s\n50,230,7\n49,115,7.5\n",
        "Time (s);Voltage [V];Frequency [Hz]\n0,0;230,0;50,0\n0,5;115,0;49,0\n",
        "t_ms\tv_pu\tfreq\n0\t1.0\t50\n500\t0.5\t49\n",
        "# a recorder\n\nt,v,f\n0,1,50\n0.5,0.5,49\n",
        "time,u_kv,f_hz\n0,0.23,50\n0.5,0.115,49\n",
        "t_s,v_pct,hz\n0,100,50\n0.5,50,49\n",
        "t_s,v,hz\n0,398.37,50\n0.5,199.19,49\n",
        "t_s,v_l1,v_l2,v_l3,hz\n0,230,231,229,50\n0.5,114,116,115,49\n",
        "t,va [V],vb [V],vc [V],f,quality\n0,230,230,230,50,good\n0.5,115,115,115,49,good\n",
        "t_s,v,hz\n0,277,60\n0.5,138.5,58.8\n",
        "t_s,v,f_pu\n0,230,1\n0.5,115,0.98\n",
        "t_s,v [kV],hz\n0,410,50\n0.5,205,49\n",
        "0,230,50\n0.5,115,49\n",
        "t_s v_rms_pu hz\n0 1.0 50\n0.5 0.5 49\n",
        "timestamp,v,hz\n2025-04-28T10:33:20.000Z,230,50\n2025-04-28T10:33:20.500Z,115,49\n",
        "\ufefft_s, v, hz\n0, 230, 50\n0, 230, 50\n0.5, 115, 49\n",
    ],
)
def test_many_ways_to_write_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / "r.csv"
    path.write_text(text, encoding="utf-8")
    rows = read_record(path, NOMINAL_V).rows
    assert [tuple(row) for row in rows] == [pytest.approx(s, abs=2e-3) for s in SHARES]


@pytest.mark.parametrize(
    ("lost", "note"),
    [
        ("0.2,NaN,NaN", "1 row without numbers skipped (line 3)"),
        ("0.2,NaN,50\nnan,230,50\n0.3,n/a,50", "3 rows without numbers skipped (line 3)"),
        ("0.2,null,", "1 row without numbers skipped (line 3)"),
    ],
)
def test_rows_that_were_lost_are_skipped_and_told(tmp_path: Path, lost: str, note: str) -> None:
    path = tmp_path / "r.csv"
    path.write_text(f"t_s,v,hz\n0,230,50\n{lost}\n0.4,207,49\n")
    record = read_record(path, NOMINAL_V)
    assert record.rows == (Row(0.0, 1.0, 50.0), Row(0.4, 0.9, 49.0))
    assert record.note.endswith(note)


def test_an_empty_frequency_stays_what_it_was_and_nominals_can_be_told(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("t_s,v,hz\n0,9900,59.9\n1,0,\n")
    record = read_record(path, NOMINAL_V, nominal_v=11_000, nominal_hz=60)
    assert [r.v_share for r in record.rows] == pytest.approx([0.9, 0.0])
    assert record.rows[1].hz == pytest.approx(59.9 * 50 / 60)
    assert "nominal 11000 V as told" in record.note
    assert "from 60 to 50 Hz" in record.note


@pytest.mark.parametrize(
    ("text", "says"),
    [("a,b\n1,2\n", "line 1: no column for time"), ("t_s,v,hz\n", "at least one row"), ("", "a header line"),
     ("t_s,v,hz\nnow,230,50\n", "line 2: expected a number for the time, found 'now'"),
     ("t_s,v\n0,1\n", "no column for frequency"), ("t_s,t,v,hz\n0,0,1,50\n", "more than one column for time"),
     ("t_s,v,hz\n0,230,x\n", "line 2: expected a number for the frequency, found 'x'"),
     ("t_s,v,hz\n0,,50\n", "line 2: expected a number for the voltage"),
     ("t_s,v,hz\n0,230\n", "line 2: expected a number for the frequency"),
     ("t_s,v,hz\n0,nan,50\n", "expected at least one row with numbers"),
     ("t_s,v,hz\n0,inf,50\n", "a finite voltage"), ("t_s,v,hz\n0,-1,50\n", "at least 0"),
     ("t_s,v,hz\n1,230,50\n0.9,1,1\n", "line 3: expected times that grow")],
)  # fmt: skip
def test_a_record_that_cannot_be_played_says_where(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "r.csv"
    path.write_text(text)
    with pytest.raises(RecordError, match=says):
        read_record(path, NOMINAL_V)
