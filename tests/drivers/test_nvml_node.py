"""A node's power is the sum over all its GPUs or missing: GPUs lost, swapped, hanging; a driver that goes."""

from __future__ import annotations

import asyncio
import threading

import pynvml
import pytest
from nvml_stub import StubGpu, StubNvml, eight
from waiting import LIMIT_S

from dispatch.model.equipment import Node
from drivers.node_config import NodeDevice
from drivers.nodes import nvml_node
from drivers.nodes.known_gpus import KnownGpus
from drivers.nodes.nvml_node import NvmlNode


class Watched:
    """A node of 200 W beside its GPUs, looked at when the test says so."""

    def __init__(self, nvml: StubNvml, monkeypatch: pytest.MonkeyPatch, known: KnownGpus, gpus: int = 0) -> None:
        nvml.install(monkeypatch)
        monkeypatch.setattr(NvmlNode, "_watch", lambda node: None)
        self.node = NvmlNode(NodeDevice(id="n", source="nvml", idle_w=200, full_w=200, gpus=gpus), None, known)

    async def look(self) -> Node:
        self.node._found = await asyncio.to_thread(self.node.look)
        return await self.node.read()


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> StubNvml:
    return StubNvml(*eight())


async def test_all_eight_answer(nvml: StubNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    read = await Watched(nvml, monkeypatch, KnownGpus()).look()
    assert (read.w.good, read.gpus_total, read.gpus_busy.good, read.note) == (2600, 8, 8, "")
    assert [g.uuid for g in read.gpus] == [g.uuid for g in nvml.gpus]


@pytest.mark.parametrize("counted", [True, False])
async def test_one_of_eight_is_lost(nvml: StubNvml, monkeypatch: pytest.MonkeyPatch, counted: bool) -> None:
    there = Watched(nvml, monkeypatch, KnownGpus())
    await there.look()
    nvml.gpus[3].lost, nvml.gpus[3].counted = True, counted
    read = await there.look()
    assert (read.w.value, read.gpus_total) == (None, 8), "2300 W would be a smaller sum, not the node's power"
    assert sum(g.w.value is not None for g in read.gpus) == 7
    assert {g.uuid for g in read.gpus if g.w.value is None} == {"GPU-00000003-0000"}
    assert "GPU 3" in read.note
    if not counted:
        assert read.note.startswith("7 of 8 GPUs are there, missing: GPU 3 (GPU-00000003)")
    nvml.gpus[3].lost, nvml.gpus[3].counted = False, True
    assert (await there.look()).w.good == 2600


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, "driver was upgraded"),
        (pynvml.NVML_ERROR_DRIVER_NOT_LOADED, "modprobe nvidia"),
        (pynvml.NVML_ERROR_GPU_IS_LOST, "Xid"),
        (pynvml.NVML_ERROR_UNKNOWN, "nvidia-smi"),
    ],
)
async def test_the_driver_goes_and_comes_back(
    nvml: StubNvml, monkeypatch: pytest.MonkeyPatch, code: int, advice: str
) -> None:
    del nvml.gpus[2:]
    there = Watched(nvml, monkeypatch, KnownGpus())
    assert (await there.look()).w.good == 800
    nvml.broken = code
    for _ in range(3):
        read = await there.look()
        assert (read.w.value, len(read.gpus)) == (None, 2), "200 W of the host are not the node's power"
        assert advice in read.note
    nvml.broken = 0
    assert (await there.look()).w.good == 800


async def test_gpus_that_an_earlier_run_saw_are_missed(nvml: StubNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway restarted by the same upgrade that took the driver."""
    kept: list[bytes] = []
    await Watched(nvml, monkeypatch, KnownGpus(None, kept.append)).look()
    nvml.broken = pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH
    read = await Watched(nvml, monkeypatch, KnownGpus(kept[-1], kept.append)).look()
    assert (read.w.value, read.gpus_total) == (None, 8)
    nvml.broken = 0
    nvml.gpus.pop()
    read = await Watched(nvml, monkeypatch, KnownGpus(kept[-1], kept.append)).look()
    assert read.w.value is None
    assert "say so with gpus" in read.note
    read = await Watched(nvml, monkeypatch, KnownGpus(kept[-1], kept.append), gpus=7).look()
    assert (read.w.good, read.note) == (2300, ""), "the site file says that there are seven"


async def test_declared_gpus_that_never_answered_are_missed(nvml: StubNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    nvml.gpus.pop()
    read = await Watched(nvml, monkeypatch, KnownGpus(), gpus=8).look()
    assert (read.w.value, read.gpus_total) == (None, 8)
    assert read.note.startswith("7 of 8 GPUs are there")
    nvml.broken = pynvml.NVML_ERROR_LIBRARY_NOT_FOUND
    assert (await Watched(nvml, monkeypatch, KnownGpus(), gpus=8).look()).w.value is None


async def test_more_than_declared_is_told_and_a_later_loss_is_seen(
    nvml: StubNvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = Watched(nvml, monkeypatch, KnownGpus(), gpus=4)
    read = await there.look()
    assert (read.w.good, read.note) == (2600, "8 GPUs answer, the site file says gpus = 4")
    nvml.gpus.pop()
    assert (await there.look()).w.value is None


async def test_a_swapped_gpu_takes_the_place_of_the_old_one(nvml: StubNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    there = Watched(nvml, monkeypatch, KnownGpus())
    await there.look()
    nvml.gpus[3].counted = False
    assert (await there.look()).w.value is None
    nvml.gpus.insert(0, StubGpu("GPU-new", power=100_000))
    read = await there.look()
    assert (read.w.good, read.gpus_total) == (2400, 8)


async def test_after_a_shift_of_the_index_the_right_one_is_named(
    nvml: StubNvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = Watched(nvml, monkeypatch, KnownGpus())
    await there.look()
    nvml.gpus[0].counted = False
    read = await there.look()
    assert {g.uuid for g in read.gpus if g.w.value is None} == {"GPU-00000000-0000"}
    assert "missing: GPU 0 (GPU-00000000)" in read.note


async def test_gpus_without_uuid_are_known_by_index(nvml: StubNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    for gpu in nvml.gpus:
        gpu.uuid = None
    there = Watched(nvml, monkeypatch, KnownGpus())
    assert (await there.look()).w.good == 2600
    nvml.gpus.pop()
    read = await there.look()
    assert (read.w.value, read.gpus_total) == (None, 8)


async def test_a_gpu_that_hangs_delays_nobody(nvml: StubNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    there = Watched(nvml, monkeypatch, KnownGpus())
    there.node._calls._deadline_s = 1.0
    await there.look()
    nvml.gpus[3].hangs = threading.Event()
    for _ in range(2):
        read = await there.look()
        assert sum(g.w.value is not None for g in read.gpus) == 7
        assert read.w.value is None
        assert "GPU 3: no answer within 1 s" in read.note
    alive = sum(thread.name == "nvml GPU 3" for thread in threading.enumerate())
    assert alive == 1, "what hangs is not asked again and again"
    nvml.gpus[3].hangs.set()
    async with asyncio.timeout(LIMIT_S):
        while (await there.look()).w.good != 2600:
            pass


async def test_the_thread_looks_again_soon_for_a_driver_that_went(
    nvml: StubNvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvml.install(monkeypatch)
    waits: list[float] = []

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout or 0.0)
            nvml.broken = pynvml.NVML_ERROR_DRIVER_NOT_LOADED if 2 <= len(waits) < 9 else 0
            if len(waits) == 12:
                self.set()
            return self.is_set()

    node = NvmlNode(NodeDevice(id="n", source="nvml"))
    node._stop = Stop()
    await asyncio.to_thread(node._watch)
    assert waits == [1.0, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0, 10.0, 1.0, 1.0, 1.0]
    assert nvml_node.RETRY_MOST_S <= 10
