"""What a terminal can do, as far as the environment tells: `TERM`, the locale, the program that it says it is."""

from __future__ import annotations

import base64
import sys
from collections.abc import Mapping

from dispatch.wording.formatting import neutralised

EARLY = ("vt", "linux", "dumb", "ansi", "cons", "sun")  # their names begin so
COERCED = frozenset(("C.UTF-8", "C.utf8", "UTF-8"))  # what Python puts into LC_CTYPE (PEP 538) where the locale is C
MOST_COPIED = 4000  # characters


def is_early(term: str) -> bool:
    """Whether a terminal of this name may print a sequence that came after the VT100, instead of ignoring it."""
    return not term or term.startswith(EARLY)


def needs_ascii(environment: Mapping[str, str], utf8_mode: bool) -> bool:
    """Whether only ASCII is safe: the locale is not one of UTF-8, or the terminal's font has 256 characters or so.

    utf8_mode: that of Python (`sys.flags.utf8_mode`). It is on where the locale is C or POSIX, and then LC_CTYPE is not
    what the user has set, but Python.
    """
    if is_early(environment.get("TERM", "")):
        return True
    coerced = utf8_mode and not environment.get("PYTHONUTF8") and environment.get("LC_CTYPE") in COERCED
    order = ("LC_ALL", "LANG") if coerced and sys.version_info < (3, 15) else ("LC_ALL", "LC_CTYPE", "LANG")
    locale = next((value for name in order if (value := environment.get(name))), "C")
    return "utf8" not in locale.lower().replace("-", "")


def theme_for(environment: Mapping[str, str]) -> str:
    """The name of the theme for a user who has chosen none."""
    term = environment.get("TERM", "")
    if term.startswith("linux"):
        return "ansi-16"
    return "mono" if is_early(term) else "default"


def copying(text: str, environment: Mapping[str, str]) -> str | None:
    """The sequence that puts a text on the clipboard of the terminal (OSC 52); None for one that has none.

    The text is encoded, so that nothing in it can steer the terminal; control characters are replaced for whoever
    pastes it. screen passes the sequence on inside DCS; tmux takes it itself where `set-clipboard` is on.
    """
    if is_early(environment.get("TERM", "")) or environment.get("TERM_PROGRAM") == "Apple_Terminal":
        return None
    encoded = base64.b64encode(neutralised(text)[:MOST_COPIED].encode()).decode("ascii")
    sequence = f"\x1b]52;c;{encoded}\x07"
    return f"\x1bP{sequence}\x1b\\" if environment.get("STY") and not environment.get("TMUX") else sequence
