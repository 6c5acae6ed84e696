"""Traces from files: means, gaps, duplicates, local times, and every error with its line."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from console.replay.traces import LOAD_COLUMNS, Trace, TraceFileError, instant, read_trace, utc

HEAD = "start_utc,load_w\n"


def written(path: Path, rows: list[str], head: str = HEAD) -> Path:
    path.write_text(head + "\n".join(rows) + "\n", encoding="utf-8")
    return path


def minutes(*values: str) -> list[str]:
    return [f"2025-09-16T06:{n:02d}:00Z,{value}" for n, value in enumerate(values)]


def test_means_over_part_of_a_row_and_over_several() -> None:
    trace = Trace(0, 60, [100.0, 200.0, 300.0])
    assert trace.mean_w(0, 180) == pytest.approx(200.0)
    assert trace.mean_w(30, 90) == pytest.approx(150.0)
    assert trace.mean_w(60, 70) == pytest.approx(200.0)
    assert trace.means_w(0, 180, 60) == pytest.approx([100.0, 200.0, 300.0])
    assert trace.mean_w(180, 240) == pytest.approx(300.0)  # after the end: held


def test_gzip_and_plain_read_alike(tmp_path: Path) -> None:
    plain = written(tmp_path / "a.csv", minutes("100", "200"))
    packed = tmp_path / "a.csv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    for path in (plain, packed):
        trace = read_trace(path, LOAD_COLUMNS)
        assert (trace.start_s, trace.step_s, list(trace.w)) == (instant("2025-09-16T06:00:00Z"), 60, [100.0, 200.0])


def test_gaps_are_held_and_told(tmp_path: Path) -> None:
    rows = minutes("100", "200", "", "nan", "500", "-3", "700")
    del rows[1]
    trace = read_trace(written(tmp_path / "load.csv", [rows[0], *rows[1:], "2025-09-16T06:07:00Z,800"]), LOAD_COLUMNS)
    assert list(trace.w) == [100, 100, 100, 100, 500, 500, 700, 800]
    assert trace.notes == ("load.csv: 4 of 8 rows are missing or no power (3 unreadable): the last held",)


def test_the_same_row_twice_is_taken_once_another_value_is_an_error(tmp_path: Path) -> None:
    rows = [*minutes("100", "200"), "2025-09-16T06:01:00Z,200"]
    trace = read_trace(written(tmp_path / "a.csv", rows), LOAD_COLUMNS)
    assert list(trace.w) == [100, 200]
    assert "twice" in trace.notes[0]
    with pytest.raises(TraceFileError, match=r"a\.csv:4: 2025-09-16T06:01:00Z was given before as 200 W, now 999 W"):
        read_trace(written(tmp_path / "a.csv", [*rows[:2], "2025-09-16T06:01:00Z,999"]), LOAD_COLUMNS)


def test_local_times_are_refused_with_the_reason(tmp_path: Path) -> None:
    """In October an hour comes twice: only UTC says which one is meant."""
    rows = ["2025-10-26T02:30:00,100", "2025-10-26T02:30:00+02:00,100"]
    with pytest.raises(TraceFileError) as caught:
        read_trace(written(tmp_path / "a.csv", rows), LOAD_COLUMNS)
    assert str(caught.value).count("expected UTC, ending in Z") == 2


@pytest.mark.parametrize(
    ("head", "rows", "said"),
    [
        ("when,load_w\n", minutes("1", "2"), r"a\.csv:1: expected the columns start_utc,load_w or start_utc,power_w"),
        (HEAD, minutes("1"), "expected at least two rows"),
        (HEAD, [], "expected at least two rows"),
        (HEAD, ["yesterday,1", "2025-09-16T06:01:00Z,2"], r"a\.csv:2: start_utc = 'yesterday': expected ISO 8601"),
        (HEAD, [*minutes("1", "2"), "2025-09-16T06:02:30Z,3"], "expected rows evenly spaced by 60 s"),
    ],
)
def test_what_cannot_be_used_says_where_and_what_was_expected(
    tmp_path: Path, head: str, rows: list[str], said: str
) -> None:
    with pytest.raises(TraceFileError, match=said):
        read_trace(written(tmp_path / "a.csv", rows, head), LOAD_COLUMNS)


def test_not_gzip(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_text("start_utc,load_w\n")
    with pytest.raises(TraceFileError, match=r"expected gzip.*drop the suffix"):
        read_trace(path, LOAD_COLUMNS)


def test_many_errors_are_not_all_shown(tmp_path: Path) -> None:
    with pytest.raises(TraceFileError) as caught:
        read_trace(written(tmp_path / "a.csv", [f"day {n},1" for n in range(9)]), LOAD_COLUMNS)
    assert len(str(caught.value).splitlines()) == 6
    assert "and 4 more lines" in str(caught.value)


def stamps(*offsets_s: int) -> list[str]:
    """Rows of 1000 W times their number, each so far from its quarter hour."""
    begin = 1_758_002_400
    return [f"{utc(begin + 900 * k + off)},{1000 * (k + 1)}" for k, off in enumerate(offsets_s)]


def test_rows_seconds_off_their_grid_are_taken_on_it_and_told(tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path / "load.csv", stamps(2, 0, 5, -3, 0, 1)), LOAD_COLUMNS)
    assert (trace.step_s, list(trace.w)) == (900, [1000, 2000, 3000, 4000, 5000, 6000])
    assert trace.notes == ("load.csv: 4 of 6 rows are up to 5 s off their grid of 15 min: taken on it",)
    missing = stamps(2, 0, 5, -3, 0, 1)
    del missing[3]
    trace = read_trace(written(tmp_path / "load.csv", missing), LOAD_COLUMNS)
    assert list(trace.w) == [1000, 2000, 3000, 3000, 5000, 6000]
    assert any("1 of 6 rows are missing" in note for note in trace.notes)
    late = read_trace(written(tmp_path / "load.csv", stamps(3, 3, 3, 3)), LOAD_COLUMNS)
    assert (late.start_s % 900, late.step_s, late.notes) == (3, 900, ())


@pytest.mark.parametrize("offsets", [(0, 200, 0, 0), (0, 0, 701, -103, 0)])
def test_rows_without_a_grid_are_refused(tmp_path: Path, offsets: tuple[int, ...]) -> None:
    with pytest.raises(TraceFileError, match=r"load.csv: 2025-09-16T\d\d:\d\d:\d\dZ: expected rows evenly spaced by"):
        read_trace(written(tmp_path / "load.csv", stamps(*offsets)), LOAD_COLUMNS)


def test_a_line_break_within_quotes_ends_no_row(tmp_path: Path) -> None:
    head = 'start_utc,note,load_w\n# a comment with a "quote\n'
    rows = ['2025-09-16T06:00:00Z,"two\n# lines, and\n\nmore",1', "2025-09-16T06:15:00Z,\u2028\x1c,2", "x,y,3"]
    with pytest.raises(TraceFileError, match=r"^[^\n]*load.csv:8: start_utc = 'x'") as caught:
        read_trace(written(tmp_path / "load.csv", rows, head), LOAD_COLUMNS)
    assert len(str(caught.value).splitlines()) == 1
    assert list(read_trace(written(tmp_path / "load.csv", rows[:2], head), LOAD_COLUMNS).w) == [1, 2]
