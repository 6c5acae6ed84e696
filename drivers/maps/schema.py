"""The structure of a device map: the file's tables as structs.

A map says in data how a family of devices is read and written. `drivers/maps/loader.py` reads and checks a file,
`docs/device-maps.md` explains every key.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from drivers.maps.vocabulary import NEEDED, Kind

Poll = Literal["fast", "slow", "once"]
WordOrder = Literal["big", "little"]  # of the words of one value; the bytes of a word are always high byte first
NumberType = Literal["u16", "s16", "u32", "s32", "u64", "s64", "f32", "f64"]
Type = Literal["u16", "s16", "u32", "s32", "u64", "s64", "f32", "f64", "enum", "bits", "string"]
ReadFunction = Literal[3, 4]  # holding, input registers
WriteFunction = Literal[16, 6]

Address = Annotated[int, Meta(ge=0, le=65535)]
Size = Annotated[int, Meta(ge=0, le=125)]
Seconds = Annotated[float, Meta(ge=0, le=3600)]

DEVICE = "device"  # the unit that the site file's key `unit` gives

SIZES: dict[str, int] = {"u16": 1, "s16": 1, "u32": 2, "s32": 2, "u64": 4, "s64": 4, "f32": 2, "f64": 4}


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of a map file: no other keys than these."""


class MapInfo(_Table, frozen=True, kw_only=True):
    """`[map]`: what the map is for and where its lines come from."""

    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
    title: Annotated[str, Meta(min_length=1)]
    kind: Kind
    sources: tuple[str, ...]
    disagreements: tuple[str, ...] = ()
    ask: tuple[str, ...] = ()
    verified: Literal["vectors", "unverified"] = "unverified"
    no_identity: str = ""  # why there is no [[identity]]


class Access(_Table, frozen=True, kw_only=True):
    """`[access]`: what the device needs. The site file's own keys win."""

    function: ReadFunction = 3
    write_function: WriteFunction = 16
    max_registers: Annotated[int, Meta(ge=1, le=125)] = 125
    max_gap: Annotated[int, Meta(ge=0, le=124)] = 0
    connect_delay_s: Seconds = 0.0
    spacing_s: Seconds = 0.0
    deadline_s: Annotated[float, Meta(gt=0, le=10)] | None = None
    refresh_s: Seconds = 0.0
    word_order: WordOrder = "big"
    identity: Literal["connection", "reading"] = "connection"  # when it is checked; "reading": read with the values


class Identity(_Table, frozen=True, kw_only=True, rename={"equals": "is"}):
    """`[[identity]]`: a register that shows that it is this device. Exactly one of `is`, `one_of`, `starts_with`."""

    at: str = DEVICE
    address: Address
    type: Type
    size: Size = 0
    function: ReadFunction | None = None
    word_order: WordOrder | None = None
    equals: int | str | None = None
    one_of: tuple[int, ...] = ()
    starts_with: str | tuple[str, ...] = ""  # one of these, capitals or not

    @property
    def registers(self) -> int:
        """How many registers it takes."""
        return registers_of(self.type, self.size)


class Value(_Table, frozen=True, kw_only=True):
    """`[value.NAME]`: one value, read from registers or computed (`sum_of`, `minus_of`)."""

    at: str = DEVICE
    address: Address | None = None
    type: Type | None = None
    size: Size = 0  # registers, of a string; of enum and bits 1 unless given
    function: ReadFunction | None = None
    word_order: WordOrder | None = None
    unit: str = ""
    scale: float = 1.0
    scale_register: Address | None = None
    invert: bool = False
    poll: Poll = "fast"
    nan: tuple[int, ...] = ()
    min: float | None = None
    max: float | None = None
    only_if: Mapping[str, tuple[float, ...]] = {}  # read where this value of poll "once" is one of these
    words: Mapping[int, str] = {}
    numbers: Mapping[int, float] = {}  # of an enum that stands for a number
    bits: Mapping[int, str] = {}
    otherwise: str = ""  # the word where no bit is set
    sum_of: tuple[str, ...] = ()
    minus_of: tuple[str, ...] = ()

    @property
    def registers(self) -> int:
        """How many registers it takes; 0: it is computed."""
        return 0 if self.type is None else registers_of(self.type, self.size)

    @property
    def parts(self) -> tuple[str, ...]:
        """The values that it is computed of."""
        return self.sum_of + self.minus_of


class Protected(_Table, frozen=True, kw_only=True):
    """`[protected]`: registers that nothing of Skerry writes: first, last, why."""

    ranges: tuple[tuple[Address, Address, str], ...] = ()


class WrittenValue(_Table, frozen=True, kw_only=True, rename={"equals": "is"}):
    """One value of a write: the sum of terms x factor, divided, rounded and kept in min..max; or a fixed number."""

    type: NumberType
    terms: Mapping[str, float] = {}
    equals: float | None = None
    divide: float = 1.0
    divide_by: str = ""  # and by this term, such as "rated_w" where the device takes a share
    scale_register: Address | None = None  # divided by the power of ten that stands there
    min: float | None = None
    max: float | None = None
    word_order: WordOrder | None = None

    @property
    def registers(self) -> int:
        """How many registers it takes."""
        return SIZES[self.type]


class Step(_Table, frozen=True, kw_only=True):
    """`[[recipe.enter]]`, `set`, `renew`, `leave`: one request. Its values are written together or not at all."""

    at: str = DEVICE
    address: Address
    values: tuple[WrittenValue, ...] = ()
    found: bool = False  # leave: write what stood there when we came; `values` where that is not known
    size: Size = 0  # registers, with `found`
    function: WriteFunction | None = None
    memory: Literal["ram", "flash"] = "ram"
    when: str = ""
    unless_held: bool | None = None  # not written where the registers hold it already; enter: true
    latching: str = ""  # the cited order in which the device takes values, where they are several requests

    @property
    def registers(self) -> int:
        """How many registers it writes."""
        return sum(v.registers for v in self.values) or self.size


class Heartbeat(_Table, frozen=True, kw_only=True, rename={"equals": "is"}):
    """`[recipe.heartbeat]`: a register that is written every `every_s` while our setpoint stands, else it gives up."""

    at: str = DEVICE
    address: Address
    type: NumberType = "u16"
    every_s: Annotated[float, Meta(gt=0, le=3600)]
    counts: bool = False  # up by one each time, and round; else `is` is written
    equals: float | None = None
    function: WriteFunction | None = None
    memory: Literal["ram", "flash"] = "ram"
    word_order: WordOrder | None = None

    @property
    def registers(self) -> int:
        """How many registers it writes."""
        return SIZES[self.type]


class ReadBack(_Table, frozen=True, kw_only=True):
    """`[[recipe.check]]`: a register that must hold what was written there."""

    at: str = DEVICE
    address: Address
    type: NumberType = "u16"
    tolerance: Annotated[float, Meta(ge=0)] = 0.0  # in the register's own steps
    measured_only: bool = False  # it cannot be read: only the measured power shows whether it was taken
    function: ReadFunction | None = None
    word_order: WordOrder | None = None

    @property
    def registers(self) -> int:
        """How many registers it reads."""
        return SIZES[self.type]


class Recipe(_Table, frozen=True, kw_only=True):
    """`[recipe]`: how a PCS is given a power."""

    renew_s: Annotated[float, Meta(gt=0, le=3600)]
    revert_s: Annotated[float, Meta(ge=0, le=86400)]  # silence after which it leaves our setpoint; 0: never
    fed_by_reads: bool = False  # its watchdog counts any request: while it is read, a setpoint not renewed stands
    revert_to: str = ""
    sign_of_zero: str = ""
    resolution_w: Annotated[float, Meta(gt=0)] = 1.0
    least_w: Annotated[float, Meta(ge=0)] = 0.0  # smaller powers are sent as 0
    follow_s: Seconds = 1.0  # least time between two requests that only follow a measured term
    settle_s: Seconds = 0.0  # after a write, how long the device may show what it held before
    enter: tuple[Step, ...] = ()
    set: tuple[Step, ...] = ()
    renew: tuple[Step, ...] = ()  # empty: the same as `set`
    leave: tuple[Step, ...] = ()
    heartbeat: Heartbeat | None = None
    check: tuple[ReadBack, ...] = ()  # how written registers are read back, where that differs from the map's way

    @property
    def steps(self) -> tuple[Step, ...]:
        """All of them."""
        return self.enter + self.set + self.renew + self.leave

    @property
    def asks_revert_s(self) -> bool:
        """Whether it sets itself after how long a silence the device reverts."""
        return any("revert_s" in value.terms for step in self.steps for value in step.values)


class NamedWrite(_Table, frozen=True, kw_only=True):
    """`[write.NAME]`: a register that a driver writes by name: a word, or a number in `unit`."""

    at: str = DEVICE
    address: Address
    type: NumberType = "u16"
    function: WriteFunction | None = None
    word_order: WordOrder | None = None
    unit: str = ""
    scale: float = 1.0
    min: float | None = None
    max: float | None = None
    words: Mapping[int, str] = {}
    none: int | None = None  # what is written for "no value", such as "no cap"
    memory: Literal["ram", "flash"] = "ram"
    by_hand: bool = False  # an engineer may write it with `skerry devices write`
    synchro_check: str = ""  # of a switch's command: where it says that the device compares bus and grid before closing

    @property
    def registers(self) -> int:
        """How many registers it writes."""
        return SIZES[self.type]


class DeviceMap(msgspec.Struct, frozen=True, kw_only=True):
    """A whole map, as checked."""

    path: Path
    info: MapInfo
    access: Access = Access()
    units: Mapping[str, int] = {}  # 0: the site file must say it
    identity: tuple[Identity, ...] = ()
    values: Mapping[str, Value] = {}
    protected: Protected = Protected()
    recipe: Recipe | None = None
    writes: Mapping[str, NamedWrite] = {}

    @property
    def name(self) -> str:
        """Its name; that of its file."""
        return self.info.name

    @property
    def needed(self) -> str:
        """The value without which reading fails; "": it has none of those that its kind needs."""
        return next((name for name in NEEDED[self.info.kind] if name in self.values), "")

    def function_of(self, item: Value | Identity | ReadBack) -> int:
        """The function by which it is read."""
        return item.function or self.access.function

    def write_function_of(self, write: NamedWrite) -> WriteFunction | None:
        """The function by which it is written; None: 16, or 6 for one register that the device refuses 16 for."""
        return write.function or (None if self.access.write_function == 16 else 6)

    def order_of(self, item: Value | Identity | ReadBack | WrittenValue | Heartbeat | NamedWrite) -> WordOrder:
        """The order of its words."""
        return item.word_order or self.access.word_order


def registers_of(kind: str, size: int) -> int:
    """How many registers a type takes; `size` says it for strings, and for bits and enums of more than one."""
    return SIZES.get(kind) or size or (0 if kind == "string" else 1)
