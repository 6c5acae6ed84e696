"""Makes what a site says fit for one line of a screen or a file: another machine wrote it."""

from __future__ import annotations

MOST_CHARACTERS = 200


def one_line(text: str) -> str:
    """The text without line ends and other characters that are not printed, cut to `MOST_CHARACTERS`."""
    cut = text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 1]}…"
    return "".join(c if c.isprintable() else " " for c in cut).strip()
