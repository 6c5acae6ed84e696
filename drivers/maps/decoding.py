"""Decodes raw registers to values, and encodes numbers to registers, as a device map says. Pure functions."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping, Sequence

from drivers.maps.schema import SIZES, DeviceMap, Identity, Value, WordOrder
from drivers.maps.vocabulary import UNITS, VOCABULARY, Bits, Word

Place = tuple[str, int, int]  # name of the unit, function, address
Words = Mapping[Place, int]
Decoded = float | str | tuple[str, ...]

FLOATS = {"f32": ">f", "f64": ">d"}
MOST_EXPONENT = 10  # of a scale register; SunSpec's own bound


def decode(device_map: DeviceMap, words: Words, names: Iterable[str] | None = None) -> dict[str, Decoded | None]:
    """The values of these names (all), in the vocabulary's units and signs.

    None: there is none, or it is not possible. A value of which no register was read is left out.
    """
    wanted = list(device_map.values if names is None else names)
    found: dict[str, Decoded | None] = {}
    for name in wanted:
        value = device_map.values[name]
        raw = [words.get(place) for place in registers_at(device_map, value)]
        if raw and None not in raw:
            found[name] = _decoded(device_map, name, value, [word for word in raw if word is not None])
    for name in wanted:
        value = device_map.values[name]
        if value.parts and any(part in found for part in value.parts):
            united = isinstance(VOCABULARY[device_map.info.kind].get(name), Bits)
            found[name] = (_united if united else _computed)(value, found)
    return found


def matches(identity: Identity, raw: Sequence[int], order: WordOrder) -> bool:
    """Whether registers hold what identifies the device."""
    if identity.type == "string":
        text = _text(raw) or ""
        begins = (identity.starts_with,) if isinstance(identity.starts_with, str) else identity.starts_with
        if any(begins):
            return text.lower().startswith(tuple(each.lower() for each in begins))
        return text == identity.equals
    number = number_of(identity.type, raw, order)
    return number in identity.one_of if identity.one_of else number == identity.equals


def wanted_of(identity: Identity) -> tuple[int | str, ...]:
    """What identifies the device, for messages."""
    if identity.starts_with:
        return (identity.starts_with,) if isinstance(identity.starts_with, str) else identity.starts_with
    return identity.one_of if identity.equals is None else (identity.equals,)


def shown(kind: str, raw: Sequence[int], order: WordOrder) -> str:
    """Registers in a message: as the text or number that they hold."""
    if kind == "string":
        text = _text(raw)
        return repr(text) if text is not None else " ".join(f"{word:04X}" for word in raw)
    return f"{number_of(kind, raw, order):g}"


def pattern_of(raw: Sequence[int], order: WordOrder) -> int:
    """Registers as one unsigned number."""
    number = 0
    for word in raw if order == "big" else reversed(raw):
        number = number << 16 | word
    return number


def number_of(kind: str, raw: Sequence[int], order: WordOrder) -> float:
    """Registers as the number of a type; enum and bits are unsigned. A float may be NaN or infinite."""
    pattern, size = pattern_of(raw, order), 2 * len(raw)
    if kind in FLOATS:
        return float(struct.unpack(FLOATS[kind], pattern.to_bytes(size, "big"))[0])
    return int.from_bytes(pattern.to_bytes(size, "big"), "big", signed=kind.startswith("s"))


def registers_for(kind: str, number: float, order: WordOrder) -> list[int]:
    """A number as registers; of an integer type it must be whole. Raises ValueError where it does not fit."""
    size = 2 * SIZES[kind]
    try:
        if kind in FLOATS:
            content = struct.pack(FLOATS[kind], number)
        else:
            content = int(number).to_bytes(size, "big", signed=kind.startswith("s"))
    except OverflowError:
        raise ValueError(f"{number:g} does not fit into {kind}") from None
    words = [content[n] << 8 | content[n + 1] for n in range(0, size, 2)]
    return words if order == "big" else words[::-1]


def registers_at(device_map: DeviceMap, value: Value) -> list[Place]:
    """The places of the registers of a value that is read, its scale register last."""
    if value.address is None:
        return []
    function = device_map.function_of(value)
    places = [(value.at, function, value.address + n) for n in range(value.registers)]
    return places if value.scale_register is None else [*places, (value.at, function, value.scale_register)]


def _decoded(device_map: DeviceMap, name: str, value: Value, words: Sequence[int]) -> Decoded | None:
    """`words`: its registers, the scale register last."""
    raw = words[: value.registers]
    order, kind = device_map.order_of(value), value.type or ""
    if pattern_of(raw, order) in value.nan:
        return None
    if kind == "string":
        return _text(raw)
    number = number_of(kind, raw, order)
    if kind == "bits":
        one_word = isinstance(VOCABULARY[device_map.info.kind].get(name), Word)
        return _bits(value, int(number), one_word=one_word)
    if kind == "enum" and not value.numbers:
        return value.words.get(int(number))
    if value.numbers:
        mapped = value.numbers.get(int(number))
        return None if mapped is None else _bounded(value, mapped * _factor(value))
    exponent = 0.0
    if value.scale_register is not None:
        exponent = number_of("s16", words[-1:], "big")
        if abs(exponent) > MOST_EXPONENT:
            return None
    scaled = number * value.scale * _factor(value)
    return _bounded(value, scaled * 10.0**exponent if exponent >= 0 else scaled / 10.0**-exponent)


def _factor(value: Value) -> float:
    """From the map's unit and sign to the vocabulary's."""
    factor = UNITS[value.unit][1]
    return -factor if value.invert else factor


def _bounded(value: Value, number: float) -> float | None:
    """The number, if it is one and possible."""
    if not math.isfinite(number):
        return None
    if (value.min is not None and number < value.min) or (value.max is not None and number > value.max):
        return None
    return number + 0.0  # no -0.0


def _bits(value: Value, number: int, *, one_word: bool) -> Decoded | None:
    names = tuple(name for bit, name in value.bits.items() if number >> bit & 1)
    if not one_word:
        return names
    return names[0] if names else value.otherwise or None


def _text(raw: Sequence[int]) -> str | None:
    """Registers as text, high byte first, ended by NUL; None: not text."""
    content = b"".join(word.to_bytes(2, "big") for word in raw).split(b"\0")[0]
    try:
        text = content.decode("ascii").strip()
    except UnicodeDecodeError:
        return None
    return text if text.isprintable() else None


def _united(value: Value, found: Mapping[str, Decoded | None]) -> Decoded | None:
    """The set bits of several registers; None: none of them is known."""
    known = [part for name in value.sum_of if isinstance(part := found.get(name), tuple)]
    return tuple(dict.fromkeys(name for part in known for name in part)) if known else None


def _computed(value: Value, found: Mapping[str, Decoded | None]) -> float | None:
    total = 0.0
    for names, sign in ((value.sum_of, 1.0), (value.minus_of, -1.0)):
        for name in names:
            part = found.get(name)
            if not isinstance(part, float | int):
                return None
            total += sign * part
    return _bounded(value, -total if value.invert else total)
