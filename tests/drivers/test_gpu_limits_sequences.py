"""Power limits of GPUs over any sequence of loss, return, swap, cap, restart and death: none too high, none left."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from nvml_stub import Disk, StubGpu, StubNvml, attempt, power

from drivers.node_config import NodeDevice
from drivers.nodes.nvml_node import NvmlNode


class Limits(RuleBasedStateMachine):
    """GPUs get lost, come back, are swapped and reset while caps come and go and the gateway dies at any point.

    `own`: the limit of each GPU while nothing is capped: the site's, or the default after a swap.
    """

    def __init__(self) -> None:
        super().__init__()
        self.disk, self.nvml, self.patch = Disk(), StubNvml(), pytest.MonkeyPatch()
        self.own: dict[str | None, int] = {}
        self.swaps = 0

    @initialize(own_w=st.lists(st.sampled_from([350, 500, 700]), min_size=3, max_size=3))
    def start(self, own_w: list[int]) -> None:
        self.nvml.gpus = [StubGpu(f"GPU-{n}", limit=1000 * w) for n, w in enumerate(own_w)]
        self.own = {gpu.uuid: gpu.limit or 0 for gpu in self.nvml.gpus}
        self.nvml.install(self.patch)
        self.begin()

    def begin(self) -> None:
        """A gateway starts with what is on disk."""
        self.known = self.disk.known()
        self.power = power(self.nvml, self.known, gpus=3)
        self.node = NvmlNode(NodeDevice(id="n", source="nvml", gpus=3), None, self.known)

    @rule(n=st.integers(0, 2), counted=st.booleans())
    def lose(self, n: int, counted: bool) -> None:
        self.nvml.gpus[n].lost, self.nvml.gpus[n].counted = True, counted

    @rule(n=st.integers(0, 2))
    def come_back(self, n: int) -> None:
        self.nvml.gpus[n].lost, self.nvml.gpus[n].counted = False, True

    @rule(n=st.integers(0, 2), limit_w=st.sampled_from([250, 700]))
    def swap(self, n: int, limit_w: int) -> None:
        """The new GPU is at its default; or at the power limit that a cap may have set."""
        self.swaps += 1
        ours = 1000 * limit_w in self.known.record.caps_mw
        gpu = StubGpu(f"GPU-new-{self.swaps}", limit=1000 * limit_w)
        self.nvml.gpus[n] = gpu
        self.own[gpu.uuid] = 700_000 if ours else 1000 * limit_w

    @rule(watts=st.sampled_from([300.0, 750.0, 1200.0, 1800.0]), ride_through=st.booleans())
    def cap(self, watts: float, ride_through: bool) -> None:
        before = [gpu.limit for gpu in self.nvml.gpus]
        attempt(lambda: self.power.limit(watts, ride_through))
        if self.disk.full and not ride_through and not self.on_disk():
            assert [gpu.limit for gpu in self.nvml.gpus] == before

    def on_disk(self) -> set[str]:
        return set(self.disk.known().record.original_mw)

    @rule()
    def uncap(self) -> None:
        attempt(lambda: self.power.limit(None))
        for gpu in self.nvml.gpus:
            if not gpu.lost:
                assert gpu.limit == self.own[gpu.uuid]

    @precondition(lambda self: not self.power.not_kept)
    @rule()
    def restart(self) -> None:
        self.begin()

    @rule(sets=st.integers(0, 2), cap=st.booleans())
    def killed(self, sets: int, cap: bool) -> None:
        """Between disk and set, or between two sets."""
        if self.power.not_kept or self.disk.full:
            return
        self.nvml.sets_left = sets
        attempt(lambda: self.power.limit(750.0 if cap else None))
        self.nvml.sets_left = None
        self.begin()

    @rule(full=st.booleans())
    def disk_is(self, full: bool) -> None:
        self.disk.full = full

    @invariant()
    def none_above_its_own_limit(self) -> None:
        for gpu in self.nvml.gpus:
            assert (gpu.limit or 0) <= self.own[gpu.uuid]

    @invariant()
    def no_sum_without_all(self) -> None:
        """The node is read at every step."""
        found = self.node.look()
        lost = sum(gpu.lost for gpu in self.nvml.gpus)
        assert sum(gpu.w.value is None for gpu in found.gpus) == lost
        assert len(found.gpus) == 3
        assert found.note or not lost

    def teardown(self) -> None:
        """Once all answer again, all are free."""
        self.patch.undo()
        for gpu in self.nvml.gpus:
            gpu.lost, gpu.counted = False, True
        if self.nvml.gpus:
            self.power.limit(None)
        assert [gpu.limit for gpu in self.nvml.gpus] == [self.own[gpu.uuid] for gpu in self.nvml.gpus]


EXAMPLES = 2000 if os.environ.get("SKERRY_SOAK") else 15
Limits.TestCase.settings = settings(max_examples=EXAMPLES, stateful_step_count=20, deadline=None)
TestLimits = pytest.mark.soak(Limits.TestCase)
