"""Reads a PV inverter by a device map: one of kind pv, or the PV of a hybrid by the map of its PCS."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from dispatch.model.equipment import Pv
from drivers.config import PvDevice
from drivers.device_driver import DeviceDriver
from drivers.maps.device import MappedDevice
from drivers.maps.hybrid import ac_powers
from drivers.maps.named_writes import NamedWriter
from drivers.maps.pv_limit import LIMIT, NEEDS, PvLimit
from drivers.maps.schema import DeviceMap
from drivers.maps.vocabulary import PV_POWER, TEXTS
from drivers.modbus.errors import WrongDevice
from drivers.modbus.transport import ModbusLink
from drivers.sample import Sample
from drivers.setpoint import CommandResult

AC_SHARE = ["ac_w", "battery_w"]  # with the PV's DC power they tell its AC power


def pv_part(device_map: DeviceMap) -> DeviceMap:
    """Of a map all that a `[[pv]]` reads: its power and state, or the PV power of a hybrid, and the texts.

    A hybrid's state is that of the whole inverter, and may be "standby" while the sun shines: it is left out.
    """
    kind = device_map.info.kind
    others = ["state", *NEEDS] if kind == "pv" else AC_SHARE if "ac_w" in device_map.values else []
    read = {part for name in others if name in device_map.values for part in _parts(device_map, name)}
    wanted = {*_parts(device_map, PV_POWER[kind]), *TEXTS, *read}
    values = {name: value for name, value in device_map.values.items() if name in wanted}
    return msgspec.structs.replace(device_map, values=values, recipe=None)


def _parts(device_map: DeviceMap, name: str) -> Iterator[str]:
    """A value and all that it is computed of."""
    yield name
    for part in device_map.values[name].parts:
        yield from _parts(device_map, part)


class MapPv(DeviceDriver[MappedDevice]):
    """One inverter, limited where its map has the write `pv_limit` and the site file says `curtail`."""

    kind = "pv"

    def __init__(self, config: PvDevice, device_map: DeviceMap, link: ModbusLink, unit: int) -> None:
        self.period_s = config.period_s or device_map.access.refresh_s  # machine seconds between two readings
        self._power = PV_POWER[device_map.info.kind]
        device = MappedDevice(link, unit, pv_part(device_map), config.units, self._power, config.serial)
        super().__init__(config.id, link, unit, device)
        self._limit: PvLimit | None = None
        if config.curtail and LIMIT in device_map.writes:
            self._limit = PvLimit(config, device, NamedWriter(link, device_map, device.units))
        self._sample = Sample({})

    async def read(self) -> Pv:
        """Read it now. The few watts it draws at night count as load: power is never below 0. Raises DeviceError.

        Of a hybrid it is the AC power of the PV, where the map has that of the inverter; else the DC power.
        """
        sample = self._sample = await self._device.read()
        reading = sample.reading(self._power)
        powers = ac_powers(sample.number("battery_w"), sample.number("pv_w"), sample.number("ac_w"))
        if powers is not None:
            reading = msgspec.structs.replace(reading, value=powers.pv_w)
        if reading.value is not None:
            reading = msgspec.structs.replace(reading, value=max(reading.value, 0.0))
        return Pv(self.id, w=reading, state=sample.status("state"))

    async def command(self, w: float | None, now_s: float) -> CommandResult:
        """Have it give at most `w` watts at site time `now_s`; None: a limit of ours is lifted. Raises DeviceError."""
        if self._limit is not None:
            return await self._limit.hold(w, self._sample, now_s)
        if w is not None:
            what = "takes no limit: its device map has no write pv_limit"
            raise WrongDevice(self.id, what, "curtail = false in the site file")
        return CommandResult()
