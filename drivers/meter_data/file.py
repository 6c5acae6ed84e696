"""Reads a CSV of the utility's meter values: one row for each metering interval.

What the file does not tell (unit, whether times are the begin or the end, the decimal sign, the order of dates) is
asked by an error that names the option.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import msgspec

from dispatch.wording.formatting import one_line
from drivers.meter_data.columns import Columns, Layout, cell_of, columns, is_time
from drivers.meter_data.numbers import decimal_sign, number
from drivers.meter_data.times import (
    NotATime,
    Order,
    Stamp,
    hour_stamp,
    instants,
    order_of,
    stamp,
    without_serial,
    zone_of,
)
from drivers.text_file import NotText, text_of

DAY_S = 86_400
INTERVALS_S = (300, 600, 900, 1800, 3600)
FACTORS = {"MWh": 1e3, "kWh": 1.0, "Wh": 1e-3, "MW": 1e3, "kW": 1.0, "W": 1e-3}  # of kWh, or of kW
MOST_BYTES = 64 << 20
FIRST_ROWS = 20  # by which columns are told apart
PREAMBLE = 60  # lines before the first row, at most
SHOWN = 10  # errors named in one message
REGISTER_ROWS = 96  # that never fall, and seldom stay: readings of a register


class MeterFileError(ValueError):
    """A meter file that cannot be used: what is wrong where, what was expected, which option says it."""


class MeterFile(msgspec.Struct, frozen=True, kw_only=True):
    """Energy by metering interval, kWh >= 0 unless the meter counts down; sorted, missing rows left out.

    start_utc_s: when each interval begins by the meter's clock. remarks: how the file was taken.
    """

    name: str
    interval_s: int
    start_utc_s: tuple[int, ...]
    import_kwh: tuple[float, ...]
    export_kwh: tuple[float, ...] | None
    remarks: tuple[str, ...]


def read(path: Path, timezone: str, layout: Layout) -> MeterFile:
    """The meter values of a file. timezone: the site's, for times without an offset where `layout` names none.

    Raises MeterFileError naming every bad line (the first ten); OSError.
    """
    try:
        return _read(path, timezone, layout)
    except MeterFileError:
        raise
    except ValueError as error:
        raise MeterFileError(f"{path}: {error.args[0]}") from None


def _read(path: Path, timezone: str, layout: Layout) -> MeterFile:
    first, header, rows = _table(_text(path))
    found = columns(header, [row for _, row in rows[:FIRST_ROWS]], layout)
    rows = [(line, row) for line, row in rows if len(row) > found.time and any(cell.strip() for cell in row)]
    _same_unit(path, rows, found)
    stamps = _stamps(path, rows, found, layout)
    if sum(a.wall > b.wall for a, b in pairwise(stamps)) > (len(stamps) - 1) / 2:
        rows, stamps = rows[::-1], stamps[::-1]
    lines, interval_s = [line for line, _ in rows], _interval_s(stamps)
    starts, remarks = _starts(path, lines, stamps, found, layout, timezone)
    imported = _column(path, rows, found.value, found.unit, layout)
    exported = None if found.export is None else _column(path, rows, found.export, found.unit, layout)
    kept = _kept(path, lines, starts, imported, exported)
    if len(kept) < 2:
        raise MeterFileError(f"{path}: expected at least two rows with a value below line {first}, found {len(kept)}")
    if interval_s not in INTERVALS_S or any((b[0] - a[0]) % interval_s for a, b in pairwise(kept)):
        raise MeterFileError(f"{path}: expected rows every 5, 10, 15, 30 or 60 min, found {interval_s / 60:g} min")
    _not_a_register(path, [value for _, value, _ in kept])
    unit_kwh = FACTORS[found.unit] * (1.0 if found.unit.endswith("h") else interval_s / 3600)
    remarks += _gap_remarks(kept, len(rows), interval_s)
    return MeterFile(
        name=path.name,
        interval_s=interval_s,
        start_utc_s=tuple(at for at, _, _ in kept),
        import_kwh=tuple(unit_kwh * value for _, value, _ in kept),
        export_kwh=None if exported is None else tuple(unit_kwh * (value or 0.0) for _, _, value in kept),
        remarks=tuple(f"{path.name}: {remark}" for remark in remarks),
    )


def _starts(
    path: Path, lines: Sequence[int], stamps: Sequence[Stamp], found: Columns, layout: Layout, timezone: str
) -> tuple[list[int], list[str]]:
    """When each interval begins, POSIX s; and how the times were taken. Raises MeterFileError, ValueError."""
    with_offset = stamps[0].offset_s is not None
    if any((one.offset_s is not None) != with_offset for one in stamps):
        raise MeterFileError(f"{path}: some times have an offset from UTC, others none: expected one kind")
    zone_name = layout.zone or ("UTC" if found.utc else timezone)
    zone, interval_s = zone_of(zone_name), _interval_s(stamps)
    ends, why = _ends(stamps, found, layout, interval_s)
    remarks = ([] if with_offset else [f"times are taken as {zone_name}"]) + ([why] if why else [])
    try:
        return instants(stamps, zone, interval_s, ends, sure=bool(layout.zone)), remarks
    except ValueError as error:
        text, place = error.args
        raise MeterFileError(f"{path}:{lines[place]}: {text}") from None


def _text(path: Path) -> str:
    """The text: UTF-8, UTF-16 with its mark, else Windows-1252, in which only names of columns can be misread."""
    if path.stat().st_size > MOST_BYTES:
        raise MeterFileError(f"{path}: expected at most {MOST_BYTES >> 20} MiB")
    data = path.read_bytes()
    try:
        if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
            return data.decode("utf-16")
        return text_of(data, path.suffix == ".gz")
    except UnicodeDecodeError as error:
        raise MeterFileError(f"{path}: expected text, {error}") from None
    except NotText as error:
        if path.suffix == ".gz" or b"\0" in data:
            raise MeterFileError(f"{path}: {error}") from None
        return data.decode("cp1252", "replace")


def _table(text: str) -> tuple[int, list[str], list[tuple[int, list[str]]]]:
    """(line of the header, header, numbered rows). Raises ValueError where no row has a date."""
    lines = [(n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip() and not line.startswith("#")]
    place, sign = _first_row(lines)
    if not sign:
        lines = [(n, _dated(line)) for n, line in lines]
        place, sign = _first_row(lines)
    if not sign:
        raise ValueError(
            "expected a header and rows with a date, a time and a value, such as 2026-01-14 00:15;12,5; none of the "
            f"first {PREAMBLE} lines is one"
        )
    header = _header([_cells(before, sign) for _, before in lines[:place]])
    rows = [(n, _cells(row, sign)) for n, row in lines[place:]]
    return lines[place - 1][0], header, _checked(rows, len(header))


def _first_row(lines: Sequence[tuple[int, str]]) -> tuple[int, str]:
    """(place of the first line that has a date and more, what separates its cells); (0, ""): none."""
    found = ((place, _separator(line)) for place, (_, line) in enumerate(lines[:PREAMBLE]))
    return next(((place, sign) for place, sign in found if sign), (0, ""))


def _dated(line: str) -> str:
    """A line of a file without dates, whose first cell may be the serial number of one."""
    sign = next((sign for sign in (";", "\t", ",") if sign in line), "")
    first, _, rest = line.partition(sign) if sign else (line, "", "")
    return without_serial(first) + sign + rest


def _separator(line: str) -> str:
    """What separates the cells of a line that has a date and more; empty for another line."""
    for sign in (";", "\t", ","):
        cells = _cells(line, sign)
        if len(cells) > 1 and any(is_time(cell) in ("both", "date") for cell in cells):
            return sign
    return ""


def _header(before: list[list[str]]) -> list[str]:
    """The names of the columns: the row before the first; with the one before that where it says only the units."""
    if not before or len(before[-1]) < 2:
        raise ValueError("expected a header with the names of the columns above the first row")
    header = before[-1]
    blank = sum(not cell.strip() for cell in before[-1])
    if blank and len(before) > 1 and len(before[-2]) == len(before[-1]):
        header = [f"{name} {unit}" for name, unit in zip(before[-2], header, strict=False)]
    return [name.strip() for name in header]


def _cells(line: str, sign: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=sign), [])
    except csv.Error:
        return [line]


def _checked(rows: list[tuple[int, list[str]]], width: int) -> list[tuple[int, list[str]]]:
    """Rows that have no more cells than the header; a decimal comma in a file with commas would give one more."""
    for line, row in rows:
        if len(row) > width and any(cell.strip() for cell in row[width:]):
            raise ValueError(
                f"line {line}: expected at most {width} cells as in the header, found {len(row)}; a decimal comma "
                "between commas needs quotes, or semicolons between the cells"
            )
    return rows


def _stamps(path: Path, rows: Sequence[tuple[int, list[str]]], found: Columns, layout: Layout) -> list[Stamp]:
    """The times as written. Raises MeterFileError naming lines that have none."""
    order: Order | None = layout.date_order or None  # type: ignore[assignment]
    order = order or order_of(row[found.time] for _, row in rows)
    if order is None:
        raise MeterFileError(
            f"{path}: dates such as {one_line(rows[0][1][found.time])!r} may have the day or the month first; "
            "say which with --date-order dmy or --date-order mdy"
        )
    stamps, errors = [], []
    for line, row in rows:
        clock = "" if found.clock is None else cell_of(row, found.clock)
        try:
            stamps.append((hour_stamp if found.role == "hour" else stamp)(row[found.time], clock, order))
        except NotATime as error:
            errors.append(f"{path}:{line}: {error}")
    _raise_any(path, errors)
    return stamps


def _same_unit(path: Path, rows: Sequence[tuple[int, list[str]]], found: Columns) -> None:
    """Raises MeterFileError where a column of units tells another one than the first row's, --unit or not: that is one
    unit for all rows.
    """
    if found.unit_in is not None and rows:
        units = [(line, cell_of(row, found.unit_in).strip()) for line, row in rows]
        first = units[0][1]
        other = [(line, unit) for line, unit in units if unit.lower() != first.lower()]
        expected = f"expected {one_line(first) or 'none'}, as in the first row"
        _raise_any(path, [f"{path}:{line}: unit {one_line(unit)!r}: {expected}" for line, unit in other])


def _interval_s(stamps: Sequence[Stamp]) -> int:
    """The commonest time between two rows, s."""
    spacings = Counter(int((b.wall - a.wall).total_seconds()) for a, b in pairwise(stamps) if b.wall > a.wall)
    return spacings.most_common(1)[0][0] if spacings else 0


def _ends(stamps: Sequence[Stamp], found: Columns, layout: Layout, interval_s: int) -> tuple[bool, str]:
    """Whether times are the end of their interval, and why, where neither header nor user says it."""
    if found.role == "hour":
        return False, "hours are taken by their number in the day, 1 from 00:00 on"
    said = layout.stamps or found.role
    if said:
        return said == "end", ""
    if any(one.midnight_24 for one in stamps):
        return True, "times are taken as the end of intervals: a day ends at 24:00"
    first_s, last_s = (3600 * one.wall.hour + 60 * one.wall.minute + one.wall.second for one in (stamps[0], stamps[-1]))
    shown = f"the file begins at {stamps[0].wall:%H:%M} and ends at {stamps[-1].wall:%H:%M}"
    if first_s == 0 and last_s + interval_s == DAY_S:
        return False, f"times are taken as the begin of intervals: {shown}"
    if first_s == interval_s and last_s == 0:
        return True, f"times are taken as the end of intervals: {shown}"
    raise ValueError(
        "whether times are the begin or the end of intervals is not told; say it with --stamps start or end"
    )


def _column(
    path: Path, rows: Sequence[tuple[int, list[str]]], place: int, unit: str, layout: Layout
) -> list[float | None]:
    """The values of a column, None where there is none. Raises MeterFileError naming lines without a number."""
    texts = [row[place] if place < len(row) else "" for _, row in rows]
    decimal = layout.decimal or decimal_sign(texts, unit)
    values: list[float | None] = []
    errors = []
    for (line, _), text in zip(rows, texts, strict=True):
        try:
            values.append(number(text, decimal))
        except ValueError as error:
            errors.append(f"{path}:{line}: {error}")
    _raise_any(path, errors)
    return values


def _kept(
    path: Path,
    lines: Sequence[int],
    starts: Sequence[int],
    imported: Sequence[float | None],
    exported: Sequence[float | None] | None,
) -> list[tuple[int, float, float | None]]:
    """(begin, import, export) of the rows with a value, sorted. Raises MeterFileError for an interval with two."""
    found: dict[int, tuple[float, float | None]] = {}
    errors = []
    for n, (at, value) in enumerate(zip(starts, imported, strict=True)):
        if value is None:
            continue
        one = (value, None if exported is None else exported[n])
        if found.setdefault(at, one) != one:
            shown = f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"
            errors.append(
                f"{path}:{lines[n]}: the interval from {shown} has two values, {found[at][0]:g} and {value:g}"
            )
    _raise_any(path, errors)
    return [(at, *found[at]) for at in sorted(found)]


def _not_a_register(path: Path, values: Sequence[float]) -> None:
    """Raises MeterFileError for values that never fall."""
    if len(values) < REGISTER_ROWS:
        return
    rises = sum(b > a for a, b in pairwise(values))
    if rises > len(values) / 2 and all(b >= a for a, b in pairwise(values)):
        raise MeterFileError(
            f"{path}: the values only grow, as those of a register do: expected the energy of each interval; "
            "name another column with --value-column, or ask for the load profile"
        )


def _gap_remarks(kept: Sequence[tuple[int, float, float | None]], rows: int, interval_s: int) -> list[str]:
    intervals = (kept[-1][0] - kept[0][0]) // interval_s + 1
    missing = intervals - len(kept)
    repeated = f"{rows - len(kept)} rows have no value or repeat one" if rows > len(kept) else ""
    hours = f"{missing * interval_s / 3600:g} h of {intervals * interval_s / 3600:g} h are missing" if missing else ""
    return [remark for remark in (repeated, hours) if remark]


def _raise_any(path: Path, errors: Sequence[str]) -> None:
    if errors:
        more = [f"{path}: and {len(errors) - SHOWN} more lines"] if len(errors) > SHOWN else []
        raise MeterFileError("\n".join([*errors[:SHOWN], *more]))
