"""Reads one contact from one or two inputs of a Modbus I/O module."""

from __future__ import annotations

from dispatch.model.contacts import Contact
from dispatch.model.readings import status
from drivers.contacts.config import ContactDevice
from drivers.modbus.transport import ModbusLink

FUNCTIONS = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}  # MODBUS Application Protocol V1.1b3, 6.1 to 6.4


class ContactDriver:
    """One contact: one request a reading, or two where its inputs are no neighbours."""

    kind = "contact"

    def __init__(self, config: ContactDevice, link: ModbusLink, unit: int) -> None:
        self.id, self._config = config.id, config
        self.link, self.unit = link, unit
        self.notices = link.notices

    async def read(self) -> Contact:
        """Read it now. Raises DeviceError."""
        config = self._config
        first, second = config.address, config.second_address
        if second is None:
            words = await self._read(first, 1)
            return contact_of(config, _is_set(words[0], config.bit), None)
        low, count = min(first, second), abs(first - second) + 1
        if count <= 2:  # nothing lies between them that the module may not have
            words = await self._read(low, count)
            one, other = words[first - low], words[second - low]
        else:
            one, other = (await self._read(first, 1))[0], (await self._read(second, 1))[0]
        return contact_of(config, _is_set(one, config.bit), _is_set(other, config.second_bit))

    async def close(self) -> None:
        """Drop the connection for good."""
        await self.link.close()

    async def _read(self, address: int, count: int) -> list[int]:
        return await self.link.read(self.unit, address, count, FUNCTIONS[self._config.input])


def contact_of(config: ContactDevice, first: bool, second: bool | None) -> Contact:
    """What its inputs say: whether each is closed; `second`: of two that are opposite to each other."""
    if second is not None and first == second:
        return Contact(config.id, status("broken"))
    at_rest = first == (config.normally == "closed")
    return Contact(config.id, status("inactive" if at_rest else "active"))


def _is_set(word: int, bit: int) -> bool:
    return bool(word >> bit & 1)
