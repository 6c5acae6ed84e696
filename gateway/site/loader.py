"""Reads and checks a site file: TOML with the sections of `gateway.site.schema`.

`load` never stops at the first mistake: it collects every error, each with file, key, value and what was expected.
Numbers may be written with their unit ("55 kW"); the key's suffix says which quantity is meant.
"""

from __future__ import annotations

import difflib
import functools
import itertools
import math
import re
import sys
import tomllib
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from dispatch.config.demand_terms import parsed
from dispatch.config.type_words import type_words
from dispatch.islanding import drill_schedule
from drivers.modbus import address
from gateway.site import versions
from gateway.site.cross_checks import across
from gateway.site.node_checks import MOST_NODES
from gateway.site.node_names import with_names
from gateway.site.schema import WITH_IDS, Site
from gateway.site.unread import MISSING_KEY, UNREAD


@dataclass(frozen=True)
class SiteError:
    """One mistake in a site file."""

    key: str
    value: object
    expected: str
    line: int | None = None  # of the file, of the key or the table that lacks it; None: not known

    def __str__(self) -> str:
        shown = "" if self.value is MISSING_KEY else f" = {self.value!r}"
        return f"{self.key}{shown}: expected {self.expected}"


class SiteFileError(Exception):
    """A site file that cannot be used: every error found in it, in file order of the sections."""

    def __init__(self, path: Path, errors: list[SiteError]) -> None:
        self.path, self.errors = path, errors
        super().__init__("\n".join(f"{path}:{'' if e.line is None else f'{e.line}:'} {e}" for e in errors))


# quantity suffix -> unit word -> factor to the suffix's own unit
UNITS: dict[str, dict[str, float]] = {
    "_w": {"W": 1, "kW": 1e3, "MW": 1e6},
    "_kwh": {"Wh": 1e-3, "kWh": 1, "MWh": 1e3},
    "_s": {"ms": 1e-3, "s": 1, "min": 60, "h": 3600},
    "_h": {"min": 1 / 60, "h": 1},
    "_d": {"h": 1 / 24, "d": 1},
    "_mb": {"MB": 1, "GB": 1000},
    "_a": {"A": 1, "kA": 1e3},
    "_v": {"V": 1, "kV": 1e3},
    "_hz": {"Hz": 1},
    "_pct": {"%": 1},
    "_c": {"C": 1, "°C": 1},
    "_w_per_s": {"W/s": 1, "kW/s": 1e3},
    "_eur_per_kwh": {"EUR/kWh": 1, "ct/kWh": 0.01},
    "_g_per_kwh": {"g/kWh": 1},
    "eur_per_kw": {"EUR/kW": 1},
    "_eur_per_kw_month": {"EUR/kW": 1},
}
REQUIRED = ("site", "grid")  # sections
PATH = re.compile(r"\[(\d+)\]|([^.\[\]]+)")
QUANTITY = re.compile(r"^\s*([+-]?[\d_]+(?:\.\d+)?)\s*([^\d\s].*?)\s*$")


def load(path: Path) -> Site:
    """Read and check a site file.

    Raises SiteFileError with every error found; OSError if it cannot be read.
    """
    text = read(path)
    return compose(path, parse(path, text), text)


def read(path: Path) -> str:
    """The text of a site file. Raises SiteFileError if it is not UTF-8, OSError if it cannot be read."""
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        expected = f"UTF-8 text; {error.reason} at byte {error.start}"
        raise SiteFileError(path, [SiteError("TOML", MISSING_KEY, expected)]) from None


def parse(path: Path, text: str) -> dict[str, Any]:
    """The document in a site file's text. Raises SiteFileError if it is not TOML."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SiteFileError(path, [SiteError("TOML", MISSING_KEY, f"a TOML document; {error}")]) from None


def load_or_say(path: Path) -> Site | None:
    """Read and check a site file for a command; None once every error, or why it cannot be read, is on stderr."""
    try:
        return load_for_service(path)
    except NotReadNow as error:
        print(error, file=sys.stderr)
    return None


class NotReadNow(Exception):
    """A site file that is there and cannot be read at the moment: its disk fails, its server does not answer."""


def load_for_service(path: Path) -> Site | None:
    """The same for a service that is started again. Raises NotReadNow where that may help."""
    try:
        return load(path)
    except SiteFileError as error:
        print(error, file=sys.stderr)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        print(f"skerry: {path}: {error.strerror}", file=sys.stderr)
    except OSError as error:
        raise NotReadNow(f"skerry: {path}: {error.strerror}") from None
    return None


def compose(path: Path, raw: dict[str, Any], text: str | None = None) -> Site:
    """Build a Site of a parsed TOML document. `text`: what it was parsed from. Raises SiteFileError."""
    stated = raw.get(versions.KEY, 1)
    raw, errors = _in_current_version(path, raw, text)
    hints = typing.get_type_hints(Site, include_extras=True)
    for name in ("path", versions.KEY):
        hints.pop(name)
    mistyped = _unknown_sections(raw, hints, errors)
    values: dict[str, Any] = {"path": path, versions.KEY: stated}
    for name, hint in hints.items():
        if name in raw:
            values[name] = _section(name, hint, raw[name], errors)
            continue
        if name in REQUIRED:
            errors.append(SiteError(f"[{name}]", MISSING_KEY, "this section; it is required"))
        if name in REQUIRED or name in mistyped:
            values[name] = _unread_section(hint)
    own = values.get("node", ())
    values["nodes"], unnamed = with_names(values.get("nodes", ()), path, _ids(values), MOST_NODES - len(own))
    errors.extend(itertools.starmap(SiteError, unnamed))
    site = Site(**values)
    errors.extend(itertools.starmap(SiteError, across(site)))
    if errors:
        raise SiteFileError(path, errors if text is None else _with_lines(errors, text))
    return site


def _ids(values: dict[str, Any]) -> set[str]:
    """The ids of devices, as far as they could be read, in small letters."""
    items = (item for section in WITH_IDS for item in values.get(section, ()))
    return {item.id.casefold() for item in items if isinstance(item.id, str)}


def _with_lines(errors: list[SiteError], text: str) -> list[SiteError]:
    from drivers.maps.lines import Lines  # here: most files have no errors

    lines = Lines(text)
    return [replace(error, line=lines.find(_path_of(error.key))) for error in errors]


def _path_of(key: str) -> tuple[str | int, ...]:
    """ "pcs[0].units.vebus" as its parts, "[grid]" as one."""
    return tuple(int(number) if number else name for number, name in PATH.findall(key.strip("[]")))


def _in_current_version(path: Path, raw: dict[str, Any], text: str | None) -> tuple[dict[str, Any], list[SiteError]]:
    """The document without retired keys and without its version; and the retired keys that are errors.

    In a file of an older version they are none, unless their replacement is there, too. Raises SiteFileError.
    """
    try:
        stated = versions.version_of(raw)
    except versions.UnknownVersion as error:
        raise SiteFileError(path, [SiteError(versions.KEY, raw[versions.KEY], str(error))]) from None
    retired = versions.retired_in(raw, text)
    errors = [
        SiteError(one.where, MISSING_KEY, f"{one.remedy} (skerry config upgrade prints the file {one.upgrade})")
        for one in retired
        if stated == versions.CURRENT or one.both
    ]
    raw = versions.modernised(raw, retired)
    return {key: value for key, value in raw.items() if key != versions.KEY}, errors


def _unknown_sections(raw: dict[str, Any], known: dict[str, Any], errors: list[SiteError]) -> set[str]:
    """Report the sections that are not known; the names of those that were probably meant."""
    meant: set[str] = set()
    for key in raw.keys() - known.keys():
        errors.append(SiteError(f"[{key}]", MISSING_KEY, f"a known section{_nearest(key, known, raw[key])}"))
        meant |= _close(key, known, raw[key])
    return meant


def _section(name: str, hint: Any, raw: Any, errors: list[SiteError]) -> Any:
    """One section as its struct, or as a tuple of them; errors are appended."""
    struct, many = _section_type(hint)
    if not many:
        return _table(name, struct, raw, errors)
    if not isinstance(raw, list):
        errors.append(SiteError(name, raw, f"a list of tables, written [[{name}]]"))
        return _unread_section(hint)
    return tuple(_table(f"{name}[{n}]", struct, item, errors) for n, item in enumerate(raw))


def _unread_section(hint: Any) -> Any:
    """A section of which nothing could be read."""
    struct, many = _section_type(hint)
    return (_unread(struct),) if many else _unread(struct)


def _section_type(hint: Any) -> tuple[type[msgspec.Struct], bool]:
    """The struct of a section, and whether it is a list of tables."""
    if typing.get_origin(hint) is tuple:
        return typing.get_args(hint)[0], True
    if isinstance(hint, types.UnionType):
        return next(a for a in typing.get_args(hint) if a is not type(None)), False
    return hint, False


def _unread(struct: type[msgspec.Struct]) -> msgspec.Struct:
    """A table of which nothing could be read."""
    return struct(**dict.fromkeys(struct.__struct_fields__, UNREAD))


@functools.cache
def _keys_of(struct: type[msgspec.Struct]) -> tuple[Mapping[str, Any], frozenset[str]]:
    """The keys of a table with their types, and which are required; evaluated once: types are written as text."""
    keys, defaults = struct.__struct_encode_fields__, struct.__struct_defaults__  # those of the last keys
    none = (msgspec.NODEFAULT,) * (len(keys) - len(defaults))
    required = frozenset(
        key for key, default in zip(keys, none + defaults, strict=True) if default is msgspec.NODEFAULT
    )
    return types.MappingProxyType(typing.get_type_hints(struct, include_extras=True)), required


def _table(where: str, struct: type[msgspec.Struct], raw: Any, errors: list[SiteError]) -> msgspec.Struct:
    """One table of the file as its struct; what is wrong in it is UNREAD there, with errors appended."""
    if not isinstance(raw, dict):
        errors.append(SiteError(where, raw, f"a table, written [{where}]"))
        return _unread(struct)
    hints, required = _keys_of(struct)
    values: dict[str, Any] = {}
    for key, value in raw.items():
        if key in hints:
            values[key] = _value(f"{where}.{key}", key, hints[key], value, errors)
            continue
        errors.append(SiteError(f"{where}.{key}", value, f"a known key{_nearest(key, hints, value)}"))
        values |= dict.fromkeys(_close(key, hints, value) - raw.keys(), UNREAD)
    for key in sorted(required - raw.keys()):
        errors.append(SiteError(f"{where}.{key}", MISSING_KEY, "this key; it is required"))
        values[key] = UNREAD
    return struct(**values)


def _value(where: str, key: str, hint: Any, raw: Any, errors: list[SiteError]) -> Any:
    """The value of one key; UNREAD, with an error appended, where it is not what it should be."""
    inner = _struct_of(hint)
    if inner is not None:
        return _table(where, inner, raw, errors)
    if _is_list_of_tables(hint):
        return _section(where, hint, raw, errors)
    try:
        value = msgspec.convert(_finite(_in_own_unit(key, raw)), hint, strict=True)
        check = CHECKS.get(key) or CHECKS.get(".".join(where.split(".")[-2:]))
        if check is not None:
            check(value)
    except (msgspec.ValidationError, ValueError) as error:
        errors.append(SiteError(where, raw, _described(hint, error) or _expectation(str(error))))
        return UNREAD
    return value


def _struct_of(hint: Any) -> type[msgspec.Struct] | None:
    """The struct of a table inside a section, None for a plain value."""
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    return next((o for o in options if isinstance(o, type) and issubclass(o, msgspec.Struct)), None)


def _is_list_of_tables(hint: Any) -> bool:
    """Whether a key is written `[[section.key]]`."""
    one = typing.get_args(hint)[0] if typing.get_origin(hint) is tuple else None
    return isinstance(one, type) and issubclass(one, msgspec.Struct)


def _in_own_unit(key: str, value: Any) -> Any:
    """Turn "55 kW" under a key ending in _w into 55000.0. Raises ValueError when the unit does not fit the key."""
    suffix = max((s for s in UNITS if key.endswith(s)), key=len, default=None)
    if not isinstance(value, str) or suffix is None:
        return value
    allowed = UNITS[suffix]
    match = QUANTITY.match(value)
    if match is None or match[2] not in allowed:
        raise ValueError(f"a number, or a number with one of the units {', '.join(allowed)}")
    number = float(match[1].replace("_", "")) * allowed[match[2]]
    return int(number) if number.is_integer() else number


def _finite(value: Any) -> Any:
    """The value. Raises ValueError for TOML's inf and nan: no limit is written by leaving the key out."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a finite number")
    return value


def _zone(name: str) -> None:
    """Raises ValueError for a time zone that does not exist."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError("an IANA time zone such as Europe/Berlin") from None


def _instant(text: str) -> None:
    """Raises ValueError for what is not an instant with its offset."""
    expected = "an instant with its offset, such as 2025-09-16T06:55:00Z"
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(expected) from None
    if moment.tzinfo is None:
        raise ValueError(expected)


def _url(text: str) -> None:
    """Raises ValueError for a url that leads nowhere."""
    if text and not text.startswith(("twin", "nut://", "http://", "https://", "gpio://")):
        address.parse(text)


def _schedule(text: str) -> None:
    """Raises ValueError for what is no schedule; empty is none."""
    if text:
        drill_schedule.parse(text)


def _price_file(name: str) -> None:
    """Raises ValueError for bundled prices that are not there."""
    if name.startswith("bundled:"):
        from drivers.tariffs.csv_file import bundled  # here: most site files name a file of their own

        _one_of(name, bundled())


def _load_trace(name: str) -> None:
    """Raises ValueError for a bundled trace that is not there."""
    if name.startswith("bundled:"):
        from drivers.twin.trace import bundled  # here: a real site has no trace

        _one_of(name, bundled())


def _one_of(name: str, known: list[str]) -> None:
    if name not in known:
        raise ValueError(f"a CSV file, or one of {', '.join(known)}")


# beyond what a type can say
CHECKS: dict[str, Callable[[Any], object]] = {
    "timezone": _zone,
    "start_utc": _instant,
    "url": _url,
    "demand.windows": parsed,
    "schedule": _schedule,
    "file": _price_file,
    "load_trace": _load_trace,
}


def _described(hint: Any, error: Exception) -> str:
    """What a type expects in words: a Literal's choices, or what its `Meta` says; "" for errors of our own."""
    if not isinstance(error, msgspec.ValidationError):
        return ""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return next(filter(None, (_described(option, error) for option in typing.get_args(hint))), "")
    metas = getattr(hint, "__metadata__", ())
    plain = hint.__origin__ if metas else hint
    if typing.get_origin(plain) is typing.Literal:
        return "one of " + ", ".join(map(str, typing.get_args(plain)))
    return next((str(m.extra["expected"]) for m in metas if m.extra and "expected" in m.extra), "")


def _expectation(message: str) -> str:
    """msgspec's message as what was expected, in a few words."""
    return type_words(message.split(" - at `")[0]).replace("got a text", "not a text")


def _nearest(key: str, known: Mapping[str, Any], value: object) -> str:
    """ "; did you mean X?" when something known is spelled alike, else the list of what is known."""
    close = _close(key, known, value)
    return f"; did you mean {', '.join(close)}?" if close else f": {', '.join(known)}"


def _close(key: str, known: Mapping[str, Any], value: object) -> set[str]:
    """What is known and spelled most alike, of what may hold such a value if it is a table; empty when nothing is."""
    fitting = [name for name, hint in known.items() if isinstance(value, dict) == _is_table(hint)]
    found = (difflib.get_close_matches(key, names, n=1, cutoff=0.6) for names in (fitting, list(known)))
    return set(next(filter(None, found), []))


def _is_table(hint: Any) -> bool:
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    plain = [option.__origin__ if hasattr(option, "__metadata__") else option for option in options]
    return _struct_of(hint) is not None or any(typing.get_origin(option) in (dict, Mapping) for option in plain)
