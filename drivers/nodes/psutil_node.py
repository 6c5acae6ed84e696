"""Reads this machine as a compute node by psutil. Its power is an estimate and marked as one: it has no power meter."""

from __future__ import annotations

from collections.abc import Callable

import psutil

from dispatch.model.equipment import Node
from dispatch.model.readings import reading
from drivers.node_config import NodeDevice

Usage = tuple[float, float]  # CPU since the last call, memory in use; both in %


def usage() -> Usage:
    """What psutil says, without waiting."""
    return psutil.cpu_percent(interval=None), psutil.virtual_memory().percent


class PsutilNode:
    """CPU, memory, and power estimated as idle_w + CPU share x (full_w - idle_w)."""

    kind = "node"

    def __init__(self, config: NodeDevice, sample: Callable[[], Usage] = usage) -> None:
        self.id, self._config, self._sample = config.id, config, sample
        self._sample()  # the first answer of psutil has no "since": throw it away

    async def read(self) -> Node:
        """Read it now: two files in /proc, no waiting."""
        cpu, memory = (reading(pct if 0 <= pct <= 100 else None) for pct in self._sample())
        idle_w, full_w = self._config.idle_w, self._config.full_w
        return Node(
            self.id,
            w=reading(None if cpu.value is None else idle_w + cpu.value / 100 * (full_w - idle_w)),
            cpu_pct=cpu,
            memory_pct=memory,
            critical=self._config.critical,
            source="psutil estimate",
        )

    async def close(self) -> None:
        """Nothing is held."""
