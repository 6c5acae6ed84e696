"""Checks the power of compute nodes: no node takes more than the site's load."""

from __future__ import annotations

from dispatch.model.readings import USABLE, Reading
from dispatch.model.reasons import Reason
from dispatch.plausibility.bounds import Range, out_of_watts
from dispatch.plausibility.reading_history import Candidate, ReadingHistory, SampleCounter


class NodeCheck:
    """The power of one node."""

    def __init__(self, node_id: str) -> None:
        self.power = ReadingHistory(node_id, "power")
        self._counter = SampleCounter()

    @property
    def histories(self) -> list[ReadingHistory]:
        """Every reading that is followed."""
        return [self.power]

    def check(
        self, raw: Reading, figures: tuple[object, ...], allowed: Range, step_w: float, mono_s: float, hold_s: float
    ) -> Reading:
        """The power as everybody else is to see it. A step larger than `step_w` needs a second distinct sample."""
        history = self.power
        if raw.quality in USABLE and raw.value is not None:
            w, taken_s = raw.value, mono_s - (raw.age_s or 0.0)
            sample = self._counter.update(figures, taken_s)
            if not allowed.holds(w):
                history.reject(taken_s, out_of_watts("power", w, allowed))
            elif history.value is None or abs(w - history.value) <= step_w or history.second(w, sample):
                history.accept(w, taken_s)
            else:
                why = Reason("doubt.step", {"reading": "power", "value_w": w, "last_w": history.value})
                history.wait(Candidate(w, sample, taken_s, step_w), why)
        return history.shown(raw, mono_s, hold_s)
