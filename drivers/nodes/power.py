"""Which power of a node counts: the best witness whose figure is fresh by its own period.

1. PDU: every outlet that feeds the node; what the site pays for. 2. A meter of the whole machine (ACPI power meter).
3. Counters: the CPUs' energy counters (RAPL) and every GPU; without fans, disks, network and losses of its supplies.
4. An estimate of the host and every GPU.

A GPU that is missing leaves 3 and 4 missing: a part of the sum is not the node's power.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from dispatch.model.equipment import Gpu, NodePower
from dispatch.model.readings import MISSING, Quality, Reading

LEAST_S, MOST_GAP_S = 0.5, 300.0  # between two readings of a counter that give a power
MOST_HOST_W = 20_000.0
GRACE_S, PERIODS = 10.0, 2.0  # a figure is fresh for so many of its own periods and this time more


class CounterRate:
    """Power from energy counters: joules between two readings. The counters of a host begin anew together or alone."""

    def __init__(self) -> None:
        self._joules: Mapping[str, float] = {}
        self._at_s = 0.0
        self.w: float | None = None
        self.at_s = 0.0  # when that power was measured, same clock as given
        self.note = ""

    def take(self, joules: Mapping[str, float], at_s: float) -> None:
        """Counters as read at `at_s`. Where one has begun anew or the same sample comes again, the power stays."""
        passed_s, before = at_s - self._at_s, self._joules
        if joules == before and passed_s < MOST_GAP_S:
            return  # read again before they were measured again
        if before.keys() == joules.keys() and 0 <= passed_s < LEAST_S:
            return
        self._joules, self._at_s, self.note = dict(joules), at_s, ""
        if not joules or before.keys() != joules.keys() or not 0 < passed_s <= MOST_GAP_S:
            return
        grown_j = [value - before[key] for key, value in joules.items()]
        if min(grown_j) < 0:
            return  # overflown (after some minutes at full power) or the machine has booted
        watts = sum(grown_j) / passed_s
        if watts > MOST_HOST_W:
            self.note = f"RAPL says {watts:.4g} W, not believed"
            return
        self.w, self.at_s = watts, at_s


class Part(msgspec.Struct, frozen=True):
    """One part of a sum: its power, how it was got, and how often it is measured."""

    w: Reading
    source: str
    period_s: float


def summed(parts: Sequence[Part]) -> NodePower:
    """The sum of parts, as old as the oldest; missing as soon as one is."""
    source = " + ".join(part.source for part in parts)
    period_s = max((part.period_s for part in parts), default=0.0)
    values = [part.w.good for part in parts]
    if not parts or any(value is None for value in values):
        return NodePower(source, MISSING, period_s)
    age_s = max(part.w.age_s or 0.0 for part in parts)
    return NodePower(source, Reading(sum(v for v in values if v is not None), age_s, Quality.GOOD), period_s)


def gpus_part(gpus: Sequence[Gpu], exporter: str, period_s: float) -> Part | None:
    """All GPUs; None: the node has none."""
    if not gpus:
        return None
    total = summed([Part(gpu.w, "", period_s) for gpu in gpus])
    return Part(total.w, f"{len(gpus)} GPU{'s' if len(gpus) > 1 else ''} ({exporter})", period_s)


def fresh(power: NodePower) -> bool:
    """Whether a figure is not older than its source's own period explains."""
    return power.w.good is not None and (power.w.age_s or 0.0) <= PERIODS * power.period_s + GRACE_S


def best(powers: Sequence[NodePower]) -> NodePower | None:
    """The first, in order of rank, that is fresh; None: no one is."""
    return next((power for power in powers if fresh(power)), None)
