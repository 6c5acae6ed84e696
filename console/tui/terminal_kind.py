"""What a terminal can do, as far as the environment tells: `TERM`, the locale."""

from __future__ import annotations

EARLY = ("vt", "linux", "dumb", "ansi", "cons", "sun")  # their names begin so


def is_early(term: str) -> bool:
    """Whether a terminal of this name may print a sequence that came after the VT100, instead of ignoring it."""
    return not term or term.startswith(EARLY)
