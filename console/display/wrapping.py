"""Fitting text into rows and columns. Pure."""

from __future__ import annotations


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
    """`text` in at most `width` characters, "…" standing for what was cut."""
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"
