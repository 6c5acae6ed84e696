"""Reads market prices from a CSV file: start_utc,price_eur_per_mwh; hourly and quarter-hourly rows may be mixed."""

from __future__ import annotations

import csv
import importlib.resources
import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.resources.abc import Traversable
from pathlib import Path

from dispatch.billing.prices import PriceSeries
from drivers.text_file import NotText, text_of

COLUMNS = ("start_utc", "price_eur_per_mwh")
MAX_STEP_S = 3600
# The widest harmonised limits of European trading are those of intraday, +-9999 EUR/MWh (ACER decision 05/2017).
PRICE_LIMIT_EUR_PER_MWH = 9999.0
SHOWN = 10  # errors named in one message
SHOWN_CHARACTERS = 80  # of a line that cannot be read


class TariffFileError(ValueError):
    """A price file that cannot be used: what is wrong in which line, and what was expected."""


def load(file: str, base: Path) -> PriceSeries:
    """Prices of a CSV file, relative to `base`, or of "bundled:NAME"; gzip by its suffix. Lines with # are comments.

    An entry lasts until the next one, at most an hour; what is longer is a gap. The last lasts as long as the one
    before it.
    Raises TariffFileError naming every bad line (the first ten).
    """
    name, data = _bytes(file, base)
    try:
        text = text_of(data, name.endswith(".gz"))
    except NotText as error:
        raise TariffFileError(f"{name}: {error}") from None
    errors: list[str] = []
    prices = _rows(name, text, errors)
    if not errors and not prices:
        errors.append(f"{name}: expected at least one line of {','.join(COLUMNS)}, found none")
    if errors:
        more = [f"{name}: and {len(errors) - SHOWN} more"] if len(errors) > SHOWN else []
        raise TariffFileError("\n".join(errors[:SHOWN] + more))
    return _series(sorted(prices.items()))


def _bytes(file: str, base: Path) -> tuple[str, bytes]:
    """The name to show and the raw content."""
    if not file.startswith("bundled:"):
        path = base / file
        try:
            return str(path), path.read_bytes()
        except OSError as error:
            raise TariffFileError(f"{path}: {error.strerror}; expected the price file of tariff.file") from None
    if file not in bundled():
        known = ", ".join(bundled()) or "a file, none is bundled"
        raise TariffFileError(f"tariff.file = {file!r}: expected {known}")
    return f"{file}.csv.gz", (_data() / f"{file.removeprefix('bundled:')}.csv.gz").read_bytes()


def _data() -> Traversable:
    return importlib.resources.files("drivers.tariffs") / "data"


def bundled() -> list[str]:
    """The names of the prices that come with Skerry, "bundled:NAME"."""
    files = [f.name for f in _data().iterdir()] if _data().is_dir() else []
    return sorted(f"bundled:{name.removesuffix('.csv.gz')}" for name in files if name.endswith(".csv.gz"))


def _rows(name: str, text: str, errors: list[str]) -> dict[int, float]:
    """Price by start, POSIX seconds; errors are appended."""
    prices: dict[int, float] = {}
    lines: dict[int, int] = {}
    rows = _numbered(text)
    number, first = next(rows, (1, ""))
    header = _cells(first)
    if [c.strip() for c in header[:2]] != list(COLUMNS):
        found = ",".join(header) or "nothing"
        errors.append(f"{name}:{number}: expected the header {','.join(COLUMNS)}, found {found}")
        return {}
    for number, line in rows:
        row = _cells(line)
        try:
            start, price = _entry(row)
        except ValueError as error:
            errors.append(f"{name}:{number}: {error}")
            continue
        if prices.get(start, price) != price:
            errors.append(f"{name}:{number}: {row[0]} costs {price:g}, but line {lines[start]} says {prices[start]:g}")
            continue
        prices[start] = price
        lines.setdefault(start, number)
    return prices


def _numbered(text: str) -> Iterator[tuple[int, str]]:
    """Lines with their numbers, without comments and empty ones."""
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.startswith("#"):
            yield number, line


def _cells(line: str) -> list[str]:
    """The cells of a line; of one that is none of CSV the whole line, of which no row can be made."""
    try:
        return next(csv.reader([line]), [])
    except csv.Error:
        return [line[:SHOWN_CHARACTERS]]


def _entry(row: list[str]) -> tuple[int, float]:
    """One row as (start, price). Raises ValueError saying what was expected."""
    if len(row) != len(COLUMNS):
        raise ValueError(f"expected {len(COLUMNS)} columns, {','.join(COLUMNS)}, found {len(row)}")
    stamp, price_text = row[0].strip(), row[1].strip()
    try:
        start = datetime.fromisoformat(stamp)
    except ValueError:
        raise ValueError(f"start_utc = {stamp!r}: expected ISO 8601 such as 2025-09-16T06:00:00Z") from None
    if start.utcoffset() != timedelta(0):
        raise ValueError(f"start_utc = {stamp!r}: expected UTC, ending in Z")
    if start.microsecond:
        raise ValueError(f"start_utc = {stamp!r}: expected whole seconds")
    try:
        price = float(price_text)
    except ValueError:
        raise ValueError(f"price_eur_per_mwh = {price_text!r}: expected a number with a decimal point") from None
    if not math.isfinite(price) or abs(price) > PRICE_LIMIT_EUR_PER_MWH:
        raise ValueError(f"price_eur_per_mwh = {price_text!r}: expected within +-{PRICE_LIMIT_EUR_PER_MWH:g} EUR/MWh")
    return int(start.astimezone(UTC).timestamp()), price


def _series(entries: list[tuple[int, float]]) -> PriceSeries:
    """Sorted entries as a series, gaps as entries without a price."""
    starts: list[int] = []
    prices: list[float | None] = []
    step_s = MAX_STEP_S
    for (start, price), following in zip(entries, [e[0] for e in entries[1:]] + [None], strict=True):
        starts.append(start)
        prices.append(price)
        if following is not None and following - start <= MAX_STEP_S:
            step_s = following - start
        elif following is not None:
            starts.append(start + step_s)
            prices.append(None)
    return PriceSeries(tuple(starts), tuple(prices), entries[-1][0] + step_s)
