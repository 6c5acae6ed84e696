"""Numbers, bars, charts and the canvas: as text, without Textual."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.display import formats
from console.display.ink import Ink
from console.display.wrapping import columns, cut, wrap
from console.tui.canvas import Canvas
from console.tui.charts import Raster, bar, mark_at, nice_ceiling, strip


@pytest.mark.parametrize(
    ("watts", "text"),
    [
        (31_240, " 31.2"),
        (0, "  0.0"),
        (-20, "  0.0"),
        (131_260, "131.3"),
        (1_312_600, " 1313"),
        (-18_400, "-18.4"),
        (None, "    —"),
    ],
)
def test_kilowatts_keep_their_width(watts: float | None, text: str) -> None:
    assert formats.kw(watts) == text


@given(st.floats(-1e12, 1e12), st.integers(3, 9))
def test_a_number_never_leaves_its_place(value: float, width: int) -> None:
    assert len(formats.number(value, width)) == width


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *[(0, "0s"), (4.9, "4s"), (99.9, "99s"), (100, "1m"), (5999, "99m"), (6000, "1h")],
        *[(172_800, "2d"), (1e12, "99d"), (None, "—")],
    ],
)
def test_age(seconds: float | None, text: str) -> None:
    assert formats.age(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(48, "48 s"), (840, "14 min"), (7560, "2 h 06"), (1e9, "> 99 h"), (-5, "0 s"), (None, "—")]
)
def test_duration(seconds: float | None, text: str) -> None:
    assert formats.duration(seconds) == text


def test_times_are_the_sites_across_a_change_of_clocks() -> None:
    before, after = 1761440399, 1761440400  # 2025-10-26T00:59:59Z and a second later: summer time ends
    assert formats.clock_zone(before, "Europe/Oslo") == "02:59:59 CEST"
    assert formats.clock_zone(after, "Europe/Oslo") == "02:00:00 CET"


def test_bar_fills_in_eighths_and_a_missing_value_is_blank() -> None:
    assert bar(50, 100, 4) == "██  "
    assert bar(100 / 32, 100, 4) == "▏   "
    assert bar(None, 100, 4) == "    "
    assert bar(500, 100, 4) == "████"
    assert bar(10, 0, 4) == "    "
    assert mark_at(100, 100, 8) == 7


def test_strip_spans_lowest_to_highest_and_leaves_gaps() -> None:
    assert strip([0, None, 7, 3.5]) == "▁ █▅"
    assert strip([None, None]) == "  "
    assert strip([5, 5]) == "▁▁"


@given(st.floats(1e-6, 1e12))
def test_the_scale_holds_the_value_and_is_not_twice_too_large(value: float) -> None:
    top = nice_ceiling(value)
    assert value <= top * (1 + 1e-6) <= 2 * value * (1 + 1e-3)
    assert nice_ceiling(math.nan) == 1.0


def test_a_line_is_joined_and_a_gap_stays_a_gap() -> None:
    raster = Raster(2, 1, 0, 3)
    raster.line([0, 3, None, 0])
    assert raster.rows() == ["⡸⢀"]


def test_a_rising_line_leaves_no_hole_between_its_ends() -> None:
    raster = Raster(1, 2, 0, 7)
    raster.line([0, 7])
    assert raster.rows() == ["⢸", "⡸"]


def test_limit_and_band() -> None:
    raster = Raster(2, 1, 0, 3)
    raster.dashed([3.0] * 4)
    assert raster.rows() == ["⠉ "]
    banded = Raster(1, 1, 0, 3)
    banded.band([1.0, None], [3.0, 3.0])
    assert banded.rows() != [" "]


def test_canvas_cuts_what_is_outside_and_knows_wide_characters() -> None:
    canvas = Canvas(4, 1)
    canvas.put(-1, 0, "abcdef")
    assert canvas.lines() == ["bcde"]
    canvas.put(0, 5, "nothing")
    wide = Canvas(4, 1)
    assert wide.put(0, 0, "湾x") == 3
    assert wide.lines() == ["湾x "]


def test_canvas_draws_no_control_characters() -> None:
    canvas = Canvas(6, 1)
    canvas.put(0, 0, "a\x1b[2Jb")
    assert canvas.lines() == ["a�[2Jb"]


def test_only_changed_cells_are_named() -> None:
    first, second = Canvas(10, 2), Canvas(10, 2)
    first.put(0, 0, "12:00:01")
    second.put(0, 0, "12:00:02")
    assert second.changed(first) == [(0, 7, 8)]
    second.put(0, 1, "x", Ink.BOLD)
    assert (1, 0, 1) in second.changed(first)


@pytest.mark.parametrize(("was", "now", "span"), [("现在", "当时", (0, 0, 4)), ("无压", "有压", (0, 0, 2))])
def test_a_wide_character_that_changed_is_sent_whole(was: str, now: str, span: tuple[int, int, int]) -> None:
    first, second, bold = Canvas(8, 1), Canvas(8, 1), Canvas(8, 1)
    first.put(0, 0, was)
    second.put(0, 0, now)
    assert second.changed(first) == [span]
    bold.put(0, 0, was)
    bold.ink_column(3, 0, 1, Ink.BOLD)  # of the second cell of a character
    assert bold.changed(first) == [(0, 2, 4)]


def test_runs_are_few_and_blanks_do_not_break_them() -> None:
    canvas = Canvas(9, 1)
    canvas.put(0, 0, "ab", Ink.DIM)
    canvas.put(4, 0, "cd", Ink.DIM)
    assert canvas.runs(0) == [("ab  cd   ", Ink.DIM)]
    canvas.fill(0, Ink.REVERSE)
    assert canvas.runs(0) == [("ab  cd   ", Ink.REVERSE)]


@given(st.text(alphabet="ab ", max_size=60), st.integers(3, 12), st.integers(1, 4))
def test_wrapped_lines_fit(text: str, width: int, rows: int) -> None:
    lines = wrap(text, width, rows)
    assert len(lines) <= rows
    assert all(len(line) <= width for line in lines)
    if "".join(text.split()) != "".join("".join(lines).split()):
        assert lines[-1].endswith("…")


WHY = (
    "charge 2.4 kW — plan: 7.3 kWh left in the interval up to the planned peak 132.1 kW (13:40 to go, import at most "
    "131.8 kW)"
)


@pytest.mark.parametrize("width", range(12, 80))
@pytest.mark.parametrize("rows", [1, 2, 3])
def test_no_figure_is_cut_or_loses_its_unit(width: int, rows: int) -> None:
    """131.8 kW is never shown as 13…, 131.8… or on two lines."""
    for line in (*wrap(WHY, width, rows), cut(WHY, width), cut(WHY[40:], width)):
        assert columns(line) <= width
        for figure in re.findall(r"(?<![\w.])\d[\d.:]*(?: ?[^\s)…]*)", line):
            assert re.fullmatch(r"(2\.4|132\.1|131\.8|1\.8) kW|7\.3 kWh|13:40( to)?", figure.strip()), line


def test_a_why_fits_into_its_two_rows_at_80_columns() -> None:
    assert "…" not in "".join(wrap(WHY, 69, 2))


def test_cut_says_that_it_cut() -> None:
    assert cut("gateway", 4) == "gat…"
    assert cut("gate", 4) == "gate"
