"""Fitting text into rows and columns. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence


def columns(text: str) -> int:
    """How many columns of a terminal a text takes: wide characters two, combining ones none."""
    return len(text) if text.isascii() else sum(character_columns(c) for c in text)


def character_columns(character: str) -> int:
    """Columns of one character, 0 to 2; one that cannot be printed is replaced by one of one column."""
    if character.isascii() or not character.isprintable():
        return 1
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def wrap(text: str, width: int, rows: int) -> list[str]:
    """`text` broken at blanks into at most `rows` lines of `width`; the last ends in "…" when something was cut."""
    lines: list[str] = []
    rest = " ".join(text.split())
    while rest and len(lines) < rows:
        if len(rest) <= width:
            lines.append(rest)
            rest = ""
        elif len(lines) == rows - 1:
            lines.append(rest[: width - 1].rstrip() + "…")
            rest = ""
        else:
            at = rest.rfind(" ", 0, width + 1)
            at = width if at <= 0 else at
            lines.append(rest[:at].rstrip())
            rest = rest[at:].lstrip()
    return lines


def cut(text: str, width: int) -> str:
    """`text` in at most `width` columns, "…" standing for what was cut."""
    if columns(text) <= width:
        return text
    kept, room = "", max(0, width - 1)
    for character in text:
        room -= character_columns(character)
        if room < 0:
            break
        kept += character
    return kept + "…"


def fitting(texts: Sequence[str], width: int) -> str:
    """The first of some texts, the longest first, that takes at most `width` columns; else the last one, cut."""
    return next((text for text in texts if columns(text) <= width), cut(texts[-1], width) if width > 0 else "")
