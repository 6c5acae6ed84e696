"""Reads SunSpec PV inverters: models 101-103, 111-113 or 701."""

from __future__ import annotations

from collections.abc import Iterable

from dispatch.model.equipment import Pv
from drivers.config import PvDevice
from drivers.modbus.transport import ModbusLink
from drivers.register_view import RegisterValue, Words
from drivers.sample import Sample
from drivers.sunspec.device import SunSpecDevice

MODELS = (103, 102, 101, 113, 112, 111, 701)


class PvDriver:
    """One inverter, one request a reading."""

    kind = "pv"

    def __init__(self, config: PvDevice, link: ModbusLink, unit: int) -> None:
        self.id = config.id
        self._device = SunSpecDevice(link, unit, MODELS, "PV inverter", config.instance or 0)
        self.link, self.unit, self.notices = link, unit, link.notices

    def explain(self, words: Words, now_s: float) -> Iterable[RegisterValue]:
        """What registers that were read mean."""
        return self._device.explain(words, now_s)

    async def read(self) -> Pv:
        """Read it now. The few watts it draws at night count as load: power is never below 0. Raises DeviceError."""
        await self._device.open()
        model_id = self._device.first(*MODELS)
        state = "InvSt" if model_id == 701 else "St"
        sample = Sample(await self._device.read(model_id, ("W", state)))
        w = sample.number("W")
        return Pv(self.id, w=sample.of(None if w is None else max(w, 0.0)), state=sample.status(state))

    async def close(self) -> None:
        """Drop the connection for good."""
        await self._device.link.close()
