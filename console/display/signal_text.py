"""Signals from outside in words: whose, what they limit, until when, and what the site does. Pure."""

from __future__ import annotations

from console.display.formats import Zone, date_clock_zone, hour_minute, hour_minute_zone
from console.display.language import say
from dispatch.model.signals import Signal, SignalView
from dispatch.wording.formatting import kw

NEAR_W = 500.0  # a shortfall below it is not told
DAY_S = 86_400.0


def signal_words(view: SignalView, now_utc_s: float, zone: Zone) -> tuple[str, str]:
    """("import at most 40.0 kW by acme until 18:00 CET", "now 43.1 kW, 3.1 kW over")."""
    signal = view.signal
    what = say(
        "signal.what",
        what=say(f"quantity.{signal.quantity.value}"),
        limit=kw(signal.limit_w),
        sender=signal.sender,
        time=_time(signal, now_utc_s, zone),
    )
    return what, effect_words(view)


def short_words(view: SignalView, zone: Zone) -> str:
    """The same for a line of 80 columns: "import 40.0 kW by acme until 18:00, 3.1 kW over"; else what it is now."""
    signal, effect = view.signal, effect_words(view).rpartition(", ")[2]
    if signal.failsafe:
        time = say("signal.until_heard")
    elif view.value_w is None:
        time = say("signal.from", time=hour_minute(signal.start_utc_s, zone))
    else:
        time = say("signal.until", time=hour_minute(signal.end_utc_s, zone))
    quantity = say(f"quantity.{signal.quantity.value}")
    what = say("signal.short", what=quantity, limit=kw(signal.limit_w), sender=signal.sender, time=time)
    return f"{what}, {effect}" if effect else what


def effect_words(view: SignalView) -> str:
    """What the site does under it; empty before its start."""
    if view.value_w is None or view.shortfall_w is None:
        return ""
    short = f", {say('signal.over', w=kw(view.shortfall_w))}" if view.shortfall_w > NEAR_W else ""
    return say("signal.now", w=kw(view.value_w)) + short


def most_pressing(views: tuple[SignalView, ...], now_utc_s: float) -> SignalView | None:
    """The one to show where there is room for one: in force first, the largest shortfall, then what begins next."""
    if not views:
        return None
    return min(views, key=lambda v: (not v.signal.in_force(now_utc_s), -(v.shortfall_w or 0.0), v.signal.start_utc_s))


def _time(signal: Signal, now_utc_s: float, zone: Zone) -> str:
    if signal.failsafe:
        return say("signal.until_heard_again")
    end = moment_words(signal.end_utc_s, now_utc_s, zone)
    if signal.in_force(now_utc_s):
        return say("signal.until", time=end)
    return say("signal.from_until", start=moment_words(signal.start_utc_s, now_utc_s, zone), end=end)


def moment_words(utc_s: float, now_utc_s: float, zone: Zone) -> str:
    """A time of day; of another day than the next 24 h with its date."""
    return hour_minute_zone(utc_s, zone) if utc_s - now_utc_s < DAY_S else date_clock_zone(utc_s, zone)
