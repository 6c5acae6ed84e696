"""Writes values by name, as a device map's `[write.NAME]` says: one request, over the connection that was checked."""

from __future__ import annotations

from collections.abc import Mapping

from drivers.maps.decoding import registers_for
from drivers.maps.schema import DeviceMap, NamedWrite
from drivers.modbus.errors import ReadbackMismatch
from drivers.modbus.transport import ModbusLink


def registers_of_word(device_map: DeviceMap, write: NamedWrite, word: str) -> list[int]:
    """The registers that stand for a word. Raises LookupError: the write has no such word."""
    for number, name in write.words.items():
        if name == word:
            return registers_for(write.type, number, device_map.order_of(write))
    raise LookupError(word)


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
        function = write.function or (None if self._map.access.write_function == 16 else 6)
        words = registers_of_word(self._map, write, word)
        await self._link.write(self._units[write.at], write.address, words, on, function)

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
