"""Finds the line of a key in a TOML text, for error messages: the parser does not tell it."""

from __future__ import annotations

import re
from collections import Counter

Key = tuple[str | int, ...]  # ("recipe", "set", 0, "address")

HEADER = re.compile(r"^\s*(\[\[|\[)\s*([^\[\]]+?)\s*\]")
ASSIGNMENT = re.compile(r"""^\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")
# what may hide brackets and quotes, or open and close what goes over several lines
TOKEN = re.compile(r'"""|\'\'\'|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|#.*|[\[\]{}]')


class Lines:
    """The lines of a text's tables and keys."""

    def __init__(self, text: str) -> None:
        self._lines: dict[Key, int] = {}
        self._arrays: Counter[Key] = Counter()
        self._table: Key = ()
        open_until, depth = "", 0
        for number, line in enumerate(text.splitlines(), 1):
            if not open_until and depth == 0 and self._header(line, number):
                continue
            if not open_until and depth == 0 and (assignment := ASSIGNMENT.match(line)):
                self._lines.setdefault(self._table + _names(assignment[1]), number)
            open_until, depth = _after(line, open_until, depth)

    def _header(self, line: str, number: int) -> bool:
        """Note a line that begins a table."""
        header = HEADER.match(line)
        if header is None:
            return False
        self._table = _names(header[2])
        if header[1] == "[[":
            self._arrays[self._table] += 1
            self._table = (*self._table, self._arrays[self._table] - 1)
        for end in range(1, len(self._table) + 1):  # [value.w] is the first line of value, too
            self._lines.setdefault(self._table[:end], number)
        return True

    def of(self, key: Key) -> int:
        """The line of a key, or of the nearest table around it; 1 where nothing of it is there."""
        return self.find(key) or 1

    def find(self, key: Key) -> int | None:
        """The same; None where nothing of it is there."""
        while key:
            if key in self._lines:
                return self._lines[key]
            key = key[:-1]
        return None


def _names(dotted: str) -> Key:
    return tuple(name.strip().strip("\"'") for name in dotted.split("."))


def _after(line: str, open_until: str, depth: int) -> tuple[str, int]:
    """What is still open after a line: a text of several lines, brackets."""
    for token in TOKEN.findall(line):
        if open_until:
            open_until = "" if token == open_until else open_until
        elif token in ('"""', "'''"):
            open_until = token
        elif token in "[{":
            depth += 1
        elif token in "]}":
            depth -= 1
    return open_until, depth
