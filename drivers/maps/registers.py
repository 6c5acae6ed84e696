"""Defines what a register map is: a block of holding registers that starts with a magic number and a version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from drivers.modbus.errors import WrongDevice
from drivers.modbus.traffic import Place
from drivers.modbus.transport import ModbusLink
from drivers.register_view import RegisterValue, Words, taken


@dataclass(frozen=True)
class Register:
    """One value of a map. 32-bit values have the high word first."""

    name: str
    address: int
    size: int = 1
    factor: float = 1.0  # value = raw * factor
    missing: int | None = None  # the raw value that means "there is none"; None: `not_implemented`
    signed: bool = False  # two's complement
    words: Mapping[int, str] = field(default_factory=dict)

    @property
    def not_implemented(self) -> int:
        """All ones, or of a signed number the most negative: what SunSpec and most registers of devices use for it."""
        bits = 16 * self.size
        return 1 << bits - 1 if self.signed else (1 << bits) - 1


@dataclass(frozen=True)
class RegisterMap:
    """A map. Register 0 holds `magic`, register 1 its version; the whole of it is read in one request."""

    name: str
    magic: int
    versions: tuple[int, ...]
    registers: tuple[Register, ...]

    @property
    def count(self) -> int:
        """Registers to read from address 0."""
        return max(r.address + r.size for r in self.registers)

    def decode(self, raw: Sequence[int]) -> dict[str, float | str | None]:
        """The values by name; None: there is none, or a number without a word. Raises ValueError for another map."""
        if raw[0] != self.magic:
            raise ValueError(f"register 0 holds 0x{raw[0]:04X}, expected 0x{self.magic:04X} of map {self.name}")
        if raw[1] not in self.versions:
            known = " or ".join(str(v) for v in self.versions)
            raise ValueError(f"register 1 says version {raw[1]}, expected {known} of map {self.name}")
        values: dict[str, float | str | None] = {"version": float(raw[1])}
        for register in self.registers:
            number = 0
            for word in raw[register.address : register.address + register.size]:
                number = number << 16 | word
            if register.words:
                values[register.name] = register.words.get(number)
            elif number in (register.missing, register.not_implemented):
                values[register.name] = None
            else:
                whole = 1 << 16 * register.size
                number -= whole if register.signed and number >= whole // 2 else 0
                values[register.name] = number * register.factor
        return values


async def read(link: ModbusLink, unit: int, of: RegisterMap) -> dict[str, float | str | None]:
    """Read a whole map in one request. Raises as `ModbusLink.read`; WrongDevice when it is another map."""
    raw = await link.read(unit, 0, of.count)
    try:
        return of.decode(raw)
    except ValueError as error:
        raise WrongDevice(f"{link.device} at {link.at} unit {unit}", str(error)) from None


def explain(of: RegisterMap, unit: int, words: Words, now_s: float) -> Iterator[RegisterValue]:
    """What registers that were read mean; nothing unless the whole map was read."""
    whole = taken(words, Place(unit, 3, 0), of.count, now_s)
    if whole is None:
        return
    raw, age_s = whole
    try:
        values = of.decode(raw)
    except ValueError:
        return
    for register in of.registers:
        own = raw[register.address : register.address + register.size]
        yield RegisterValue(unit, 3, register.address, own, age_s, register.name, values[register.name])
