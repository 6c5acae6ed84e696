"""Checks what a single key of a device map cannot show: overlaps, units, words, recipes, protected registers."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator

from drivers.maps.conditions import BadCondition, parse
from drivers.maps.lines import Key
from drivers.maps.recipe import needed_terms
from drivers.maps.schema import (
    DEVICE,
    SIZES,
    DeviceMap,
    Heartbeat,
    Identity,
    NamedWrite,
    ReadBack,
    Recipe,
    Step,
    Value,
    WrittenValue,
)
from drivers.maps.switch_checks import switch_faults
from drivers.maps.vocabulary import (
    MEASURED_TERMS,
    NEEDED,
    OWN,
    TERMS,
    UNITS,
    VOCABULARY,
    Bits,
    Number,
    Text,
    Word,
)

Fault = tuple[Key, str, str]  # key, what, expected
MOST_WRITTEN = 123  # registers in one request of function 16 (MODBUS Application Protocol V1.1b3, 6.12)


def faults(device_map: DeviceMap) -> Iterator[Fault]:
    """Everything that is wrong in a map whose keys are right, each for itself."""
    yield from _info(device_map)
    yield from _units(device_map)
    for n, identity in enumerate(device_map.identity):
        yield from _identity(("identity", n), identity, device_map)
    for name, value in device_map.values.items():
        yield from _value(("value", name), name, value, device_map)
    yield from _overlaps(device_map)
    yield from _protected(device_map)
    for name, write in device_map.writes.items():
        yield from _named_write(("write", name), write, device_map)
    if device_map.info.kind == "switch":
        yield from switch_faults(device_map)
    if device_map.recipe is not None:
        yield from _recipe(device_map.recipe, device_map)
        yield from _worn(device_map.recipe)
    yield from _misaligned(device_map)


def _info(device_map: DeviceMap) -> Iterator[Fault]:
    info = device_map.info
    if not any(source.strip() for source in info.sources):
        yield ("map", "sources"), "no source", "the document and page, or the program and commit, of every line"
    if info.name != device_map.path.stem:
        yield ("map", "name"), info.name, f"{device_map.path.stem}, the name of the file"
    if not device_map.identity and not info.no_identity.strip():
        yield ("map",), "no identity check", "an [[identity]], or no_identity = the reason why there can be none"
    if device_map.identity and info.no_identity:
        yield ("map", "no_identity"), "there is an [[identity]]", "no such key beside it"
    if not device_map.needed:
        needed = NEEDED[info.kind]
        expected = " or ".join(f"[value.{name}]" for name in needed)
        yield ("map", "kind"), f"no value {' or '.join(needed)}", f"{expected}, which a {info.kind} needs"
    if device_map.recipe is not None and info.kind != "pcs":
        yield ("recipe",), f"a recipe in a map of kind {info.kind}", 'kind = "pcs"'


def _units(device_map: DeviceMap) -> Iterator[Fault]:
    if DEVICE in device_map.units:
        yield ("units", DEVICE), "given", "no such key: it is the site file's `unit`"


def _at(key: Key, at: str, device_map: DeviceMap) -> Iterator[Fault]:
    known = (DEVICE, *device_map.units)
    if at not in known:
        yield (*key, "at"), f"{at!r} is not known", f"{' or '.join(known)}, as in [units]"


def _place(
    key: Key, item: Identity | Value | ReadBack, kind: str, address: int, device_map: DeviceMap
) -> Iterator[Fault]:
    """Where something is read: its unit, its size, its last address."""
    yield from _at(key, item.at, device_map)
    count, size = item.registers, getattr(item, "size", 0)
    if kind in SIZES and size not in (0, SIZES[kind]):
        yield (*key, "size"), f"{size}", f"{SIZES[kind]}, which {kind} takes, or no size"
    if kind in ("enum", "bits") and size not in (0, 1, 2, 4):
        yield (*key, "size"), f"{size}", "1, 2 or 4 registers"
    if kind == "string" and not size:
        yield key, "a string without size", "size, in registers"
    if count > device_map.access.max_registers:
        yield key, f"{count} registers", f"at most max_registers, {device_map.access.max_registers}"
    if address + count > 1 << 16:
        yield (*key, "address"), f"{address}", f"the last of its {count} registers at 65535 or below"


def _identity(key: Key, identity: Identity, device_map: DeviceMap) -> Iterator[Fault]:
    yield from _place(key, identity, identity.type, identity.address, device_map)
    given = [identity.equals is not None, bool(identity.one_of), bool(identity.starts_with)]
    if sum(given) != 1:
        yield key, f"{sum(given)} of is, one_of, starts_with", "exactly one of them"
    text = identity.type == "string"
    if text and (identity.one_of or isinstance(identity.equals, int)):
        yield key, "a number for a string", "is = a text, or starts_with"
    if not text and (identity.starts_with or isinstance(identity.equals, str)):
        yield key, f"a text for {identity.type}", "is = a number, or one_of"


def _value(key: Key, name: str, value: Value, device_map: DeviceMap) -> Iterator[Fault]:
    known = VOCABULARY[device_map.info.kind]
    if name not in known and not name.startswith(OWN):
        close = difflib.get_close_matches(name, known, n=1)
        hint = close[0] if close else f"one of {', '.join(known)}"
        yield key, f"no such value of a {device_map.info.kind}", f"{hint}; or {OWN}NAME for the map's own use"
    if value.parts:
        yield from _computed(key, value, device_map, united=isinstance(known.get(name), Bits))
        return
    if value.address is None or value.type is None:
        yield key, "no address or no type", "address and type, or sum_of"
        return
    yield from _place(key, value, value.type, value.address, device_map)
    yield from _meaning(key, name, value, device_map)
    yield from _patterns(key, value)
    for other in value.only_if:
        if other not in device_map.values or device_map.values[other].poll != "once":
            yield (*key, "only_if"), f"{other!r}", 'a value of this map with poll = "once"'
    if value.min is not None and value.max is not None and value.min > value.max:
        yield (*key, "min"), f"{value.min:g}", f"at most max, {value.max:g}"
    if value.scale == 0:
        yield (*key, "scale"), "0", "a factor other than 0"


def _patterns(key: Key, value: Value) -> Iterator[Fault]:
    """Raw numbers and bits that its registers cannot hold."""
    most = 1 << 16 * value.registers
    for name, numbers in (("nan", value.nan), ("words", value.words), ("numbers", value.numbers)):
        for number in numbers:
            if not 0 <= number < most:
                expected = f"a raw pattern, not negative, that fits into {value.registers} registers"
                yield (*key, name), f"0x{number:X}", expected
    for bit in value.bits:
        if not 0 <= bit < 16 * value.registers:
            yield (*key, "bits"), f"bit {bit}", f"0..{16 * value.registers - 1}; bit 0 is the lowest"


def _computed(key: Key, value: Value, device_map: DeviceMap, *, united: bool) -> Iterator[Fault]:
    """`united`: the names of set bits, of several registers, rather than a sum."""
    if value.address is not None or value.type is not None or value.unit or value.scale != 1.0:
        yield key, "computed and read", "either sum_of and minus_of, or address and type"
    if united and value.minus_of:
        yield (*key, "minus_of"), "bits cannot be subtracted", "sum_of alone"
    for part in value.parts:
        other = device_map.values.get(part)
        name = "sum_of" if part in value.sum_of else "minus_of"
        if other is None:
            yield (*key, name), f"{part!r} is not in this map", "the name of a value of this map"
        elif other.parts or (other.type != "bits" if united else other.type in ("enum", "bits", "string")):
            wanted = "bits that are" if united else "a number that is"
            yield (*key, name), f"{part!r}", f"{wanted} read from registers itself"
        elif other.poll != value.poll:
            yield (*key, name), f"{part!r} is read {other.poll}", f'poll = "{value.poll}", as that of the sum'


def _meaning(key: Key, name: str, value: Value, device_map: DeviceMap) -> Iterator[Fault]:
    """Type, unit and words must fit what the name means."""
    meaning = VOCABULARY[device_map.info.kind].get(name)
    if value.type in SIZES or value.numbers:
        yield from _number(key, value, meaning.unit if isinstance(meaning, Number) else None)
    if value.type == "enum" and not (value.words or value.numbers):
        yield key, "an enum without words", "words = { 0 = ... }, or numbers = { 0 = ... }"
    if value.type == "bits" and not value.bits:
        yield key, "bits without names", "bits = { 0 = ... }"
    if isinstance(meaning, Word):
        yield from _words(key, value, meaning)
    fits = {
        Number: value.type in SIZES or bool(value.numbers),
        Word: value.type in ("enum", "bits"),
        Bits: value.type == "bits",
        Text: value.type == "string",
    }
    if meaning is not None and not fits[type(meaning)]:
        kinds = {Number: "a number", Word: "an enum or bits with words", Bits: "bits", Text: "a string"}
        yield (*key, "type"), f"{value.type}", f"{kinds[type(meaning)]}, which {name} is"


def _words(key: Key, value: Value, meaning: Word) -> Iterator[Fault]:
    otherwise = (value.otherwise,) if value.otherwise else ()
    for name, words in (("words", value.words.values()), ("bits", value.bits.values()), ("otherwise", otherwise)):
        for word in words:
            if word not in meaning.words:
                yield (*key, name), f"{word!r}", f"one of {', '.join(sorted(meaning.words))}"


def _number(key: Key, value: Value | NamedWrite, unit: str | None) -> Iterator[Fault]:
    fitting = [name for name, (base, _) in UNITS.items() if unit in (None, base)]
    if value.unit not in fitting:
        what = f"unknown unit {value.unit!r}" if value.unit else "no unit"
        yield (*key, "unit"), what, f"one of {', '.join(fitting)}"


def _overlaps(device_map: DeviceMap) -> Iterator[Fault]:
    """Two values that share a register, unless both are bits or words of the very same ones."""
    taken: dict[tuple[str, int], list[tuple[int, int, str, bool]]] = {}
    for name, value in device_map.values.items():
        if value.address is None:
            continue
        place = taken.setdefault((value.at, device_map.function_of(value)), [])
        place.append((value.address, value.address + value.registers, name, value.type in ("enum", "bits")))
        if value.scale_register is not None:
            place.append((value.scale_register, value.scale_register + 1, "", True))
    for place in taken.values():
        yield from _overlaps_of_unit(sorted(place))


def _overlaps_of_unit(place: list[tuple[int, int, str, bool]]) -> Iterator[Fault]:
    widest = place[0]  # the one before that reaches furthest
    for one in place[1:]:
        first, end, name, shares = widest
        other_first, other_end, other, also = one
        same = shares and also and (first, end) == (other_first, other_end)
        if other_first < end and not same:
            with_ = f"those of {name or 'a scale register'}, {first}..{end - 1}"
            key: Key = ("value", other or name, "address")
            yield key, f"registers {other_first}..{other_end - 1} overlap {with_}", "registers of its own"
        widest = max(widest, one, key=lambda item: item[1])


def _protected(device_map: DeviceMap) -> Iterator[Fault]:
    for first, last, why in device_map.protected.ranges:
        if first > last or not why.strip():
            yield ("protected", "ranges"), f"[{first}, {last}, {why!r}]", "first, last, why; first at most last"


def _write(key: Key, item: Step | Heartbeat | NamedWrite, device_map: DeviceMap) -> Iterator[Fault]:
    """Where something is written: its unit, its size, and that nobody protected it."""
    yield from _at(key, item.at, device_map)
    first, last = item.address, item.address + item.registers - 1
    if not 1 <= item.registers <= MOST_WRITTEN:
        yield key, f"{item.registers} registers", f"1..{MOST_WRITTEN} in one request"
    if last >= 1 << 16:
        yield (*key, "address"), f"{first}", "the last of its registers at 65535 or below"
    if (item.function or device_map.access.write_function) == 6 and item.registers > 1:
        yield key, f"{item.registers} registers by function 6", "function 16: its values must arrive together"
    for low, high, why in device_map.protected.ranges:
        if first <= high and low <= last:
            yield (*key, "address"), f"writes {first}..{last}, protected {low}..{high} ({why})", "other registers"


def _named_write(key: Key, write: NamedWrite, device_map: DeviceMap) -> Iterator[Fault]:
    yield from _write(key, write, device_map)
    if not write.words:
        yield from _number(key, write, None)
    if write.by_hand:
        yield from _by_hand(key, write, device_map)


def _by_hand(key: Key, write: NamedWrite, device_map: DeviceMap) -> Iterator[Fault]:
    """What a person writes is a setting within limits: nothing that switches, and nothing that the recipe writes."""
    if device_map.info.kind not in ("meter", "pcs"):
        yield (*key, "by_hand"), "true", f"no such key: of a {device_map.info.kind} nothing is written by hand"
    if not write.words and (write.min is None or write.max is None):
        yield key, "by_hand = true without limits", "min and max, or words"
    steps = device_map.recipe.steps if device_map.recipe is not None else ()
    first, last = write.address, write.address + write.registers - 1
    if any(s.at == write.at and s.address <= last and first < s.address + s.registers for s in steps):
        yield (*key, "address"), f"{write.address}", "a register that the recipe does not write"


def _recipe(recipe: Recipe, device_map: DeviceMap) -> Iterator[Fault]:
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
        yield from _write(key, beat, device_map)
        yield from _flash((*key, "memory"), beat)
        if beat.counts == (beat.equals is not None):
            yield key, "counts and is", "counts = true, or is = what is written each time"
        if recipe.revert_s and beat.every_s >= recipe.revert_s:
            yield (*key, "every_s"), f"{beat.every_s:g}", f"below revert_s, {recipe.revert_s:g}"
    for n, check in enumerate(recipe.check):
        yield from _place(("recipe", "check", n), check, check.type, check.address, device_map)


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
    yield from _write(key, step, device_map)
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


Placed = tuple[str, int, int, Key]  # unit, first register, the one behind the last, key


def _misaligned(device_map: DeviceMap) -> Iterator[Fault]:
    """Written values and read-backs that cover a part of another value, not the whole of it."""
    read = [
        (value.at, value.address, value.address + value.registers, ("value", name))
        for name, value in device_map.values.items()
        if value.address is not None and device_map.function_of(value) == 3
    ]
    written = list(_written_values(device_map))
    for at, first, end, key in written:
        for other_at, other_first, other_end, other in (*read, *written):
            apart = at != other_at or end <= other_first or other_end <= first
            if not apart and (first, end) != (other_first, other_end) and other != key:
                name = ".".join(map(str, other))
                yield (
                    key,
                    f"{first}..{end - 1} covers a part of {name}, {other_first}..{other_end - 1}",
                    "the whole of it",
                )


def _written_values(device_map: DeviceMap) -> Iterator[Placed]:
    """Where each single value is written, or read back."""
    for name, write in device_map.writes.items():
        yield write.at, write.address, write.address + write.registers, ("write", name)
    if (recipe := device_map.recipe) is None:
        return
    for part in ("enter", "set", "renew", "leave"):
        for n, step in enumerate(getattr(recipe, part)):
            address = step.address
            for value in step.values:
                yield step.at, address, address + value.registers, ("recipe", part, n)
                address += value.registers
    if (beat := recipe.heartbeat) is not None:
        yield beat.at, beat.address, beat.address + beat.registers, ("recipe", "heartbeat")
