"""Reads this machine's NVIDIA GPUs by NVML, and its CPU by psutil.

NVML calls can hang when a GPU is in trouble, so a thread of its own asks once a second and the loop only picks up what
it found last. Without an NVIDIA driver the node says "no GPU"; a value the GPU does not offer is missing, alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import msgspec
import pynvml

from dispatch.model.clock import Clock
from dispatch.model.equipment import Gpu, Node, aged
from dispatch.model.readings import Quality, Reading, reading
from drivers.clock import SystemClock
from drivers.config import NodeDevice
from drivers.nodes.psutil_node import PsutilNode

PERIOD_S = 1.0  # NVML's power is itself a mean over 1 s
RETRY_S = 60.0  # between looks for a driver that is not there
STALE_S = 3.0
BUSY_PCT = 5.0  # utilisation from which a GPU counts as busy


class NvmlNode:
    """Node power = host estimate + measured power of every GPU; missing when one GPU's is."""

    kind = "node"

    def __init__(self, config: NodeDevice, clock: Clock | None = None) -> None:
        self.id = config.id
        self._clock = clock or SystemClock()
        self._host = PsutilNode(config)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._found: tuple[float, tuple[Gpu, ...], str] | None = None  # site time, GPUs, note; replaced whole

    async def read(self) -> Node:
        """The host now and the GPUs as last seen, with their age. Never waits for NVML."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name=f"nvml {self.id}", daemon=True)
            self._thread.start()
        node = await self._host.read()
        if self._found is None:
            return msgspec.structs.replace(node, w=Reading(), source="NVML", note="NVML has not answered yet")
        at_s, gpus, note = self._found
        if not gpus:
            return msgspec.structs.replace(node, note=note)
        age_s = max(self._clock.mono_s() - at_s, 0.0)
        fresh = age_s <= STALE_S * self._clock.speed
        quality = Quality.GOOD if fresh else Quality.STALE
        gpus = tuple(aged(gpu, age_s, quality) for gpu in gpus)
        return msgspec.structs.replace(
            node,
            w=_sum([node.w, *(gpu.w for gpu in gpus)], age_s, quality),
            gpus=gpus,
            gpus_busy=_sum([_busy(gpu) for gpu in gpus], age_s, quality),
            gpus_total=len(gpus),
            source="NVML + psutil estimate",
            note=note if fresh else f"NVML has not answered for {age_s:.0f} s",
        )

    async def close(self) -> None:
        """Let the thread end; it is not waited for, it may hang in the driver."""
        self._stop.set()

    def _watch(self) -> None:
        """The thread: look for a driver, then ask until it is gone."""
        while not self._stop.is_set():
            try:
                pynvml.nvmlInit()
            except pynvml.NVMLError as error:
                self._found = (self._clock.mono_s(), (), f"no GPU ({error})")
                self._stop.wait(RETRY_S)
                continue
            try:
                while not self._stop.is_set():
                    gpus, note = query()
                    self._found = (self._clock.mono_s(), gpus, note)
                    self._stop.wait(PERIOD_S)
            except pynvml.NVMLError as error:
                self._found = (self._clock.mono_s(), (), f"NVML: {error}")
                self._stop.wait(PERIOD_S)
            finally:
                _ask(pynvml.nvmlShutdown)


def _sum(parts: list[Reading], age_s: float, quality: Quality) -> Reading:
    """The sum, or missing as soon as one part is."""
    values = [part.value for part in parts if part.value is not None]
    return Reading(sum(values), age_s, quality) if len(values) == len(parts) else Reading()


def _busy(gpu: Gpu) -> Reading:
    """1 where it is in use, 0 where not."""
    return Reading() if gpu.util_pct.value is None else reading(float(gpu.util_pct.value >= BUSY_PCT))


def query() -> tuple[tuple[Gpu, ...], str]:
    """Every GPU as NVML sees it now, and what is wrong. Raises NVMLError when they cannot even be counted."""
    count = int(pynvml.nvmlDeviceGetCount())
    gpus, notes = [], []
    for index in range(count):
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        except pynvml.NVMLError as error:
            gpus.append(Gpu(index, ""))
            notes.append(f"GPU {index}: {error}")
            continue
        gpus.append(_gpu(index, handle))
        if gpus[-1].w.value is None:
            notes.append(f"GPU {index} gives no power")
    return tuple(gpus), "; ".join(notes) if count else "no GPU"


def _gpu(index: int, handle: Any) -> Gpu:
    """One GPU. NVML's power is in mW, memory in bytes."""
    power_mw = _ask(pynvml.nvmlDeviceGetPowerUsage, handle)
    limit_mw = _ask(pynvml.nvmlDeviceGetPowerManagementLimit, handle)
    rates = _ask(pynvml.nvmlDeviceGetUtilizationRates, handle)
    # the first form of this call counts what the driver keeps for itself as used (615 MiB on an idle H200)
    memory = _ask(pynvml.nvmlDeviceGetMemoryInfo, handle, pynvml.nvmlMemory_v2)
    memory = memory or _ask(pynvml.nvmlDeviceGetMemoryInfo, handle)
    temp_c = _ask(pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU)
    return Gpu(
        index,
        str(_ask(pynvml.nvmlDeviceGetName, handle) or ""),
        w=reading(None if power_mw is None else power_mw / 1000),
        limit_w=reading(None if limit_mw is None else limit_mw / 1000),
        util_pct=reading(None if rates is None else float(rates.gpu)),
        temp_c=reading(None if temp_c is None else float(temp_c)),
        memory_used_mib=reading(None if memory is None else memory.used / 2**20),
    )


def _ask(function: Callable[..., Any], *args: Any) -> Any:
    """What NVML answers, or None where this GPU or driver has no answer."""
    try:
        return function(*args)
    except pynvml.NVMLError:
        return None
