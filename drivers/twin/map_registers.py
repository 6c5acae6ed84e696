"""Registers of simulated devices that have maps of their own: numbers of every type, in either order of words.

Written from the Modbus and IEEE 754 representations, independent of how the drivers decode.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from drivers.twin.registers import Getter, Image, Write

MOST_READ = 125  # registers in one request (Modbus Application Protocol 1.1b3, 6.3)
# type -> (registers, format of struct)
FORMATS = {
    "u16": (1, ">H"), "s16": (1, ">h"), "u32": (2, ">I"), "s32": (2, ">i"), "u64": (4, ">Q"), "s64": (4, ">q"),
    "f32": (2, ">f"), "f64": (4, ">d"), "enum": (1, ">H"), "bits": (1, ">H"),
}  # fmt: skip


class Number(NamedTuple):
    """One number: its content is `value` x `per_unit`, rounded unless it is a float."""

    offset: int
    kind: str  # u16 s16 u32 s32 u64 s64 f32 f64
    per_unit: float = 1.0
    low_word_first: bool = False
    none: int | None = None  # the pattern that means "no value"; floats have NaN

    @property
    def size(self) -> int:
        """How many registers it takes."""
        return FORMATS[self.kind][0]

    @property
    def missing(self) -> int:
        """The pattern of "no value"; 0 where the device has none."""
        if self.none is not None:
            return self.none
        return self._pattern(math.nan) if self.kind[0] == "f" else 0

    def raw(self, value: float | None) -> int:
        """The pattern of a value; beyond the range of an integer it sticks at the end, as instruments do."""
        if value is None:
            return self.missing
        content = value if self.per_unit == 1 else value * self.per_unit  # whole numbers of 64 bits stay exact
        if self.kind[0] == "f":
            return self._pattern(content)
        bits = 16 * self.size
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if self.kind[0] == "s" else (0, (1 << bits) - 1)
        return self._pattern(max(low, min(high, round(content))))

    def value(self, registers: Sequence[int]) -> float:
        """The value that `registers`, the whole image, hold."""
        words = registers[self.offset : self.offset + self.size]
        content = struct.pack(f">{self.size}H", *(reversed(words) if self.low_word_first else words))
        return float(struct.unpack(FORMATS[self.kind][1], content)[0]) / self.per_unit

    def put(self, registers: list[int], raw: int) -> None:
        """Write a pattern into the image."""
        words = struct.unpack(f">{self.size}H", raw.to_bytes(2 * self.size, "big"))
        registers[self.offset : self.offset + self.size] = reversed(words) if self.low_word_first else words

    def _pattern(self, content: float) -> int:
        return int.from_bytes(struct.pack(FORMATS[self.kind][1], content), "big")


class Register(NamedTuple):
    """A number at an address: `get` computes it, `write` obeys what is written there; else it stays `fixed`."""

    name: str
    address: int
    kind: str = "u16"
    per_unit: float = 1.0
    get: Getter | None = None
    write: Write | None = None
    fixed: float | None = None
    low_word_first: bool = False
    none: int | None = None


class Text(NamedTuple):
    """A text at an address, two characters in each of `size` registers, filled up with NUL."""

    address: int
    size: int
    text: str

    @property
    def words(self) -> list[int]:
        """Its registers."""
        content = self.text.encode("utf-8")[: 2 * self.size].ljust(2 * self.size, b"\0")
        return list(struct.unpack(f">{self.size}H", content))


def map_image(numbers: Iterable[Register], texts: Iterable[Text] = ()) -> Image:
    """One unit of a device: these registers, and 0 between them where they are less than a request apart."""
    numbers, texts = list(numbers), list(texts)
    spans = [range(n.address, n.address + FORMATS[n.kind][0]) for n in numbers]
    blocks = _joined([*spans, *(range(t.address, t.address + t.size) for t in texts)])
    base = blocks[0].start
    registers = [0] * (blocks[-1].stop - base)
    image = Image(base, registers)
    image.blocks = [range(block.start - base, block.stop - base) for block in blocks]
    for text in texts:
        registers[text.address - base : text.address - base + text.size] = text.words
    for n in numbers:
        number = Number(n.address - base, n.kind, n.per_unit, n.low_word_first, n.none)
        number.put(registers, number.raw(n.fixed))
        image.add(n.name, number, n.get, n.write)
    live = (n for n in numbers if n.get is not None)
    image.can_blank = all(n.none is not None or n.kind[0] == "f" for n in live)
    return image


def _joined(spans: Iterable[range]) -> list[range]:
    """Spans in order, as one where a request can reach from one to the next."""
    found: list[range] = []
    for span in sorted(spans, key=lambda each: each.start):
        if found and span.start - found[-1].stop < MOST_READ:
            found[-1] = range(found[-1].start, max(found[-1].stop, span.stop))
        else:
            found.append(span)
    return found
