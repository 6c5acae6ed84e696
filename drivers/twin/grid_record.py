"""Reads and plays a recorded grid disturbance: a table of time, voltage and frequency.

What is read: text with one header line, then one row a sample; separated by comma, semicolon, tab or blanks (but with
commas also decimal commas); lines that begin with # and empty lines are skipped. Columns are found by the first word of
their name, whatever its case; a unit may follow, as in `v_pu`, `u [kV]`, `time (ms)`. Without a header the first three
are time, voltage and frequency.

    time        t, time, timestamp, zeit, seconds; in s, or ms, us; or instants of ISO 8601
    voltage     v, u, voltage, volt, volts, vrms, spannung; in V, kV, pu, %; of several (v_l1, va ...) the mean is taken
    frequency   f, hz, freq, frequency, frequenz; in Hz or pu

Other columns are passed over. Times grow, by any step; they need not begin at 0; a time said twice counts once, as said
last. Rows whose time or voltage is NaN are skipped, and told. Without a unit, voltages that begin below 2 are per unit.
Volts are phase to neutral or phase to phase: whichever of the site's two the record begins nearer to; a record that
begins far from both (medium voltage, another country) has its first row taken for nominal, unless it is told. A record
that begins nearer to 60 Hz than to 50 is moved to 50 Hz by the ratio of both. An empty frequency (there is none without
voltage) stays what it was.

Between two rows values go in a straight line. After the last row the grid stays as it was then, with a real grid's
flutter, until the record is ended.
"""

from __future__ import annotations

import csv
import math
import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

HZ = 50.0  # of the twin
NEAR = 0.15  # of a nominal voltage: a record that begins this near to it is of this voltage
TIMES, VOLTS, HERTZ = "time", "voltage", "frequency"
WORDS = {
    TIMES: ("t", "time", "timestamp", "datetime", "zeit", "seconds"),
    VOLTS: ("v", "u", "voltage", "volt", "volts", "vrms", "urms", "spannung"),
    HERTZ: ("f", "hz", "freq", "frequency", "frequenz"),
}
UNITS: dict[str, dict[str, float | None]] = {  # None: per unit
    TIMES: {"s": 1.0, "sec": 1.0, "seconds": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6},
    VOLTS: {"v": 1.0, "kv": 1e3, "pu": None},
    HERTZ: {"hz": 1.0, "pu": None},
}
NO_NUMBER = ("nan", "-nan", "nat", "na", "n/a", "#n/a", "null", "none")  # as programs write a lost sample
PERCENT = ("pct", "percent", "%")
PHASE = re.compile(r"^(v|u|voltage|spannung)(l?[1-3]n?|[abc]n?)$")


class Row(NamedTuple):
    """Voltage as a share of nominal, and frequency in Hz, `t_s` after the record began."""

    t_s: float
    v_share: float
    hz: float


class Record(NamedTuple):
    """A record that can be played, and what was made of it."""

    rows: tuple[Row, ...]
    note: str

    @property
    def length_s(self) -> float:
        """From first row to last."""
        return self.rows[-1].t_s


class RecordError(ValueError):
    """A record that cannot be played: file, line, what was expected."""


class _Column(NamedTuple):
    place: int
    kind: str
    unit: str  # as written, in small letters; empty: none


def read_record(path: Path, site_v: float, nominal_v: float | None = None, nominal_hz: float | None = None) -> Record:
    """Read a record. `site_v`: the site's nominal voltage, phase to neutral; `nominal_v`, `nominal_hz`: the record's.

    Raises RecordError.
    """
    lines = _lines(path)
    if not lines:
        raise RecordError(f"{path}: expected a header line and at least one row")
    number, header = lines[0]
    separator = next((s for s in (";", "\t", ",") if s in header), "")
    names = _cells(header, separator)
    if len(names) >= 3 and all(map(_is_number, names[:3])):
        names = ["t_s", "v", "hz"]
    else:
        lines = lines[1:]
    columns = _columns(path, number, names)
    raw, skipped = _rows(path, lines, columns, separator)
    if not raw:
        raise RecordError(f"{path}: expected at least one row with numbers")
    record = _scaled(raw, columns, site_v, nominal_v, nominal_hz)
    if not skipped:
        return record
    rows = "1 row" if len(skipped) == 1 else f"{len(skipped)} rows"
    return record._replace(note=f"{record.note}, {rows} without numbers skipped (line {skipped[0]})")


def _rows(
    path: Path, lines: Sequence[tuple[int, str]], columns: Sequence[_Column], separator: str
) -> tuple[list[tuple[float, float, float]], list[int]]:
    """Time, voltage and frequency of every row, of rows of one time the last; the lines of those without numbers."""
    raw: list[tuple[float, float, float]] = []
    skipped: list[int] = []
    for number, line in lines:
        where, before = f"{path}, line {number}", raw[-1] if raw else None
        cells = _cells(line, separator)
        if _missing(columns, cells, before is not None):
            skipped.append(number)
            continue
        row = _row(where, columns, cells, separator != ",", before[2] if before else None)
        if before and row[0] < before[0]:
            raise RecordError(f"{where}: expected times that grow; {row[0]:g} s follows {before[0]:g} s")
        if before and row[0] == before[0]:
            raw.pop()
        raw.append(row)
    return raw, skipped


def _missing(columns: Sequence[_Column], cells: Sequence[str], begun: bool) -> bool:
    """Whether the row says that it has no number: of its time, its voltages, or, before there is any, its frequency."""
    wanted = [c.place for c in columns if c.kind != HERTZ or not begun]
    return any(cells[place].strip().lower() in NO_NUMBER for place in wanted if place < len(cells))


def _lines(path: Path) -> list[tuple[int, str]]:
    """Number and text of every line that says something."""
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise RecordError(f"{path}: {error.strerror}") from None
    numbered = enumerate(text.splitlines(), 1)
    return [(n, line) for n, line in numbered if line.strip() and not line.lstrip().startswith("#")]


def _cells(line: str, separator: str) -> list[str]:
    return next(csv.reader([line], delimiter=separator)) if separator else line.split()


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True


def _columns(path: Path, number: int, names: list[str]) -> list[_Column]:
    """The columns that are read. Raises RecordError when one of the three is not there."""
    found = [c for index, name in enumerate(names) if (c := _column(index, name)) is not None]
    for kind, words in WORDS.items():
        there = [c for c in found if c.kind == kind]
        if not there or (len(there) > 1 and kind != VOLTS):
            what = "no column" if not there else "more than one column"
            expected = "expected time, voltage and frequency, such as t_s,v,hz"
            raise RecordError(f"{path}, line {number}: {what} for {kind} ({', '.join(words)}): {expected}")
    return found


def _column(index: int, name: str) -> _Column | None:
    words = [w for w in re.split(r"[\s_/\[\](){},;:]+", name.strip('" ').lower().replace("p.u.", "pu")) if w]
    for parts in (2, 1):  # "v_l1", "va"
        if len(words) >= parts and PHASE.match("".join(words[:parts])):
            return _Column(index, VOLTS, _unit(VOLTS, words[parts:]))
    for kind, known in WORDS.items():
        if words and words[0] in known:
            return _Column(index, kind, _unit(kind, words[1:]))
    return None


def _unit(kind: str, words: Sequence[str]) -> str:
    return next((w for w in words if w in UNITS[kind] or w in PERCENT), "")


def _row(
    where: str, columns: Sequence[_Column], cells: Sequence[str], decimal_comma: bool, hz_before: float | None
) -> tuple[float, float, float]:
    """Time in s, voltage and frequency in the file's own units."""
    values: dict[str, list[float]] = {TIMES: [], VOLTS: [], HERTZ: []}
    for column in columns:
        text = cells[column.place].strip() if column.place < len(cells) else ""
        if column.kind == HERTZ and text.lower() in ("", "-", *NO_NUMBER) and hz_before is not None:
            values[HERTZ].append(hz_before)
        else:
            values[column.kind].append(_value(where, column.kind, text, decimal_comma))
    unit = next(c.unit for c in columns if c.kind == TIMES)
    factor = UNITS[TIMES].get(unit) or 1.0
    return values[TIMES][0] * factor, sum(values[VOLTS]) / len(values[VOLTS]), values[HERTZ][0]


def _value(where: str, kind: str, text: str, decimal_comma: bool) -> float:
    """One cell's number; a time may be an instant of ISO 8601."""
    try:
        if kind == TIMES and not _is_number(text):
            value = datetime.fromisoformat(text).timestamp()
        else:
            value = float(text.replace(",", ".") if decimal_comma else text)
    except ValueError:
        raise RecordError(f"{where}: expected a number for the {kind}, found {text!r}") from None
    if not math.isfinite(value) or (value < 0 and kind != TIMES):
        raise RecordError(f"{where}: expected a finite {kind} of at least 0, found {text!r}")
    return value


def _scaled(
    raw: list[tuple[float, float, float]],
    columns: Sequence[_Column],
    site_v: float,
    nominal_v: float | None,
    nominal_hz: float | None,
) -> Record:
    """Voltages as shares of nominal, frequencies about 50 Hz."""
    _, first_v, first_hz = raw[0]
    base_v, what_v = _base_v(first_v, next(c.unit for c in columns if c.kind == VOLTS), site_v, nominal_v)
    if next(c.unit for c in columns if c.kind == HERTZ) == "pu" or first_hz < 2:
        base_hz = 1.0
    else:
        base_hz = nominal_hz or (60.0 if abs(first_hz - 60) < abs(first_hz - HZ) else HZ)
    what_hz = "" if base_hz == HZ else f", frequency moved from {base_hz:g} to {HZ:g} Hz"
    start_s = raw[0][0]
    rows = tuple(Row(t - start_s, v / base_v, hz * HZ / base_hz) for t, v, hz in raw)
    return Record(rows, f"{len(rows)} rows, {rows[-1].t_s:g} s, {what_v}{what_hz}")


def _base_v(first: float, unit: str, site_v: float, told_v: float | None) -> tuple[float, str]:
    """What nominal voltage is in the file's own unit, and what was taken for it."""
    if unit == "pu" or (not unit and told_v is None and first < 2):
        return 1.0, "voltage per unit"
    if unit in PERCENT:
        return 100.0, "voltage in % of nominal"
    factor = UNITS[VOLTS].get(unit) or 1.0
    candidates = {"phase to neutral": site_v, "phase to phase": site_v * math.sqrt(3)}
    if told_v is not None:
        candidates = {"as told": told_v}
    name, base_v = min(candidates.items(), key=lambda item: abs(first * factor - item[1]))
    if told_v is None and abs(first * factor - base_v) > NEAR * base_v and first > 0:
        name, base_v = "taken from its first row", first * factor
    return base_v / factor, f"nominal {base_v:.0f} V {name}"


def player(rows: Sequence[Row], start_s: float) -> Callable[[float], Row | None]:
    """The row at a site time; None before the record begins. After its end `t_s` is beyond the last row's."""
    times = [row.t_s for row in rows]

    def at(t_s: float) -> Row | None:
        since_s = t_s - start_s
        if since_s < 0:
            return None
        n = bisect_right(times, since_s) - 1
        here = rows[n]
        if n + 1 == len(rows):
            return here._replace(t_s=since_s)
        share = (since_s - times[n]) / (times[n + 1] - times[n])
        after = rows[n + 1]
        v, hz = here.v_share + share * (after.v_share - here.v_share), here.hz + share * (after.hz - here.hz)
        return Row(since_s, v, hz)

    return at
