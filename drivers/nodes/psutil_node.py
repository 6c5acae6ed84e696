"""Reads this machine as a compute node by psutil. Its power is an estimate and marked as one: it has no power meter."""

from __future__ import annotations

from collections.abc import Callable

import psutil

from dispatch.model.equipment import Node
from dispatch.model.readings import reading
from drivers.config import NodeDevice

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
        cpu_pct, memory_pct = self._sample()
        estimate_w = self._config.idle_w + cpu_pct / 100 * (self._config.full_w - self._config.idle_w)
        return Node(
            self.id,
            w=reading(estimate_w),
            cpu_pct=reading(cpu_pct),
            memory_pct=reading(memory_pct),
            critical=self._config.critical,
            source="psutil estimate",
        )

    async def close(self) -> None:
        """Nothing is held."""
