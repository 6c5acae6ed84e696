"""Stands for the module `pynvml`: GPUs that get lost, come back, are swapped; a driver that goes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest
from waiting import LIMIT_S

from drivers.nodes.errors import CannotObey
from drivers.nodes.gpu_limits import NvmlPower
from drivers.nodes.known_gpus import KnownGpus
from drivers.nodes.nvml_calls import BoundedCalls

ERROR = pynvml.NVMLError


@dataclass
class StubGpu:
    """One GPU; powers in mW. None: NVML says "Not Supported". `lost`: every call fails; `counted`: NVML counts it."""

    uuid: str | None
    power: int | None = 300_000
    limit: int | None = 500_000
    enforced: int | None = None  # None: the limit that is set
    default: int | None = 700_000
    constraints: tuple[int, int] | None = (200_000, 700_000)
    util: int | None = 50
    temp: int | None = 55
    used: int = 2**30
    total: int = 2**36
    lost: bool = False
    counted: bool = True
    refuses: int = 0  # error of setting a limit
    persistence: int | None = 1  # mode; None: NVML says "Not Supported"
    hangs: threading.Event | None = None  # every call waits for it
    module: dict[str, int] | None = None  # limits of the module of GPU and CPU that it is on, by name; None: on none
    cpus: tuple[int, ...] = (1, 0)


class StubNvml:
    """What `pynvml` offers, as far as Skerry uses it."""

    NVMLError = ERROR
    NVML_TEMPERATURE_GPU = 0
    nvmlMemory_v2 = 2
    NVML_POWER_SCOPE_MODULE = pynvml.NVML_POWER_SCOPE_MODULE
    NVML_FI_DEV_POWER_MIN_LIMIT = pynvml.NVML_FI_DEV_POWER_MIN_LIMIT
    NVML_FI_DEV_POWER_MAX_LIMIT = pynvml.NVML_FI_DEV_POWER_MAX_LIMIT
    NVML_FI_DEV_POWER_DEFAULT_LIMIT = pynvml.NVML_FI_DEV_POWER_DEFAULT_LIMIT
    NVML_FI_DEV_POWER_CURRENT_LIMIT = pynvml.NVML_FI_DEV_POWER_CURRENT_LIMIT
    NVML_FI_DEV_POWER_REQUESTED_LIMIT = pynvml.NVML_FI_DEV_POWER_REQUESTED_LIMIT

    def __init__(self, *gpus: StubGpu) -> None:
        self.gpus = list(gpus)
        self.broken = 0  # error of every call, as of a driver that is gone
        self.sets: list[tuple[str | None, int]] = []
        self.sets_left: int | None = None  # then the process dies

    def _there(self) -> list[StubGpu]:
        if self.broken:
            raise ERROR(self.broken)
        return [gpu for gpu in self.gpus if gpu.counted]

    def _of(self, gpu: StubGpu, value: Any) -> Any:
        self._there()
        if gpu.hangs is not None:
            gpu.hangs.wait(30)
        if gpu.lost:
            raise ERROR(pynvml.NVML_ERROR_GPU_IS_LOST)
        if value is None:
            raise ERROR(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return value

    def nvmlInit(self) -> None:
        self._there()

    def nvmlShutdown(self) -> None: ...

    def nvmlDeviceGetCount(self) -> int:
        return len(self._there())

    def nvmlDeviceGetHandleByIndex(self, index: int) -> StubGpu:
        gpu = self._there()[index]
        self._of(gpu, 0)
        return gpu

    def nvmlDeviceGetUUID(self, gpu: StubGpu) -> Any:
        return self._of(gpu, gpu.uuid)

    def nvmlDeviceGetName(self, gpu: StubGpu) -> Any:
        return self._of(gpu, "Stub 80GB")

    def nvmlDeviceGetPowerUsage(self, gpu: StubGpu) -> Any:
        return self._of(gpu, gpu.power)

    def nvmlDeviceGetPowerManagementLimit(self, gpu: StubGpu) -> Any:
        return self._of(gpu, gpu.limit)

    def nvmlDeviceGetEnforcedPowerLimit(self, gpu: StubGpu) -> Any:
        return self._of(gpu, gpu.limit if gpu.enforced is None else gpu.enforced)

    def nvmlDeviceGetPowerManagementDefaultLimit(self, gpu: StubGpu) -> Any:
        return self._of(gpu, gpu.default)

    def nvmlDeviceGetPowerManagementLimitConstraints(self, gpu: StubGpu) -> Any:
        return self._of(gpu, gpu.constraints)

    def nvmlDeviceGetPersistenceMode(self, gpu: StubGpu) -> Any:
        return self._of(gpu, gpu.persistence)

    def nvmlDeviceGetUtilizationRates(self, gpu: StubGpu) -> Any:
        return SimpleNamespace(gpu=self._of(gpu, gpu.util), memory=0)

    def nvmlDeviceGetTemperature(self, gpu: StubGpu, sensor: int) -> Any:
        return self._of(gpu, gpu.temp)

    def nvmlDeviceGetMemoryInfo(self, gpu: StubGpu, version: Any = None) -> Any:
        return self._of(gpu, SimpleNamespace(used=gpu.used, total=gpu.total))

    def nvmlDeviceSetPowerManagementLimit(self, gpu: StubGpu, limit_mw: int) -> None:
        self._of(gpu, gpu.limit)
        if gpu.refuses:
            raise ERROR(gpu.refuses)
        if self.sets_left is not None:
            if self.sets_left == 0:
                raise Killed
            self.sets_left -= 1
        self.sets.append((gpu.uuid, limit_mw))
        gpu.limit = limit_mw

    def nvmlDeviceGetFieldValues(self, gpu: StubGpu, fields: list[tuple[int, int]]) -> Any:
        self._of(gpu, 0)
        names = {getattr(pynvml, f"NVML_FI_DEV_POWER_{name}_LIMIT"): name for name in ("MIN", "MAX", "DEFAULT")}
        found = []
        for field, scope in fields:
            one = pynvml.c_nvmlFieldValue_t(fieldId=field, scopeId=scope, valueType=1)
            mw = (gpu.module or {}).get(names.get(field, "SET"))
            one.nvmlReturn = 0 if scope == 1 and mw is not None else pynvml.NVML_ERROR_NOT_SUPPORTED
            one.value.uiVal = mw or 0
            found.append(one)
        return found

    def nvmlDeviceGetCpuAffinity(self, gpu: StubGpu, words: int) -> Any:
        return self._of(gpu, gpu.cpus)

    def nvmlDeviceSetPowerManagementLimit_v2(self, gpu: StubGpu, scope: int, limit_mw: int) -> int:
        """As the binding has it: success, whatever NVML says."""
        if gpu.module is not None and not gpu.refuses and scope == self.NVML_POWER_SCOPE_MODULE:
            self.sets.append((gpu.uuid, limit_mw))
            gpu.module["SET"] = limit_mw
        return 0

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Put it in the place of NVML."""
        for name in dir(self):
            if name.startswith("nvmlDevice") or name in ("nvmlInit", "nvmlShutdown"):
                monkeypatch.setattr(pynvml, name, getattr(self, name))


class Killed(Exception):
    """The process that sets limits ends here."""


def eight(**keys: Any) -> list[StubGpu]:
    """Eight GPUs at the site's own 500 W of 700 W."""
    return [StubGpu(f"GPU-{n:08x}-0000", **keys) for n in range(8)]


class Disk:
    """What is on disk; may be full."""

    def __init__(self) -> None:
        self.content: bytes | None = None
        self.full = False

    def save(self, content: bytes) -> None:
        if self.full:
            raise OSError(28, "No space left on device", "gpus.json")
        self.content = content

    def known(self) -> KnownGpus:
        """As the next gateway finds it."""
        return KnownGpus(self.content, self.save)


def limits(nvml: StubNvml) -> list[float | None]:
    """What is set, W."""
    return [None if gpu.limit is None else gpu.limit / 1000 for gpu in nvml.gpus]


def power(nvml: StubNvml, known: KnownGpus | None = None, gpus: int = 0, declared_w: float | None = None) -> NvmlPower:
    """Power limits of the stub's GPUs, with time enough on a busy machine."""
    return NvmlPower("n", nvml, known, gpus=gpus, declared_w=declared_w, calls=BoundedCalls(LIMIT_S))


def attempt(call: Callable[[], object]) -> None:
    """Let it fail as it may."""
    try:
        call()
    except (CannotObey, Killed):
        return
