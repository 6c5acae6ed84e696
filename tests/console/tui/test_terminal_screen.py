"""What is sent for a frame leaves the terminal as the frame itself would, with fewer bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.screen_cells import ScreenCells
from console.tui.terminal_screen import TerminalScreen

COLUMNS, ROWS = 24, 4
WORDS = ["31.2 kW", "  ", "a" * 30, "─" * 9, "x", " " * 24, "▲H"]
INKS = ["", "2", "1;31", "7", "38;5;166", "39;49", "2;39;49"]

pieces = st.tuples(st.integers(1, ROWS), st.integers(1, COLUMNS), st.sampled_from(WORDS), st.sampled_from(INKS))
frames = st.lists(pieces, min_size=1, max_size=6)


def painted(pieces: list[tuple[int, int, str, str]]) -> str:
    """A frame as Textual writes it: a move, a text with all its attributes, a reset."""
    parts = []
    for row, column, word, ink in pieces:
        word = word[: COLUMNS + 1 - column]
        parts.append(f"\x1b[{row};{column}H" + (f"\x1b[{ink}m{word}\x1b[0m" if ink else word))
    return "".join(parts) + "\x1b[1;1H"


def seen(screen: ScreenCells) -> list[list[tuple[str, str]]]:
    """The cells, without attributes that nobody sees: those of a blank that is not reversed, the default colours."""
    rows = []
    for row in screen.cells:
        known = [(char, ";".join(n for n in ink.split(";") if n not in ("39", "49"))) for char, ink in row]
        rows.append([(char, "" if char == " " and ink != "7" else ink) for char, ink in known])
    return rows


@given(st.lists(frames, min_size=1, max_size=5))
def test_the_terminal_shows_what_the_frames_say(drawn: list[list[tuple[int, int, str, str]]]) -> None:
    plain, lean = ScreenCells(COLUMNS, ROWS), ScreenCells(COLUMNS, ROWS)
    screen = TerminalScreen(COLUMNS, ROWS)
    for pieces in drawn:
        frame = painted(pieces)
        plain.feed(frame.encode())
        lean.feed(screen.changes(frame).encode())
        assert seen(lean) == seen(plain)
        assert not lean.queries


def test_a_digit_costs_a_digit() -> None:
    screen = TerminalScreen(80, 24)
    screen.changes("\x1b[1;1H" + "x" * 60 + "14:32:08 \x1b[2mCET\x1b[0m")
    assert screen.changes("\x1b[1;1H" + "x" * 60 + "14:32:09 \x1b[2mCET\x1b[0m") == "\x1b[1;68H\x1b[m9"
    assert screen.changes("\x1b[1;1H" + "x" * 60 + "14:32:09 \x1b[2mCET\x1b[0m") == ""


def test_a_row_of_blanks_is_erased_and_a_reversed_one_written() -> None:
    screen = TerminalScreen(80, 24)
    assert screen.changes("\x1b[3;1H" + " " * 80) == "\x1b[3H\x1b[m\x1b[K"
    assert screen.changes("\x1b[3;1H\x1b[7m" + " " * 80 + "\x1b[0m") == "\x1b[7m" + " " * 80


def test_wide_characters_take_two_cells_and_what_follows_them_is_moved_to() -> None:
    """A terminal may take them for narrow; what stands behind must not move with them."""
    screen = TerminalScreen(20, 1)
    assert screen.changes("\x1b[1;1H日本 up") == "\x1b[1H\x1b[m日\x1b[1;3H本\x1b[1;5H up"


def test_what_is_not_a_frame_passes_and_nothing_is_known_behind_it() -> None:
    screen = TerminalScreen(20, 2)
    assert screen.changes("\x1b[1;1Hab\x1b[2J") == "\x1b[1;1Hab\x1b[2J"
    assert screen.changes("\x1b[1;1Hab") == "\x1b[1H\x1b[mab"


@pytest.mark.parametrize("place", ["\x1b[9;1H", "\x1b[1;30H"])
def test_what_lies_outside_is_not_sent(place: str) -> None:
    assert TerminalScreen(20, 2).changes(place + "ab") == ""
