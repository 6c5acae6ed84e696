"""Numbers, ages and times as the console writes them: fixed digits, right-aligned, missing shown as missing.

`WAITING`: nothing has arrived yet. `ABSENT`: the device has no value. Neither is ever written as 0.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from console.display.language import named, say
from dispatch.wording.formatting import ABSENT as ABSENT
from dispatch.wording.formatting import fixed, kw_column

WAITING = "…"
DAY_S = 86_400
IDLE_W = 50.0  # below this power no direction is shown


def number(value: float | None, width: int, digits: int = 1) -> str:
    """`value` in exactly `width` characters, fewer digits where it would not fit, `ABSENT` for None."""
    return fixed(value, width, digits)


def kw(watts: float | None, width: int = 5) -> str:
    """Watts as kilowatts, one decimal, no unit."""
    return kw_column(watts, width)


def cents(eur_per_kwh: float | None) -> str:
    """A price in ct, one decimal, no unit."""
    return ABSENT if eur_per_kwh is None else f"{eur_per_kwh * 100:.1f}"


def age(seconds: float | None) -> str:
    """How old something is, in at most three characters: 4s, 12m, 3h, 2d; 99d for anything older."""
    if seconds is None:
        return ABSENT
    for unit, size, limit in (("s", 1, 100), ("m", 60, 6000), ("h", 3600, 172_800)):
        if seconds < limit:
            return f"{int(max(0.0, seconds) // size)}{unit}"
    return f"{min(99, int(seconds // 86_400))}d"


def how_old(seconds: float | None) -> str:
    """The same in a sentence: "4s old", "just read"; nothing has been read for a time that is not known: "—"."""
    return say("age.just_read") if seconds is not None and seconds < 1 else say("age.old", age=age(seconds))


def duration(seconds: float | None) -> str:
    """A span for a person: "2 h 06", "14 min", "48 s"."""
    if seconds is None:
        return ABSENT
    whole = int(max(0.0, seconds))
    if whole >= 359_940:
        return "> 99 h"
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d}"
    return f"{whole // 60} min" if whole >= 60 else f"{whole} s"


def countdown(seconds: float) -> str:
    """m:ss left."""
    whole = int(max(0.0, seconds))
    return f"{whole // 60}:{whole % 60:02d}"


def elapsed(seconds: float) -> str:
    """00:14:22 since something began."""
    whole = int(max(0.0, seconds))
    return f"{whole // 3600:02d}:{whole % 3600 // 60:02d}:{whole % 60:02d}"


UTC_TIME = re.compile(r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ")  # as texts on record have it

# ── times of the site; zone: its name, or the zone itself ───────────────────────────────────────────────────────────

Zone = str | tzinfo


@lru_cache(maxsize=8)
def zone_named(name: str) -> tzinfo:
    """The zone of this name; UTC, which times then say, where this machine has no file of it or one that is damaged."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return UTC


def local(utc_s: float, zone: Zone) -> datetime:
    """POSIX seconds on the site's calendar."""
    return datetime.fromtimestamp(utc_s, zone_named(zone) if isinstance(zone, str) else zone)


def local_times(text: str, zone: Zone) -> str:
    """A text of the record with its UTC times on the site's calendar: "2026-11-03 14:00:00 CET"."""

    def here(found: re.Match[str]) -> str:
        try:
            return date_clock_zone(datetime.fromisoformat(found[0]).timestamp(), zone)
        except (ValueError, OverflowError):
            return found[0]  # no time after all

    return UTC_TIME.sub(here, text)


def hour_minute(utc_s: float, zone: Zone) -> str:
    """14:32"""
    return f"{local(utc_s, zone):%H:%M}"


def hour_minute_zone(utc_s: float, zone: Zone) -> str:
    """14:32 CET"""
    return f"{local(utc_s, zone):%H:%M %Z}"


def fetched_text(source: str, fetched_utc_s: float | None, now_utc_s: float, zone: Zone) -> str:
    """Energy-Charts DE-LU, fetched 13:02; with the day where that is more than 24 h ago."""
    if fetched_utc_s is None:
        return source
    when = hour_minute if 0 <= now_utc_s - fetched_utc_s < DAY_S else month_day_hour_minute
    return say("chart.fetched", source=source, time=when(fetched_utc_s, zone))


def clock(utc_s: float, zone: Zone) -> str:
    """14:32:08"""
    return f"{local(utc_s, zone):%H:%M:%S}"


def clock_zone(utc_s: float, zone: Zone) -> str:
    """14:32:08 CET"""
    return f"{local(utc_s, zone):%H:%M:%S %Z}"


def weekday_hour_minute(utc_s: float, zone: Zone) -> str:
    """Tue 14:32; in German Di 14:32"""
    return f"{weekday(utc_s, zone)} {hour_minute(utc_s, zone)}"


def weekday(utc_s: float, zone: Zone) -> str:
    """Tue"""
    return named(f"{local(utc_s, zone):%a}")


def month_day_hour_minute(utc_s: float, zone: Zone) -> str:
    """09-16 14:32"""
    return f"{local(utc_s, zone):%m-%d %H:%M}"


def month_day_clock(utc_s: float, zone: Zone) -> str:
    """09-16 14:32:08"""
    return f"{local(utc_s, zone):%m-%d %H:%M:%S}"


def date_hour_minute(utc_s: float, zone: Zone) -> str:
    """2025-09-16 14:32"""
    return f"{local(utc_s, zone):%Y-%m-%d %H:%M}"


def date_clock(utc_s: float, zone: Zone) -> str:
    """2025-09-16 14:32:08"""
    return f"{local(utc_s, zone):%Y-%m-%d %H:%M:%S}"


def date_clock_zone(utc_s: float, zone: Zone) -> str:
    """2025-09-16 14:32:08 CEST"""
    return f"{local(utc_s, zone):%Y-%m-%d %H:%M:%S %Z}"
