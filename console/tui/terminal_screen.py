"""What the terminal shows, cell by cell: of a frame that Textual paints, only the cells that differ are sent.

Textual writes a changed row from the left end of its widget up to the change, each piece of text with all its
attributes and a reset behind it. Here the frame is taken apart, compared with what is on the terminal, and written
anew: cursor moves to what changed, attributes where they change, "erase to the end of the line" for blanks. These are
sequences of ECMA-48 that a VT100 knows: CUP, CUF, SGR, EL.
"""

from __future__ import annotations

import re
from functools import lru_cache

from console.display.wrapping import character_columns

TOKEN = re.compile(r"\x1b\[(?:(\d+);(\d+)H|([\d;]*)m)|([^\x1b\n]+)|\n")
DEFAULT_COLOURS = frozenset(("", "0", "39", "49"))  # attributes that a reset has already
SEEN_ON_BLANK = re.compile(r"(?:^|;)(?:4|7|9|21|48|53|4[0-7]|10[0-7])(?:;|$)")  # underline, reverse, a background, …
SHORT_GAP = 4  # cells that are cheaper written again than skipped: CUF takes four bytes
ERASE = "\x1b[K"
LEAST_ERASED = 4

Cell = tuple[str, str] | None  # character and attributes; "" behind a wide one; None: not known
BLANK: Cell = (" ", "")


class TerminalScreen:
    """The cells of a terminal of `width` x `height`. `changes` gives what to send for a frame."""

    def __init__(self, width: int, height: int) -> None:
        self._rows: list[list[Cell]] = []
        self._cursor: tuple[int, int] | None = None  # column, row
        self._attributes: str | None = None
        self.forget(width, height)

    def forget(self, width: int, height: int) -> None:
        """Nothing that was sent holds any more: another size, or something else has written on the terminal."""
        self._rows = [[None] * width for _ in range(height)]
        self._cursor = self._attributes = None

    def changes(self, frame: str) -> str:
        """What to send for the frame. One that holds more than moves, attributes and text is sent as it is."""
        wanted = self._taken_apart(frame)
        if wanted is None:
            self.forget(len(self._rows[0]) if self._rows else 0, len(self._rows))
            return frame
        out: list[str] = []
        for y in sorted(wanted):
            self._write_row(y, wanted[y], out)
        return "".join(out)

    def move_to(self, x: int, y: int) -> str:
        """What moves the cursor there."""
        out: list[str] = []
        self._cursor = None
        self._move(x, y, out)
        return "".join(out)

    def _taken_apart(self, frame: str) -> dict[int, dict[int, Cell]] | None:
        """The cells that the frame writes, by row and column; None for a frame that is not understood."""
        wanted: dict[int, dict[int, Cell]] = {}
        x = y = end = 0
        attributes = ""
        for token in TOKEN.finditer(frame):
            if token.start() != end:
                return None
            end = token.end()
            row, column, sgr, text = token.groups()
            if row is not None:
                x, y = int(column) - 1, int(row) - 1
            elif sgr is not None:
                attributes = _attributes(attributes, sgr)
            elif text is not None:
                x = _put(wanted.setdefault(y, {}), x, text, attributes)
        return wanted if end == len(frame) else None

    def _write_row(self, y: int, wanted: dict[int, Cell], out: list[str]) -> None:
        """Send the cells of a row that differ; those outside the terminal are left out."""
        if not 0 <= y < len(self._rows):
            return
        shown = self._rows[y]
        width = len(shown)
        differ = sorted(x for x, cell in wanted.items() if 0 <= x < width and shown[x] != cell)
        for x in differ:
            shown[x] = wanted[x]
        blank_from = width
        while blank_from > 0 and shown[blank_from - 1] == BLANK:
            blank_from -= 1
        erased = [x for x in differ if x >= blank_from]
        if len(erased) >= LEAST_ERASED:
            differ = differ[: -len(erased)]
        else:
            erased = []
        for x in differ:
            self._write_cell(x, y, out)
        if erased:
            self._move(erased[0], y, out)
            self._attribute("", out)
            out.append(ERASE)

    def _write_cell(self, x: int, y: int, out: list[str]) -> None:
        cell = self._rows[y][x]
        if cell is None or not cell[0]:  # the second half of a wide character comes with the first
            return
        self._move(x, y, out)
        if not self._suits(cell):
            self._attribute(cell[1], out)
        out.append(cell[0])
        after = x + character_columns(cell[0])
        known = cell[0].isascii() or after == x + 1
        self._cursor = (after, y) if known and after < len(self._rows[y]) else None

    def _move(self, x: int, y: int, out: list[str]) -> None:
        if self._cursor == (x, y):
            return
        if self._cursor is not None and self._cursor[1] == y and self._cursor[0] < x:
            out.append(self._over(self._rows[y][self._cursor[0] : x]))
        else:
            out.append(f"\x1b[{y + 1};{x + 1}H" if x else f"\x1b[{y + 1}H")
        self._cursor = (x, y)

    def _over(self, gap: list[Cell]) -> str:
        """What moves the cursor over some cells: these again, where that is shorter."""
        again = [cell[0] for cell in gap if cell and cell[0] and cell[0].isascii() and self._suits(cell)]
        if len(again) == len(gap) <= SHORT_GAP:
            return "".join(again)
        return f"\x1b[{len(gap)}C" if len(gap) > 1 else "\x1b[C"

    def _suits(self, cell: tuple[str, str]) -> bool:
        """Whether the cell can be written with the attributes as they are."""
        now = self._attributes
        return now is not None and (now == cell[1] or (cell == BLANK and not _seen_on_blank(now)))

    def _attribute(self, wanted: str, out: list[str]) -> None:
        if self._attributes == wanted:
            return
        if not wanted:
            out.append("\x1b[m")
        elif self._attributes == "":
            out.append(f"\x1b[{wanted}m")
        else:
            out.append(f"\x1b[0;{wanted}m")
        self._attributes = wanted


@lru_cache(maxsize=256)
def _seen_on_blank(attributes: str) -> bool:
    """Whether a blank with these attributes differs from one without."""
    return SEEN_ON_BLANK.search(attributes) is not None


def _attributes(before: str, sgr: str) -> str:
    """The attributes after an SGR sequence. Colours of 256 or more hold 38 or 48 and stay in one piece."""
    if sgr in ("", "0"):
        return ""
    if "38;" in sgr or "48;" in sgr:
        return f"{before};{sgr}" if before else sgr
    kept = [number for number in sgr.split(";") if number not in DEFAULT_COLOURS]
    return ";".join([*([before] if before else []), *kept])


def _put(row: dict[int, Cell], x: int, text: str, attributes: str) -> int:
    """Write a text into the row from column `x`; returns the column after it."""
    blank = (" ", attributes) if _seen_on_blank(attributes) else BLANK
    for char in text:
        taken = character_columns(char)
        if not taken:
            continue
        row[x] = blank if char == " " else (char, attributes)
        if taken == 2:
            row[x + 1] = ("", attributes)
        x += taken
    return x
