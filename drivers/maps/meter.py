"""Reads a power meter by a device map."""

from __future__ import annotations

from dispatch.model.equipment import Meter
from drivers.config import MeterDevice
from drivers.device_driver import DeviceDriver
from drivers.maps.device import MappedDevice
from drivers.maps.hand_writes import by_hand
from drivers.maps.schema import DeviceMap
from drivers.maps.vocabulary import PHASES
from drivers.meter import meter_names, meter_of
from drivers.modbus.transport import ModbusLink
from drivers.register_view import WrittenValue


class MapMeter(DeviceDriver[MappedDevice]):
    """One meter: the same parts and signs as a SunSpec meter's."""

    def __init__(self, config: MeterDevice, device_map: DeviceMap, link: ModbusLink, unit: int) -> None:
        device = MappedDevice(link, unit, device_map, config.units, serial=config.serial)
        super().__init__(config.id, link, unit, device)
        self.kind = "meter" if config.role == "grid" else "load_meter"
        self.refresh_s = device_map.access.refresh_s  # how often the device renews its own values
        self._config = config
        self._names = meter_names(device_map.values, PHASES)

    def writable(self, *, setpoints: bool) -> list[str]:
        """What a person may write; a meter has no setpoints."""
        return by_hand(self._device.map)

    async def write_value(self, name: str, value: float | str) -> WrittenValue:
        """Write one of them and read it back. Raises DeviceError, ValueError, LookupError."""
        return await self._device.write_by_hand(name, value)

    async def read(self) -> Meter:
        """Read it now. Raises DeviceError."""
        return meter_of(self.id, await self._device.read(), self._names, invert=self._config.invert)
