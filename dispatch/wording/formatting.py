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


def soc_text(soc_pct: float, available_pct: float) -> str:
    """The site's SoC, and what of it is in batteries in service where some are not: "SoC 60.0 %, 30.0 % in service"."""
    return f"SoC {soc_pct:.1f} %" + ("" if available_pct == soc_pct else f", {available_pct:.1f} % in service")
