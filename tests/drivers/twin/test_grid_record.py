"""A recorded blackout: the twin leaves it at its own windows, the controller follows its contact and waits its time."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_drill_lockstep import Bench, S

from drivers.twin.commands import answer
from drivers.twin.grid_record import RecordError, player, read_record

RECORD = """t_s,v,hz
0,230,50.00
0.5,228,49.8
1.0,205,48.9
1.5,140,47.9
2.0,20,46.0
"""


def test_a_record_is_followed_within_two_ticks_and_left_only_after_the_wait(tmp_path: Path) -> None:
    path = tmp_path / "blackout.csv"
    path.write_text(RECORD)
    bench = Bench(pv_peak_w=0.0)
    assert b'"ok":true' in answer(bench.site, b'{"grid_record": "%s"}' % str(path).encode())
    opened_s = followed_s = None
    for _ in range(20):
        decision = bench.tick()
        if opened_s is None and not bench.site.joined:
            opened_s = bench.site.t_s
        if followed_s is None and decision.island is S.ISLANDED:
            followed_s = bench.site.t_s
    assert opened_s is not None
    assert followed_s is not None
    assert followed_s - opened_s <= 2 * 0.2 + 1e-6
    assert 0.5 < opened_s - 5.0 < 2.0, "it left before the record ended, at its own windows"
    bench.run(30)
    assert not any(d.switch for d in bench.decisions), "nothing is asked on a dead grid"
    answer(bench.site, b'{"grid_record": ""}')
    back_s = bench.site.t_s
    bench.until(lambda d: d.switch is not None and d.switch.action == "close")
    assert bench.site.t_s - back_s >= bench.storm.code.wait_s
    bench.until(lambda d: d.island is S.GRID_TIED)
    assert bench.site.unserved_wh == 0


def test_a_brown_out_is_left_and_not_returned_to(tmp_path: Path) -> None:
    bench = Bench(pv_peak_w=0.0)
    answer(bench.site, b'{"sag": 0.7}')
    bench.run(120)
    assert bench.decisions[-1].island is S.ISLANDED
    assert not any(d.switch for d in bench.decisions)
    answer(bench.site, b'{"sag": 1}')
    bench.until(lambda d: d.island is S.GRID_TIED)


def test_values_go_in_a_straight_line_and_stay_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("t_s,v,hz\n3,230,50\n4,130,48\n")
    at = player(read_record(path), 10.0)
    assert at(9.9) is None
    assert at(10.5) == pytest.approx((180, 49))
    assert at(99.0) == (130, 48)


@pytest.mark.parametrize(
    ("text", "says"),
    [("a,b\n1,2\n", "line 1: expected the columns t_s,v,hz"), ("t_s,v,hz\n", "at least one row"),
     ("t_s,v,hz\n0,230,x\n", "line 2: expected three numbers"), ("t_s,v,hz\n1,1,1\n1,1,1\n", "line 3: .*growing t_s")],
)  # fmt: skip
def test_a_record_that_cannot_be_played_says_where(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "r.csv"
    path.write_text(text)
    with pytest.raises(RecordError, match=says):
        read_record(path)
