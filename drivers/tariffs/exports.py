"""Reads price tables as exchanges and platforms export them: SMARD, ENTSO-E, Energy-Charts, Nord Pool, and the like.

A table has times in its first column, local or with an offset, perhaps an end in the second, and one price column or
several. Its header names unit and currency, and mostly the time zone. What it does not say is not guessed: the site
file then says it (`file_column`, `file_timezone`, `eur_per` of `[tariff]`).

Headers as in published programs that read such files: SMARD `Datum von;Datum bis;Deutschland/Luxemburg [€/MWh]
Originalauflösungen`, ENTSO-E `"MTU (CET/CEST)","Area","Sequence","Day-ahead Price (EUR/MWh)"`, Energy-Charts two rows,
the second `,"Preis (EUR/MWh, EUR/tCO2)"`, Nord Pool `Delivery Start (CET);Delivery End (CET);SE3 Price (EUR)`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from drivers.tariffs.series import LONGEST_STEP_S

PER_ENERGY = re.compile(r"(?<![A-Za-z])(€|EUR|[A-Z]{3}|ct|p)\s*/\s*(MWh|kWh)", re.IGNORECASE)
NORD_POOL = re.compile(r"[A-Z0-9-]+(?: Price)? \(([A-Z]{3})\)")  # per MWh, which the header leaves out
TIME = re.compile(r"datum|date|mtu|delivery start|start|anfang|zeit|time|from|von", re.IGNORECASE)
END = re.compile(r"datum bis|bis|ende|end|end date|delivery end.*|to", re.IGNORECASE)
GMT = re.compile(r"GMT([+-][0-9]{1,2})")
DAY_AHEAD = re.compile(r"day-ahead price", re.IGNORECASE)  # of ENTSO-E, beside prices of other markets
DAY_FIRST = re.compile(r"([0-9]{1,2})[./]([0-9]{1,2})[./]([0-9]{4}) ([0-9]{2}):([0-9]{2})(?::([0-9]{2}))?")
ENGLISH = "%b %d, %Y %I:%M %p"  # SMARD's
NAMED = {"(CET)": timezone(timedelta(hours=1)), "(CEST)": timezone(timedelta(hours=2))}  # behind a time
ZONES = {"(UTC)": "UTC", "(CET/CEST)": "Europe/Brussels", "(CET)": "Europe/Brussels"}  # in a header
SMARD = ("datum von", "start date")
SMARD_ZONE = "Europe/Berlin"
MISSING = frozenset(("", "-", "n/e", "N/A", "n/a", "null", "NaN", "nan"))
OTHER_AUCTIONS = re.compile(r"Sequence (Sequence )?[2-9]")  # of ENTSO-E: 1 is the coupled auction
PER_MWH = {"mwh": 1.0, "kwh": 1000.0}
HUNDREDTHS = {"ct": "EUR", "p": "GBP"}
SHOWN = 60


class FileTerms(msgspec.Struct, frozen=True):
    """What the site file says of a price file: the column, the zone of its times, rates of other currencies in EUR."""

    column: str = ""
    timezone: str = ""
    eur_per: Mapping[str, float] = {}


class Layout(NamedTuple):
    """Where a table has what. `factor`: its prices in EUR/MWh. `zone`: of its times; None: they have an offset."""

    header_rows: int
    price: int
    end: int | None
    sequence: int | None
    factor: float
    zone: tzinfo | None
    comma: bool
    title: str

    @property
    def words(self) -> str:
        """How the table was understood."""
        times = f"times of {self.zone}" if self.zone is not None else "times with their offset"
        return f"column {self.title!r}, {times}"


def layout_of(rows: Sequence[Sequence[str]], terms: FileTerms) -> Layout | None:
    """How a table is built; None: its header is none of an export. Raises ValueError saying what was expected."""
    titles = next((n for n, row in enumerate(rows[:2]) if _is_header(row)), None)
    if titles is None:
        return None
    header = rows[titles]
    prices = _prices(header)
    price = _column(header, prices, terms.column)
    end = 1 if len(header) > 2 and 1 not in prices and END.fullmatch(header[1].strip()) else None
    lower = [title.strip().lower() for title in header]
    body = rows[titles + 1 :]
    return Layout(
        header_rows=titles + 1,
        price=price,
        end=end,
        sequence=lower.index("sequence") if "sequence" in lower else None,
        factor=_factor(*prices[price], terms.eur_per),
        zone=_zone([*rows[0][:1], *header[:1]], body, terms.timezone),
        comma=any("," in row[price] for row in body if len(row) > price),
        title=header[price].strip()[:SHOWN],
    )


def _is_header(row: Sequence[str]) -> bool:
    return bool(_prices(row)) and (not row[0].strip() or TIME.search(row[0]) is not None)


def _prices(header: Sequence[str]) -> dict[int, tuple[str, float]]:
    """The price columns, each with currency and factor."""
    return {n: found for n, title in enumerate(header) if n and (found := _unit(title)) is not None}


def _unit(title: str) -> tuple[str, float] | None:
    """(currency, prices per MWh of one of it) of a price column; None: it is none."""
    if (found := PER_ENERGY.search(title)) is not None:
        currency, factor = found[1], PER_MWH[found[2].lower()]
        hundredth = HUNDREDTHS.get(currency.lower())
        if hundredth is not None:
            return hundredth, factor / 100
        return ("EUR" if currency == "€" else currency.upper()), factor
    if (found := NORD_POOL.fullmatch(title.strip())) is not None:
        return found[1], 1.0
    return None


def _column(header: Sequence[str], prices: Mapping[int, object], wanted: str) -> int:
    """Which column has the price. Raises ValueError."""
    names = {header[n].strip(): n for n in prices}
    listed = ", ".join(repr(name) for name in names)[:400]
    if wanted:
        found = [n for name, n in names.items() if wanted == name or name.startswith(f"{wanted} ")]
        if len(found) != 1:
            raise ValueError(f"file_column = {wanted!r}: expected one of the price columns {listed}")
        return found[0]
    day_ahead = [n for name, n in names.items() if DAY_AHEAD.search(name)]
    if len(day_ahead) == 1:
        return day_ahead[0]
    if len(names) != 1:
        raise ValueError(f"has the price columns {listed}: expected file_column in [tariff] to name one")
    return next(iter(names.values()))


def _factor(currency: str, per_mwh: float, eur_per: Mapping[str, float]) -> float:
    rate = 1.0 if currency == "EUR" else eur_per.get(currency)
    if rate is None:
        raise ValueError(f"has prices in {currency}: expected EUR, or a rate for it in eur_per of [tariff]")
    return per_mwh * rate


def _zone(titles: Sequence[str], body: Sequence[Sequence[str]], told: str) -> tzinfo | None:
    """The zone of the times; None: each has an offset. Raises ValueError where nothing says it."""
    if all(_with_offset(row[0]) for row in body[:1]):
        return None
    if told:
        try:
            return ZoneInfo(told)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError(f"file_timezone = {told!r}: expected the name of a time zone") from None
    found = next((zone for title in titles if (zone := _zone_in(title)) is not None), None)
    if found is None:
        raise ValueError("does not say the zone of its times: expected file_timezone in [tariff]")
    return found


def _zone_in(title: str) -> tzinfo | None:
    """The zone that the title of a column says; None: it says none."""
    if (found := GMT.search(title)) is not None and -24 < int(found[1]) < 24:
        return timezone(timedelta(hours=int(found[1])))
    if title.strip().lower() in SMARD:
        return ZoneInfo(SMARD_ZONE)
    return next((ZoneInfo(name) for words, name in ZONES.items() if words in title), None)


def _with_offset(text: str) -> bool:
    try:
        return datetime.fromisoformat(text.strip()).utcoffset() is not None
    except ValueError:
        return False


class ExportRows:
    """Reads the rows of a table in their order, which tells the two hours apart that a local time has in autumn."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._before_s = 0
        self._known = lru_cache(maxsize=4)(self._parsed)  # most rows begin where the one before ends

    def entry(self, row: Sequence[str]) -> tuple[int, float] | None:
        """(start, EUR/MWh); None: the row has no price, or is of another auction. Raises ValueError."""
        layout = self._layout
        if len(row) <= max(layout.price, layout.end or 0, layout.sequence or 0):
            raise ValueError(f"expected {layout.price + 1} columns or more, found {len(row)}")
        start, end = self._times(row)
        if layout.sequence is not None and OTHER_AUCTIONS.search(row[layout.sequence]):
            return None
        try:
            start_s = self._instant(start)
        except OverflowError:
            raise ValueError(f"{start[:SHOWN]!r}: expected a time of these years") from None
        if end and not 0 < (length_s := self._length_s(start, end)) <= LONGEST_STEP_S:
            raise ValueError(f"the row lasts {length_s / 3600:g} h: expected hours or quarter hours")
        self._before_s = start_s
        price = _number(row[layout.price], layout.comma)
        return None if price is None else (start_s, round(price * layout.factor, 6))

    def _times(self, row: Sequence[str]) -> tuple[str, str]:
        start, dash, end = row[0].partition(" - ")
        if not dash and self._layout.end is not None:
            end = row[self._layout.end]
        return start.strip(), end.strip()

    def _instant(self, text: str) -> int:
        """POSIX seconds of a time. Raises ValueError."""
        found, zone = self._known(text)
        if found.tzinfo is not None:
            return int(found.timestamp())
        first = found.replace(tzinfo=zone)
        if first.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != found:
            raise ValueError(f"{text!r}: there is no such time in {zone}, clocks are set forward then")
        start_s = int(first.timestamp())
        second_s = int(first.replace(fold=1).timestamp())
        return second_s if start_s <= self._before_s < second_s else start_s

    def _length_s(self, start: str, end: str) -> int:
        """How long a row lasts by the clock on the wall, which may be set within it."""
        first, last = self._known(start)[0], self._known(end)[0]
        if first.tzinfo is not None and last.tzinfo is not None:
            return int((last - first).total_seconds())
        length_s = int((last.replace(tzinfo=None) - first.replace(tzinfo=None)).total_seconds())
        return length_s % 3600 or (3600 if -3600 <= length_s <= 7200 else length_s)

    def _parsed(self, text: str) -> tuple[datetime, tzinfo]:
        for suffix, zone in NAMED.items():
            if text.endswith(suffix):
                return self._naive(text.removesuffix(suffix).strip()).replace(tzinfo=zone), zone
        return self._naive(text), self._layout.zone or UTC

    def _naive(self, text: str) -> datetime:
        """A time as written, with an offset if it has one."""
        if self._layout.zone is None:
            if not _with_offset(text):
                raise ValueError(f"{text[:SHOWN]!r}: expected a time with its offset, as in the rows before")
            return datetime.fromisoformat(text)
        try:
            if (found := DAY_FIRST.fullmatch(text)) is not None:
                day, month, year, hour, minute, second = (int(part or 0) for part in found.groups())
                return datetime(year, month, day, hour, minute, second)  # noqa: DTZ001  the zone is the table's
            if text[:1].isdigit():
                return datetime.fromisoformat(text)
            return datetime.strptime(text, ENGLISH)  # noqa: DTZ007
        except ValueError:
            raise ValueError(f"{text[:SHOWN]!r}: expected a time such as 30.11.2026 13:00") from None


def _number(text: str, comma: bool) -> float | None:
    """A price; with a decimal comma points group thousands. Raises ValueError."""
    text = text.strip().replace("\u2212", "-").replace("\u00a0", "")
    if text in MISSING:
        return None
    try:
        return float(text.replace(".", "").replace(",", ".") if comma else text)
    except ValueError:
        raise ValueError(f"{text[:SHOWN]!r}: expected a price") from None
