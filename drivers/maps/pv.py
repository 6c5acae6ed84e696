"""Reads a PV inverter by a device map: one of kind pv, or the PV of a hybrid by the map of its PCS."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from dispatch.model.equipment import DeviceIdentity, Pv
from drivers.config import PvDevice
from drivers.maps.device import MappedDevice
from drivers.maps.schema import DeviceMap
from drivers.maps.vocabulary import PV_POWER, TEXTS
from drivers.modbus.errors import WrongDevice
from drivers.modbus.transport import ModbusLink
from drivers.register_view import RegisterValue, Words
from drivers.setpoint import CommandResult


def pv_part(device_map: DeviceMap) -> DeviceMap:
    """Of a map all that a `[[pv]]` reads: its power and state, or the PV power of a hybrid, and the texts.

    A hybrid's state is that of the whole inverter, and may be "standby" while the sun shines: it is left out.
    """
    kind = device_map.info.kind
    wanted = {*_parts(device_map, PV_POWER[kind]), *TEXTS, *(["state"] if kind == "pv" else [])}
    values = {name: value for name, value in device_map.values.items() if name in wanted}
    return msgspec.structs.replace(device_map, values=values, recipe=None)


def _parts(device_map: DeviceMap, name: str) -> Iterator[str]:
    """A value and all that it is computed of."""
    yield name
    for part in device_map.values[name].parts:
        yield from _parts(device_map, part)


class MapPv:
    """One inverter, which is only read."""

    kind = "pv"

    def __init__(self, config: PvDevice, device_map: DeviceMap, link: ModbusLink, unit: int) -> None:
        self.id = config.id
        self.link, self.unit, self.notices = link, unit, link.notices
        self.period_s = config.period_s or device_map.access.refresh_s  # machine seconds between two readings
        self._power = PV_POWER[device_map.info.kind]
        self._device = MappedDevice(link, unit, pv_part(device_map), config.units, self._power)

    @property
    def identity(self) -> DeviceIdentity | None:
        """What it says it is; None before it was asked."""
        return self._device.identity

    def explain(self, words: Words, now_s: float) -> Iterable[RegisterValue]:
        """What registers that were read mean."""
        return self._device.explain(words, now_s)

    async def read(self) -> Pv:
        """Read it now. The few watts it draws at night count as load: power is never below 0. Raises DeviceError."""
        sample = await self._device.read()
        reading = sample.reading(self._power)
        if reading.value is not None:
            reading = msgspec.structs.replace(reading, value=max(reading.value, 0.0))
        return Pv(self.id, w=reading, state=sample.status("state"))

    async def command(self, w: float | None, now_s: float) -> CommandResult:
        """It takes no limit: None has nothing to lift. Raises WrongDevice for one."""
        if w is not None:
            raise WrongDevice(self.id, "takes no limit: it is read by a device map", "curtail = false in the site file")
        return CommandResult()

    async def close(self) -> None:
        """Drop the connection for good."""
        await self.link.close()
