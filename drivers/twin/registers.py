"""Builds register images: the registers of a simulated device, refreshed from the physics when they are read.

`sunspec_image` builds a chain of information models, `plain_image` a map of its own. Devices by a device map have their
numbers in `drivers.twin.map_registers`. Nothing here knows of sockets.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from drivers.sunspec.model import Point, model

BASE = 40000
MARK = (0x5375, 0x6E53)  # "SunS"
END_ID = 0xFFFF

Getter = Callable[[], float | None]


class RefusedWrite(Exception):
    """A write the device does not take. `code`: the Modbus exception: 2 the address, 3 the value, 4 local control."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        super().__init__(text)


class Write(NamedTuple):
    """What a writable point does with a value, in its own unit, within [low, high]."""

    apply: Callable[[float], None]
    low: float
    high: float
    one_of: tuple[float, ...] = ()  # the only values that it takes; (): all within the range
    functions: tuple[int, ...] = (6, 16)  # by which it can be written

    def takes(self, value: float) -> bool:
        """Whether it may have this value."""
        return self.low <= value <= self.high and (not self.one_of or value in self.one_of)

    @property
    def expected(self) -> str:
        """What it takes, in words."""
        values = ", ".join(f"{value:g}" for value in self.one_of)
        return f"one of {values}" if values else f"{self.low:g}..{self.high:g}"


class Area(NamedTuple):
    """Registers that can be read together, and by which functions."""

    first: int
    last: int
    functions: tuple[int, ...] = (3,)


class Encoded(Protocol):
    """A number in the image: how it is written there, and read again."""

    @property
    def offset(self) -> int: ...

    @property
    def size(self) -> int:
        """How many registers it takes."""
        ...

    @property
    def missing(self) -> int:
        """The raw value that means that there is none."""
        ...

    def raw(self, value: float | None) -> int:
        """The registers' content for a value, as one unsigned number."""
        ...

    def value(self, registers: Sequence[int]) -> float:
        """The value that `registers`, the whole image, hold."""
        ...

    def put(self, registers: list[int], raw: int) -> None:
        """Write the raw number into the image."""
        ...


class Field(NamedTuple):
    """One number in the image of a SunSpec device or of one of Skerry's own maps: high word first."""

    offset: int
    size: int  # registers
    signed: bool
    accumulates: bool  # wraps, and has no "not implemented"
    exponent: int

    @property
    def missing(self) -> int:
        """The raw value that means "not implemented" (SunSpec Device Information Model Specification 1.1, table 3)."""
        every: int = 1 << 16 * self.size
        return 0 if self.accumulates else (every // 2 if self.signed else every - 1)

    def raw(self, value: float | None) -> int:
        """The registers' content for a value; beyond the range it sticks at its end, as instruments do."""
        if value is None:
            return self.missing
        every: int = 1 << 16 * self.size
        scale = 10.0 ** abs(self.exponent)
        number = round(value / scale if self.exponent > 0 else value * scale)
        if self.accumulates:
            return number % every
        if self.signed:
            most = every // 2 - 1
            return max(-most, min(most, number)) % every
        return max(0, min(every - 2, number))

    def value(self, registers: Sequence[int]) -> float:
        """The value that `registers`, the whole image, hold."""
        number = 0
        for register in registers[self.offset : self.offset + self.size]:
            number = number << 16 | register
        if self.signed and number >> (16 * self.size - 1):
            number -= 1 << (16 * self.size)
        return number * 10.0**self.exponent if self.exponent else float(number)

    def put(self, registers: list[int], raw: int) -> None:
        """Write the raw number, most significant register first."""
        if self.size == 1:
            registers[self.offset] = raw
            return
        for n in range(self.size):
            registers[self.offset + n] = raw >> (16 * (self.size - 1 - n)) & 0xFFFF


class Image:
    """Registers from `base` on. `live` fields are computed at each refresh; `writes` says what may be written."""

    def __init__(self, base: int, registers: list[int]) -> None:
        self.base, self.start = base, registers
        self.blocks: Sequence[range] = ()  # offsets of the registers that there are; (): all
        self.locked: Callable[[], bool] = lambda: False  # in local control nothing can be written
        self.functions: tuple[int, ...] = (3, 4)  # by which it is read
        self.areas: tuple[Area, ...] = ()  # what can be read, where that is not everything
        self.heard: Callable[[], None] = lambda: None  # called at each request
        self.can_blank = True  # it has a pattern that means "no value"
        self.every_s = (
            0.0  # how old what is read may be, site seconds, in a device that renews its registers by a cycle
        )
        self._renewed_s = -math.inf
        self._live: list[tuple[Encoded, Getter]] = []
        self._writes: dict[int, tuple[str, Encoded, Write]] = {}  # by offset of the first register

    def add(self, name: str, field: Encoded, get: Getter | None, write: Write | None = None) -> None:
        """Let a field live, or be written, or both."""
        if get is not None:
            self._live.append((field, get))
        if write is not None:
            self._writes[field.offset] = (name, field, write)

    def refresh(self, registers: list[int], now_s: float) -> None:
        """Compute every live field, where `every_s` have passed since the last time."""
        if now_s - self._renewed_s < self.every_s:
            return
        self._renewed_s = now_s
        for field, get in self._live:
            field.put(registers, field.raw(get()))

    def blank(self, registers: list[int]) -> None:
        """Make every live field "not implemented"."""
        for field, _ in self._live:
            field.put(registers, field.missing)

    def read_fault(self, function: int, address: int, count: int) -> int | None:
        """The Modbus exception for a read: 1 by another function, 2 where there is nothing to read; None: it may be."""
        if not self.areas:
            return None if function in self.functions else 1
        if function not in {each for area in self.areas for each in area.functions}:
            return 1
        last = address + count - 1
        inside = any(function in a.functions and a.first <= address and last <= a.last for a in self.areas)
        return None if inside else 2

    def write(self, registers: Sequence[int], address: int, values: Sequence[int], function: int = 16) -> list[str]:
        """Obey a write, all of it or nothing; return the points whose value changed.

        Raises RefusedWrite with register, point and what was expected.
        """
        if self.locked():
            raise RefusedWrite(4, f"registers {address}..{address + len(values) - 1}: the device is in local control")
        first = address - self.base
        image = list(registers)
        image[first : first + len(values)] = values
        orders: list[tuple[Write, float]] = []
        covered: set[int] = set()
        changed: list[str] = []
        for offset, (name, field, write) in sorted(self._writes.items()):
            touched = set(range(offset, offset + field.size))
            if touched.isdisjoint(range(first, first + len(values))):
                continue
            covered |= touched
            value = field.value(image)
            where = f"register {self.base + offset}, {name}"
            if function not in write.functions:
                raise RefusedWrite(1, f"{where}: not written by function {function}")
            if not write.takes(value):
                raise RefusedWrite(3, f"{where} = {value:g}: expected {write.expected}")
            orders.append((write, value))
            if value != field.value(registers):
                changed.append(name)
        if not covered.issuperset(range(first, first + len(values))):
            raise RefusedWrite(2, f"registers {address}..{address + len(values) - 1}: not all of them can be written")
        for write, value in orders:
            write.apply(value)
        return changed


class ModelFill(msgspec.Struct, frozen=True):
    """One information model as a device fills it; points not named are "not implemented"."""

    id: int
    scales: Mapping[str, int] = {}
    fixed: Mapping[str, float | str] = {}
    live: Mapping[str, Getter] = {}
    writes: Mapping[str, Write] = {}
    repeats: int = 0  # how often its repeating group occurs


def sunspec_image(fills: Sequence[ModelFill]) -> Image:
    """A chain of models from register 40000 on, closed by its end mark."""
    registers = list(MARK)
    image = Image(BASE, registers)
    for fill in fills:
        points, start = _points(fill), len(registers)
        registers += [0] * (max(p.offset + p.size for p in points.values()))
        length = len(registers) - start - 2
        values: dict[str, float | str] = {"ID": fill.id, "L": length, **fill.scales, **fill.fixed}
        unknown = {*values, *fill.live, *fill.writes} - points.keys()
        if unknown:
            raise LookupError(f"SunSpec model {fill.id} has no point {', '.join(sorted(unknown))}")
        for name, point in points.items():
            if point.type == "string":
                _put_text(registers, start + point.offset, point.size, str(values.get(name, "")))
                continue
            field = _field(point, start, fill.scales)
            given = values.get(name)
            field.put(registers, field.raw(given) if isinstance(given, (int, float)) else field.missing)
            image.add(f"{fill.id}.{name}", field, fill.live.get(name), fill.writes.get(name))
    registers += [END_ID, 0]
    return image


def _points(fill: ModelFill) -> dict[str, Point]:
    """Every point of a model, those of its repeating group as often as the device has it."""
    known = model(fill.id)
    if known.repeat is None or not fill.repeats:
        return known.points
    name, inner = known.repeat.name, known.repeat.points
    repeated = [f"{name}.{n}.{point}" for n in range(1, fill.repeats + 1) for point in inner]
    return known.points | {each: known.point(each) for each in repeated}


def plain_image(size: int, fields: Mapping[str, tuple[Field, float | None, Getter | None, Write | None]]) -> Image:
    """A map of its own from register 0 on: name -> (field, fixed value, live value, write)."""
    registers = [0] * size
    image = Image(0, registers)
    for name, (field, fixed, get, write) in fields.items():
        if get is None:
            field.put(registers, field.raw(fixed))
        image.add(name, field, get, write)
    return image


def exponent_for(most: float, signed: bool) -> int:
    """The smallest scale factor >= -2 with which one register holds `most`."""
    limit = 0x7FFF if signed else 0xFFFE
    exponent = -2
    while most / 10.0**exponent > limit:
        exponent += 1
    return exponent


def _field(point: Point, start: int, scales: Mapping[str, int]) -> Field:
    name = point.sf if isinstance(point.sf, str) else ""
    exponent = point.sf if isinstance(point.sf, int) else scales.get(name, 0)
    signed = point.type.startswith("int") or point.type in ("sunssf", "pad")
    return Field(start + point.offset, point.size, signed, point.type.startswith("acc"), exponent)


def _put_text(registers: list[int], offset: int, size: int, text: str) -> None:
    raw = text.encode("utf-8")[: 2 * size].ljust(2 * size, b"\0")
    for n in range(size):
        registers[offset + n] = raw[2 * n] << 8 | raw[2 * n + 1]
