"""A link and its device in one, without a socket: what lies in `words` is the device's register map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from drivers.modbus.errors import DeviceException
from drivers.notices import Notices


class RegistersDouble:
    """Answers like `ModbusLink`, on a connection that stays."""

    device, at, max_registers = "device", "127.0.0.1:502", 125
    connection = answered_on = 1
    dropped_for_others = 0

    def __init__(self, base: int, words: list[int]) -> None:
        self.base, self.words, self.notices = base, words, Notices()

    def retry_at_once(self) -> None:
        """It has no back-off."""

    async def read(self, unit: int, address: int, count: int, function: int = 3) -> list[int]:
        first = self._index(address, count)
        return self.words[first : first + count]

    async def write(
        self, unit: int, address: int, values: Sequence[int], on: int = 0, function: int | None = None
    ) -> None:
        first = self._index(address, len(values))
        self.words[first : first + len(values)] = values

    def _index(self, address: int, count: int) -> int:
        at = address - self.base
        if at < 0 or at + count > len(self.words):
            raise DeviceException(self.device, 2)
        return at


def registers_at(base: int, words: list[int]) -> Any:
    """A double, for drivers that are typed to take a `ModbusLink`."""
    return RegistersDouble(base, words)
