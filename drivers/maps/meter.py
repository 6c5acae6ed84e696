"""Reads a power meter by a device map."""

from __future__ import annotations

from collections.abc import Iterable

from dispatch.model.equipment import DeviceIdentity, Meter
from drivers.config import MeterDevice
from drivers.maps.device import MappedDevice
from drivers.maps.schema import DeviceMap
from drivers.maps.vocabulary import PHASES
from drivers.meter import MeterNames, meter_of
from drivers.modbus.transport import ModbusLink
from drivers.register_view import RegisterValue, Words


class MapMeter:
    """One meter: the same parts and signs as a SunSpec meter's."""

    def __init__(self, config: MeterDevice, device_map: DeviceMap, link: ModbusLink, unit: int) -> None:
        self.id, self._config = config.id, config
        self.kind = "meter" if config.role == "grid" else "load_meter"
        self.link, self.unit, self.notices = link, unit, link.notices
        self._device = MappedDevice(link, unit, device_map, config.units)
        self._names = MeterNames(
            "w",
            "hz",
            tuple(f"v_{p}" for p in PHASES if f"v_{p}" in device_map.values),
            tuple(f"a_{p}" for p in PHASES if f"a_{p}" in device_map.values),
            tuple(f"w_{p}" for p in PHASES if f"w_{p}" in device_map.values),
            "import_wh",
            "export_wh",
        )

    @property
    def identity(self) -> DeviceIdentity | None:
        """What it says it is; None before it was asked."""
        return self._device.identity

    def explain(self, words: Words, now_s: float) -> Iterable[RegisterValue]:
        """What registers that were read mean."""
        return self._device.explain(words, now_s)

    async def read(self) -> Meter:
        """Read it now. Raises DeviceError."""
        return meter_of(self.id, await self._device.read(), self._names, invert=self._config.invert)

    async def close(self) -> None:
        """Drop the connection for good."""
        await self.link.close()
