"""Formats figures for running text and for columns: powers, durations. What is missing is a dash, never 0."""

from __future__ import annotations

import math
from collections.abc import Sequence

ABSENT = "—"
REPLACED = "�"  # in place of a character that is not shown


def one_line(text: str) -> str:
    """Text from outside, fit for a line on screen, in a CSV or in a log: what moves the cursor or ends a line is blank.

    Also what is invisible or turns the direction of text (Unicode categories "Other" and "Separator").
    """
    if text.isprintable():
        return text.strip()
    return "".join(c if c.isprintable() else " " for c in text).strip()


def neutralised(text: str) -> str:
    """Text from outside without what could steer a terminal: escapes, other control characters, marks of direction.

    Names and messages come from devices, schedulers and users. Line ends and tabs are kept.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else " " if c == "\u00a0" else REPLACED for c in text)


def some(names: Sequence[str], most: int) -> str:
    """The first names of a list, and how many more there are: "gpu01, gpu02 and 30 more"."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def kw(w: float | None) -> str:
    """Watts as kW in running text: "18.4 kW", "— kW"; never "-0.0 kW"."""
    return f"{ABSENT} kW" if w is None else f"{round(w / 1000, 1) + 0.0:.1f} kW"


def kw_column(w: float | None, width: int = 0) -> str:
    """Watts as kW in a column, without the unit: one decimal, right-aligned in `width`; see `fixed`."""
    return fixed(None if w is None else w / 1000, width)


def fixed(value: float | None, width: int = 0, digits: int = 1) -> str:
    """A figure right-aligned in `width` characters; 0: in as many as it takes. Fewer digits where it would not fit."""
    if value is None:
        return ABSENT.rjust(width)
    if math.isinf(value):
        return ("∞" if value > 0 else "-∞").rjust(width)
    for places in range(digits, -1, -1):
        text = f"{value:.{places}f}"
        if float(text) == 0:
            text = text.lstrip("-")
        if not width or len(text) <= width:
            return text.rjust(width)
    return "#" * width


def action(w: float) -> str:
    """A battery power as what it does: "discharge 18.4 kW", "charge 3.0 kW", "battery at 0 kW"."""
    if abs(w) < 50:
        return "battery at 0 kW"
    return f"{'discharge' if w > 0 else 'charge'} {kw(abs(w))}"


def span(seconds: float) -> str:
    """A duration for people: "45 s", "15 min", "2 h 30 min"."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    hours, rest = divmod(minutes, 60)
    if not hours:
        return f"{minutes} min"
    return f"{hours} h {rest} min" if rest else f"{hours} h"


def minutes(seconds: float) -> str:
    """How long a battery lasts: "95 min", from two hours up "2.5 h"."""
    return f"{seconds / 3600:.1f} h" if seconds >= 7200 else f"{seconds / 60:.0f} min"


def countdown(seconds: float) -> str:
    """Time to go: "7:05"."""
    whole = int(seconds)
    return f"{whole // 60}:{whole % 60:02d}"
