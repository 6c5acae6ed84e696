"""Gives the registers of devices to a person: those that were read anyway, or others, read once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from drivers.devices import Driver, Linked, Listening
from drivers.modbus.errors import DeviceError
from drivers.modbus.traffic import Place
from drivers.register_view import RegisterValue, Words, Writable, WrittenValue, register_values
from gateway.errors import CommandRefused

MOST = 125  # registers in one request, MODBUS Application Protocol V1.1b3, 6.3
FUNCTIONS = (3, 4)  # holding, input registers


class RegisterAccess:
    """The registers of a site's devices on Modbus, by device id."""

    def __init__(self, drivers: Iterable[Driver]) -> None:
        self._drivers = {driver.id: driver for driver in drivers}

    def last(self, device_id: str) -> list[RegisterValue]:
        """What was read last of each register, without asking the device. Raises CommandRefused."""
        found: object = self._drivers.get(device_id)
        if isinstance(found, Listening):
            return found.shown()
        driver = self._linked(device_id)
        return register_values(driver, driver.link.traffic.registers(), asyncio.get_running_loop().time())

    async def read(
        self, device_id: str, address: int, count: int, unit: int | None = None, function: int = 3
    ) -> list[RegisterValue]:
        """Read registers once, in one request in turn with the driver's own. Raises CommandRefused, ValueError."""
        driver = self._linked(device_id)
        if not 0 <= address <= 0xFFFF or not 1 <= count <= MOST or address + count > 0x10000:
            raise ValueError(f"registers {address} and {count - 1} more: expected 1..{MOST} of 0..65535")
        if function not in FUNCTIONS:
            raise ValueError(f"function {function}: expected 3 (holding registers) or 4 (input registers)")
        of_unit = driver.unit if unit is None else unit
        try:
            raw = await driver.link.read(of_unit, address, count, function)
        except DeviceError as error:
            raise CommandRefused(str(error)) from None
        now_s = asyncio.get_running_loop().time()
        words: Words = {Place(of_unit, function, address + n): (word, now_s) for n, word in enumerate(raw)}
        return register_values(driver, words, now_s)

    def check_write(self, device_id: str, name: str, *, setpoints: bool) -> Writable:
        """The driver, if a person may write this value by it. `setpoints`: those that a gateway commands, too.

        Raises CommandRefused.
        """
        driver: object = self._linked(device_id)
        allowed = driver.writable(setpoints=setpoints) if isinstance(driver, Writable) else []
        if isinstance(driver, Writable) and name in allowed:
            return driver
        if isinstance(driver, Writable) and name in driver.writable(setpoints=True):
            raise CommandRefused(f"{name} of {device_id} is commanded by the gateway; give it an order instead")
        names = f"only {', '.join(allowed)}" if allowed else "none of its values"
        by_map = getattr(driver, "map_name", "")
        by = f" (device map {by_map}: [write.NAME] with by_hand = true)" if by_map else ""
        raise CommandRefused(f"{name} of {device_id} is not written by hand: {names} may be{by}")

    async def write(self, device_id: str, name: str, value: float | str, *, setpoints: bool) -> WrittenValue:
        """Write a value of the list and read it back. Raises CommandRefused."""
        driver = self.check_write(device_id, name, setpoints=setpoints)
        try:
            return await driver.write_value(name, value)
        except (DeviceError, ValueError, LookupError) as error:
            raise CommandRefused(str(error)) from None

    def _linked(self, device_id: str) -> Linked:
        driver = self._drivers.get(device_id)
        if driver is None:
            known = ", ".join(self._drivers)
            raise CommandRefused(f"no device {device_id!r}; the site file has {known}")
        if not isinstance(driver, Linked):
            raise CommandRefused(f"{device_id} has no registers: it is not read over Modbus")
        return driver


def parsed_value(text: str) -> float | str:
    """A number, or a word of an enum in lower case."""
    try:
        return float(text)
    except ValueError:
        return text.strip().lower()
