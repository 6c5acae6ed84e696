"""Turns the readings of a node into energy: what lies between two samples, by its GPUs and its host.

A sample counts once, by its own time; one that comes again does not. Between two samples power is taken as changing
evenly. Where they are further apart than their source's period explains, nothing is filled in: the time is a gap.
An energy counter of a GPU corrects this to what it has counted; where it begins anew, it is followed from there.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from dispatch.accounting.capped_gpus import CappedGpus, uncapped_w
from dispatch.model.equipment import Gpu, JobUse, Node
from dispatch.power_caps.throughput import DEFAULT, Curve

PERIODS, GRACE_S = 2.0, 10.0  # two samples belong together within so many periods and this time more
SAME_S = 0.05  # samples closer than this are one
MOST_GPU_W = 5_000.0  # a counter that says more has not counted what the GPU drew
IDLE_S = 300.0  # over which what a host draws at the least is a mean: single samples of two sources do not fit together


class Instant(NamedTuple):
    """A moment, by the calendar and by the clock that is never set; both the site's, s."""

    utc_s: float
    mono_s: float


class Segment(msgspec.Struct, frozen=True, gc=False):
    """Energy of a node between two samples. `host_wh` is None where it cannot be told from that of the GPUs."""

    start_utc_s: float
    end_utc_s: float
    wh: float
    host_wh: float | None
    gpus: tuple[tuple[str, float], ...] = ()  # UUID, Wh; all of the node's, or none
    gpus_total: int = 0
    estimated: bool = False  # the host's part, or a whole that is not divided, is no measurement
    capped: bool = False
    withheld_wh: float = 0.0  # about what a cap took
    lost_gpu_h: tuple[tuple[str, float], ...] = ()  # UUID of GPUs that lost by that, and about how many GPU-hours
    idle_wh: float | None = None  # of host_wh, what the host draws when idle; None: not known
    use: JobUse | None = None  # what the node's exporters tell of jobs

    @property
    def hours(self) -> float:
        """How long it is."""
        return (self.end_utc_s - self.start_utc_s) / 3600


class _GpuSample:
    """What is known of a GPU since the sample before. `since_wh`: by power, since its counter was last seen to grow."""

    __slots__ = ("counter_j", "since_s", "since_wh", "w")

    def __init__(self, gpu: Gpu) -> None:
        self.w, self.counter_j = gpu.w.good, gpu.energy_j.good
        self.since_wh = self.since_s = 0.0

    def energy_wh(self, gpu: Gpu, passed_s: float) -> tuple[float, float] | None:
        """By power alone, and with its counter, Wh; None: not known. Takes the sample as the one before the next."""
        w, before_w, self.w = gpu.w.good, self.w, gpu.w.good
        if w is None or before_w is None:
            self.counter_j, self.since_wh, self.since_s = gpu.energy_j.good, 0.0, 0.0
            return None
        by_power = (before_w + w) / 2 * passed_s / 3600
        return by_power, by_power + self._missed_wh(gpu.energy_j.good, by_power, passed_s)

    def _missed_wh(self, counter_j: float | None, by_power: float, passed_s: float) -> float:
        """What the counter has counted besides, since it last grew; 0 where it does not tell."""
        self.since_wh, self.since_s = self.since_wh + by_power, self.since_s + passed_s
        before_j = self.counter_j
        if counter_j is not None and counter_j == before_j:
            return 0.0  # read again before it was counted again
        since_wh, since_s, self.since_wh, self.since_s = self.since_wh, self.since_s, 0.0, 0.0
        self.counter_j = counter_j
        if counter_j is None or before_j is None:
            return 0.0
        counted_wh = (counter_j - before_j) / 3600
        if not 0 <= counted_wh <= MOST_GPU_W * since_s / 3600:
            return 0.0  # it began anew, or jumped
        return counted_wh - since_wh


class _LeastPower:
    """The least that a host has drawn for `IDLE_S` while it answered."""

    def __init__(self, w: float | None) -> None:
        self.w, self._wh, self._s = w, 0.0, 0.0

    def take(self, wh: float | None, passed_s: float) -> float | None:
        """Energy of the host, None: it does not answer. What it would have drawn idle, Wh; None: not known."""
        if wh is None:
            self._wh = self._s = 0.0
            return None
        self._wh, self._s = self._wh + wh, self._s + passed_s
        if self._s >= IDLE_S:
            mean_w = max(0.0, self._wh * 3600 / self._s)
            self.w = mean_w if self.w is None else min(self.w, mean_w)
            self._wh = self._s = 0.0
        return None if self.w is None else min(max(0.0, wh), self.w * passed_s / 3600)


class NodeSamples:
    """The samples of one node."""

    def __init__(self, idle_w: float | None = None, curve: Curve = DEFAULT) -> None:
        """`idle_w`: the least that its host was known to draw before. `curve`: throughput of its GPUs against power."""
        self._capped = CappedGpus(curve)
        self._least = _LeastPower(idle_w)
        self.gap_s = 0.0  # time between samples that were too far apart
        self._seen: Node | None = None
        self._at: Instant | None = None
        self._w = self._period_s = 0.0
        self._gpus: dict[str, _GpuSample] = {}
        self._uncapped_w: float | None = None

    @property
    def idle_w(self) -> float | None:
        """What its host draws when idle; None: not known."""
        return self._least.w

    def forget(self) -> None:
        """The calendar was set: the next sample is a first one."""
        self._at = None

    def take(self, node: Node, now: Instant, capped: bool = False, speed: float = 1.0) -> Segment | None:
        """The energy up to the node's sample, if that is a new one. `speed`: seconds of the site in one of the machine.

        An age is of the site's clock, a period of the machine's.
        """
        w = node.w.good
        if node is self._seen or w is None:
            return None
        self._seen = node
        age_s = node.w.age_s or 0.0
        at, before = Instant(now.utc_s - age_s, now.mono_s - age_s), self._at
        if before is not None and at.mono_s <= before.mono_s + SAME_S:
            return None
        before_w, self._w = self._w, w
        period_s, self._period_s = max(self._period_s, node.period_s), node.period_s
        self._at = at
        passed_s = 0.0 if before is None else at.mono_s - before.mono_s
        if before is None or passed_s > (PERIODS * period_s + GRACE_S) * speed:
            self.gap_s += passed_s
            self._gpus = {_name(gpu): _GpuSample(gpu) for gpu in node.gpus}
            return None
        return self._segment(node, at.utc_s, passed_s, (before_w + w) / 2, capped)

    def _segment(self, node: Node, end_utc_s: float, passed_s: float, mean_w: float, capped: bool) -> Segment:
        wh = mean_w * passed_s / 3600
        gpus = self._gpu_energies(node, passed_s)
        host_wh: float | None = None
        if gpus is None:
            host_wh = None if node.gpus_total else wh
        elif _holds_gpus(node):  # its power is a sum that these GPUs are part of, by their power
            host_wh = wh - sum(by_power for by_power, _ in gpus.values())
            wh = host_wh + sum(best for _, best in gpus.values())
        else:
            host_wh = wh - sum(best for _, best in gpus.values())
        return Segment(
            start_utc_s=end_utc_s - passed_s,
            end_utc_s=end_utc_s,
            wh=wh,
            host_wh=host_wh,
            gpus=tuple((name, best) for name, (_, best) in gpus.items()) if gpus is not None else (),
            gpus_total=max(node.gpus_total, len(node.gpus)),
            estimated=is_estimate(node.source),
            capped=capped,
            withheld_wh=self._withheld_wh(mean_w, passed_s, capped),
            lost_gpu_h=self._capped.take(node.gpus, passed_s, capped),
            idle_wh=self._least.take(None if node.cpu_pct.good is None else host_wh, passed_s),
            use=node.job_use,
        )

    def _gpu_energies(self, node: Node, passed_s: float) -> dict[str, tuple[float, float]] | None:
        """Of each GPU by power, and with its counter; None unless all are known."""
        found: dict[str, tuple[float, float] | None] = {}
        for gpu in node.gpus:
            name = _name(gpu)
            sample = self._gpus.get(name)
            if sample is None:
                self._gpus[name], found[name] = _GpuSample(gpu), None
            else:
                found[name] = sample.energy_wh(gpu, passed_s)
        if len(self._gpus) > len(found):
            self._gpus = {name: self._gpus[name] for name in found}
        known = {name: energy for name, energy in found.items() if energy is not None}
        return known if known and len(known) == max(len(node.gpus), node.gpus_total) else None

    def _withheld_wh(self, mean_w: float, passed_s: float, capped: bool) -> float:
        if not capped:
            before_w = mean_w if self._uncapped_w is None else self._uncapped_w
            self._uncapped_w = uncapped_w(before_w, mean_w, passed_s)
            return 0.0
        return 0.0 if self._uncapped_w is None else max(0.0, self._uncapped_w - mean_w) * passed_s / 3600


def is_estimate(source: str) -> bool:
    """Whether the source of a node's power, as its driver names it, is no measurement of the host."""
    return "estimate" in source or "assumed" in source


def _holds_gpus(node: Node) -> bool:
    """Whether its power is the sum of its host and of the powers that its GPUs tell."""
    return "GPU" in node.source or "NVML" in node.source


def _name(gpu: Gpu) -> str:
    return gpu.uuid or f"#{gpu.index}"
