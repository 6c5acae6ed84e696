"""Figures in running text and in columns."""

from __future__ import annotations

import math

import pytest

from dispatch.wording.formatting import action, countdown, fixed, kw, kw_column, minutes, one_line, span


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("shot-0420|a", "shot-0420|a"),
        ("two\nlines\r", "two lines"),
        ("\x1b[31mred\x1b]0;title\x07", "[31mred ]0;title"),
        ("a\u202eb\u2028c\x9bd\u200b", "a b c d"),
        ("Größe ✓", "Größe ✓"),
    ],
)
def test_text_from_outside_is_one_line_without_control(text: str, shown: str) -> None:
    assert one_line(text) == shown
    assert one_line(text).isprintable()


@pytest.mark.parametrize(
    ("w", "text", "column"),
    [
        (18_449.0, "18.4 kW", " 18.4"),
        (-20.0, "0.0 kW", "  0.0"),
        (-3_000.0, "-3.0 kW", " -3.0"),
        (123_456.0, "123.5 kW", "123.5"),
        (1_234_567.0, "1234.6 kW", " 1235"),
        (None, "— kW", "    —"),
    ],
)
def test_powers(w: float | None, text: str, column: str) -> None:
    assert kw(w) == text
    assert kw_column(w, 5) == column


def test_a_column_without_a_width_cuts_nothing() -> None:
    assert kw_column(1_234_567.0) == "1234.6"
    assert (kw_column(math.inf), kw_column(-math.inf), kw_column(None)) == ("∞", "-∞", "—")
    assert fixed(123_456.0, 3) == "###"


@pytest.mark.parametrize(("seconds", "text"), [(45, "45 s"), (900, "15 min"), (9_000, "2 h 30 min"), (7_200, "2 h")])
def test_spans(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_what_a_battery_does_and_how_long_it_lasts() -> None:
    assert [action(w) for w in (18_400.0, -3_000.0, 30.0)] == ["discharge 18.4 kW", "charge 3.0 kW", "battery at 0 kW"]
    assert [minutes(s) for s in (5_700, 9_000)] == ["95 min", "2.5 h"]
    assert countdown(425.9) == "7:05"
