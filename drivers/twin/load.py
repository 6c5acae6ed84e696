"""Simulates the load: compute nodes from a trace, cooling, base load, this machine, manual load steps."""

from __future__ import annotations

import random
from collections.abc import Callable

from drivers.twin.config import TwinConfig
from drivers.twin.trace import Trace

IDLE_SHARE = 0.25  # of a load function's node power that is there without jobs
SHUTDOWN_S = 90.0  # an orderly shutdown of a node takes this long, at idle power
NOISE_MEMORY = 0.8  # of one second's flutter in the next


class TwinNode:
    """One compute node. `cap_w` and `suspended` are what the gateway may order."""

    def __init__(self, gpus: int) -> None:
        self.gpus_total = gpus
        self.gpus_busy: int | None = None
        self.w = 0.0
        self.cpu_pct: float | None = None
        self.memory_pct: float | None = None
        self.cap_w: float | None = None
        self.suspended = False
        self.off = False  # ordered to shut down
        self.off_in_s = 0.0  # until it is down

    @property
    def down(self) -> bool:
        """Whether it has finished shutting down."""
        return self.off and self.off_in_s <= 0

    def order_off(self, off: bool) -> None:
        """Shut down in an orderly way, or start again."""
        if off and not self.off:
            self.off_in_s = SHUTDOWN_S
        self.off = off


class TwinLoad:
    """The consumers. `w` is what they take now, W at the AC terminals."""

    def __init__(
        self, twin: TwinConfig, trace: Trace | None, nodes: int, load_w: Callable[[float], float] | None
    ) -> None:
        self._twin, self._trace, self._load_w = twin, trace, load_w
        self._random = random.Random(f"{twin.seed}/load")
        self.nodes = [TwinNode(twin.gpus_per_node) for _ in range(nodes)]
        self.host_w = 0.0  # this machine's node, set from outside
        self.step_w = 0.0  # load steps put on by hand
        self.dark = False  # the bus is dead: what is asked for is not had
        self._due_s = self._seen_s = 0.0
        self._flutter = 0.0
        self._given_w = 0.0  # what trace or function ask for, after caps
        self.w = 0.0

    def update(self, t_s: float, utc_s: float) -> None:
        """Set `w` and the nodes for `t_s`. Traces are looked at once a second, a load function always."""
        for node in self.nodes:
            if node.off and node.off_in_s > 0:
                node.off_in_s -= t_s - self._seen_s
        self._seen_s = t_s
        if self._load_w is not None:
            self._from_function(self._load_w(t_s))
        elif t_s + 1e-9 >= self._due_s:
            self._due_s = float(int(t_s + 1e-9) + 1)
            self._from_trace(utc_s + 1e-6)
        self.w = self._given_w + self.step_w + self.host_w * (1 + self._twin.cooling_fraction)

    def refresh(self) -> None:
        """A cap or a suspension was ordered: the next `look` obeys."""
        self._due_s = 0.0

    def _from_function(self, load_w: float) -> None:
        """Split a given site load: the nodes take evenly what base load and cooling leave."""
        cooled = 1 + self._twin.cooling_fraction
        wanted_w = max(0.0, (load_w - self._twin.base_load_w) / cooled / len(self.nodes))
        for node in self.nodes:
            self._run(node, wanted_w, 0.0, IDLE_SHARE * wanted_w)
        self._given_w = load_w - cooled * sum(wanted_w - node.w for node in self.nodes)

    def _from_trace(self, utc_s: float) -> None:
        """Share the trace's power: every node idles, jobs fill them in order."""
        assert self._trace is not None
        scale, count = self._twin.load_scale, len(self.nodes)
        total_w = self._trace.power_w[self._trace.index(utc_s)] * scale
        idle_w = self._trace.low_w * scale / count
        full_w = self._trace.high_w * scale / count
        self._flutter = self._flutter * NOISE_MEMORY + self._random.gauss(
            0, self._twin.load_noise * (1 - NOISE_MEMORY**2) ** 0.5
        )
        extra_w = (total_w - idle_w * count) * max(0.0, 1 + self._flutter)
        for node in self.nodes:
            mine_w = min(max(extra_w, 0.0), full_w - idle_w)
            extra_w -= mine_w
            busy = mine_w / (full_w - idle_w) if full_w > idle_w else 0.0
            self._run(node, idle_w + mine_w, busy, idle_w)
        compute_w = sum(node.w for node in self.nodes)
        self._given_w = compute_w * (1 + self._twin.cooling_fraction) + self._twin.base_load_w

    def _run(self, node: TwinNode, wanted_w: float, busy: float, idle_w: float = 0.0) -> None:
        """One node obeys suspension, then its cap (which cannot push it below idle)."""
        if node.down:
            wanted_w = idle_w = busy = 0.0
        elif node.suspended or node.off:
            wanted_w, busy = min(wanted_w, idle_w), 0.0
        if node.cap_w is not None:
            wanted_w = min(wanted_w, max(node.cap_w, idle_w))
        node.w = wanted_w
        if self._trace is not None and self._load_w is None:
            node.gpus_busy = round(busy * node.gpus_total)
            node.cpu_pct = 5 + 60 * busy
            node.memory_pct = 10 + 50 * busy
