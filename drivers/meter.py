"""Reads SunSpec power meters: models 201-204 (scaled integers) and 211-214 (floats)."""

from __future__ import annotations

from collections.abc import Iterable

from dispatch.model.equipment import DeviceIdentity, Meter
from drivers.config import MeterDevice
from drivers.modbus.transport import ModbusLink
from drivers.register_view import RegisterValue, Words
from drivers.sample import Sample
from drivers.sunspec.device import SunSpecDevice

MODELS = (203, 213, 204, 214, 202, 212, 201, 211)
PHASES = {201: "A", 211: "A", 202: "AB", 212: "AB"}  # the others: A, B, C


class MeterDriver:
    """One meter, one request a reading: power, frequency, phases and energy of the same instant."""

    def __init__(self, config: MeterDevice, link: ModbusLink, unit: int) -> None:
        self.id = config.id
        self.kind = "meter" if config.role == "grid" else "load_meter"
        self._sign = -1.0 if config.invert else 1.0
        self._device = SunSpecDevice(link, unit, MODELS, "meter", config.instance or 0)
        self.link, self.unit, self.notices = link, unit, link.notices

    @property
    def identity(self) -> DeviceIdentity | None:
        """What it says it is; None before it was asked."""
        return self._device.identity

    def explain(self, words: Words, now_s: float) -> Iterable[RegisterValue]:
        """What registers that were read mean."""
        return self._device.explain(words, now_s)

    async def read(self) -> Meter:
        """Read it now. Raises DeviceError."""
        await self._device.open()
        model_id = self._device.first(*MODELS)
        phases = PHASES.get(model_id, "ABC")
        volts, amps, watts = (tuple(f"{name}{p}" for p in phases) for name in ("PhVph", "Aph", "Wph"))
        sample = Sample(await self._device.read(model_id, ("W", "Hz", "TotWhImp", "TotWhExp", *volts, *amps, *watts)))
        w = sample.number("W")
        imported, exported = ("TotWhExp", "TotWhImp") if self._sign < 0 else ("TotWhImp", "TotWhExp")
        currents, powers = ([sample.number(name) for name in names] for names in (amps, watts))
        return Meter(
            self.id,
            w=sample.of(None if w is None else self._sign * w),
            hz=sample.reading("Hz"),
            v=tuple(sample.reading(name) for name in volts),
            a=tuple(sample.of(None if a is None else abs(a)) for a in currents),
            import_wh=sample.reading(imported),
            export_wh=sample.reading(exported),
            w_phases=() if None in powers else tuple(sample.of(self._sign * w) for w in powers if w is not None),
        )

    async def close(self) -> None:
        """Drop the connection for good."""
        await self._device.link.close()
