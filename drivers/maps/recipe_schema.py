"""Defines the recipe of a device map: which registers are written, in which order, to make a PCS hold a power.

Sign of every power term: `want_w` > 0 discharges, `pv_w` >= 0, `ac_out_w` > 0 flows to the loads on the AC output.
`faults` checks a recipe without a device; the loader of the map adds file and line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

import msgspec

SIZES = {"u16": 1, "s16": 1, "u32": 2, "s32": 2, "u64": 4, "s64": 4, "f32": 2, "f64": 4}  # registers
MEASURED = frozenset({"pv_w", "ac_out_w", "ac_out_w_l1", "ac_out_w_l2", "ac_out_w_l3", "rated_w"})  # values of the map
GIVEN = frozenset(
    {"want_w", "charge_w", "discharge_w", "want_w_l1", "want_w_l2", "want_w_l3"}
    | {"charge_rated_w", "discharge_rated_w", "revert_s", "phases", "one"}
)
TERMS = MEASURED | GIVEN
CONDITION = re.compile(r"^(?P<left>[a-z_0-9]+)\s*(?P<op><=|>=|==|<|>)\s*(?P<right>[a-z_0-9.+-]+)$")
MOST_REGISTERS = 123  # in one request of function 16 (MODBUS Application Protocol V1.1b3, 6.12)

Type = Literal["u16", "s16", "u32", "s32", "u64", "s64", "f32", "f64"]
Comparison = Literal["<", "<=", ">", ">=", "=="]


class WrittenValue(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One value of a request: a constant `is`, or the sum of `terms` x factor, divided, rounded towards 0, clamped."""

    type: Type
    fixed: float | None = msgspec.field(default=None, name="is")
    terms: dict[str, float] = {}
    divide: float = 1.0  # watts of one step of the register
    min: float | None = None  # of the raw number
    max: float | None = None
    word_order: Literal["big", "little"] | None = None  # None: the map's


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One request that writes. It is never split, nor sent by another function after a refusal."""

    at: str = "device"
    address: int
    function: Literal[6, 16] | None = None  # None: the map's write_function
    memory: Literal["ram", "flash"] = "ram"
    when: str = ""
    values: tuple[WrittenValue, ...]
    unless_held: bool | None = None  # only if the registers hold something else; None: true in enter, else false
    found: bool = False  # in leave: what stood there before the first write; `values` where that is not known


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A register that is written every `every_s` as long as we command. Without `is` it counts up and wraps."""

    at: str = "device"
    address: int
    type: Literal["u16", "u32"] = "u16"
    function: Literal[6, 16] | None = None
    every_s: float = 1.0
    fixed: int | None = msgspec.field(default=None, name="is")
    word_order: Literal["big", "little"] | None = None


class Check(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How written registers are read back, where that differs: `measured_only` registers cannot be read."""

    at: str = "device"
    address: int
    measured_only: bool = False
    function: Literal[3, 4] | None = None  # None: the map's


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the power of a PCS is set. Times in site seconds, powers in W."""

    renew_s: float
    revert_s: float  # documented: it leaves our setpoint after this silence; 0: never
    revert_to: str = ""  # in words
    sign_of_zero: str = ""
    resolution_w: float = 1.0
    least_w: float = 0.0  # smaller powers are sent as 0
    follow_s: float = 1.0  # least time between two requests that only follow a measured term
    settle_s: float = 0.0  # after a write, how long the device may show what it held before
    enter: tuple[Entry, ...] = ()
    set: tuple[Entry, ...]
    renew: tuple[Entry, ...] = ()  # empty: the same as set
    leave: tuple[Entry, ...] = ()
    heartbeat: Heartbeat | None = None
    check: tuple[Check, ...] = ()

    @property
    def entries(self) -> tuple[tuple[str, Entry], ...]:
        """Every entry with its key."""
        groups = {"enter": self.enter, "set": self.set, "renew": self.renew, "leave": self.leave}
        return tuple((f"recipe.{name}[{n}]", entry) for name, group in groups.items() for n, entry in enumerate(group))

    @property
    def asks_revert_s(self) -> bool:
        """Whether the recipe itself sets after how long a silence the device reverts."""
        return any("revert_s" in value.terms for _, entry in self.entries for value in entry.values)

    @property
    def measured_terms(self) -> frozenset[str]:
        """The values of the map that it needs, in values or conditions."""
        return frozenset(term for _, entry in self.entries for term in _terms_of(entry)) & MEASURED


class Condition(msgspec.Struct, frozen=True):
    """One comparison of a `when`."""

    left: str
    op: Comparison
    right: str | float


def conditions(when: str) -> tuple[Condition, ...]:
    """The comparisons of a `when`, all of which must hold. Raises ValueError with what was expected."""
    found: list[Condition] = []
    for part in when.split(" and ") if when.strip() else ():
        match = CONDITION.match(part.strip())
        if match is None:
            raise ValueError(f'{part.strip()!r}: expected TERM OP TERM or number, joined by " and "')
        left, right = match["left"], match["right"]
        if left not in TERMS:
            raise ValueError(f"{left!r}: expected a term: {', '.join(sorted(TERMS))}")
        found.append(Condition(left, match["op"], right if right in TERMS else _number(right)))  # type: ignore[arg-type]
    return tuple(found)


def size(values: Iterable[WrittenValue]) -> int:
    """Registers that these values take."""
    return sum(SIZES[value.type] for value in values)


Protected = Iterable[tuple[int, int]]  # first and last register
Fault = tuple[str, str]  # key, what is wrong and what was expected


def faults(recipe: Recipe, units: Mapping[str, int], protected: Protected, write_function: int = 16) -> Iterator[Fault]:
    """What of a recipe cannot be accepted. `units`: names of the map's units besides "device"."""
    yield from _figure_faults(recipe)
    for key, entry in recipe.entries:
        for what in _entry_faults(key, entry, units, write_function):
            yield key, what
        for what in _protected(entry.at, entry.address, size(entry.values), units, protected):
            yield key, what
    if (beat := recipe.heartbeat) is not None:
        if beat.every_s <= 0:
            yield "recipe.heartbeat", "every_s: expected more than 0"
        for what in _protected(beat.at, beat.address, SIZES[beat.type], units, protected):
            yield "recipe.heartbeat", what


def _figure_faults(recipe: Recipe) -> Iterator[Fault]:
    """What is wrong with its times and powers."""
    if recipe.renew_s <= 0:
        yield "recipe.renew_s", "expected more than 0"
    if recipe.revert_s and recipe.renew_s > recipe.revert_s / 2:
        yield "recipe.renew_s", f"expected at most half of revert_s = {recipe.revert_s:g}, so that one may be lost"
    if recipe.revert_s < 0 or (recipe.revert_s and not recipe.revert_to):
        yield "recipe.revert_to", "expected what the device does after revert_s of silence, in words"
    if not recipe.set:
        yield "recipe.set", "expected at least one entry"
    if recipe.resolution_w <= 0 or recipe.least_w < 0 or recipe.follow_s < 0:
        yield "recipe.resolution_w", "expected resolution_w > 0, least_w >= 0 and follow_s >= 0"
    if not 0 <= recipe.settle_s < recipe.renew_s:
        yield "recipe.settle_s", f"expected 0 or more, below renew_s = {recipe.renew_s:g}"


def _entry_faults(key: str, entry: Entry, units: Mapping[str, int], write_function: int) -> Iterator[str]:
    count = size(entry.values)
    if not 1 <= count <= MOST_REGISTERS:
        yield f"values: expected 1..{MOST_REGISTERS} registers in one request, found {count}"
    if (entry.function or write_function) == 6 and count != 1:
        yield f"function 6 writes one register, these values take {count}: expected function = 16"
    if entry.memory == "flash" and not key.startswith(("recipe.enter", "recipe.leave")):
        yield 'memory = "flash": expected in enter and leave only, as flash wears out'
    if entry.memory == "flash" and entry.unless_held is False:
        yield "unless_held = false: flash is written only where it holds something else"
    if entry.found and not key.startswith("recipe.leave"):
        yield "found: expected in leave only"
    for value in entry.values:
        yield from _value_faults(value)
    if key.startswith("recipe.leave") and (entry.when or any(v.fixed is None for v in entry.values)):
        yield "expected constants and no condition: it is written when nothing is measured"
    try:
        conditions(entry.when)
    except ValueError as error:
        yield f"when: {error}"


def _value_faults(value: WrittenValue) -> Iterator[str]:
    if (value.fixed is None) == (not value.terms):
        yield "a value: expected either `is` or `terms`"
    for term in sorted(value.terms.keys() - TERMS):
        yield f"terms.{term}: expected one of {', '.join(sorted(TERMS))}"
    if value.divide <= 0:
        yield "divide: expected more than 0; a sign belongs to the terms"
    if value.min is not None and value.max is not None and value.min > value.max:
        yield f"min: expected at most max = {value.max:g}"


def _protected(at: str, first: int, count: int, units: Mapping[str, int], ranges: Protected) -> Iterator[str]:
    """What is wrong with the place: no such unit, outside the register space, or protected."""
    if at != "device" and at not in units:
        yield f"at = {at!r}: expected a name of [units]: {', '.join(('device', *units))}"
    if not 0 <= first <= 0xFFFF or first + count > 0x10000:
        yield f"address {first}: expected within 0..65535"
    for low, high in ranges:
        if first <= high and low < first + count:
            yield f"registers {first}..{first + count - 1}: {low}..{high} are protected and never written"


def _terms_of(entry: Entry) -> Iterator[str]:
    for value in entry.values:
        yield from value.terms
    for condition in conditions(entry.when):
        yield condition.left
        if isinstance(condition.right, str):
            yield condition.right


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text!r}: expected a number or a term: {', '.join(sorted(TERMS))}") from None
