"""Formats figures for reasons: powers, durations."""

from __future__ import annotations


def kw(w: float) -> str:
    """Watts as kW with one decimal: "18.4 kW"; never "-0.0 kW"."""
    return f"{round(w / 1000, 1) + 0.0:.1f} kW"


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
