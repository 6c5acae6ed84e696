"""Reads SunSpec power meters: models 201-204 (scaled integers) and 211-214 (floats)."""

from __future__ import annotations

import functools
from collections.abc import Collection, Container
from typing import NamedTuple

from dispatch.model.equipment import Meter
from drivers.config import MeterDevice
from drivers.device_driver import DeviceDriver
from drivers.modbus.transport import ModbusLink
from drivers.sample import Sample
from drivers.sunspec.device import SunSpecDevice

MODELS = (203, 213, 204, 214, 202, 212, 201, 211)
PHASES = {201: "A", 211: "A", 202: "AB", 212: "AB"}  # the others: A, B, C


class MeterNames(NamedTuple):
    """The names of a meter's values in a sample; phases in their order, as many as it has."""

    w: str
    hz: str
    volts: tuple[str, ...]
    amps: tuple[str, ...]
    watts: tuple[str, ...]
    imported: str
    exported: str


def meter_names(values: Container[str], phases: Collection[str]) -> MeterNames:
    """Those of the vocabulary: of `phases` those that `values` has; a single-phase meter has L1 alone."""
    volts, amps, watts = (tuple(n for p in phases if (n := f"{kind}_{p}") in values) for kind in ("v", "a", "w"))
    return MeterNames("w", "hz", volts, amps, watts, "import_wh", "export_wh")


def meter_of(meter_id: str, sample: Sample, names: MeterNames, *, invert: bool) -> Meter:
    """A sample as a meter. `invert`: it counts export as positive power. Currents are magnitudes."""
    sign = -1.0 if invert else 1.0
    w, powers = sample.number(names.w), [sample.number(name) for name in names.watts]
    imported, exported = (names.exported, names.imported) if invert else (names.imported, names.exported)
    return Meter(
        meter_id,
        w=sample.of(None if w is None else sign * w),
        hz=sample.reading(names.hz),
        v=tuple(sample.reading(name) for name in names.volts),
        a=tuple(sample.magnitude(name) for name in names.amps),
        import_wh=sample.reading(imported),
        export_wh=sample.reading(exported),
        w_phases=() if None in powers else tuple(sample.of(sign * w) for w in powers if w is not None),
    )


class MeterDriver(DeviceDriver[SunSpecDevice]):
    """One meter, one request a reading: power, frequency, phases and energy of the same instant."""

    def __init__(self, config: MeterDevice, link: ModbusLink, unit: int) -> None:
        device = SunSpecDevice(link, unit, MODELS, "meter", config.instance or 0, config.serial)
        super().__init__(config.id, link, unit, device)
        self.kind = "meter" if config.role == "grid" else "load_meter"
        self._config = config

    async def read(self) -> Meter:
        """Read it now. Raises DeviceError."""
        await self._device.open()
        model_id = self._device.first(*MODELS)
        names, points = _names(model_id)
        sample = Sample(await self._device.read(model_id, points))
        return meter_of(self.id, sample, names, invert=self._config.invert)


@functools.cache
def _names(model_id: int) -> tuple[MeterNames, tuple[str, ...]]:
    """The points of a meter's model: by what they mean, and all of them."""
    phases = PHASES.get(model_id, "ABC")
    volts, amps, watts = (tuple(f"{name}{p}" for p in phases) for name in ("PhVph", "Aph", "Wph"))
    names = MeterNames("W", "Hz", volts, amps, watts, "TotWhImp", "TotWhExp")
    return names, ("W", "Hz", "TotWhImp", "TotWhExp", *volts, *amps, *watts)
