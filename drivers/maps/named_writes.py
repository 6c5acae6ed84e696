"""Writes values by name, as a device map's `[write.NAME]` says: one request, over the connection that was checked."""

from __future__ import annotations

import math
from collections.abc import Mapping

from drivers.maps.decoding import registers_for
from drivers.maps.schema import DeviceMap, NamedWrite
from drivers.maps.vocabulary import UNITS
from drivers.modbus.errors import ReadbackMismatch
from drivers.modbus.transport import ModbusLink


def registers_of_word(device_map: DeviceMap, write: NamedWrite, word: str) -> list[int]:
    """The registers that stand for a word. Raises LookupError: the write has no such word."""
    for number, name in write.words.items():
        if name == word:
            return registers_for(write.type, number, device_map.order_of(write))
    raise LookupError(word)


def raw_of_number(write: NamedWrite, number: float) -> float:
    """What stands in the registers for a number in the vocabulary's unit: whole steps, within the map's bounds."""
    low = -math.inf if write.min is None else write.min
    high = math.inf if write.max is None else write.max
    steps = min(max(number, low), high) / (UNITS[write.unit][1] * write.scale)
    return steps if write.type.startswith("f") else float(math.trunc(steps + math.copysign(1e-9, steps)))


class NamedWriter:
    """The named writes of one device."""

    def __init__(self, link: ModbusLink, device_map: DeviceMap, units: Mapping[str, int]) -> None:
        self._link, self._map, self._units = link, device_map, units

    def can(self, name: str, word: str) -> bool:
        """Whether the map has this word for this write."""
        write = self._map.writes.get(name)
        return write is not None and word in write.words.values()

    async def write(self, name: str, word: str, on: int) -> None:
        """Write a word over the connection `on`, by function 6 alone where the map says so. Raises DeviceError."""
        write = self._map.writes[name]
        await self._send(write, registers_of_word(self._map, write, word), on)

    def rounded(self, name: str, number: float) -> float:
        """The number that the device would take for this one."""
        write = self._map.writes[name]
        return raw_of_number(write, number) * UNITS[write.unit][1] * write.scale

    async def write_number(self, name: str, number: float, on: int) -> None:
        """Write a number over the connection `on`. Raises DeviceError."""
        write = self._map.writes[name]
        await self._send(write, registers_for(write.type, raw_of_number(write, number), self._map.order_of(write)), on)

    async def read_back(self, name: str, word: str) -> None:
        """Compare what the device holds with what was written, where the map reads it. Raises DeviceError."""
        write, value = self._map.writes[name], self._map.values.get(name)
        if value is None or (value.at, value.address, self._map.function_of(value)) != (write.at, write.address, 3):
            return
        words = registers_of_word(self._map, write, word)
        held = await self._link.read(self._units[write.at], write.address, len(words))
        if held != words:
            where = f"{self._link.device}, register {write.address}"
            asked, found = (", ".join(map(str, each)) for each in (words, held))
            raise ReadbackMismatch(where, f"{word} ({asked}) was written and {found} is read")

    async def _send(self, write: NamedWrite, words: list[int], on: int) -> None:
        await self._link.write(self._units[write.at], write.address, words, on, self._map.write_function_of(write))
