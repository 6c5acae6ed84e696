"""Compiles SunSpec information models, the JSON files of the package pysunspec2, to struct formats.

Source: github.com/sunspec/models (Apache-2.0). Offsets count registers from the model's ID register. Nested groups
without a count are flattened as "Group.Point". Of a plain repeating group (modules of 160, strings of 803) the points
are named with their number, from 1: "module.2.DCW". Repeating groups that nest others (curves) are not compiled: no
driver reads one.
"""

from __future__ import annotations

import functools
import importlib.resources
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import msgspec

Value = float | int | str | tuple[str, ...]

SF_RANGE = range(-10, 11)  # SunSpec Device Information Model Specification 1.1, 3.1.6

# type -> struct code, raw value that means "not implemented" (Device Information Model Specification 1.1, table 3).
# An accumulator that was never implemented reads 0, or all ones on devices that fill whatever they lack; a float NaN.
NUMBERS: dict[str, tuple[str, int | None]] = {
    "int16": ("h", -0x8000),
    "int32": ("i", -0x8000_0000),
    "int64": ("q", -0x8000_0000_0000_0000),
    "uint16": ("H", 0xFFFF),
    "uint32": ("I", 0xFFFF_FFFF),
    "uint64": ("Q", 0xFFFF_FFFF_FFFF_FFFF),
    "count": ("H", 0xFFFF),
    "acc16": ("H", 0),
    "acc32": ("I", 0),
    "acc64": ("Q", 0),
    "enum16": ("H", 0xFFFF),
    "enum32": ("I", 0xFFFF_FFFF),
    "bitfield16": ("H", 0xFFFF),
    "bitfield32": ("I", 0xFFFF_FFFF),
    "bitfield64": ("Q", 0xFFFF_FFFF_FFFF_FFFF),
    "sunssf": ("h", -0x8000),
    "float32": ("f", None),
    "float64": ("d", None),
}


MISSPELT = {"ggmppt": "mppt"}  # St of model 111 in the JSON


@dataclass(frozen=True)
class Point:
    """One point of a model. `sf` is a fixed exponent or the name of the point that holds it."""

    name: str
    type: str
    offset: int
    size: int  # registers
    sf: str | int | None = None
    symbols: dict[int, str] = field(default_factory=dict)  # lower case
    units: str = ""  # of the scaled value, as the model says

    @property
    def end(self) -> int:
        """Offset of the register after it."""
        return self.offset + self.size

    @property
    def code(self) -> str:
        """Its struct format."""
        return NUMBERS[self.type][0] if self.type in NUMBERS else f"{2 * self.size}s"


@dataclass(frozen=True)
class Repeat:
    """A group that occurs several times at a model's end. `points` are those of the first, without the group's name."""

    name: str
    offset: int
    size: int  # registers of each
    points: dict[str, Point]


@dataclass(frozen=True)
class Model:
    """One information model. `points`: those outside of its repeating group."""

    id: int
    points: dict[str, Point]
    repeat: Repeat | None = None

    def point(self, name: str) -> Point:
        """A point by its name, "module.2.DCW" for one of a repeating group. Raises LookupError if there is none."""
        if name in self.points:
            return self.points[name]
        group, _, rest = name.partition(".")
        number, _, inner = rest.partition(".")
        repeat = self.repeat
        if repeat is None or repeat.name != group or inner not in repeat.points or not number.isdecimal():
            raise LookupError(f"SunSpec model {self.id} has no point {name}")
        first = repeat.points[inner]
        return replace(first, name=name, offset=first.offset + (int(number) - 1) * repeat.size)

    def repeats(self, length: int) -> int:
        """How often its repeating group occurs in a model whose L is `length`."""
        if self.repeat is None:
            return 0
        return max(length + 2 - self.repeat.offset, 0) // self.repeat.size  # ID and L are not counted in L

    def scale_of(self, point: Point) -> Point | None:
        """The point that holds its scale factor: in its own group first, then in the model's."""
        if not isinstance(point.sf, str):
            return None
        group, _, _ = point.name.rpartition(".")
        return self.points.get(f"{group}.{point.sf}") or self.points[point.sf]


class _Json(msgspec.Struct):
    """The fields of the JSON that matter here."""

    name: str
    type: str = "group"
    size: int = 0
    sf: str | int | None = None
    count: str | int | None = None
    symbols: list[_Symbol] = []
    units: str = ""
    points: list[_Json] = []
    groups: list[_Json] = []


class _Symbol(msgspec.Struct):
    name: str
    value: int


class _Document(msgspec.Struct):
    id: int
    group: _Json


@functools.cache
def _json_decoder() -> msgspec.json.Decoder[_Document]:
    return msgspec.json.Decoder(_Document)


@functools.cache
def model(model_id: int) -> Model:
    """The model with this number. Raises LookupError if SunSpec has none."""
    file = importlib.resources.files("sunspec2") / "models" / "json" / f"model_{model_id}.json"
    if not file.is_file():
        raise LookupError(f"SunSpec has no model {model_id} in {file.name}: expected a file of the package pysunspec2")
    document = _json_decoder().decode(file.read_bytes())
    points: dict[str, Point] = {}
    end = _compile(document.group, "", 0, points)
    return Model(document.id, points, end if isinstance(end, Repeat) else None)


def _compile(group: _Json, prefix: str, offset: int, points: dict[str, Point]) -> int | Repeat | None:
    """Add a group's points; the offset after it. Once a group repeats, what follows it is unknown: that group, or None
    if it nests others.
    """
    for item in group.points:
        symbols = {s.value: MISSPELT.get(s.name.lower(), s.name.lower()) for s in item.symbols}
        points[prefix + item.name] = Point(
            prefix + item.name, item.type, offset, item.size, item.sf, symbols, item.units
        )
        offset += item.size
    for nested in group.groups:
        if nested.count is not None:
            return _repeat(nested, offset) if not prefix and not nested.groups else None
        after = _compile(nested, f"{prefix}{nested.name}.", offset, points)
        if not isinstance(after, int):
            return None
        offset = after
    return offset


def _repeat(group: _Json, offset: int) -> Repeat:
    points: dict[str, Point] = {}
    _compile(group, "", offset, points)
    return Repeat(group.name, offset, sum(item.size for item in group.points), points)


def decode(point: Point, raw: int | float | bytes, sf: int | float | bytes | str | None) -> Value | None:
    """A raw value as what it means: scaled number, lower-case word, names of the set bits, text. None: not implemented.

    A scale factor that is itself not implemented or outside -10..10 leaves the value without meaning: None.
    """
    if isinstance(raw, bytes):
        return _text(point, raw)
    if isinstance(raw, float):
        return raw if math.isfinite(raw) else None
    if raw == NUMBERS[point.type][1] or (point.type.startswith("acc") and raw == (1 << 16 * point.size) - 1):
        return None
    if point.type.startswith("bitfield"):
        return tuple(point.symbols.get(bit, f"bit_{bit}") for bit in range(raw.bit_length()) if raw >> bit & 1)
    if point.type.startswith("enum"):
        return point.symbols.get(raw, f"unknown_{raw}")
    if sf is None:
        return raw
    if not isinstance(sf, int) or sf not in SF_RANGE:
        return None
    return scaled(raw, sf)


def raw_scale(values: Mapping[str, Value | None], name: str) -> int | None:
    """A scale factor read as a point, or None if it is not a usable one."""
    value = values.get(name)
    return value if isinstance(value, int) and value in SF_RANGE else None


def scaled(raw: int, sf: int) -> float:
    """raw x 10^sf; dividing by a power of ten keeps 4990 x 10^-2 at 49.9."""
    power: int = 10 ** abs(sf)
    return raw * power if sf >= 0 else raw / power


def unscaled(value: float, sf: int) -> int:
    """The raw number nearest to a value."""
    power: int = 10 ** abs(sf)
    return round(value / power if sf >= 0 else value * power)


def _text(point: Point, raw: bytes) -> str | None:
    """Strings end at the first NUL; addresses and padding are hexadecimal."""
    if point.type == "string":
        text = raw.split(b"\0", 1)[0].decode("utf-8", errors="replace").strip()
        return text or None
    return raw.hex() if any(raw) else None


def encode(point: Point, value: float | str, sf: int | None = None) -> list[int]:
    """The registers for a value: a number in the point's unit, or the word of an enum. `sf`: the device's scale factor.

    Raises ValueError for what the point cannot hold, the "not implemented" value included.
    """
    if point.type not in NUMBERS:
        raise ValueError(f"{point.name}: a {point.type} is never written here")
    code, sentinel = NUMBERS[point.type]
    raw: float | int
    if isinstance(value, str):
        words = {word: number for number, word in point.symbols.items()}
        if value not in words:
            raise ValueError(f"{point.name} = {value!r}: expected one of {', '.join(words) or 'no words at all'}")
        raw = words[value]
    elif not math.isfinite(value):
        raise ValueError(f"{point.name} = {value}: expected a finite number")
    elif code in "fd":
        raw = float(value)
    else:
        if point.sf is not None and sf not in SF_RANGE:
            raise ValueError(f"{point.name}: its scale factor is {sf}, expected -10..10")
        raw = unscaled(value, sf or 0)
    try:
        data = struct.pack(f">{code}", raw)
    except struct.error:
        raise ValueError(f"{point.name} = {value}: does not fit a {point.type} with scale factor {sf}") from None
    if raw == sentinel:
        raise ValueError(f"{point.name} = {value}: that raw value means 'not implemented'")
    return list(struct.unpack(f">{len(data) // 2}H", data))
