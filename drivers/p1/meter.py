"""The electricity meter of the grid operator as the grid meter, by its telegrams."""

from __future__ import annotations

import asyncio

from dispatch.model.equipment import DeviceIdentity, LinkHealth, Meter
from drivers.config import MeterDevice
from drivers.meter import meter_names, meter_of
from drivers.modbus.address import Address
from drivers.p1.receiver import Receiver
from drivers.p1.telegram import PHASES, Telegram, as_written, time_of
from drivers.register_view import RegisterValue
from drivers.sample import Sample
from drivers.serial_numbers import check_serial


class P1Meter:
    """One meter. A reading is the newest telegram, as old as it is: it never waits for the next one."""

    kind = "meter"

    def __init__(self, config: MeterDevice, address: Address, backoff_max_s: float) -> None:
        self.id, self._serial = config.id, config.serial
        self._receiver = Receiver(address, config.id, backoff_max_s)

    async def read(self) -> Meter:
        """The newest telegram. Raises DeviceError: none is young enough, or they come too rarely for control.

        WrongDevice: it is of a meter with another serial number than the site file names.
        """
        arrival = await self._receiver.current()
        check_serial(f"{self.id} at {self._receiver.address}", self._serial, arrival.telegram.serial)
        values = arrival.telegram.values
        sample = Sample(values, asyncio.get_running_loop().time() - arrival.at_s)
        return meter_of(self.id, sample, meter_names(values, PHASES), invert=False)

    async def close(self) -> None:
        """Let go of the port."""
        self._receiver.close()

    @property
    def identity(self) -> DeviceIdentity | None:
        """What the telegrams say it is; None before the first."""
        newest = self._receiver.arrivals.newest
        if newest is None:
            return None
        telegram = newest.telegram
        return DeviceIdentity(maker=telegram.maker, model=telegram.model, serial=telegram.serial)

    def link_health(self) -> LinkHealth:
        """How the telegrams come. There are no round trips, since nothing is asked."""
        port, came = self._receiver, self._receiver.arrivals
        connect_ms = None if port.connect_s is None else 1000 * port.connect_s
        return LinkHealth(str(port.address), connect_ms=connect_ms, answers=came.telegrams, failures=came.rejected)

    def shown(self) -> list[RegisterValue]:
        """The newest telegram, object by object."""
        newest = self._receiver.arrivals.newest
        if newest is None:
            return []
        age_s = asyncio.get_running_loop().time() - newest.at_s
        return _objects(newest.telegram, age_s)


def _objects(telegram: Telegram, age_s: float) -> list[RegisterValue]:
    """Numbered in the telegram's order, which stands in for the register."""
    rows = []
    for number, (code, content) in enumerate(telegram.objects.items(), start=1):
        value, unit = as_written(content)
        at = time_of(content)
        rows.append(RegisterValue(0, 0, number, (), age_s, f"{code} of {at}" if at else code, value, unit))
    return rows
