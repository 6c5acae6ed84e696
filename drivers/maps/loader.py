"""Loads a device map: a file of its own, or one of those that come with Skerry."""

from __future__ import annotations

import difflib
import math
import re
import tomllib
import typing
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from dispatch.config.type_words import type_words
from drivers.maps import checks
from drivers.maps.lines import Key, Lines
from drivers.maps.schema import (
    Access,
    DeviceMap,
    Heartbeat,
    Identity,
    MapInfo,
    NamedWrite,
    Protected,
    ReadBack,
    Recipe,
    Step,
    Value,
)

S = TypeVar("S", bound=msgspec.Struct)

BUNDLED = Path(__file__).parent
MOST_BYTES = 256 * 1024  # of a map file; ours are below 16 KiB
TABLES = ("map", "access", "units", "identity", "value", "protected", "recipe", "write")
REPEATED: dict[str, type[msgspec.Struct]] = {
    "enter": Step,
    "set": Step,
    "renew": Step,
    "leave": Step,
    "check": ReadBack,
}


class MapFault(NamedTuple):
    """One error of a map file."""

    file: Path
    line: int
    key: str
    what: str
    expected: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.key}: {self.what}; expected {self.expected}"


class MapError(Exception):
    """A map file that cannot be used: every error found in it, in file order."""

    def __init__(self, faults: Iterable[MapFault]) -> None:
        self.faults = sorted(set(faults), key=lambda f: f.line)
        super().__init__("\n".join(map(str, self.faults)))


def bundled() -> list[str]:
    """The names of the maps that come with Skerry."""
    return sorted(path.stem for path in BUNDLED.glob("*.toml"))


def is_file(name: str) -> bool:
    """Whether a site file's `map` names a file, not one of ours."""
    return "/" in name or name.endswith(".toml")


def load(name: str, beside: Path | None = None) -> DeviceMap:
    """Load a map by name, or by path: relative to the directory of `beside`, the site file. Raises MapError."""
    if is_file(name):
        return load_file((beside.parent if beside else Path()) / name)
    known = bundled()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"{close[0]}" if close else f"one of {', '.join(known)}"
        raise MapError([MapFault(Path(name), 1, "map", "no such map", f"{hint}, or a path such as ./{name}.toml")])
    return _bundled(name)


@cache
def _bundled(name: str) -> DeviceMap:
    return load_file(BUNDLED / f"{name}.toml")


def load_file(path: Path) -> DeviceMap:
    """Load and check a map file. Raises MapError with every error found."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise MapError([MapFault(path, 1, "file", error.strerror or str(error), "a map file")]) from None
    if len(content) > MOST_BYTES:
        raise MapError([MapFault(path, 1, "file", "too long", f"at most {MOST_BYTES // 1024} KiB")])
    try:
        return parse(path, content.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise MapError([MapFault(path, line, "file", error.reason, "UTF-8 text")]) from None


def parse(path: Path, text: str) -> DeviceMap:
    """The map in a file's text. Raises MapError with every error found."""
    try:
        raw = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        place = re.search(r"at line (\d+)", str(error))
        raise MapError([MapFault(path, int(place[1]) if place else 1, "TOML", str(error), "a TOML document")]) from None
    reading = _Reading(path, Lines(text))
    device_map = reading.map(raw)
    for fault in checks.faults(device_map) if device_map and not reading.faults else ():
        reading.fault(*fault)
    if reading.faults or device_map is None:
        raise MapError(reading.faults)
    return device_map


class _Reading:
    """Makes structs of tables and collects what is wrong with them."""

    def __init__(self, path: Path, lines: Lines) -> None:
        self.path, self._lines = path, lines
        self.faults: list[MapFault] = []

    def fault(self, key: Key, what: str, expected: str) -> None:
        self.faults.append(MapFault(self.path, self._lines.of(key), _shown(key), what, expected))

    def map(self, raw: dict[str, Any]) -> DeviceMap | None:
        """The map; None where a table that it cannot do without has errors."""
        for key in raw.keys() - set(TABLES):
            self.fault((key,), "no such table", _nearest(key, TABLES))
        info = self._table(("map",), MapInfo, raw.get("map", {}))
        access = self._table(("access",), Access, raw.get("access", {}))
        protected = self._table(("protected",), Protected, raw.get("protected", {}))
        units = self._units(raw.get("units", {}))
        identity = self._tables(("identity",), Identity, raw.get("identity", []))
        values = self._named(("value",), Value, raw.get("value", {}))
        writes = self._named(("write",), NamedWrite, raw.get("write", {}))
        recipe = self._recipe(raw["recipe"]) if "recipe" in raw else None
        if info is None or access is None or protected is None:
            return None
        return DeviceMap(
            path=self.path,
            info=info,
            access=access,
            units=units,
            identity=identity,
            values=values,
            protected=protected,
            recipe=recipe,
            writes=writes,
        )

    def _units(self, raw: Any) -> dict[str, int]:
        if not isinstance(raw, dict):
            self.fault(("units",), "not a table", "[units] with NAME = unit id")
            return {}
        for name, unit in raw.items():
            if isinstance(unit, bool) or not isinstance(unit, int) or not 0 <= unit <= 255:
                self.fault(("units", name), f"{unit!r}", "a Modbus unit id, 1..255; 0: the site file must say it")
        return {name: unit for name, unit in raw.items() if isinstance(unit, int)}

    def _named(self, key: Key, struct: type[S], raw: Any) -> dict[str, S]:
        if not isinstance(raw, dict):
            self.fault(key, "not a table", f"tables, written [{key[0]}.NAME]")
            return {}
        found = {name: self._table((*key, name), struct, table) for name, table in raw.items()}
        return {name: table for name, table in found.items() if table is not None}

    def _tables(self, key: Key, struct: type[S], raw: Any) -> tuple[S, ...]:
        if not isinstance(raw, list):
            self.fault(key, "not a list of tables", f"tables, written [[{_shown(key)}]]")
            return ()
        found = (self._table((*key, n), struct, table) for n, table in enumerate(raw))
        return tuple(table for table in found if table is not None)

    def _recipe(self, raw: Any) -> Recipe | None:
        if not isinstance(raw, dict):
            self.fault(("recipe",), "not a table", "[recipe]")
            return None
        parts: dict[str, Any] = {
            name: self._tables(("recipe", name), struct, raw[name]) for name, struct in REPEATED.items() if name in raw
        }
        if "heartbeat" in raw:
            parts["heartbeat"] = self._table(("recipe", "heartbeat"), Heartbeat, raw["heartbeat"])
        plain = self._table(("recipe",), Recipe, {k: v for k, v in raw.items() if k not in parts})
        return None if plain is None else msgspec.structs.replace(plain, **parts)

    def _table(self, key: Key, struct: type[S], raw: Any) -> S | None:
        """One table as its struct; None where something in it is wrong, with the faults noted."""
        if not isinstance(raw, dict):
            self.fault(key, "not a table", f"a table, written [{_shown(key)}]")
            return None
        fields = _fields_of(struct)
        before, values = len(self.faults), {}
        for name, value in raw.items():
            if name not in fields:
                self.fault((*key, name), "no such key", _nearest(name, fields))
                continue
            try:
                values[fields[name].name] = _converted(value, fields[name].type)
            except ValueError as error:  # msgspec.ValidationError is one
                self.fault((*key, name), f"{value!r}"[:80], _expectation(str(error), fields[name].type))
        for name, field in fields.items():
            if field.required and name not in raw:
                self.fault(key, f"no {name}", f"{name}; it is required")
        return struct(**values) if len(self.faults) == before else None


@cache
def _fields_of(struct: type[msgspec.Struct]) -> dict[str, msgspec.structs.FieldInfo]:
    """The keys of a table; evaluated once: types are written as text."""
    return {field.encode_name: field for field in msgspec.structs.fields(struct)}


def _converted(value: Any, hint: Any) -> Any:
    """Raises ValueError where the value does not fit; TOML's inf and nan never do."""
    if not _finite(value):
        raise ValueError("a finite number")
    return msgspec.convert(value, hint, strict=True, str_keys=True)


def _finite(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_finite, value.values()))
    if isinstance(value, list):
        return all(map(_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _expectation(message: str, hint: Any) -> str:
    """msgspec's message about a value of the type `hint` as what was expected."""
    if message.startswith("Invalid enum value"):
        return f"one of {', '.join(map(str, _choices(hint)))}"
    return type_words(message.replace(" | null", ""))


def _choices(hint: Any) -> Iterator[Any]:
    """Every value that a type allows by a Literal, also within a union or a list."""
    for inner in typing.get_args(hint):
        if typing.get_origin(hint) is typing.Literal:
            yield inner
        else:
            yield from _choices(inner)


def _shown(key: Key) -> str:
    """A key as it is written in messages: recipe.set[0].address."""
    text = ""
    for name in key:
        text += f"[{name}]" if isinstance(name, int) else f".{name}" if text else name
    return text


def _nearest(name: str, known: Iterable[str]) -> str:
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    return close[0] if close else f"one of {', '.join(names)}"
