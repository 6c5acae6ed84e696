"""Shows registers to a person: raw words with their meaning, as far as it is known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol, runtime_checkable

import msgspec

from drivers.modbus.traffic import Place

Words = Mapping[Place, tuple[int, float]]  # each register that was read: the word, and when on the loop's clock


class RegisterValue(msgspec.Struct, frozen=True):
    """Registers that belong together. `name` is empty where their meaning is not known."""

    unit: int
    function: int  # 3 holding registers, 4 input registers; 1 coils, 2 discrete inputs, 0 or 1 each
    address: int
    raw: tuple[int, ...]
    age_s: float
    name: str = ""
    value: float | str | None = None  # None: not implemented, or the meaning is not known
    quantity: str = ""  # the value's unit: W, V, %


class WrittenValue(msgspec.Struct, frozen=True):
    """A value that was written: as it was, and as it reads back."""

    name: str
    before: float | str | None
    after: float | str | None


@runtime_checkable
class Writable(Protocol):
    """A driver by which a person may write some values, and no others."""

    def writable(self, *, setpoints: bool) -> list[str]:
        """Their names, as "702.WMax"; with `setpoints` those that a gateway commands, too. Known once it was read."""
        ...

    async def write_value(self, name: str, value: float | str) -> WrittenValue:
        """Write one of them and read it back. Raises DeviceError, ValueError, LookupError."""
        ...


@runtime_checkable
class Explains(Protocol):
    """A driver that knows what registers mean."""

    def explain(self, words: Words, now_s: float) -> Iterable[RegisterValue]:
        """The values whose registers are all among `words`."""
        ...


def register_values(driver: object, words: Words, now_s: float) -> list[RegisterValue]:
    """Everything among `words` by unit, function and address: what the driver explains, the rest word by word."""
    explained = list(driver.explain(words, now_s)) if isinstance(driver, Explains) else []
    shown = {place for value in explained for place in places(value)}
    rest = [
        RegisterValue(place.unit, place.function, place.address, (word,), max(now_s - at_s, 0.0))
        for place, (word, at_s) in words.items()
        if place not in shown
    ]
    return sorted((*explained, *rest), key=lambda v: (v.unit, v.function, v.address))


def places(value: RegisterValue) -> Iterator[Place]:
    """The registers of a value."""
    for n in range(len(value.raw)):
        yield Place(value.unit, value.function, value.address + n)


def taken(words: Words, first: Place, count: int, now_s: float) -> tuple[tuple[int, ...], float] | None:
    """`count` words from a place and the age of the oldest; None unless all of them are there."""
    found = [words.get(first._replace(address=first.address + n)) for n in range(count)]
    if not found or None in found:
        return None
    known = [one for one in found if one is not None]
    return tuple(word for word, _ in known), max(now_s - min(at_s for _, at_s in known), 0.0)
