"""Turns a recipe and the power wanted into the requests that make a PCS hold it. Pure: no device, no clock.

Signs as in `drivers.maps.recipe_schema`. A measured term that is not there means that nothing is written at all.
"""

from __future__ import annotations

import math
import operator
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from drivers.maps.recipe_schema import (
    SIZES,
    Comparison,
    Entry,
    Recipe,
    Type,
    WrittenValue,
    conditions,
)

Terms = Mapping[str, float | None]
FORMATS = {"u16": ">H", "s16": ">h", "u32": ">I", "s32": ">i", "u64": ">Q", "s64": ">q", "f32": ">f", "f64": ">d"}
RANGES = {
    **{f"u{bits}": (0, 2**bits - 1) for bits in (16, 32, 64)},
    **{f"s{bits}": (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (16, 32, 64)},
}
COMPARE: dict[Comparison, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
}


class TermMissing(Exception):
    """A measured value that the recipe needs is missing or stale. `term` is its name."""

    def __init__(self, term: str) -> None:
        self.term = term
        super().__init__(f"{term} is not measured now")


class Write(msgspec.Struct, frozen=True):
    """One request."""

    at: str
    address: int
    function: int
    words: tuple[int, ...]
    unless_held: bool = False
    clamped: bool = False  # a value did not fit, and the nearest that fits stands here

    @property
    def place(self) -> tuple[str, int]:
        """Unit name and first register."""
        return self.at, self.address


class MapWrites(msgspec.Struct, frozen=True):
    """What the map says of all its writes."""

    function: int = 16
    word_order: str = "big"


def asked_w(recipe: Recipe, want_w: float) -> float:
    """The power that the recipe asks for: `want_w` in its resolution, never more than wanted; 0 below its least."""
    steps = math.trunc(want_w / recipe.resolution_w + math.copysign(1e-9, want_w))
    w = steps * recipe.resolution_w
    return w if abs(w) >= recipe.least_w else 0.0


def power_terms(
    want_w: float, *, charge_rated_w: float, discharge_rated_w: float, revert_s: float, phases: int
) -> dict[str, float | None]:
    """The terms that are not measured."""
    per_phase = {f"want_w_l{n}": want_w / phases if n <= phases else 0.0 for n in (1, 2, 3)}
    return {
        "want_w": want_w,
        "charge_w": max(-want_w, 0.0),
        "discharge_w": max(want_w, 0.0),
        "charge_rated_w": charge_rated_w,
        "discharge_rated_w": discharge_rated_w,
        "revert_s": revert_s,
        "phases": float(phases),
        "one": 1.0,
        **per_phase,
    }


def writes(entries: Iterable[Entry], terms: Terms, how: MapWrites, *, entering: bool = False) -> tuple[Write, ...]:
    """The requests of these entries, in order; those whose condition does not hold are left out. Raises TermMissing."""
    return tuple(_write(entry, terms, how, entering) for entry in entries if holds(entry.when, terms))


def holds(when: str, terms: Terms) -> bool:
    """Whether every comparison of a condition holds. Raises TermMissing."""
    return all(
        COMPARE[c.op](_term(c.left, terms), _term(c.right, terms) if isinstance(c.right, str) else c.right)
        for c in conditions(when)
    )


def encoded(value: float, kind: Type, word_order: str = "big") -> tuple[int, ...]:
    """A raw number as registers. Raises ValueError where it does not fit."""
    try:
        data = struct.pack(FORMATS[kind], value if kind.startswith("f") else int(value))
    except (struct.error, OverflowError) as error:
        raise ValueError(f"{value:g} does not fit a {kind}: {error}") from None
    words = struct.unpack(f">{SIZES[kind]}H", data)
    return words if word_order == "big" else words[::-1]


def _write(entry: Entry, terms: Terms, how: MapWrites, entering: bool) -> Write:
    words: list[int] = []
    clamped = False
    for value in entry.values:
        raw, cut = _raw(value, terms)
        clamped = clamped or cut
        words += encoded(raw, value.type, value.word_order or how.word_order)
    return Write(
        entry.at,
        entry.address,
        entry.function or how.function,
        tuple(words),
        entering if entry.unless_held is None else entry.unless_held,
        clamped,
    )


def _raw(value: WrittenValue, terms: Terms) -> tuple[float, bool]:
    """The raw number of a value, and whether it was clamped. Whole numbers are rounded towards 0."""
    if value.fixed is not None:
        return value.fixed, False
    wanted = sum(_term(name, terms) * factor for name, factor in value.terms.items()) / value.divide
    raw = wanted if value.type.startswith("f") else float(math.trunc(wanted + math.copysign(1e-9, wanted)))
    low, high = RANGES.get(value.type, (-math.inf, math.inf))
    low = low if value.min is None else max(low, value.min)
    high = high if value.max is None else min(high, value.max)
    fits = min(max(raw, low), high)
    return fits, fits != raw


def _term(name: str, terms: Terms) -> float:
    value = terms.get(name)
    if value is None or not math.isfinite(value):
        raise TermMissing(name)
    return value


def told(words: Sequence[int]) -> str:
    """Registers as they are told to people: one as a number, several as numbers with spaces."""
    return " ".join(map(str, words))
