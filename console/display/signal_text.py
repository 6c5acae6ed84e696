"""Signals from outside in words: whose, what they limit, until when, and what the site does. Pure."""

from __future__ import annotations

from console.display.formats import Zone, date_clock_zone, hour_minute, hour_minute_zone
from dispatch.model.signals import Signal, SignalView
from dispatch.wording.formatting import kw

NEAR_W = 500.0  # a shortfall below it is not told
DAY_S = 86_400.0


def signal_words(view: SignalView, now_utc_s: float, zone: Zone) -> tuple[str, str]:
    """("import at most 40.0 kW by acme until 18:00 CET", "now 43.1 kW, 3.1 kW over")."""
    signal = view.signal
    what = f"{signal.quantity.value} at most {kw(signal.limit_w)} by {signal.sender}, {_time(signal, now_utc_s, zone)}"
    return what, effect_words(view)


def short_words(view: SignalView, zone: Zone) -> str:
    """The same for a line of 80 columns: "import 40.0 kW by acme until 18:00, 3.1 kW over"; else what it is now."""
    signal, effect = view.signal, effect_words(view).rpartition(", ")[2]
    if signal.failsafe:
        time = "until it is heard"
    elif view.value_w is None:
        time = f"from {hour_minute(signal.start_utc_s, zone)}"
    else:
        time = f"until {hour_minute(signal.end_utc_s, zone)}"
    what = f"{signal.quantity.value} {kw(signal.limit_w)} by {signal.sender} {time}"
    return f"{what}, {effect}" if effect else what


def effect_words(view: SignalView) -> str:
    """What the site does under it; empty before its start."""
    if view.value_w is None or view.shortfall_w is None:
        return ""
    short = f", {kw(view.shortfall_w)} over" if view.shortfall_w > NEAR_W else ""
    return f"now {kw(view.value_w)}{short}"


def most_pressing(views: tuple[SignalView, ...], now_utc_s: float) -> SignalView | None:
    """The one to show where there is room for one: in force first, the largest shortfall, then what begins next."""
    if not views:
        return None
    return min(views, key=lambda v: (not v.signal.in_force(now_utc_s), -(v.shortfall_w or 0.0), v.signal.start_utc_s))


def _time(signal: Signal, now_utc_s: float, zone: Zone) -> str:
    if signal.failsafe:
        return "until it is heard again"
    until = f"until {moment_words(signal.end_utc_s, now_utc_s, zone)}"
    return until if signal.in_force(now_utc_s) else f"from {moment_words(signal.start_utc_s, now_utc_s, zone)} {until}"


def moment_words(utc_s: float, now_utc_s: float, zone: Zone) -> str:
    """A time of day; of another day than the next 24 h with its date."""
    return hour_minute_zone(utc_s, zone) if utc_s - now_utc_s < DAY_S else date_clock_zone(utc_s, zone)
