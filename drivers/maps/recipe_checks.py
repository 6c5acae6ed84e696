"""Checks the recipe of a device map: steps, terms, heartbeat, and what is written to flash."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from drivers.maps.conditions import BadCondition, parse
from drivers.maps.lines import Key
from drivers.maps.recipe import needed_terms
from drivers.maps.register_checks import Fault, read_faults, write_faults
from drivers.maps.schema import SIZES, DeviceMap, Heartbeat, Recipe, Step, WrittenValue
from drivers.maps.vocabulary import MEASURED_TERMS, TERMS


def recipe_faults(recipe: Recipe, device_map: DeviceMap) -> Iterator[Fault]:
    """What is wrong in the recipe of this map."""
    if not recipe.set:
        yield ("recipe",), "no [[recipe.set]]", "at least one"
    if recipe.revert_s and recipe.renew_s >= recipe.revert_s:
        yield ("recipe", "renew_s"), f"{recipe.renew_s:g}", f"below revert_s, {recipe.revert_s:g}"
    for part in ("enter", "set", "renew", "leave"):
        for n, step in enumerate(getattr(recipe, part)):
            yield from _step(("recipe", part, n), part, step, device_map)
    yield from _stands_for_ever(recipe, device_map)
    if (beat := recipe.heartbeat) is not None:
        key = ("recipe", "heartbeat")
        yield from write_faults(key, beat, device_map)
        yield from _flash((*key, "memory"), beat)
        if beat.counts == (beat.equals is not None):
            yield key, "counts and is", "counts = true, or is = what is written each time"
        if recipe.revert_s and beat.every_s >= recipe.revert_s:
            yield (*key, "every_s"), f"{beat.every_s:g}", f"below revert_s, {recipe.revert_s:g}"
    for n, check in enumerate(recipe.check):
        yield from read_faults(("recipe", "check", n), check, check.type, check.address, device_map)
    yield from _worn(recipe)


def _stands_for_ever(recipe: Recipe, device_map: DeviceMap) -> Iterator[Fault]:
    """A value that may be missing while the device never reverts: what was asked before would stand meanwhile."""
    if recipe.revert_s or recipe.asks_revert_s:
        return
    for name in sorted(needed_terms(recipe.set) & MEASURED_TERMS):
        value = device_map.values.get(name)
        if value is not None and value.poll != "once":
            expected = "no measured term in [[recipe.set]], as without it the last setpoint would stand for ever"
            yield ("recipe", "revert_s"), f"0, and the recipe needs {name}", expected


def _flash(key: Key, item: Step | Heartbeat) -> Iterator[Fault]:
    if item.memory == "flash":
        yield key, "flash is written at each change", 'memory = "ram"; flash is allowed in enter and leave only'


def _step(key: Key, part: str, step: Step, device_map: DeviceMap) -> Iterator[Fault]:
    yield from write_faults(key, step, device_map)
    if part in ("set", "renew"):
        yield from _flash((*key, "memory"), step)
    if step.found and (part != "leave" or not step.values):
        yield (*key, "found"), f"in {part}", "found in leave only, with the values for when nothing is known"
    if not step.found and not step.values:
        yield key, "no values", "values = [ { type = ..., ... } ]"
    try:
        terms = [name for one in parse(step.when) for name in one.terms]
    except BadCondition as error:
        yield (*key, "when"), f"{step.when!r}", str(error)
        terms = []
    yield from _terms((*key, "when"), terms, device_map)
    for value in step.values:
        yield from _written(key, part, value, device_map)


def _written(key: Key, part: str, value: WrittenValue, device_map: DeviceMap) -> Iterator[Fault]:
    where = (*key, "values")
    if bool(value.terms) == (value.equals is not None):
        yield where, "terms and is", "either terms = { want_w = 1.0 } or is = a number"
    if value.divide == 0:
        yield where, "divide = 0", "a number other than 0"
    names = [*value.terms, *([value.divide_by] if value.divide_by else [])]
    if part == "leave" and set(names) - {"one", "charge_rated_w", "discharge_rated_w"}:
        yield where, f"{', '.join(names)} at the end", "a number, or the site's ratings: nothing is wanted any more"
    yield from _terms(where, names, device_map)
    if value.equals is not None and not _fits(value.type, value.equals / value.divide):
        yield where, f"{value.equals:g}", f"a number that fits into {value.type}"
    if value.min is not None and value.max is not None and value.min > value.max:
        yield where, f"min {value.min:g} above max {value.max:g}", "min at most max"


def _terms(where: Key, names: Iterable[str], device_map: DeviceMap) -> Iterator[Fault]:
    for name in names:
        if name not in TERMS:
            yield where, f"unknown term {name!r}", f"one of {', '.join(sorted(TERMS))}"
        elif name in MEASURED_TERMS and not name.endswith("rated_w") and name not in device_map.values:
            yield where, f"term {name!r} is not read", f"[value.{name}] in this map"


def _fits(kind: str, number: float) -> bool:
    if kind.startswith("f"):
        return True
    bits = 16 * SIZES[kind]
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if kind.startswith("s") else (0, (1 << bits) - 1)
    return number == int(number) and low <= number <= high


def _worn(recipe: Recipe) -> Iterator[Fault]:
    """Registers that one step calls flash and that another one writes at each change."""
    flash = {
        (step.at, step.address + n) for step in recipe.steps if step.memory == "flash" for n in range(step.registers)
    }
    often: list[tuple[Key, Step | Heartbeat]] = [
        (("recipe", part, n), step) for part in ("set", "renew") for n, step in enumerate(getattr(recipe, part))
    ]
    if recipe.heartbeat is not None:
        often.append((("recipe", "heartbeat"), recipe.heartbeat))
    for key, item in often:
        both = [
            address for at, address in sorted(flash) if at == item.at and 0 <= address - item.address < item.registers
        ]
        if both and item.memory == "ram":
            yield (
                (*key, "address"),
                f"writes {both[0]}, which another step calls flash",
                "flash in enter and leave only",
            )
