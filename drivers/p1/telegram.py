"""Cuts a stream of bytes into P1 telegrams, checks them, and takes their values.

By Netbeheer Nederland, Dutch Smart Meter Requirements, P1 Companion Standard 5.0.2, "Protocol description" (a telegram
is `/XXX5`, identification, blank line, objects, `!`, checksum) and "Representation of COSEM objects"; Fluvius,
e-MUCS-P1 1.7 (Belgium: the same, currents with two decimals); Energiföretagen, Branschrekommendation för lokalt
kundgränssnitt 1.2 (Sweden: the same, energies as totals).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

MOST_BYTES = 16_384  # of a telegram: ten times a usual one; a text message has up to 2048 characters
PIECE_BYTES = 4_096  # of what is looked through at a time
PHASES = {"l1": 20, "l2": 40, "l3": 60}  # added to the group C of an object: 21.7.0, 41.7.0, 61.7.0 (IEC 62056-61)
TARIFFS = (1, 2, 3, 4)

_START = re.compile(rb"(?:\A|(?<=\n))/")
_END = re.compile(rb"\n!([^\n]*)\n")
_HEADER = re.compile(r"/([A-Za-z0-9]{3})[0-9](.{0,32})")
_OBJECT = re.compile(r"(\d{1,3}-\d{1,3}:\d{1,3}\.\d{1,3}\.\d{1,3})\((.*)\)")
_STAMPED = re.compile(r"\d{12}[SW]\)\(")  # DSMR 5.0.2 P1, 6.4: YYMMDDhhmmss, S summer and W winter time
_NUMBER = re.compile(r"(\d{1,9}(?:\.\d{1,4})?)\*([A-Za-z]{1,5}|m3)")
_TIME = re.compile(r"\d{12}[SW]")
_UNITS = {"W": ("W", 1.0), "kW": ("W", 1e3), "V": ("V", 1.0), "A": ("A", 1.0), "Wh": ("Wh", 1.0), "kWh": ("Wh", 1e3)}


class BadTelegram(ValueError):
    """A telegram that is not used; `str()` says why."""


class Telegram(msgspec.Struct, frozen=True):
    """A telegram whose checksum is right.

    values: by the names of a meter's values: w, w_l1.., v_l1.., a_l1.., import_wh, export_wh; w > 0 is import.
    objects: everything that it holds, code and content. time: the meter's own, YYMMDDhhmmss and S or W; "" without.
    """

    maker: str
    model: str
    serial: str
    version: str
    time: str
    values: dict[str, float]
    objects: dict[str, str]


def crc16(data: bytes) -> int:
    """The checksum of the standard: x^16 + x^15 + x^2 + 1, least significant bit first, from 0."""
    value = 0
    for byte in data:
        value = (value >> 8) ^ _TABLE[(value ^ byte) & 0xFF]
    return value


def _of_byte(value: int) -> int:
    for _ in range(8):
        value = (value >> 1) ^ 0xA001 if value & 1 else value >> 1
    return value


_TABLE = tuple(_of_byte(byte) for byte in range(256))


class Splitter:
    """Finds telegrams in what arrives in any pieces. It keeps at most `MOST_BYTES` of an unfinished one."""

    def __init__(self) -> None:
        self._kept = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Every telegram that ends in `data`, from its `/` to the line's end after its checksum."""
        for at in range(0, len(data), PIECE_BYTES):
            self._kept += data[at : at + PIECE_BYTES]
            yield from self._whole()

    def _whole(self) -> Iterator[bytes]:
        while (start := _START.search(self._kept)) is not None:
            self._kept = self._kept[start.start() :]
            if (end := _END.search(self._kept)) is None:
                break
            telegram, self._kept = self._kept[: end.end()], self._kept[end.end() :]
            *_, last = _START.finditer(telegram)  # one that was cut off has the next one behind it
            yield telegram[last.start() :]
        else:
            self._kept = b""  # no line here begins a telegram
        if len(self._kept) > MOST_BYTES:
            *_, last = _START.finditer(self._kept)
            self._kept = self._kept[last.start() :] if last.start() else b""


def parse(raw: bytes) -> Telegram:
    """A telegram as `Splitter` gives it. Raises BadTelegram: checksum, form, or no power in it."""
    body, _, said = raw.decode("latin-1").rpartition("!")
    _check(body, said.strip())
    lines = body.split("\r\n")
    header = _HEADER.fullmatch(lines[0])
    if header is None:
        raise BadTelegram(f"its first line is no identification: {lines[0][:40]!r}")
    objects = _objects(lines[1:])
    maker, model = header.groups()
    return Telegram(
        maker=maker.upper(),
        model=model.lstrip("\\"),
        serial=_text(objects.get("0-0:96.1.1", "")),
        version=objects.get("0-0:96.1.4") or objects.get("1-3:0.2.8", ""),
        time=_first(_TIME, objects.get("0-0:1.0.0", "")),
        values=_values(objects),
        objects=objects,
    )


def as_written(content: str) -> tuple[float | str, str]:
    """Number and unit of an object such as "01.193*kW"; what is no number as it stands, without a unit.

    A value may follow its time, as that of a gas meter does: "101209112500W)(12785.123*m3".
    """
    found = _NUMBER.fullmatch(content[len(_stamp(content)) :])
    return (content, "") if found is None else (float(found[1]), found[2])


def time_of(content: str) -> str:
    """When the value was measured, local time, where an object says so: "2010-12-09 11:25:00"; else empty."""
    two = [_stamp(content)[at : at + 2] for at in range(0, 12, 2)]
    return f"20{'-'.join(two[:3])} {':'.join(two[3:])}" if all(two) else ""


def _stamp(content: str) -> str:
    found = _STAMPED.match(content)
    return "" if found is None else found[0]


def measured(content: str) -> tuple[float, str] | None:
    """The same as W, V, A or Wh; None for anything else."""
    found = _NUMBER.fullmatch(content)
    if found is None or found[2] not in _UNITS:
        return None
    unit, factor = _UNITS[found[2]]
    return round(float(found[1]) * factor, 4), unit


def _check(body: str, said: str) -> None:
    if not said:
        raise BadTelegram("it has no checksum: DSMR 2 and 3 are not supported, because a wrong bit would go unnoticed")
    if not re.fullmatch(r"[0-9A-Fa-f]{4}", said):
        raise BadTelegram(f"its checksum is no four hexadecimal digits: {said[:10]!r}")
    right = crc16(f"{body}!".encode("latin-1"))
    if int(said, 16) != right:
        raise BadTelegram(f"its checksum is {said}, by its content it is {right:04X}")


def _objects(lines: list[str]) -> dict[str, str]:
    """Code and content of every object. Raises BadTelegram where one stands twice with different contents."""
    found: dict[str, str] = {}
    for line in lines:
        if (match := _OBJECT.fullmatch(line)) is None:
            continue  # the blank line, and objects of other forms
        code, content = match.groups()
        if found.setdefault(code, content) != content:
            raise BadTelegram(f"{code} stands twice in it, with {found[code][:20]!r} and {content[:20]!r}")
    return found


def _values(objects: dict[str, str]) -> dict[str, float]:
    found = {"w": _balance(objects, 0), "import_wh": _energy(objects, 1), "export_wh": _energy(objects, 2)}
    if found["w"] is None:
        raise BadTelegram("it holds no power: 1-0:1.7.0 and 1-0:2.7.0, both in kW, are needed")
    for phase, group in PHASES.items():
        found[f"w_{phase}"] = _balance(objects, group)
        found[f"v_{phase}"] = _number(objects, f"1-0:{group + 12}.7.0", "V")
        found[f"a_{phase}"] = _number(objects, f"1-0:{group + 11}.7.0", "A")
    return {name: value for name, value in found.items() if value is not None}


def _number(objects: dict[str, str], code: str, unit: str) -> float | None:
    found = measured(objects.get(code, ""))
    return found[0] if found is not None and found[1] == unit else None


def _balance(objects: dict[str, str], group: int) -> float | None:
    """Import minus export, W, of all phases (group 0) or of one."""
    imported = _number(objects, f"1-0:{group + 1}.7.0", "W")
    exported = _number(objects, f"1-0:{group + 2}.7.0", "W")
    return None if imported is None or exported is None else imported - exported


def _energy(objects: dict[str, str], group: int) -> float | None:
    """Import (group 1) or export (2) so far, Wh: the total, or the sum of the tariffs where there is none."""
    if (total := _number(objects, f"1-0:{group}.8.0", "Wh")) is not None:
        return total
    tariffs = [_number(objects, f"1-0:{group}.8.{n}", "Wh") for n in TARIFFS]
    known = [wh for wh in tariffs if wh is not None]
    return sum(known) if known else None


def _first(pattern: re.Pattern[str], text: str) -> str:
    return text if pattern.fullmatch(text) else ""


def _text(octets: str) -> str:
    """An octet string, two hexadecimal digits a character, if it is printable ASCII; else as it stands."""
    try:
        text = bytes.fromhex(octets).decode("ascii")
    except ValueError:
        return octets[:64]
    return text if text.isprintable() else octets[:64]
