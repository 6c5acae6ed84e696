"""Tells when a charge holds: its windows at a local instant, holidays and bridge days, its first and last day.

All that a window gives must hold at the instant, by local wall time: "22:00-06:00" on "mon-fri" holds on Monday at
03:00 and not on Saturday at 03:00. An hour that comes twice in autumn holds twice; one that is left out does not come.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from dispatch.config.charges import Charge, TariffWindow
from dispatch.config.tariff_terms import TariffTerms
from dispatch.config.window_times import WindowTimes, window_times

ONE_DAY = timedelta(days=1)
SUNDAY = 6


class Calendar(NamedTuple):
    """What windows are read with. `holidays`: "DE-BE", or "" for none."""

    timezone: str
    holidays: str = ""
    windows: tuple[TariffWindow, ...] = ()


def calendar_of(tariff: TariffTerms, timezone: str) -> Calendar:
    """The calendar of a site's tariff."""
    return Calendar(timezone, tariff.holidays, tariff.windows)


@lru_cache(maxsize=16384)  # control, plan and bill ask for the same quarter hours again and again
def in_force(charge: Charge, calendar: Calendar, utc_s: float) -> bool:
    """Whether the charge holds at an instant: its dates, and its windows or outside of them."""
    local = datetime.fromtimestamp(utc_s, UTC).astimezone(ZoneInfo(calendar.timezone))
    day = local.date()
    if not holds_on(charge, day):
        return False
    if not charge.windows:
        return True
    minute = 60 * local.hour + local.minute
    return charge.outside != any(
        window_on(window, calendar.holidays, day) and window_times(window).has_minute(minute)
        for window in named(charge.windows, calendar)
    )


def holds_on(charge: Charge, day: date) -> bool:
    """Whether a local day is not before the charge's first and not after its last."""
    text = day.isoformat()
    return charge.from_date <= text and (not charge.to_date or text <= charge.to_date)


@lru_cache(maxsize=64)
def named(ids: tuple[str, ...], calendar: Calendar) -> tuple[TariffWindow, ...]:
    """The windows of these ids. Raises ValueError for one that there is not."""
    known = {window.id: window for window in calendar.windows}
    missing = [name for name in ids if name not in known]
    if missing:
        there = ", ".join(known) or "there is none"
        raise ValueError(f"window {missing[0]}: expected the id of a [[tariff.window]]: {there}")
    return tuple(known[name] for name in ids)


@lru_cache(maxsize=16384)
def window_on(window: TariffWindow, holidays: str, day: date) -> bool:
    """Whether a window has its times of the day on a local day."""
    times = window_times(window)
    if times.months is not None and day.month not in times.months:
        return False
    if times.dates is not None and not any(day in span for span in times.dates):
        return False
    return not any(day in span for span in times.except_dates) and _weekday_fits(window, times, holidays, day)


def _weekday_fits(window: TariffWindow, times: WindowTimes, holidays: str, day: date) -> bool:
    weekday = day.weekday()
    if is_holiday(holidays, day) and window.holidays != "as-weekday":
        if window.holidays != "as-sunday":
            return window.holidays == "inside"
        weekday = SUNDAY
    if times.weekdays is not None and weekday not in times.weekdays:
        return False
    return window.bridge_days == "inside" or not is_bridge_day(holidays, day)


def is_holiday(holidays: str, day: date) -> bool:
    """Whether a day is a public holiday there."""
    return bool(holidays) and day in public_holidays(holidays, day.year)


def is_bridge_day(holidays: str, day: date) -> bool:
    """Whether a working day, Monday to Friday, lies between two days without work of which one is a holiday."""
    before, after = day - ONE_DAY, day + ONE_DAY
    if not _works(holidays, day) or _works(holidays, before) or _works(holidays, after):
        return False
    return is_holiday(holidays, before) or is_holiday(holidays, after)


def _works(holidays: str, day: date) -> bool:
    return day.weekday() < 5 and not is_holiday(holidays, day)


@lru_cache(maxsize=64)
def public_holidays(code: str, year: int) -> frozenset[date]:
    """Public holidays of a year, by the library `holidays`. Raises ValueError for a place that it does not know."""
    import holidays  # here: few tariffs ask

    country, _, subdivision = code.partition("-")
    try:
        found = holidays.country_holidays(country, subdiv=subdivision or None, years=year)
    except NotImplementedError:
        raise ValueError(
            'a country and subdivision with known holidays, such as "DE-BE", "NL" or "NO" (ISO 3166-2)'
        ) from None
    return frozenset(found)
