"""Says what the values of a host's page mean, once it is known which sample is which: as `understood`, in less time."""

from __future__ import annotations

import math
from collections.abc import Sequence

from drivers.nodes.metrics import CPU, INFO, MEMORY, RAPL, Figures, HostFigures, memory_pct
from drivers.nodes.metrics_text import Sample

PLAIN = frozenset({CPU, INFO, *RAPL, *MEMORY})  # metrics whose meaning depends on no other value than their own


class HostValues:
    """Of pages that have the same samples as one of node_exporter, with other values. Made by `host_values`."""

    def __init__(self, samples: Sequence[Sample], found: Figures, host: HostFigures) -> None:
        self._notes, self._host = found.notes, host
        self._rapl = [n for n, sample in enumerate(samples) if sample.name in RAPL]
        self._idle = [n for n, s in enumerate(samples) if s.name == CPU and s.labels.get("mode") == "idle"]
        self._memory = [n for name in MEMORY for n, sample in enumerate(samples) if sample.name == name]

    @property
    def single(self) -> bool:
        """Each sample is a figure of its own."""
        host = self._host
        counts = len(self._rapl), len(self._idle), len(self._memory)
        return counts == (len(host.rapl_j), len(host.idle_s), len(MEMORY))

    def figures(self, values: Sequence[float]) -> list[Figures] | None:
        """What these values mean; None: one of them cannot be."""
        rapl, idle = [values[n] for n in self._rapl], [values[n] for n in self._idle]
        total, free = [values[n] for n in self._memory]
        used_pct = memory_pct(total, free)
        if used_pct is None or min(rapl + idle, default=0.0) < 0 or max(rapl + idle, default=0.0) == math.inf:
            return None
        was = self._host
        rapl_j, idle_s = dict(zip(was.rapl_j, rapl, strict=True)), dict(zip(was.idle_s, idle, strict=True))
        host = HostFigures(was.name, rapl_j, idle_s, memory_pct=used_pct)
        return [Figures("node_exporter", host=host, notes=self._notes)]


def host_values(samples: Sequence[Sample], found: Sequence[Figures]) -> HostValues | None:
    """`found`: what `understood` has made of these samples. None where only that can say what they mean."""
    if len(found) != 1 or not all(sample.name in PLAIN for sample in samples) or found[0].host is None:
        return None
    made = HostValues(samples, found[0], found[0].host)
    return made if made.single and made.figures([sample.value for sample in samples]) == found else None
