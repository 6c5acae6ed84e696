"""This machine as a node: psutil's estimate, and NVML against a small libnvidia-ml.so.1 built here."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from waiting import LIMIT_S

from dispatch.model.readings import Quality
from drivers.node_config import NodeDevice
from drivers.nodes.nvml_node import NvmlNode
from drivers.nodes.psutil_node import PsutilNode

STUB = r"""
#include <string.h>
typedef void *dev; typedef struct { unsigned gpu, memory; } rates;
typedef struct { unsigned long long total, free, used; } memory;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } memory_v2;
static char a, b;
int nvmlInitWithFlags(unsigned f) { return 0; }
int nvmlInit_v2(void) { return 0; }
int nvmlShutdown(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned *n) { *n = 3; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, dev *d) { if (i == 2) return 15; *d = i ? &b : &a; return 0; }
int nvmlDeviceGetUUID(dev d, char *s, unsigned n) {
  if (d == &b) return 999; strncpy(s, "GPU-5f1c2a3b-0d4e-77aa", n); return 0; }
int nvmlDeviceGetName(dev d, char *s, unsigned n) { strncpy(s, "Stub 80GB", n); return 0; }
int nvmlDeviceGetPowerUsage(dev d, unsigned *mw) { if (d == &b && FAULTY) return 999; *mw = 412345; return 0; }
int nvmlDeviceGetPowerManagementLimit(dev d, unsigned *mw) { *mw = 700000; return 0; }
int nvmlDeviceGetEnforcedPowerLimit(dev d, unsigned *mw) { *mw = d == &a ? 600000 : 700000; return 0; }
int nvmlDeviceGetUtilizationRates(dev d, rates *r) { r->gpu = d == &a ? 93 : 0; r->memory = 1; return 0; }
int nvmlDeviceGetMemoryInfo(dev d, memory *m) { m->total = 1ull << 36; m->used = 4ull << 30; m->free = 0; return 0; }
int nvmlDeviceGetMemoryInfo_v2(dev d, memory_v2 *m) {
  if (d == &b) return 3; m->total = 1ull << 36; m->reserved = 1ull << 30; m->used = 3ull << 30; m->free = 0; return 0; }
const char *nvmlErrorString(int r) { return r == 15 ? "GPU is lost" : "stub error"; }
"""  # no temperature at all: the symbol is missing

READ = """
import asyncio, json, sys
import msgspec
from drivers.node_config import NodeDevice
from drivers.nodes.nvml_node import NvmlNode

async def main():
    node = NvmlNode(NodeDevice(id="me", source="nvml", idle_w=100, full_w=100))
    async with asyncio.timeout(60):
        while "not answered yet" in (read := await node.read()).note:
            await asyncio.sleep(0.01)
    await node.close()
    print(json.dumps(msgspec.to_builtins(read)))

asyncio.run(main())
"""


def psutil_node(cpu_pct: float) -> PsutilNode:
    return PsutilNode(NodeDevice(id="me", source="psutil", critical=True), lambda: (cpu_pct, 41.5))


@pytest.mark.parametrize("cpu_pct", [-0.1, 100.1, float("nan"), float("inf")])
async def test_a_share_that_cannot_be_makes_the_estimate_missing(cpu_pct: float) -> None:
    read = await psutil_node(cpu_pct).read()
    assert (read.w.value, read.cpu_pct.value, read.memory_pct.good) == (None, None, 41.5)


@pytest.mark.parametrize(("cpu_pct", "w"), [(0, 60), (50, 130), (100, 200)])
async def test_estimate_is_linear_between_idle_and_full(cpu_pct: float, w: float) -> None:
    read = await psutil_node(cpu_pct).read()
    assert (read.w.good, read.cpu_pct.good, read.memory_pct.good) == (w, cpu_pct, 41.5)
    assert (read.source, read.critical, read.gpus) == ("psutil estimate", True, ())


async def test_real_psutil_answers_in_range() -> None:
    read = await PsutilNode(NodeDevice(id="me", source="psutil")).read()
    assert 0 <= (read.cpu_pct.good or 0) <= 100
    assert 0 < (read.memory_pct.good or 0) <= 100


async def test_without_an_nvidia_driver_the_node_says_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    import pynvml

    def absent() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", absent)
    node = NvmlNode(NodeDevice(id="me", source="nvml"))
    async with asyncio.timeout(LIMIT_S):
        while not (read := await node.read()).note.startswith("no GPU"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert read.w.quality is Quality.GOOD
    assert (read.source, read.gpus, read.gpus_total) == ("psutil estimate", (), 0)
    await node.close()


def run_with_stub(tmp_path: Path, faulty: bool) -> dict[str, Any]:
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc to build the NVML stub")
    (tmp_path / "stub.c").write_text(STUB.replace("FAULTY", str(int(faulty))))
    library = tmp_path / "libnvidia-ml.so.1"
    subprocess.run(["gcc", "-w", "-shared", "-fPIC", "-o", library, tmp_path / "stub.c"], check=True)
    env = os.environ | {"LD_LIBRARY_PATH": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", READ], env=env, capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stderr == ""
    read: dict[str, Any] = json.loads(done.stdout)
    return read


def test_nvml_by_a_stub_library(tmp_path: Path) -> None:
    read = run_with_stub(tmp_path, faulty=False)
    one, two, lost = read["gpus"]
    assert (one["name"], one["w"][0], one["limit_w"][0], one["util_pct"][0]) == ("Stub 80GB", 412.345, 700, 93)
    assert (one["uuid"], one["enforced_w"][0]) == ("GPU-5f1c2a3b-0d4e-77aa", 600)
    assert one["memory_used_mib"][0] == 3072  # of the 4096 that the first form of the call gives
    assert one["temp_c"] == [None, None, "missing"]  # FunctionNotFound stays with its own value
    assert two["util_pct"][0] == 0
    assert two["memory_used_mib"][0] == 4096  # it knows the first form only
    assert lost["w"][0] is None
    assert read["w"][0] is None  # one GPU's power is unknown, so the node's is
    assert read["gpus_total"] == 3
    assert read["note"] == "GPU 0 (GPU-5f1c2a3b) is held at 600 W, 700 W are set; GPU 2: GPU is lost"


def test_nvml_errors_stay_with_their_value(tmp_path: Path) -> None:
    read = run_with_stub(tmp_path, faulty=True)
    assert read["gpus"][0]["w"][0] == 412.345
    assert read["gpus"][1]["w"][0] is None
    assert read["gpus"][1]["limit_w"][0] == 700
    assert "GPU 1 gives no power" in read["note"]
