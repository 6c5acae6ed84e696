"""Finds the columns of a meter file by their content and by the words of their headers, in five languages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import msgspec

from dispatch.wording.formatting import one_line
from drivers.meter_data.times import DATE, DATE_AND_TIME, HOUR, TIME

# Words of headers, lower case. German, Dutch, Spanish, French, English.
START = frozenset(
    ["start", "from", "von", "begin", "beginn", "van", "desde", "inicio", "ab", "anfang", "début", "debut"]
)
END = frozenset(["end", "to", "until", "bis", "ende", "tot", "eind", "einde", "hasta", "fin"])
IMPORT = frozenset(
    [
        "import",
        "imported",
        "consumption",
        "usage",
        "demand",
        "offtake",
        "withdrawal",
        "verbrauch",
        "bezug",
        "entnahme",
        "wirkarbeit",
        "wirkleistung",
        "lastgang",
        "verbruik",
        "afname",
        "consumo",
        "consumida",
        "consommation",
        "soutirage",
        "lastprofil",
    ]
)
EXPORT = frozenset(
    [
        "export",
        "exported",
        "injection",
        "feed",
        "einspeisung",
        "rücklieferung",
        "rueckspeisung",
        "lieferung",
        "teruglevering",
        "invoeding",
        "excedente",
        "excedentes",
        "vertido",
        "vertida",
        "generada",
        "generación",
    ]
)
VALUE = frozenset(
    [
        "value",
        "wert",
        "messwert",
        "energy",
        "energie",
        "energía",
        "energia",
        "active",
        "wirkenergie",
        "leistung",
        "power",
        "waarde",
        "valor",
        "volume",
    ]
)
HOUR_NUMBER = frozenset(["hora", "hour", "uur", "stunde", "heure"])
UNIT_COLUMN = frozenset(["unit", "einheit", "eenheid", "unidad", "unité", "unite"])
REACTIVE = frozenset(
    [
        "reactive",
        "blind",
        "blindarbeit",
        "blindleistung",
        "blindenergie",
        "reactiva",
        "reactief",
        "blindverbruik",
        "kvar",
        "kvarh",
        "réactive",
    ]
)
IMPORT_CODES, EXPORT_CODES = ("1.8.", "1.29", "1.9.", "1.5."), ("2.8.", "2.29", "2.9.", "2.5.")  # OBIS, C.D
UNITS = ("MWh", "kWh", "Wh", "MW", "kW", "W")
_UNIT = re.compile(r"(?<![A-Za-z])(MWh|kWh|Wh|MW|kW|W)(?![A-Za-z])", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]+")


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """What the user says of a file; empty: the file tells."""

    time_column: str = ""
    value_column: str = ""
    export_column: str = ""
    unit: str = ""  # of UNITS
    zone: str = ""
    stamps: str = ""  # start | end
    date_order: str = ""  # dmy | mdy | ymd
    decimal: str = ""  # "." or ","


class Columns(msgspec.Struct, frozen=True, kw_only=True):
    """Places of the columns. `clock`: of the time of day, where it has a column of its own. `unit`: of the values.

    `unit_in`: a column that tells the unit in each row; None: there is none, or the values' header tells it.
    """

    time: int
    clock: int | None
    role: str  # start | end | hour (`clock` has its number in the day); empty: the header does not say which
    value: int
    export: int | None
    unit: str
    utc: bool  # the header says that the times are UTC
    unit_in: int | None = None


def columns(header: Sequence[str], rows: Sequence[Sequence[str]], layout: Layout) -> Columns:
    """The columns by header and first rows. Raises ValueError saying what cannot be told and which option says it."""
    time, clock, role = _times(header, rows, layout)
    taken = {place for place, name in enumerate(header) if _kinds(rows, place) or _words(name) & REACTIVE}
    taken |= {clock} if role == "hour" and clock is not None else set()
    taken -= {place for place, name in enumerate(header) if _names_it(name, layout.value_column)}
    value, export = _values(header, rows, layout, taken)
    unit, unit_in = _unit(header, rows, value, layout)
    of_value = _unit_of(header[value]) if layout.unit else unit
    if export is not None and of_value and _unit_of(header[export]) not in ("", of_value):
        raise ValueError(f"{one_line(header[export])!r}: expected the unit of {one_line(header[value])!r}, {of_value}")
    stamped = header[time] + (header[clock] if clock is not None else "")
    return Columns(
        time=time,
        clock=clock,
        role=role,
        value=value,
        export=export,
        unit=unit,
        utc="utc" in stamped.lower(),
        unit_in=unit_in,
    )


def _unit(header: Sequence[str], rows: Sequence[Sequence[str]], value: int, layout: Layout) -> tuple[str, int | None]:
    """The unit of the values, by the user, their header, or a column of units; the place of that. Raises ValueError."""
    place = next((place for place, name in enumerate(header) if _words(name) & UNIT_COLUMN), None)
    if layout.unit:
        return layout.unit, place
    if unit := _unit_of(header[value]):
        return unit, None
    if place is not None and rows and (unit := _unit_of(cell_of(rows[0], place))):
        return unit, place
    raise ValueError(
        f"the header {one_line(header[value])!r} does not tell the unit of its values; say it with --unit kWh "
        "(energy of each interval) or --unit kW (its mean)"
    )


def cell_of(row: Sequence[str], place: int) -> str:
    """A cell; empty where the row is too short for it."""
    return row[place] if place < len(row) else ""


def is_time(cell: str) -> str:
    """What a cell holds: "both" date and time, "date", "clock", or ""."""
    text = cell.strip()
    if DATE_AND_TIME.fullmatch(text):
        return "both"
    if DATE.fullmatch(text):
        return "date"
    return "clock" if TIME.fullmatch(text) else ""


def _kinds(rows: Sequence[Sequence[str]], place: int) -> str:
    """What a column holds, by the first rows that have it."""
    return next((kind for row in rows if place < len(row) and (kind := is_time(row[place]))), "")


def _times(header: Sequence[str], rows: Sequence[Sequence[str]], layout: Layout) -> tuple[int, int | None, str]:
    """(place of the date, of the time of day, start or end)."""
    kinds = _time_kinds(header, rows, layout)
    both, dates, clocks = (_places(kinds, wanted) for wanted in ("both", "date", "clock"))
    if both:
        place = _one_of(header, both)
        return place, None, _role(header[place])
    if dates and not clocks and (hour := _hour_numbers(header, rows)) is not None:
        return dates[0], hour, "hour"
    if not dates or not clocks:
        raise ValueError(f"no column of dates and times among {_list(header)}; name it with --time-column")
    clock = _one_of(header, clocks)
    date = next((place for place in dates if _role(header[place]) == _role(header[clock])), dates[0])
    return date, clock, _role(header[clock]) or _role(header[date])


def _hour_numbers(header: Sequence[str], rows: Sequence[Sequence[str]]) -> int | None:
    """The place of the numbers of hours in their day; None: no such column."""
    for place, name in enumerate(header):
        numbered = all(HOUR.fullmatch(cell_of(row, place).strip()) for row in rows)
        if _words(name) & HOUR_NUMBER and rows and numbered:
            return place
    return None


def _time_kinds(header: Sequence[str], rows: Sequence[Sequence[str]], layout: Layout) -> dict[int, str]:
    """What the columns of dates and times hold, by place; of dates only the one that was named."""
    kinds = {place: kind for place in range(len(header)) if (kind := _kinds(rows, place))}
    if not layout.time_column:
        return kinds
    named = _named(header, layout.time_column, "--time-column")
    if kinds.get(named) not in ("both", "date"):
        raise ValueError(f"{layout.time_column!r}: expected dates and times such as 2026-01-14 00:15")
    return {place: kind for place, kind in kinds.items() if place == named or kind == "clock"}


def _places(kinds: dict[int, str], wanted: str) -> list[int]:
    return [place for place, kind in kinds.items() if kind == wanted]


def _one_of(header: Sequence[str], places: Sequence[int]) -> int:
    """The one of several time columns that is the start, else the end, else the only one."""
    for role in ("start", "end"):
        found = [place for place in places if _role(header[place]) == role]
        if found:
            return found[0]
    if len(places) == 1:
        return places[0]
    raise ValueError(
        f"several columns of times: {_list([header[p] for p in places])}; name the one to use with --time-column"
    )


def _role(name: str) -> str:
    words = _words(name)
    if words & START:
        return "start"
    return "end" if words & END else ""


def _values(
    header: Sequence[str], rows: Sequence[Sequence[str]], layout: Layout, taken: set[int]
) -> tuple[int, int | None]:
    """The places of imported and of exported energy."""
    free = [place for place in range(len(header)) if place not in taken and _numeric(rows, place)]
    if layout.export_column:
        export: int | None = _named(header, layout.export_column, "--export-column")
    else:
        export = next((place for place in free if _is(header[place], EXPORT, EXPORT_CODES)), None)
    if layout.value_column:
        value = _named(header, layout.value_column, "--value-column")
        return value, None if export == value else export
    return _imported(header, [place for place in free if place != export]), export


def _imported(header: Sequence[str], places: Sequence[int]) -> int:
    """The one place whose header speaks of import, else of a value, else the only one."""
    for words, codes in ((IMPORT, IMPORT_CODES), (VALUE, ())):
        found = [place for place in places if _is(header[place], words, codes)]
        if found:
            places = found
        if len(places) == 1:
            return places[0]
    among = _list([header[place] for place in places] or header)
    raise ValueError(f"which column holds the imported energy is not clear: {among}; name it with --value-column")


def _numeric(rows: Sequence[Sequence[str]], place: int) -> bool:
    """Whether some of the first rows have a number there."""
    return any(place < len(row) and re.fullmatch(r"[+-]?\d[\d.,' ]*", row[place].strip()) for row in rows)


def _is(name: str, words: Iterable[str], codes: Sequence[str]) -> bool:
    return bool(_words(name) & frozenset(words)) or any(code in name for code in codes)


def _words(name: str) -> frozenset[str]:
    return frozenset(word.lower() for word in _WORD.findall(name))


def _unit_of(name: str) -> str:
    """The unit that a header names; W and w alike."""
    found = _UNIT.findall(name)
    return next((unit for unit in UNITS if found and unit.lower() == found[-1].lower()), "")


def _names_it(name: str, wanted: str) -> bool:
    return bool(wanted) and name.strip().lower() == wanted.strip().lower()


def _named(header: Sequence[str], wanted: str, option: str) -> int:
    for place, name in enumerate(header):
        if _names_it(name, wanted):
            return place
    raise ValueError(f"{option} {wanted!r}: expected one of {_list(header)}")


def _list(names: Iterable[str]) -> str:
    return ", ".join(repr(one_line(name)) for name in names)
