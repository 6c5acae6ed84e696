"""Turns a recipe and the power wanted into the requests that make a PCS hold it. Pure: no device, no clock.

Powers in W, `want_w` > 0 discharges. A measured term that is not there means that nothing is written at all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from dispatch.config.battery_ratings import dc_of_ac_w
from dispatch.config.schema import BatteryConfig
from drivers.maps.conditions import holds, parse
from drivers.maps.decoding import registers_for
from drivers.maps.schema import SIZES, DeviceMap, Recipe, Step, WrittenValue

Terms = Mapping[str, float | None]
Place = tuple[str, int]  # unit name and first register
PHASES = 3  # per-phase terms are those of a three-phase device


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
    def place(self) -> Place:
        """Unit name and first register."""
        return self.at, self.address


def asked_w(recipe: Recipe, want_w: float) -> float:
    """The power that the recipe asks for: `want_w` in its resolution, never more than wanted; 0 below its least."""
    steps = math.trunc(want_w / recipe.resolution_w + math.copysign(1e-9, want_w))
    w = steps * recipe.resolution_w
    return w if abs(w) >= recipe.least_w else 0.0


def power_terms(
    want_w: float,
    *,
    charge_rated_w: float,
    discharge_rated_w: float,
    revert_s: float,
    battery: BatteryConfig | None = None,
) -> dict[str, float | None]:
    """The terms that are not measured. `battery`: its efficiency lies between AC and DC; None: no losses."""
    dc_w = want_w if battery is None else dc_of_ac_w(battery, want_w)
    return {
        "want_w": want_w,
        "charge_w": max(-want_w, 0.0),
        "discharge_w": max(want_w, 0.0),
        "charge_dc_w": max(-dc_w, 0.0),
        "discharge_dc_w": max(dc_w, 0.0),
        "charge_rated_w": charge_rated_w,
        "discharge_rated_w": discharge_rated_w,
        "revert_s": revert_s,
        "one": 1.0,
        **{f"want_w_l{n + 1}": want_w / PHASES for n in range(PHASES)},
    }


def needed_terms(steps: Iterable[Step]) -> frozenset[str]:
    """The terms that these steps need, in values and conditions."""
    names = {name for step in steps for value in step.values for name in (*value.terms, value.divide_by) if name}
    return frozenset(names | {name for step in steps for one in parse(step.when) for name in one.terms})


def writes(
    device_map: DeviceMap,
    steps: Iterable[Step],
    terms: Terms,
    exponents: Mapping[Place, int] = {},
    *,
    entering: bool = False,
) -> tuple[Write, ...]:
    """The requests of these steps, in order; those whose condition does not hold are left out. Raises TermMissing.

    `exponents`: the powers of ten that the scale registers hold.
    """
    known = {name: value for name, value in terms.items() if value is not None and math.isfinite(value)}
    try:
        due = [step for step in steps if holds(parse(step.when), known)]
        return tuple(_write(device_map, step, known, exponents, entering) for step in due)
    except KeyError as missing:
        raise TermMissing(str(missing.args[0])) from None


def _write(
    device_map: DeviceMap, step: Step, terms: Mapping[str, float], exponents: Mapping[Place, int], entering: bool
) -> Write:
    words: list[int] = []
    clamped = False
    for value in step.values:
        exponent = 0 if value.scale_register is None else exponents[step.at, value.scale_register]
        wanted = _wanted(value, terms, exponent)
        raw = _within(value, wanted)
        clamped = clamped or raw != wanted
        words += registers_for(value.type, raw, device_map.order_of(value))
    return Write(
        step.at,
        step.address,
        step.function or device_map.access.write_function,
        tuple(words),
        entering if step.unless_held is None else step.unless_held,
        clamped,
    )


def _wanted(value: WrittenValue, terms: Mapping[str, float], exponent: int) -> float:
    """The raw number asked for; whole numbers are rounded towards 0."""
    if value.equals is not None:
        return value.equals / value.divide
    total = sum(terms[name] * factor for name, factor in value.terms.items()) / value.divide / 10.0**exponent
    if value.divide_by:
        divisor = terms[value.divide_by]
        if divisor == 0:
            raise TermMissing(value.divide_by)
        total /= divisor
    return total if value.type.startswith("f") else float(math.trunc(total + math.copysign(1e-9, total)))


def _within(value: WrittenValue, raw: float) -> float:
    """The nearest number that the register and the map's bounds take."""
    low, high = -math.inf, math.inf
    if not value.type.startswith("f"):
        every = 1 << 16 * SIZES[value.type]
        low, high = (-every // 2, every // 2 - 1) if value.type.startswith("s") else (0, every - 1)
    low = low if value.min is None else max(low, value.min)
    high = high if value.max is None else min(high, value.max)
    return min(max(raw, low), high)


def told(words: Sequence[int]) -> str:
    """Registers as they are told to people: numbers with spaces."""
    return " ".join(map(str, words))
