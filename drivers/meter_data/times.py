"""Reads dates and times as utilities write them, and finds the instants that local times mean.

Forms: 2026-01-14 00:15, 2026-01-14T00:15:00Z, 14.01.2026 00:15, 14/01/2026 0:15, 14-01-2026 24:00, with an offset
(+01:00, Z, UTC, CET, CEST, MEZ, MESZ) or without. Or a date and the number of the hour in that day, 1 to 23, 24 or 25,
as Spanish operators write them ("CUPS;Fecha;Hora;AE_kWh"). Or the serial numbers of Excel, days since 1899-12-30.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

Order = Literal["dmy", "mdy", "ymd"]

_DATE = r"(?P<a>\d{1,4})(?P<sign>[./-])(?P<b>\d{1,2})(?P=sign)(?P<c>\d{1,4})"
_CLOCK = (
    r"(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,]0+)?)?(?:\s*(?P<half>[AaPp])\.?[Mm]\.?)?"
    r"\s*(?P<offset>Z|[+-]\d{2}:?\d{2}|UTC|GMT|CET|CEST|MEZ|MESZ)?"
)
DATE_AND_TIME = re.compile(rf"{_DATE}[T ,]\s*{_CLOCK}")
DATE = re.compile(_DATE)
TIME = re.compile(_CLOCK)
HOUR = re.compile(r"0?[1-9]|1\d|2[0-5]")  # number of an hour in its day
SERIAL = re.compile(r"[3-9]\d{4}(?:[.,]\d+)?")  # of Excel: from 1982 on
SERIAL_EPOCH = datetime(1899, 12, 30, tzinfo=UTC)
_NAMED_H = {"Z": 0, "UTC": 0, "GMT": 0, "CET": 1, "MEZ": 1, "CEST": 2, "MESZ": 2}
_OFFSET = re.compile(r"(?:UTC|GMT)?([+-])(\d{1,2})(?::?(\d{2}))?")
FIRST_YEAR, LAST_YEAR = 1990, 2199  # of meter values
DAY_HOURS = 24
ASK_ZONE = "say which with --zone: a name such as Europe/Berlin, UTC, or an offset such as +01:00"
WITHOUT_SUMMER = f"are the times without summer time, or UTC? {ASK_ZONE}"
TOO_FEW = f"clocks go back; {WITHOUT_SUMMER}"
TOO_MANY = f"clocks go forward; {WITHOUT_SUMMER}"


class Stamp(NamedTuple):
    """A time as written: wall time, 24:00 as that of the next day; its offset, where one is written."""

    wall: datetime  # the wall time, written as if it were UTC
    offset_s: int | None
    midnight_24: bool = False
    hour: int = 0  # number of the hour in its day, from 1 on; 0: a time of day is written


class NotATime(ValueError):
    """What was expected of a cell."""


def zone_of(text: str) -> tzinfo:
    """A zone by its name or its offset. Raises ValueError saying what was expected."""
    found = _OFFSET.fullmatch(text.strip())
    if found is not None and int(found[2]) < 15:
        offset = timedelta(hours=int(found[2]), minutes=int(found[3] or 0))
        return timezone(offset if found[1] == "+" else -offset)
    try:
        return ZoneInfo(text.strip())
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{text!r}: expected a time zone such as Europe/Berlin, UTC or +01:00") from None


def order_of(dates: Iterable[str]) -> Order | None:
    """The order of day, month and year in a file's dates; None: it could be day or month first.

    Raises ValueError where some have the day and others the month first.
    """
    first = second = 0
    sign = ""
    for text in dates:
        found = DATE.match(text.strip())
        if found is None:
            continue
        if len(found["a"]) == 4:
            return "ymd"
        first, second, sign = max(first, int(found["a"])), max(second, int(found["b"])), found["sign"]
    if first > 12 and second > 12:
        raise ValueError("some dates have the day first, others the month: expected one order")
    if second > 12:
        return "mdy"
    return "dmy" if first > 12 or sign == "." else None  # with points the day is first, wherever they are used


def stamp(date_text: str, clock_text: str, order: Order) -> Stamp:
    """A date and a time of day; `clock_text` may be empty where `date_text` holds both. Raises NotATime."""
    text = f"{date_text.strip()} {clock_text.strip()}".strip()
    found = DATE_AND_TIME.fullmatch(text)
    if found is None:
        raise NotATime(f"{text[:40]!r}: expected a date and a time such as 2026-01-14 00:15 or 14.01.2026 00:15")
    year, month, day = (int(found[group]) for group in _PLACES[order])
    if not (year < 100 or FIRST_YEAR <= year <= LAST_YEAR):
        raise NotATime(f"{text[:40]!r}: expected a year from {FIRST_YEAR} to {LAST_YEAR}, dates as {order}")
    hour = int(found["hour"])
    if found["half"]:
        hour = hour % 12 + (12 if found["half"].lower() == "p" else 0)
    full = hour == 24 and found["minute"] == "00" and found["second"] in (None, "00")
    try:
        wall = datetime(
            year + (2000 if year < 100 else 0),
            month,
            day,
            0 if full else hour,
            int(found["minute"]),
            int(found["second"] or 0),
            tzinfo=UTC,
        )
        return Stamp(wall + timedelta(days=1) if full else wall, _offset_s(found["offset"]), full)
    except (ValueError, OverflowError) as error:
        raise NotATime(f"{text[:40]!r}: {error}; expected a date and a time of day, dates as {order}") from None


def hour_stamp(date_text: str, hour_text: str, order: Order) -> Stamp:
    """A date and the number of an hour of that day, 1 is the one from midnight on. Raises NotATime."""
    if HOUR.fullmatch(hour_text.strip()) is None:
        raise NotATime(f"{hour_text.strip()[:40]!r}: expected the number of an hour of the day, 1 to 25")
    hour = int(hour_text)
    return Stamp(stamp(date_text, "00:00", order).wall + timedelta(hours=hour - 1), None, hour=hour)


def without_serial(cell: str) -> str:
    """A cell with Excel's serial number of a time as date and time, to the minute; another cell as it is."""
    text = cell.strip()
    if SERIAL.fullmatch(text) is None:
        return cell
    minutes = round(float(text.replace(",", ".")) * 1440)
    return f"{SERIAL_EPOCH + timedelta(minutes=minutes):%Y-%m-%d %H:%M}"


_PLACES = {"dmy": ("c", "b", "a"), "mdy": ("c", "a", "b"), "ymd": ("a", "b", "c")}


def _offset_s(text: str | None) -> int | None:
    if not text:
        return None
    if text in _NAMED_H:
        return 3600 * _NAMED_H[text]
    sign = -1 if text[0] == "-" else 1
    return sign * (3600 * int(text[1:3]) + 60 * int(text[-2:]))


def instants(stamps: Sequence[Stamp], zone: tzinfo, step_s: int, ends: bool, sure: bool) -> list[int]:
    """The begin of each interval, POSIX s. Stamps in their order in time; `ends`: they mark the end of intervals.

    A local time that occurs twice is the first or the second by its place: whichever follows the row before by a step.
    sure: the user named the zone, so an hour that is missing in autumn is missing. Raises ValueError, with the index of
    the stamp as second argument, for times that are not those of the zone.
    """
    result: list[int] = []
    for n, one in enumerate(stamps):
        candidates = _candidates(one, zone, step_s, ends)
        if not candidates:
            raise ValueError(f"{_said(one)} is no local time of {zone}: {TOO_MANY}", n)
        if not result:
            result.append(candidates[0])
            continue
        expected = result[-1] + step_s
        later = [at for at in candidates if at > result[-1]]
        at = expected if expected in candidates else min(later, default=candidates[-1])
        if not sure and at - expected == 3600 and _lacks_an_hour(stamps[n - 1], one, zone):
            raise ValueError(f"{_day_before(one)}: one hour less than the day has in {zone}: {TOO_FEW}", n)
        result.append(at)
    return result


def _said(one: Stamp) -> str:
    """A time as it is written."""
    if one.hour:
        return f"hour {one.hour} of {one.wall - timedelta(hours=one.hour - 1):%Y-%m-%d}"
    return f"{one.wall:%Y-%m-%d %H:%M}"


def _day_before(one: Stamp) -> str:
    """The day that lacks an hour before a time: where hours are numbered, the day before."""
    return f"{one.wall - timedelta(days=bool(one.hour)):%Y-%m-%d}"


def _lacks_an_hour(before: Stamp, one: Stamp, zone: tzinfo) -> bool:
    """Whether the hour that is missing before a time is the one that comes twice in autumn; of days whose hours are
    numbered, the 25th.
    """
    if one.hour:
        return before.hour == DAY_HOURS and one.hour == 1
    return len(set(_begins(one.wall - timedelta(hours=1), zone))) > 1


def _candidates(one: Stamp, zone: tzinfo, step_s: int, ends: bool) -> list[int]:
    """The instants at which the interval of a stamp may begin, the first first."""
    if one.hour:  # hours are counted as they pass, also where clocks change
        since_s = 3600 * (one.hour - 1)
        day = one.wall - timedelta(seconds=since_s)
        begins = [at + since_s for at in sorted(_begins(day, zone))[:1]]
        return [at for at in begins if datetime.fromtimestamp(at, zone).date() == day.date()]
    back_s = step_s if ends else 0
    if one.offset_s is not None:
        return [int(one.wall.timestamp()) - one.offset_s - back_s]
    if not ends:
        return sorted(_begins(one.wall, zone))
    before = one.wall - timedelta(seconds=step_s)
    return sorted({*_begins(before, zone), *(at - step_s for at in _begins(one.wall, zone))})


def _begins(wall: datetime, zone: tzinfo) -> tuple[int, ...]:
    """The instants of a wall time: none, one or two."""
    wall_s = int(wall.timestamp())
    return tuple(wall_s - offset_s for offset_s in _offsets(wall.replace(minute=0, second=0), zone))


@lru_cache(maxsize=1 << 15)
def _offsets(hour: datetime, zone: tzinfo) -> tuple[int, ...]:
    """The offsets that a wall hour has, s: clocks change on full hours."""
    found: dict[int, None] = {}
    for fold in (0, 1):
        local = hour.replace(tzinfo=zone, fold=fold)
        if local.astimezone(UTC).astimezone(zone).replace(tzinfo=UTC) == hour:
            offset = local.utcoffset()
            found[int(offset.total_seconds()) if offset is not None else 0] = None
    return tuple(found)
