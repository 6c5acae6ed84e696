"""The days of the European day-ahead market, and when their prices are to be known.

A market day is a day of Central European time, 23, 24 or 25 h long. The prices of the next day come about 13:00; the
days of Agile, a British tariff, are the same: they begin at 23:00 of London, and are told in the late afternoon.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

MARKET_ZONE = ZoneInfo("Europe/Berlin")
OVERDUE_S = 3 * 3600.0


class Publication(NamedTuple):
    """Times of the market's day: from when it is worth to ask for tomorrow's prices, when they are usually there."""

    ask: time
    usual: time


DAY_AHEAD = Publication(time(12, 45), time(13, 0))
OCTOPUS = Publication(time(17, 0), time(19, 0))  # 16:00 to 20:00 of London


def market_day(utc_s: float) -> date:
    """The market day of an instant. Raises OverflowError, ValueError for one that no date has."""
    return datetime.fromtimestamp(utc_s, UTC).astimezone(MARKET_ZONE).date()


def day_begin_s(day: date) -> int:
    """When a market day begins, POSIX seconds."""
    return _instant(day, time(0))


def day_end_s(day: date) -> int:
    """When a market day ends, POSIX seconds."""
    return day_begin_s(day + timedelta(days=1))


def to_be_known_until_s(utc_s: float, publication: Publication) -> int:
    """Until when prices are to be known: the end of today, from the time of asking on that of tomorrow."""
    day = market_day(utc_s)
    asked = utc_s >= _instant(day, publication.ask)
    return day_end_s(day + timedelta(days=1) if asked else day)


def next_asking_s(utc_s: float, publication: Publication) -> int:
    """When the next day's prices are asked for, if all are known that can be now."""
    day = market_day(utc_s)
    today_s = _instant(day, publication.ask)
    return today_s if utc_s < today_s else _instant(day + timedelta(days=1), publication.ask)


def overdue_since_s(known_until_s: float | None, utc_s: float, publication: Publication) -> float | None:
    """Since when prices are overdue that reach no further than `known_until_s`; None: they are not."""
    missing = market_day(utc_s if known_until_s is None else known_until_s)
    overdue_s = _instant(missing - timedelta(days=1), publication.usual) + OVERDUE_S
    return overdue_s if utc_s >= overdue_s else None


def _instant(day: date, at: time) -> int:
    return int(datetime.combine(day, at, MARKET_ZONE).timestamp())
