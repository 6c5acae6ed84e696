"""Fitting text into rows and columns. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

# A figure at the end of a text, and one with the beginning of its unit.
FIGURE = re.compile(r"(?:^|(?<=[\s(]))[+\-−≤≥~]?\d[\d.,:]*\s?$")
FIGURE_AND_UNIT = re.compile(r"(?:^|(?<=[\s(]))[+\-−≤≥~]?\d[\d.,:]* \S+$")

NEAR_END = 0.4  # of a line: behind it a blank is a better end than a place between two wide characters
NEVER_FIRST, NEVER_LAST = "，。；：、）？！%…", "（《"  # on a line; what else is punctuated has blanks


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


def padded(text: str, width: int) -> str:
    """A text with blanks behind it, so that it takes at least this many columns."""
    return text + " " * (width - columns(text))


def ending(text: str, width: int) -> str:
    """A text with blanks in front of it, so that it ends after this many columns."""
    return " " * (width - columns(text)) + text


def split_at(text: str, column: int) -> tuple[str, str]:
    """A text before and from a column on; a wide character that lies on it stays before."""
    at = _characters_in(text, column)
    return text[:at], text[at:]


def wrap(text: str, width: int, rows: int) -> list[str]:
    """`text` broken into at most `rows` lines of `width` columns; the last ends in "…" when something was cut.

    It is broken at blanks and beside wide characters, between which Chinese has none. A figure stays with its unit, and
    is never cut.
    """
    lines: list[str] = []
    rest = " ".join(text.split())
    while rest and len(lines) < rows:
        if columns(rest) <= width:
            lines.append(rest)
            rest = ""
        elif len(lines) == rows - 1:
            lines.append(_whole_figures(rest, _characters_in(rest, width - 1)).rstrip() + "…")
            rest = ""
        else:
            most = max(1, _characters_in(rest, width))
            at = _line_end(rest, most, otherwise=most)
            lines.append(rest[:at].rstrip())
            rest = rest[at:].lstrip()
    return lines


def _line_end(text: str, most: int, otherwise: int) -> int:
    """Where a line of at most so many characters ends: at a blank, at a wide character where the blank is far back."""
    blank = text.rfind(" ", 1, most + 1)
    if blank >= most * NEAR_END or text[: most + 1].isascii():
        return otherwise if blank <= 0 else _without_part_of_figure(text, blank)
    for at in range(most, max(blank, 0), -1):
        wide = character_columns(text[at - 1]) == 2 or character_columns(text[at]) == 2
        if wide and text[at] not in NEVER_FIRST and text[at - 1] not in NEVER_LAST:
            return len(_whole_figures(text, at))
    return otherwise if blank <= 0 else _without_part_of_figure(text, blank)


def _without_part_of_figure(text: str, blank: int) -> int:
    """Where a line ends that ends at a blank: before it a figure may have lost its unit."""
    return len(_whole_figures(text, blank)) if text[blank + 1 : blank + 2].isalpha() else blank


def folded(line: str, width: int, indent: int) -> Iterator[str]:
    """A line as one or more of at most `width` columns, broken at blanks, those after the first indented.

    Blanks within it stay, as rows are aligned by them. A figure stays with its unit. A longer word is left whole.
    """
    rest = line
    while columns(rest) > width:
        at = _line_end(rest, _characters_in(rest, width), otherwise=0)
        if at <= indent:
            break
        yield rest[:at].rstrip()
        rest = " " * indent + rest[at:].lstrip()
    yield rest


def _characters_in(text: str, width: int) -> int:
    """How many characters of a text have room in so many columns."""
    for n, character in enumerate(text):
        width -= character_columns(character)
        if width < 0:
            return n
    return len(text)


def cut(text: str, width: int) -> str:
    """`text` in at most `width` columns, "…" standing for what was cut. No figure is cut, or shown without its unit."""
    if columns(text) <= width:
        return text
    kept, room = "", max(0, width - 1)
    for character in text:
        room -= character_columns(character)
        if room < 0:
            break
        kept += character
    return _whole_figures(text, len(kept)) + "…"


def cut_name(name: str, width: int) -> str:
    """A name in at most `width` columns: "…" in place of its domain or, where that is not enough, of its middle.

    Names that a cloud gives to nodes begin alike and differ at the end: gke-prod-gpu-pool-2a8f3b1c-x7kd.
    """
    if len(name) <= width:
        return name
    first = name.partition(".")[0]
    host = name if first.isdigit() else first  # an address has no domain
    if len(host) < width:
        return host + "…"
    begins = (width - 1) // 2
    return f"{host[:begins]}…{host[begins + 1 - width :]}"


def _whole_figures(text: str, length: int) -> str:
    """The beginning of a text, this long at most, without a figure at its end that has lost digits or its unit."""
    kept, rest = text[:length], text[length:]
    inside = bool(rest) and not rest[0].isspace() and rest[0] not in ".,;:)"
    found = FIGURE.search(kept) or (FIGURE_AND_UNIT.search(kept) if inside else None)
    return kept[: found.start()].rstrip() if found and kept[: found.start()].strip() else kept


def fitting(texts: Sequence[str], width: int) -> str:
    """The first of some texts, the longest first, that takes at most `width` columns; else the last one, cut."""
    return next((text for text in texts if columns(text) <= width), cut(texts[-1], width) if width > 0 else "")
