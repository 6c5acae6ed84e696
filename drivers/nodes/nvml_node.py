"""Reads this machine's NVIDIA GPUs by NVML, and its CPU by psutil.

NVML calls can hang when a GPU is in trouble, so a thread of its own asks once a second and the loop only picks up what
it found last. A GPU that does not answer, and one that answered before and is gone, stays in the node without values,
so that the node's power is missing and not a smaller sum. A machine of which no GPU was ever known has "no GPU".
"""

from __future__ import annotations

import threading
from functools import partial

import msgspec
import pynvml

from dispatch.model.clock import Clock
from dispatch.model.equipment import Gpu, Node, aged
from dispatch.model.readings import Quality, Reading, reading
from drivers.clock import SystemClock
from drivers.node_config import NodeDevice
from drivers.nodes.gpu_readings import BUSY_PCT, read_gpu
from drivers.nodes.gpu_slots import answers, with_absent
from drivers.nodes.known_gpus import KnownGpus, SeenGpu
from drivers.nodes.nvml_calls import BoundedCalls, NvmlTrouble, advice, key_of
from drivers.nodes.psutil_node import PsutilNode

PERIOD_S = 1.0  # NVML's power is itself a mean over 1 s
RETRY_MOST_S = 10.0  # between looks for a driver that is not there; the first ones follow sooner
STALE_S = 3.0


class Found(msgspec.Struct, frozen=True):
    """What the last look at the GPUs gave. `at_s`: site time."""

    at_s: float
    gpus: tuple[Gpu, ...]
    note: str


class NvmlNode:
    """Node power = host estimate + measured power of every GPU; missing when one GPU's is."""

    kind = "node"

    def __init__(self, config: NodeDevice, clock: Clock | None = None, known: KnownGpus | None = None) -> None:
        self.id, self._config = config.id, config
        self._clock = clock or SystemClock()
        self._known = known or KnownGpus()
        self._host = PsutilNode(config)
        self._calls = BoundedCalls()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._open = False  # NVML is initialised
        self._found: Found | None = None  # replaced whole

    async def read(self) -> Node:
        """The host now and the GPUs as last seen, with their age. Never waits for NVML."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name=f"nvml {self.id}", daemon=True)
            self._thread.start()
        node = await self._host.read()
        found = self._found
        if found is None:
            return msgspec.structs.replace(node, w=Reading(), source="NVML", note="NVML has not answered yet")
        if not found.gpus:
            return msgspec.structs.replace(node, note=found.note)
        age_s = max(self._clock.mono_s() - found.at_s, 0.0)
        fresh = age_s <= STALE_S * self._clock.speed
        quality = Quality.GOOD if fresh else Quality.STALE
        gpus = tuple(aged(gpu, age_s, quality) for gpu in found.gpus)
        return msgspec.structs.replace(
            node,
            w=_sum([node.w, *(gpu.w for gpu in gpus)], age_s, quality),
            gpus=gpus,
            gpus_busy=_sum([_busy(gpu) for gpu in gpus], age_s, quality),
            gpus_total=len(gpus),
            source="NVML + psutil estimate",
            note=found.note if fresh else f"NVML has not answered for {age_s:.0f} s",
        )

    async def close(self) -> None:
        """Let the thread end; it is not waited for, it may hang in the driver."""
        self._stop.set()

    def _watch(self) -> None:
        """The thread: ask every second, less often while there is no driver."""
        pause_s = PERIOD_S
        while not self._stop.is_set():
            self._found = self.look()
            pause_s = PERIOD_S if self._open else min(2 * pause_s, RETRY_MOST_S)
            self._stop.wait(pause_s)
        self._shut()

    def look(self) -> Found:
        """Every GPU that there is or was, asked now: may take as long as NVML does."""
        try:
            if not self._open:
                self._calls.run("start", pynvml.nvmlInit)
                self._open = True
            gpus, note = query(self._calls)
        except (NvmlTrouble, pynvml.NVMLError) as error:
            self._shut()
            gpus, note = (), f"NVML: {error}; {advice(error)}"
        answering = {key_of(g.uuid, g.index, len(gpus)): SeenGpu(g.index, g.name) for g in gpus if answers(g)}
        self._known.see(answering, self._config.gpus)
        expected = self._known.expected(self._config.gpus)
        if not gpus and not expected:
            return Found(self._clock.mono_s(), (), f"no GPU ({note})" if note else "no GPU")
        every, absent = with_absent(gpus, self._known.record.seen, expected)
        notes = [n for n in (note, absent, self._more_than_declared(len(answering))) if n]
        return Found(self._clock.mono_s(), every, "; ".join(notes))

    def _more_than_declared(self, count: int) -> str:
        declared = self._config.gpus
        return f"{count} GPUs answer, the site file says gpus = {declared}" if 0 < declared < count else ""

    def _shut(self) -> None:
        if self._open:
            self._open = False
            self._calls.each({"end": pynvml.nvmlShutdown})


def _sum(parts: list[Reading], age_s: float, quality: Quality) -> Reading:
    """The sum, or missing as soon as one part is."""
    values = [part.value for part in parts if part.value is not None]
    return Reading(sum(values), age_s, quality) if len(values) == len(parts) else Reading()


def _busy(gpu: Gpu) -> Reading:
    """1 where it is in use, 0 where not."""
    return Reading() if gpu.util_pct.value is None else reading(float(gpu.util_pct.value >= BUSY_PCT))


def query(calls: BoundedCalls | None = None) -> tuple[tuple[Gpu, ...], str]:
    """Every GPU as NVML counts them now, and what is wrong.

    Raises NVMLError or NvmlTrouble when they cannot even be counted.
    """
    calls = calls or BoundedCalls()
    count = int(calls.run("count", pynvml.nvmlDeviceGetCount))
    found = calls.each({f"GPU {index}": partial(_read, index) for index in range(count)})
    gpus, notes = [], []
    for index, one in enumerate(found.values()):
        try:
            gpu, said = one.result()
        except (NvmlTrouble, pynvml.NVMLError) as error:
            gpu, said = Gpu(index, ""), [f"GPU {index}: {error}"]
        gpus.append(gpu)
        notes += said
    return tuple(gpus), "; ".join(notes)


def _read(index: int) -> tuple[Gpu, list[str]]:
    return read_gpu(pynvml, index, pynvml.nvmlDeviceGetHandleByIndex(index))
