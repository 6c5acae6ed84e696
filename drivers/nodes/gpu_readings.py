"""Reads one GPU by NVML, and leaves out what cannot be true.

A driver that has no value may give one that is impossible: all bits set, or the "blank" values of nvml.h and DCGM
(0x7ffffff0, 0x7ffffffffffffff0). The bound of power is the board's, not the limit that is set: a GPU that ignores its
limit is to be seen.
"""

from __future__ import annotations

from typing import Any

from dispatch.model.equipment import Gpu
from dispatch.model.power_caps import exceeds
from dispatch.model.readings import MISSING, Reading, reading
from drivers.nodes.nvml_calls import asked, label, uuid_of
from drivers.nodes.nvml_modules import module_limits

BUSY_PCT = 5.0  # utilisation from which a GPU counts as busy
BEYOND = 2.0  # times the highest limit of the board: short peaks reach about 1.5 times
UNKNOWN_BOARD_W = 2_500.0  # bound where the board does not say its highest limit: twice that of the largest, 1.2 kW
BOARD_MOST_W = 5_000.0  # a board's own highest limit beyond this is no limit
TEMP_C = (0.0, 150.0)  # silicon is shut down at about 110
MEMORY_MOST_MIB = 2.0**24
ENERGY_MOST_J = 1e13  # 2.5 kW for a hundred years


def read_gpu(nvml: Any, index: int, handle: Any) -> tuple[Gpu, list[str]]:
    """One GPU, and what is wrong with it. NVML's power is in mW, memory in bytes."""
    gpu = _Reader(nvml, index, handle)
    power, busy = gpu.power(), gpu.utilisation()
    if power.value == 0 and (busy.value or 0.0) >= BUSY_PCT:
        gpu.notes.append(f"{gpu.label} says 0 W at {busy.value:.0f} % use")
        power = MISSING
    limit_w, enforced_w = gpu.limit("nvmlDeviceGetPowerManagementLimit"), gpu.limit("nvmlDeviceGetEnforcedPowerLimit")
    held_w = limit_w.value if enforced_w.value is None else enforced_w.value
    if limit_w.value is not None and held_w is not None and held_w < limit_w.value - 1:
        gpu.notes.append(f"{gpu.label} is held at {held_w:.0f} W, {limit_w.value:.0f} W are set")
    module = module_limits(nvml, handle)
    if module is not None and module.limit_mw != module.default_mw:
        gpu.notes.append(f"{gpu.label} is on a module that is limited to {module.limit_mw / 1000:.0f} W")
    if power.value is not None and held_w is not None and exceeds(power.value, held_w):
        gpu.notes.append(f"{gpu.label} draws {power.value:.0f} W, its limit is {held_w:.0f} W")
    return (
        Gpu(
            index,
            str(gpu.answer("nvmlDeviceGetName") or ""),
            w=power,
            limit_w=limit_w,
            util_pct=busy,
            temp_c=gpu.temperature(),
            memory_used_mib=gpu.memory(),
            uuid=gpu.uuid,
            enforced_w=enforced_w,
            energy_j=gpu.energy(),
        ),
        gpu.notes,
    )


class _Reader:
    """Asks one GPU and collects what is wrong."""

    def __init__(self, nvml: Any, index: int, handle: Any) -> None:
        self._nvml, self._handle, self.notes = nvml, handle, list[str]()
        self.uuid = uuid_of(nvml, handle)
        self.label = label(index, self.uuid)
        limits = self.answer("nvmlDeviceGetPowerManagementLimitConstraints")
        board_w = 0.0 if limits is None else limits[1] / 1000
        self._board_w = board_w if 0 < board_w <= BOARD_MOST_W else None
        self._most_w = UNKNOWN_BOARD_W if self._board_w is None else BEYOND * self._board_w

    def answer(self, name: str, *args: Any) -> Any:
        """What NVML answers, or None."""
        return asked(self._nvml, name, self._handle, *args)[0]

    def power(self) -> Reading:
        """W. Why there is none is always said: without it the node's power is not known."""
        mw, error = asked(self._nvml, "nvmlDeviceGetPowerUsage", self._handle)
        if mw is None:
            self.notes.append(f"{self.label} gives no power ({error})")
            return MISSING
        bound = "its board's limit is not known" if self._board_w is None else f"its board allows {self._board_w:g} W"
        return self._within(mw / 1000, 0.0, self._most_w, "W", bound)

    def energy(self) -> Reading:
        """J since its driver was loaded. Offered from Volta on, in mJ."""
        mj = self.answer("nvmlDeviceGetTotalEnergyConsumption")
        return reading(None if mj is None or not 0 <= mj / 1000 <= ENERGY_MOST_J else mj / 1000)

    def limit(self, name: str) -> Reading:
        """A power limit, W."""
        mw = self.answer(name)
        return reading(None if mw is None or not 0 < mw / 1000 <= self._most_w else mw / 1000)

    def utilisation(self) -> Reading:
        """%. Not offered by a GPU that is divided by MIG."""
        rates = self.answer("nvmlDeviceGetUtilizationRates")
        return MISSING if rates is None else self._within(float(rates.gpu), 0.0, 100.0, "% use", "")

    def temperature(self) -> Reading:
        """°C."""
        temp_c = self.answer("nvmlDeviceGetTemperature", self._nvml.NVML_TEMPERATURE_GPU)
        return MISSING if temp_c is None else self._within(float(temp_c), *TEMP_C, "°C", "")

    def memory(self) -> Reading:
        """MiB in use."""
        # the first form of this call counts what the driver keeps for itself as used (615 MiB on an idle H200)
        memory = self.answer("nvmlDeviceGetMemoryInfo", self._nvml.nvmlMemory_v2)
        memory = memory or self.answer("nvmlDeviceGetMemoryInfo")
        if memory is None:
            return MISSING
        most_mib = min(getattr(memory, "total", 0) / 2**20 or MEMORY_MOST_MIB, MEMORY_MOST_MIB)
        return self._within(memory.used / 2**20, 0.0, most_mib, "MiB in use", "")

    def _within(self, value: float, low: float, high: float, unit: str, bound: str) -> Reading:
        """The value if it can be true; else missing, with a note."""
        if low <= value <= high:
            return reading(value)
        shown = f"{value:.0f}" if abs(value) < 1e7 else f"{value:.3g}"
        self.notes.append(f"{self.label} says {shown} {unit}" + (f", {bound}" if bound else ""))
        return MISSING
