"""Checks what a single key of a device map cannot show: its kind, units, words, writes."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from drivers.maps.lines import Key
from drivers.maps.recipe_checks import recipe_faults
from drivers.maps.register_checks import (
    Fault,
    alignment_faults,
    overlap_faults,
    protection_faults,
    read_faults,
    write_faults,
)
from drivers.maps.schema import DEVICE, SIZES, DeviceMap, Identity, NamedWrite, Value
from drivers.maps.switch_checks import switch_faults
from drivers.maps.vocabulary import NEEDED, OWN, UNITS, VOCABULARY, Bits, Number, Text, Word


def faults(device_map: DeviceMap) -> Iterator[Fault]:
    """Everything that is wrong in a map whose keys are right, each for itself."""
    yield from _info(device_map)
    yield from _units(device_map)
    for n, identity in enumerate(device_map.identity):
        yield from _identity(("identity", n), identity, device_map)
    for name, value in device_map.values.items():
        yield from _value(("value", name), name, value, device_map)
    yield from overlap_faults(device_map)
    yield from protection_faults(device_map)
    for name, write in device_map.writes.items():
        yield from _named_write(("write", name), write, device_map)
    if device_map.info.kind == "switch":
        yield from switch_faults(device_map)
    if device_map.recipe is not None:
        yield from recipe_faults(device_map.recipe, device_map)
    yield from alignment_faults(device_map)


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


def _identity(key: Key, identity: Identity, device_map: DeviceMap) -> Iterator[Fault]:
    yield from read_faults(key, identity, identity.type, identity.address, device_map)
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
    yield from read_faults(key, value, value.type, value.address, device_map)
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


def _named_write(key: Key, write: NamedWrite, device_map: DeviceMap) -> Iterator[Fault]:
    yield from write_faults(key, write, device_map)
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
