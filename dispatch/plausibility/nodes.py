"""Checks the power of compute nodes: no node takes more than the site's load."""

from __future__ import annotations

from dispatch.model.readings import USABLE, Reading
from dispatch.model.reasons import Reason
from dispatch.plausibility.bounds import Range, out_of_watts
from dispatch.plausibility.trail import Block, Candidate, Trail


class NodeCheck:
    """The power of one node."""

    def __init__(self, node_id: str) -> None:
        self.power = Trail(node_id, "power")
        self._block = Block()

    @property
    def trails(self) -> list[Trail]:
        """Every reading that is followed."""
        return [self.power]

    def check(
        self, raw: Reading, figures: tuple[object, ...], allowed: Range, step_w: float, mono_s: float, hold_s: float
    ) -> Reading:
        """The power as everybody else is to see it. A step larger than `step_w` needs a second distinct sample."""
        trail = self.power
        if raw.quality in USABLE and raw.value is not None:
            w, taken_s = raw.value, mono_s - (raw.age_s or 0.0)
            sample = self._block.update(figures, taken_s)
            if not allowed.holds(w):
                trail.reject(taken_s, out_of_watts("power", w, allowed))
            elif trail.value is None or abs(w - trail.value) <= step_w or trail.second(w, sample):
                trail.accept(w, taken_s)
            else:
                why = Reason("doubt.step", {"reading": "power", "value_w": w, "last_w": trail.value})
                trail.wait(Candidate(w, sample, taken_s, step_w), why)
        return trail.shown(raw, mono_s, hold_s)
