"""Reads the times of a `[[tariff.window]]`: months, weekdays, times of the day and dates, as numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import date
from functools import lru_cache
from typing import NamedTuple

from dispatch.config.charges import TariffWindow
from dispatch.config.demand_terms import DAYS

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
DAY_MIN = 24 * 60
EXPECTED_MONTHS = 'months such as "nov-mar" or "jul"'
EXPECTED_DAYS = 'days of the week such as "mon-fri" or "sat"'
EXPECTED_TIMES = 'times of the day such as "08:15-11:30" or "22:00-06:00", not of equal begin and end'
EXPECTED_DATES = 'dates such as "2026-02-03", "12-24" or "12-24..01-01", which are in the calendar'
EXPECTED_MONTH_DAY = 'a day that every year has, such as "10-01"'
EXPECTED_DATE = 'a date such as "2026-01-01"'
LEAP_YEAR = 2024

Day = tuple[int, int, int]  # year, or 0 for every year; month, day


class Dates(NamedTuple):
    """From a day to another one, both inside; each in one year, or both of every year."""

    first: Day
    last: Day

    def __contains__(self, day: object) -> bool:
        assert isinstance(day, date)
        if self.first[0]:
            return self.first <= (day.year, day.month, day.day) <= self.last
        at = (0, day.month, day.day)
        if self.first <= self.last:
            return self.first <= at <= self.last
        return at >= self.first or at <= self.last  # over the end of the year


class WindowTimes(NamedTuple):
    """A window as numbers; `None` is: all. Months 1 to 12; weekdays, Monday is 0."""

    months: frozenset[int] | None
    weekdays: frozenset[int] | None
    minutes: tuple[tuple[int, int], ...] | None  # of the day, [from, to); one over midnight is two
    dates: tuple[Dates, ...] | None
    except_dates: tuple[Dates, ...]

    def has_minute(self, minute: int) -> bool:
        """Whether its times of the day hold at a minute of the local day."""
        return self.minutes is None or any(low <= minute < high for low, high in self.minutes)


@lru_cache(maxsize=256)
def window_times(window: TariffWindow) -> WindowTimes:
    """The window as numbers. Raises ValueError saying what was expected."""
    return WindowTimes(
        months=_union(window.months, lambda text: _range(text, MONTHS, 1, EXPECTED_MONTHS)),
        weekdays=_union(window.days, lambda text: _range(text, DAYS, 0, EXPECTED_DAYS)),
        minutes=tuple(part for text in window.times for part in _times(text)) or None,
        dates=tuple(map(_dates, window.dates)) or None,
        except_dates=tuple(map(_dates, window.except_dates)),
    )


def window_faults(window: TariffWindow) -> Iterator[tuple[str, str, str]]:
    """Each (key, text, what was expected) of a window that cannot be read."""
    readers: tuple[tuple[str, Callable[[str], object]], ...] = (
        ("months", lambda text: _range(text, MONTHS, 1, EXPECTED_MONTHS)),
        ("days", lambda text: _range(text, DAYS, 0, EXPECTED_DAYS)),
        ("times", _times),
        ("dates", _dates),
        ("except_dates", _dates),
    )
    for key, read in readers:
        for text in getattr(window, key):
            try:
                read(text)
            except ValueError as error:
                yield key, text, str(error)


def month_numbers(names: tuple[str, ...]) -> frozenset[int]:
    """Months named as in a window, 1 to 12. Raises ValueError."""
    return _union(names, lambda text: _range(text, MONTHS, 1, EXPECTED_MONTHS)) or frozenset()


def month_day(text: str) -> tuple[int, int]:
    """`"10-01"` as month and day. Raises ValueError."""
    found = re.fullmatch(r"(\d\d)-(\d\d)", text)
    if found is None:
        raise ValueError(EXPECTED_MONTH_DAY)
    month, day = int(found[1]), int(found[2])
    try:
        date(LEAP_YEAR + 1, month, day)
    except ValueError:
        raise ValueError(EXPECTED_MONTH_DAY) from None
    return month, day


def a_date(text: str) -> date:
    """`"2026-01-01"`. Raises ValueError."""
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        raise ValueError(EXPECTED_DATE)
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(EXPECTED_DATE) from None


def _union(texts: tuple[str, ...], read: Callable[[str], frozenset[int]]) -> frozenset[int] | None:
    return frozenset(n for text in texts for n in read(text)) if texts else None


def _range(text: str, names: tuple[str, ...], first: int, expected: str) -> frozenset[int]:
    """`"nov-mar"`, over the end of the year or week where it must."""
    parts = text.strip().lower().split("-")
    if not 1 <= len(parts) <= 2 or any(part not in names for part in parts):
        raise ValueError(expected)
    low, high = names.index(parts[0]), names.index(parts[-1])
    return frozenset(first + (low + k) % len(names) for k in range((high - low) % len(names) + 1))


def _times(text: str) -> tuple[tuple[int, int], ...]:
    found = re.fullmatch(r"\s*(\d\d):([0-5]\d)\s*-\s*(\d\d):([0-5]\d)\s*", text)
    if found is None:
        raise ValueError(EXPECTED_TIMES)
    low, high = 60 * int(found[1]) + int(found[2]), 60 * int(found[3]) + int(found[4])
    if low == high or low >= DAY_MIN or high > DAY_MIN:
        raise ValueError(EXPECTED_TIMES)
    if low < high:
        return ((low, high),)
    return ((low, DAY_MIN), (0, high)) if high else ((low, DAY_MIN),)


def _dates(text: str) -> Dates:
    ends = [_day(part.strip()) for part in text.split("..")]
    if len(ends) > 2 or bool(ends[0][0]) != bool(ends[-1][0]) or (ends[0][0] and ends[0] > ends[-1]):
        raise ValueError(EXPECTED_DATES)
    return Dates(ends[0], ends[-1])


def _day(text: str) -> Day:
    found = re.fullmatch(r"(?:(\d{4})-)?(\d\d)-(\d\d)", text)
    if found is None:
        raise ValueError(EXPECTED_DATES)
    year, month, day = int(found[1] or 0), int(found[2]), int(found[3])
    try:
        date(year or LEAP_YEAR, month, day)
    except ValueError:
        raise ValueError(EXPECTED_DATES) from None
    return year, month, day
