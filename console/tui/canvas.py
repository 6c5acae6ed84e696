"""A grid of character cells that views draw on. No Textual here: what is drawn can be tested as text.

Every view draws at fixed places on a fresh canvas. `changed` finds the cells that differ from the last one, and only
these are sent to the terminal.
"""

from __future__ import annotations

from collections.abc import Sequence

from console.display.ink import Ink
from console.display.wrapping import character_columns, columns, fitting
from console.terminal_output import plain_character

FILLED = frozenset((Ink.REVERSE, Ink.MARK))  # inks that show on a blank too


class Canvas:
    """`width` x `height` cells, blank at first. Drawing outside is cut off, never an error."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.text: list[list[str]] = [[" "] * width for _ in range(height)]
        self.ink: list[list[Ink]] = [[Ink.PLAIN] * width for _ in range(height)]

    def put(self, x: int, y: int, text: str, ink: Ink = Ink.PLAIN) -> int:
        """Write `text` from column `x`; returns the column after it. A wide character takes two cells."""
        if not 0 <= y < self.height:
            return x + columns(text)
        row, inks = self.text[y], self.ink[y]
        for char in text:
            taken = character_columns(char)
            if not char.isprintable():
                char = "�"
            if taken and x >= 0 and x + taken <= self.width:
                row[x], inks[x] = char, ink
                if taken == 2:
                    row[x + 1], inks[x + 1] = "", ink
            x += taken
        return x

    def fit(self, x: int, y: int, texts: Sequence[str], ink: Ink = Ink.PLAIN) -> int:
        """Write the first of some texts, the longest first, that leaves the last column blank, the last one cut.

        What stands beside this canvas, another widget or the terminal's edge, is then never touched.
        """
        return self.put(x, y, fitting(texts, self.width - 1 - x), ink)

    def right(self, x: int, y: int, text: str, ink: Ink = Ink.PLAIN) -> int:
        """Write `text` so that it ends before column `x`; returns the column it starts in."""
        start = x - columns(text)
        self.put(start, y, text, ink)
        return start

    def fill(self, y: int, ink: Ink) -> None:
        """Give the whole row `y` one ink, the text kept."""
        if 0 <= y < self.height:
            self.ink[y] = [ink] * self.width

    def ink_column(self, x: int, top: int, bottom: int, ink: Ink) -> None:
        """Give column `x` one ink in the rows from `top` to before `bottom`, the text kept."""
        for y in range(top, min(bottom, self.height)):
            if 0 <= x < self.width:
                self.ink[y][x] = ink

    def dim(self) -> None:
        """Make everything that is plain dim: the values are no longer fresh."""
        for y, inks in enumerate(self.ink):
            self.ink[y] = [Ink.DIM if ink is Ink.PLAIN else ink for ink in inks]

    def to_ascii(self) -> None:
        """Replace what is not ASCII, cell for cell; a wide character by two."""
        for y, row in enumerate(self.text):
            if not all(map(str.isascii, row)) or "" in row:
                self.text[y] = [c if c and c.isascii() else plain_character(c) for c in row]

    def runs(self, y: int) -> list[tuple[str, Ink]]:
        """Row `y` as the fewest runs of one ink. A blank takes on its left neighbour's ink where that shows nothing."""
        result: list[tuple[str, Ink]] = []
        start, inks, row = 0, self.ink[y], self.text[y]
        for x in range(1, self.width):
            ink, current = inks[x], inks[start]
            if ink is current or (row[x] == " " and ink not in FILLED and current not in FILLED):
                continue
            result.append(("".join(row[start:x]), current))
            start = x
        if self.width:
            result.append(("".join(row[start:]), inks[start]))
        return result

    def lines(self) -> list[str]:
        """The text alone, a line per row."""
        return ["".join(row) for row in self.text]

    def changed(self, other: Canvas) -> list[tuple[int, int, int]]:
        """Where this differs from `other`, of the same size: (row, first column, column after the last).

        Whole characters: of a wide one whose second cell is as it was, the terminal would get half, which is a blank.
        """
        spans: list[tuple[int, int, int]] = []
        for y in range(self.height):
            text, was_text, ink, was_ink = self.text[y], other.text[y], self.ink[y], other.ink[y]
            if text == was_text and ink == was_ink:
                continue
            differ = [x for x in range(self.width) if text[x] != was_text[x] or ink[x] != was_ink[x]]
            start, end = differ[0], differ[-1] + 1
            start -= start > 0 and "" in (text[start], was_text[start])
            end += end < self.width and "" in (text[end], was_text[end])
            spans.append((y, start, end))
        return spans
