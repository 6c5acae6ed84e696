"""A terminal's screen, made of the bytes that a program wrote: what a person would see."""

from __future__ import annotations

import codecs
import re

from console.display.wrapping import character_columns

SEQUENCE = re.compile(
    r"\x1b\[(?P<private>[?>=<]?)(?P<numbers>[\d;]*)(?P<between>[ -/]*)(?P<final>[@-~])"
    r"|\x1b\](?P<osc>[^\x07\x1b]*)(?:\x07|\x1b\\)"
    r"|(?P<control>[\x00-\x1a\x1c-\x1f])"
    r"|(?P<text>[^\x00-\x1f]+)"
)
PARTIAL = re.compile(r"\x1b(?:\[[?>=<]?[\d;]*[ -/]*|\][^\x07\x1b]*\x1b?)?$")  # a sequence whose end has not come


class ScreenCells:
    """`feed` it with what was written; `lines` is what stands on the screen. Lines do not wrap, as the console asks."""

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self.cells = [[(" ", "")] * columns for _ in range(rows)]
        self.modes: dict[str, bool] = {}  # private modes by their number, such as 1049: the alternate screen
        self.queries: list[str] = []  # sequences that ask the terminal something, or that are none of the usual ones
        self.clipboard: list[str] = []  # what OSC 52 held
        self._x = self._y = 0
        self._attributes = ""
        self._rest = ""
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode

    def feed(self, data: bytes) -> None:
        """Take what was written."""
        text = self._rest + self._decode(data)
        partial = PARTIAL.search(text)
        self._rest = text[partial.start() :] if partial else ""
        for found in SEQUENCE.finditer(text[: len(text) - len(self._rest)]):
            if found["text"]:
                self._write(found["text"])
            elif found["final"]:
                self._sequence(found["private"] + found["between"], found["numbers"], found["final"])
            elif found["control"] == "\r":
                self._x = 0
            elif found["control"] == "\n":
                self._y = min(self.rows - 1, self._y + 1)
            elif found["osc"] and found["osc"].startswith("52;"):
                self.clipboard.append(found["osc"])

    @property
    def lines(self) -> list[str]:
        """The text of each row."""
        return ["".join(char for char, _ in row) for row in self.cells]

    def shows(self, text: str) -> bool:
        """Whether a row holds the text."""
        return any(text in line for line in self.lines)

    def _write(self, text: str) -> None:
        for char in text:
            taken = character_columns(char)
            if not taken:
                continue
            if self._x + taken > self.columns:
                self._x = self.columns - taken
            self.cells[self._y][self._x] = (char, self._attributes)
            if taken == 2:
                self.cells[self._y][self._x + 1] = ("", self._attributes)
            self._x = min(self._x + taken, self.columns)

    def _sequence(self, kind: str, numbers: str, final: str) -> None:
        if kind == "?" and final in "hl":
            self.modes |= dict.fromkeys(numbers.split(";"), final == "h")
        elif kind or final not in "HCKJm":
            self.queries.append(f"{kind}{numbers}{final}")
        elif final == "m":
            self._attributes = _attributes(self._attributes, numbers)
        else:
            self._move_or_erase([int(number or 0) for number in numbers.split(";")], final)

    def _move_or_erase(self, numbers: list[int], final: str) -> None:
        if final == "H":
            row, column = numbers[0], (numbers[1] if len(numbers) > 1 else 1)
            self._y, self._x = min(self.rows, max(1, row)) - 1, min(self.columns, max(1, column)) - 1
        elif final == "C":
            self._x = min(self.columns - 1, self._x + max(1, numbers[0]))
        elif final == "K":
            self.cells[self._y][self._x :] = [(" ", "")] * (self.columns - self._x)
        else:
            self.cells = [[(" ", "")] * self.columns for _ in range(self.rows)]


def _attributes(before: str, numbers: str) -> str:
    """The attributes in force after SGR, in the order they were set; "" for none."""
    if numbers in ("", "0"):
        return ""
    if numbers.startswith("0;"):
        return numbers[2:]
    return f"{before};{numbers}" if before else numbers
