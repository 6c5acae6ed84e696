"""Reads market prices from a CSV file: start_utc,price_eur_per_mwh; hourly and quarter-hourly rows may be mixed.

The price may also be declared as price_eur_per_kwh or price_ct_per_kwh. Tables as exchanges and platforms export them
are read, too: see `exports`.
"""

from __future__ import annotations

import csv
import importlib.resources
import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.resources.abc import Traversable
from pathlib import Path

import msgspec

from dispatch.billing.market_prices import PriceSeries
from dispatch.wording.formatting import one_line
from drivers.tariffs.exports import ExportRows, FileTerms, Layout, layout_of
from drivers.tariffs.questions import day_question, unit_question
from drivers.tariffs.series import price_series
from drivers.text_file import NotText, text_of

COLUMNS = ("start_utc", "price_eur_per_mwh")
UNITS = {  # of the column that holds the price: as people write it, and in EUR/MWh
    "price_eur_per_mwh": ("EUR/MWh", 1),
    "price_eur_per_kwh": ("EUR/kWh", 1000),
    "price_ct_per_kwh": ("ct/kWh", 10),
}
ROUNDED = 6  # decimals of EUR/MWh: what multiplying adds beyond them is no price
RASTER_S = 300  # prices begin on full five minutes, if not coarser
OFF_RASTER_S = 60  # a row this near to one begins there; what writes it down is late
# The widest harmonised limits of European trading are those of intraday, +-9999 EUR/MWh (ACER decision 05/2017).
PRICE_LIMIT_EUR_PER_MWH = 9999.0
MOST_BYTES = 64 << 20  # decades of quarter hours: what is larger is another file, and would hold up the gateway
PLAIN = FileTerms()
SHOWN = 10  # errors named in one message
SHOWN_CHARACTERS = 80  # of a line that cannot be read


class TariffFileError(ValueError):
    """A price file that cannot be used: what is wrong in which line, and what was expected."""


class PriceFile(msgspec.Struct, frozen=True):
    """Prices as read, and what must be said of them.

    remarks: holes, and how they were taken. layout: how an exported table was understood; empty: it is none. unit,
    day: questions, why all prices look as if their unit were another, and why those of a day do, or stand for missing
    ones; empty for usual prices. `acceptance.accepted` decides.
    """

    name: str
    prices: PriceSeries
    remarks: tuple[str, ...] = ()
    unit: str = ""
    day: str = ""
    layout: str = ""

    @property
    def questions(self) -> tuple[str, ...]:
        """What to ask of whoever keeps the file."""
        return tuple(question for question in (self.unit, self.day) if question)


def load(file: str, base: Path) -> PriceSeries:
    """The prices of `read` alone."""
    return read(file, base).prices


def read(file: str, base: Path, terms: FileTerms = PLAIN) -> PriceFile:
    """Prices of a CSV file, relative to `base`, or of "bundled:NAME"; gzip by its suffix. Lines with # are comments.

    `terms`: what the site file says of a table that was exported.

    An entry lasts until the next one; where rows are missing see `series`. The last lasts as long as the one before it.
    Raises TariffFileError naming every bad line (the first ten).
    """
    name, data = _bytes(file, base)
    try:
        text = text_of(data, name.endswith(".gz"))
    except NotText as error:
        raise TariffFileError(f"{name}: {error}") from None
    rows = _Rows(name, terms)
    rows.take(text)
    if not rows.errors and not rows.prices:
        rows.errors.append(f"{name}: expected at least one line of {','.join(COLUMNS)}, found none")
    if rows.errors:
        more = [f"{name}: and {len(rows.errors) - SHOWN} more"] if len(rows.errors) > SHOWN else []
        raise TariffFileError("\n".join(rows.errors[:SHOWN] + more))
    layout = rows.layout
    prices, holes = price_series(sorted(rows.prices.items()), repeats_left_out=layout is None)
    remarks = (*rows.remarks(), *holes)
    words = "" if layout is None else layout.words
    return PriceFile(name, prices, remarks, unit_question(prices), day_question(prices), words)


def _bytes(file: str, base: Path) -> tuple[str, bytes]:
    """The name to show and the raw content."""
    if not is_bundled(file):
        path = base / file
        try:
            if path.stat().st_size > MOST_BYTES:
                raise TariffFileError(f"{path}: expected a price file of at most {MOST_BYTES >> 20} MiB")
            return str(path), path.read_bytes()
        except OSError as error:
            raise TariffFileError(f"{path}: {error.strerror}; expected the price file of tariff.file") from None
    if file not in bundled():
        known = ", ".join(bundled()) or "a file, none is bundled"
        raise TariffFileError(f"tariff.file = {file!r}: expected {known}")
    return f"{file}.csv.gz", (_data() / f"{file.removeprefix('bundled:')}.csv.gz").read_bytes()


def _data() -> Traversable:
    return importlib.resources.files("drivers.tariffs") / "data"


def is_bundled(file: str) -> bool:
    """Whether these prices come with Skerry."""
    return file.startswith("bundled:")


def bundled() -> list[str]:
    """The names of the prices that come with Skerry, "bundled:NAME"."""
    files = [f.name for f in _data().iterdir()] if _data().is_dir() else []
    return sorted(f"bundled:{name.removesuffix('.csv.gz')}" for name in files if name.endswith(".csv.gz"))


class _Rows:
    """The rows of a file: EUR/MWh by start, POSIX seconds; and what is wrong with them."""

    def __init__(self, name: str, terms: FileTerms) -> None:
        self.errors: list[str] = []
        self.layout: Layout | None = None  # of an export
        self._terms = terms
        self.prices: dict[int, float] = {}
        self._name = name
        self._lines: dict[int, int] = {}
        self._moved: list[tuple[int, int]] = []  # line, by how many seconds

    def take(self, text: str) -> None:
        """Read all rows."""
        rows = _numbered(text)
        number, first = next(rows, (1, ""))
        header = [c.strip() for c in _cells(first)]
        if header[:1] != [COLUMNS[0]] and self._take_export(text):
            return
        if header[:1] != [COLUMNS[0]] or len(header) < 2 or header[1] not in UNITS:
            others = " or ".join(name for name in UNITS if name not in COLUMNS)
            found = one_line(",".join(header)) or "nothing"
            expected = f"expected the header {','.join(COLUMNS)}"
            self.errors.append(f"{self._name}:{number}: {expected}, found {found}; {others} may stand for the price")
            return
        entry = partial(_entry, column=header[1])
        for number, line in rows:
            self._take_row(number, _cells(line), entry)

    def _take_export(self, text: str) -> bool:
        """Read the rows of a table that was exported; False: it is none."""
        numbered = [*_numbered(text)]
        delimiter = next((d for d in ";\t" if d in numbered[0][1]), ",") if numbered else ","
        rows = [_cells(line, delimiter) for _, line in numbered]
        try:
            self.layout = layout_of(rows, self._terms)
        except ValueError as error:
            self.errors.append(f"{self._name}: {error}")
            return True
        if self.layout is None:
            return False
        reader = ExportRows(self.layout)
        for (number, _), row in zip(numbered, rows, strict=True):
            if number > numbered[self.layout.header_rows - 1][0]:
                self._take_row(number, row, reader.entry)
        return True

    def _take_row(self, number: int, row: list[str], entry: Callable[[list[str]], tuple[int, float] | None]) -> None:
        try:
            found = entry(row)
            if found is None:
                return
            given, price = found
            if not math.isfinite(price) or abs(price) > PRICE_LIMIT_EUR_PER_MWH:
                raise ValueError(f"{price:g} EUR/MWh: expected within +-{PRICE_LIMIT_EUR_PER_MWH:g} EUR/MWh")
            start = _on_raster(given, row[0].strip())
        except ValueError as error:
            self.errors.append(f"{self._name}:{number}: {error}")
            return
        if start != given:
            self._moved.append((number, given - start))
        before = self.prices.setdefault(start, price)
        if before != price:
            line = self._lines[start]
            self.errors.append(f"{self._name}:{number}: {row[0]} costs {price:g}, but line {line} says {before:g}")
        self._lines.setdefault(start, number)

    def remarks(self) -> Iterator[str]:
        """Which rows were moved."""
        if self._moved:
            line, most_s = max(self._moved, key=lambda one: abs(one[1]))
            rows = "1 row begins" if len(self._moved) == 1 else f"{len(self._moved)} rows begin"
            yield (
                f"{rows} seconds off the full five minutes, at most {abs(most_s)} s (line {line}): "
                "taken to begin on them"
            )


def _numbered(text: str) -> Iterator[tuple[int, str]]:
    """Lines with their numbers, without comments and empty ones."""
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.startswith("#"):
            yield number, line


def _cells(line: str, delimiter: str = ",") -> list[str]:
    """The cells of a line; of one that is none of CSV the whole line, of which no row can be made."""
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return [line[:SHOWN_CHARACTERS]]


def _entry(row: list[str], column: str) -> tuple[int, float]:
    """One row as (start, EUR/MWh). Raises ValueError saying what was expected."""
    if len(row) != len(COLUMNS):
        raise ValueError(f"expected {len(COLUMNS)} columns, {COLUMNS[0]},{column}, found {len(row)}")
    stamp, price_text = row[0].strip(), row[1].strip()
    try:
        start = datetime.fromisoformat(stamp)
    except ValueError:
        raise ValueError(f"start_utc = {stamp!r}: expected ISO 8601 such as 2025-09-16T06:00:00Z") from None
    if start.utcoffset() != timedelta(0):
        raise ValueError(f"start_utc = {stamp!r}: expected UTC, ending in Z")
    if start.microsecond:
        raise ValueError(f"start_utc = {stamp!r}: expected whole seconds")
    unit, factor = UNITS[column]
    try:
        price = float(price_text)
    except ValueError:
        raise ValueError(f"{column} = {price_text!r}: expected a number with a decimal point") from None
    if not math.isfinite(price) or abs(price) * factor > PRICE_LIMIT_EUR_PER_MWH:
        limit = PRICE_LIMIT_EUR_PER_MWH / factor
        raise ValueError(f"{column} = {price_text!r}: expected within +-{limit:g} {unit}")
    if factor != 1:
        price = round(price * factor, ROUNDED)
    return int(start.astimezone(UTC).timestamp()), price


def _on_raster(start_s: int, stamp: str) -> int:
    """The start, on the full five minutes that it is only seconds off. Raises ValueError for one between minutes."""
    off_s = (start_s + RASTER_S // 2) % RASTER_S - RASTER_S // 2
    if abs(off_s) < OFF_RASTER_S:
        return start_s - off_s
    if start_s % 60:
        raise ValueError(f"start_utc = {stamp!r}: expected a full minute, prices begin on full 5, 15, 30 or 60 minutes")
    return start_s
