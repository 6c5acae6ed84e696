"""Reads the inputs of a replay: load and PV as recorded, prices as published.

Files are CSV, gzip by their suffix, instants in UTC at the START of each row. Rows evenly spaced; a row that is missing
or not a number is a gap: the value before it is held, and how much was held is told.
"""

from __future__ import annotations

import csv
import math
from array import array
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate, pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

from dispatch.billing.market_prices import PriceSeries
from dispatch.wording.formatting import one_line, span
from drivers.text_file import NotText, text_of

LOAD_COLUMNS = ("load_w", "power_w")
PV_COLUMNS = ("pv_w", "power_w")
PUBLICATION_H_UTC = 12  # day-ahead prices of tomorrow are known from then on
SHOWN = 5  # errors named in one message
MOST_W = 1e9  # of a site; what says more is no power of one
USUAL_STEPS_S = (1, 5, 10, 15, 30, 60, 120, 180, 300, 600, 900, 1200, 1800, 3600)  # of loggers
OFF_GRID_SHARE = 0.1  # of the step: rows no further off their grid are those of a logger that is late
MOST_STEPS_PER_ROW = 100  # a gap is held, but not years between two rows


class TraceFileError(ValueError):
    """A trace that cannot be replayed: file, line, what is wrong, what was expected."""


class Trace:
    """Mean power over evenly spaced steps, W: value i from `start_s + i x step_s` on. Outside: the nearest value."""

    def __init__(self, start_s: int, step_s: int, w: Sequence[float], notes: tuple[str, ...] = ()) -> None:
        self.start_s, self.step_s, self.notes = start_s, step_s, notes
        self.w = array("d", w)
        self._sums = array("d", accumulate(self.w, initial=0.0))

    @property
    def end_s(self) -> int:
        """The end of the last row."""
        return self.start_s + self.step_s * len(self.w)

    def mean_w(self, from_s: float, to_s: float) -> float:
        """Mean over [from, to)."""
        return (self._energy(to_s) - self._energy(from_s)) / (to_s - from_s)

    def means_w(self, from_s: int, to_s: int, step_s: int) -> list[float]:
        """Means of all steps in [from, to)."""
        return [self.mean_w(t, t + step_s) for t in range(from_s, to_s, step_s)]

    def _energy(self, t_s: float) -> float:
        """Ws from the start of the trace to `t_s`."""
        place = (t_s - self.start_s) / self.step_s
        row = min(max(math.floor(place), 0), len(self.w) - 1)
        return (self._sums[row] + (place - row) * self.w[row]) * self.step_s


def read_trace(path: Path, columns: Sequence[str]) -> Trace:
    """Read a trace whose value column is one of `columns`. Raises TraceFileError, OSError."""
    header, rows = table(path)
    column = power_column(path, header, columns)
    when, what = header.index("start_utc"), header.index(column)
    read = _Rows()
    errors: list[str] = []
    for line, row in rows:
        try:
            read.add(instant(cell(row, when, header)), power(column, optional_cell(row, what)), row[when])
        except ValueError as error:
            errors.append(f"{path}:{line}: {error}")
    if len(read.w) < 2 and not errors:
        errors.append(f"{path}: expected at least two rows with a power >= 0, found {len(read.w)}")
    raise_any(path, errors)
    return _even(path, read)


class _Rows:
    """The rows of a trace: power, W, by the start of the row, POSIX seconds."""

    def __init__(self) -> None:
        self.w: dict[int, float] = {}
        self.unreadable = self.repeated = 0

    def add(self, start_s: int, w: float | None, start_text: str) -> None:
        """Take a row; None: it has no power. Raises ValueError for a time that had another power before."""
        before_w = self.w.get(start_s)
        if before_w is None:
            if w is None:
                self.unreadable += 1
            else:
                self.w[start_s] = w
            return
        self.repeated += 1
        if w is not None and w != before_w:
            raise ValueError(f"{start_text} was given before as {before_w:g} W, now {w:g} W")


def power_column(path: Path, header: Sequence[str], columns: Sequence[str]) -> str:
    """The first of `columns` that a table of start_utc and power has. Raises TraceFileError for another table."""
    found = next((c for c in columns if c in header), None)
    if "start_utc" not in header or found is None:
        wanted = " or ".join(f"start_utc,{c}" for c in columns)
        raise TraceFileError(f"{path}:1: expected the columns {wanted}, found {one_line(','.join(header))}")
    return found


def raise_any(path: Path, errors: Sequence[str]) -> None:
    """Raises TraceFileError with the first errors and the number of the others, if there are any."""
    if errors:
        more = [f"{path}: and {len(errors) - SHOWN} more lines"] if len(errors) > SHOWN else []
        raise TraceFileError("\n".join([*errors[:SHOWN], *more]))


def table(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Header and numbered rows; comments (#) and empty lines left out."""
    raw = path.read_bytes()
    try:
        text = text_of(raw, path.suffix == ".gz")
    except NotText as error:
        raise TraceFileError(f"{path}: {error}") from None
    lines = list(_records(text))
    parsed = csv.reader(line for _, line in lines)
    try:
        rows = [(n, row) for (n, _), row in zip(lines, parsed, strict=False)]
    except csv.Error as error:
        raise TraceFileError(f"{path}: expected CSV, {error}") from None
    if not rows:
        raise TraceFileError(f"{path}: expected a header and rows, found nothing")
    return [name.strip() for name in rows[0][1]], rows[1:]


def _records(text: str) -> Iterator[tuple[int, str]]:
    """The rows with the number of their first line; a line break within quotes does not end a row."""
    begun, begun_at = "", 0
    for number, line in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), 1):
        if not begun and (not line.strip() or line.startswith("#")):
            continue
        begun, begun_at = (f"{begun}\n{line}", begun_at) if begun else (line, number)
        if begun.count('"') % 2 == 0:
            yield begun_at, begun
            begun = ""
    if begun:
        yield begun_at, begun


def cell(row: Sequence[str], place: int, header: Sequence[str]) -> str:
    """One cell of a row. Raises ValueError where the row is too short."""
    if place >= len(row):
        raise ValueError(f"expected {len(header)} columns, {one_line(','.join(header))}, found {len(row)}")
    return row[place]


def optional_cell(row: Sequence[str], place: int) -> str:
    """One cell of a row; empty where the row is too short."""
    return row[place] if place < len(row) else ""


def instant(text: str, column: str = "start_utc") -> int:
    """POSIX seconds of an ISO 8601 instant in UTC. Raises ValueError saying what was expected."""
    try:
        when = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"{column} = {text!r}: expected ISO 8601 such as 2025-09-16T06:00:00Z") from None
    if when.utcoffset() != timedelta(0):
        raise ValueError(f"{column} = {text!r}: expected UTC, ending in Z (local time is ambiguous in October)")
    return int(when.timestamp())


def utc(t_s: float) -> str:
    """2025-09-16T06:00:00Z, with milliseconds where it is no whole second."""
    seconds, millis = divmod(round(t_s * 1000), 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}{f'.{millis:03}' if millis else ''}Z"


def power(column: str, text: str) -> float | None:
    """Watts >= 0, or None. Raises ValueError for more than a site has."""
    w = number(text)
    if w is not None and w > MOST_W:
        raise ValueError(f"{column} = {text!r}: expected W, at most {MOST_W:g}")
    return w


def number(text: str) -> float | None:
    """Watts >= 0, or None."""
    try:
        w = float(text)
    except ValueError:
        return None
    return w if math.isfinite(w) and w >= 0 else None


def _even(path: Path, read: _Rows) -> Trace:
    """Rows on an even grid, gaps held."""
    step_s, snapped = _on_grid(path, sorted(read.w))
    starts = sorted(set(snapped.values()))
    powers = {start_s: read.w[given_s] for given_s, start_s in snapped.items()}
    steps = (starts[-1] - starts[0]) // step_s + 1
    if steps > MOST_STEPS_PER_ROW * len(starts):
        raise TraceFileError(f"{path}: expected rows for most of its {steps} steps of {step_s} s, found {len(starts)}")
    w: list[float] = []
    held = 0
    for start_s in range(starts[0], starts[-1] + step_s, step_s):
        known = powers.get(start_s)
        held += known is None
        w.append(w[-1] if known is None else known)
    moved = [abs(given_s - start_s) for given_s, start_s in snapped.items() if given_s != start_s]
    notes = []
    if moved:
        notes.append(
            f"{path.name}: {len(moved)} of {len(snapped)} rows are up to {max(moved)} s off their grid of "
            f"{span(step_s)}: taken on it"
        )
    if held:
        what = f"{held} of {len(w)} rows are missing or no power ({read.unreadable} unreadable)"
        notes.append(f"{path.name}: {what}: the last held")
    if read.repeated:
        notes.append(f"{path.name}: {read.repeated} rows are there twice with the same value: taken once")
    return Trace(starts[0], step_s, w, tuple(notes))


def _on_grid(path: Path, starts: Sequence[int]) -> tuple[int, dict[int, int]]:
    """The step of the rows, s, and where each belongs. Raises TraceFileError for rows that have no grid."""
    spacings = [b - a for a, b in pairwise(starts)]
    step_s = min(spacings)
    off = next((s for s in starts if (s - starts[0]) % step_s), None)
    if off is None:
        return step_s, {s: s for s in starts}
    median_s = sorted(spacings)[len(spacings) // 2]
    usual_s = min(USUAL_STEPS_S, key=lambda s: abs(s - median_s))
    allowed_s = OFF_GRID_SHARE * usual_s
    snapped = {s: round(s / usual_s) * usual_s for s in starts}
    if len(set(snapped.values())) == len(starts) and all(abs(s - at) <= allowed_s for s, at in snapped.items()):
        return usual_s, snapped
    raise TraceFileError(
        f"{path}: {utc(off)}: expected rows evenly spaced by {step_s} s, "
        f"or within {allowed_s:.0f} s of every {usual_s} s"
    )


# ── prices ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class Publication:
    """Prices as they come out: all of today, and of tomorrow (local days) from 12:00 UTC on.

    `outage`: from when to when no prices are fetched, POSIX seconds; what was known before it stays known.
    """

    def __init__(self, prices: PriceSeries, timezone: str, outage: tuple[int, int] | None = None) -> None:
        self._prices, self._zone, self._outage = prices, ZoneInfo(timezone), outage
        self._known: tuple[int, PriceSeries] | None = None

    def known_at(self, utc_s: float) -> PriceSeries:
        """What is published at this instant."""
        if self._outage is not None and self._outage[0] <= utc_s < self._outage[1]:
            utc_s = self._outage[0] - 1
        now = datetime.fromtimestamp(utc_s, UTC)
        days = 2 if now.hour >= PUBLICATION_H_UTC else 1
        day = now.astimezone(self._zone).date() + timedelta(days=days)
        end_s = int(datetime(day.year, day.month, day.day, tzinfo=self._zone).timestamp())
        if self._known is None or self._known[0] != end_s:
            self._known = (end_s, self._until(end_s))
        return self._known[1]

    def _until(self, end_s: int) -> PriceSeries:
        starts = [s for s in self._prices.start_utc_s if s < end_s]
        prices = self._prices.eur_per_mwh[: len(starts)]
        return PriceSeries(tuple(starts), prices, min(end_s, self._prices.end_utc_s))
