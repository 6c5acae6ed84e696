"""Reads a battery by a device map: what the map of a PCS says of its battery, or a BMS by a map of its own."""

from __future__ import annotations

from collections.abc import Callable

from dispatch.model.equipment import Battery, soc_of
from dispatch.model.readings import MISSING, Reading
from drivers.config import BatteryDevice
from drivers.device_driver import DeviceDriver
from drivers.maps.device import MappedDevice
from drivers.maps.schema import DeviceMap
from drivers.modbus.transport import ModbusLink
from drivers.sample import Sample, smallest

SampleOf = Callable[[str], Sample]  # name of a value -> the sample that has it, with its age


class MapBattery(DeviceDriver[MappedDevice]):
    """One battery whose BMS is a device of its own. It is only read."""

    kind = "battery"

    def __init__(self, config: BatteryDevice, device_map: DeviceMap, link: ModbusLink, unit: int) -> None:
        self.period_s = config.period_s or device_map.access.refresh_s  # machine seconds between two readings
        device = MappedDevice(link, unit, device_map, config.units, serial=config.serial)
        super().__init__(config.id, link, unit, device)

    async def read(self) -> Battery:
        """Read it now. Raises DeviceError."""
        sample = await self._device.read()
        return battery_of(self.id, lambda _name: sample)


def dc_limit(sample_of: SampleOf, way: str) -> Reading:
    """What the battery may be charged or discharged with (`way`) at its terminals, W >= 0.

    Amperes count with the battery's voltage; 0 A is 0 W whatever that is. It has the age of its limit.
    """
    watts, amps = sample_of(f"{way}_limit_w"), sample_of(f"{way}_limit_a")
    by_amps_w, by_watts_w = _by_amps_w(sample_of, way), watts.number(f"{way}_limit_w")
    limit_w = smallest(by_watts_w, by_amps_w)
    return (amps if limit_w == by_amps_w else watts).of(limit_w)


def battery_of(battery_id: str, sample_of: SampleOf) -> Battery:
    """The battery of the values of a map."""

    def reading(name: str) -> Reading:
        return sample_of(name).reading(name)

    return Battery(
        battery_id,
        soc_pct=sample_of("soc_pct").of(soc_of(sample_of("soc_pct").number("soc_pct"))),
        soh_pct=reading("soh_pct"),
        energy_wh=reading("energy_wh"),
        charge_limit_w=dc_limit(sample_of, "charge"),
        discharge_limit_w=dc_limit(sample_of, "discharge"),
        charge_limit_a=_limit_a(sample_of, "charge"),
        discharge_limit_a=_limit_a(sample_of, "discharge"),
        temp_c=reading("battery_temp_c"),
        state=sample_of("battery_state").status("battery_state"),
        alarms=sample_of("battery_alarms").bits("battery_alarms") or (),
        cell_v_min=reading("cell_v_min"),
        cell_v_max=reading("cell_v_max"),
        cell_temp_min_c=reading("cell_temp_min_c"),
        cell_temp_max_c=reading("cell_temp_max_c"),
        contactor=sample_of("contactor").status("contactor"),
        isolation=sample_of("isolation").status("isolation"),
        isolation_ohm=reading("isolation_ohm"),
        cooling=sample_of("cooling").status("cooling"),
    )


def _limit_a(sample_of: SampleOf, way: str) -> Reading:
    """The limit in amperes, where the limit in watts comes of it."""
    by_amps_w = _by_amps_w(sample_of, way)
    if by_amps_w is None or by_amps_w != dc_limit(sample_of, way).value:
        return MISSING
    return sample_of(f"{way}_limit_a").reading(f"{way}_limit_a")


def _by_amps_w(sample_of: SampleOf, way: str) -> float | None:
    amps = sample_of(f"{way}_limit_a").number(f"{way}_limit_a")
    volts = sample_of("battery_v").number("battery_v")
    if amps == 0:
        return 0.0
    return None if amps is None or volts is None else max(amps * volts, 0.0)
