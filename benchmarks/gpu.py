"""What the NVML node says of this machine's GPUs beside what nvidia-smi says, and what asking costs. Needs a GPU.

Put the GPU to work meanwhile, or only its idle power is compared. Nothing is set on the GPU.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import subprocess
import sys
import time

import pynvml

from benchmarks.figures import Figure, main, quantile
from dispatch.model.equipment import Node
from drivers.node_config import NodeDevice
from drivers.nodes.nvml_node import PERIOD_S, NvmlNode, query

RATE_HZ = 5
FIELDS = "power.draw.average,power.limit,utilization.gpu,temperature.gpu,memory.used"


def measure(seconds: float = 30.0) -> list[Figure]:
    """Read the node at the gateway's rate and nvidia-smi once per node period; compare what they saw within 1.5 s."""
    if shutil.which("nvidia-smi") is None:
        sys.exit("nvidia-smi is not on the PATH: this needs an NVIDIA GPU and its driver")
    asked_ms = _query_ms()
    nodes, reads_ms, seen = asyncio.run(_watch(seconds))
    gpus = [node.gpus for node in nodes if node.gpus]
    if not gpus or len(seen) < 3:
        sys.exit(f"no GPU was seen: the node says '{nodes[-1].note}', nvidia-smi answered {len(seen)} times")
    print(f"{len(gpus[-1])} x {gpus[-1][0].name}; node '{nodes[-1].source}', note '{nodes[-1].note}'", file=sys.stderr)
    off = [_off(node, smi) for node, smi in seen]
    draws = [sum(row[0] for row in smi) for _, smi in seen]
    return [
        Figure("GPU power by nvidia-smi, least", min(draws), "W"),
        Figure("GPU power by nvidia-smi, most", max(draws), "W"),
        Figure(
            "GPU power, node against nvidia-smi, median difference", quantile([o[0] for o in off], 0.5), "% of limit", 5
        ),
        Figure("power limit, largest difference", max(o[1] for o in off), "W", goal=0.5),
        Figure("temperature, median difference", quantile([o[2] for o in off], 0.5), "C", goal=2),
        Figure("memory used, median difference", quantile([o[3] for o in off], 0.5), "MiB", goal=64),
        Figure("one look at every GPU in NVML, p95", quantile(asked_ms, 0.95), "ms"),
        Figure(f"the node's read() on the loop at {RATE_HZ} Hz, p99", quantile(reads_ms, 0.99), "ms", goal=10),
    ]


def _query_ms(times: int = 50) -> list[float]:
    took = []
    pynvml.nvmlInit()
    try:
        for _ in range(times):
            since = time.perf_counter()
            query()
            took.append(1000 * (time.perf_counter() - since))
    finally:
        pynvml.nvmlShutdown()
    return took


async def _watch(seconds: float) -> tuple[list[Node], list[float], list[tuple[Node, list[list[float]]]]]:
    """Every reading, how long each took, and the pairs (reading, nvidia-smi's rows asked just before it)."""
    device = NvmlNode(NodeDevice(id="here", source="nvml"))
    nodes, reads_ms, seen = [], [], []
    over = time.monotonic() + seconds
    smi_due = time.monotonic() + 2 * PERIOD_S
    try:
        while time.monotonic() < over:
            smi = None
            if time.monotonic() >= smi_due:
                smi = await asyncio.to_thread(_smi)
                smi_due += PERIOD_S
            since = time.perf_counter()
            nodes.append(await device.read())
            reads_ms.append(1000 * (time.perf_counter() - since))
            if smi is not None and nodes[-1].gpus:
                seen.append((nodes[-1], smi))
            await asyncio.sleep(1 / RATE_HZ)
    finally:
        await device.close()
    return nodes, reads_ms, seen


def _smi() -> list[list[float]]:
    """One row per GPU: the values of FIELDS."""
    args = ["nvidia-smi", f"--query-gpu={FIELDS}", "--format=csv,noheader,nounits"]
    text = subprocess.run(args, check=True, capture_output=True, text=True, timeout=10).stdout
    return [[float(value) for value in line.split(",")] for line in text.strip().splitlines()]


def _off(node: Node, smi: list[list[float]]) -> tuple[float, float, float, float]:
    """Worst GPU's difference: power in % of its limit, limit in W, temperature in C, memory in MiB."""
    rows = list(zip(node.gpus, smi, strict=True))
    return (
        max(100 * _apart(gpu.w.value, row[0]) / row[1] for gpu, row in rows),
        max(_apart(gpu.limit_w.value, row[1]) for gpu, row in rows),
        max(_apart(gpu.temp_c.value, row[3]) for gpu, row in rows),
        max(_apart(gpu.memory_used_mib.value, row[4]) for gpu, row in rows),
    )


def _apart(ours: float | None, theirs: float) -> float:
    return float("inf") if ours is None else abs(ours - theirs)


def options(parser: argparse.ArgumentParser) -> None:
    """Command line of this benchmark."""
    parser.add_argument("--seconds", type=float, default=30.0)


if __name__ == "__main__":
    main(__doc__ or "", options, measure)
