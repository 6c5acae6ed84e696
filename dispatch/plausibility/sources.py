"""Checks what feeds the bus: PCS and PV inverters."""

from __future__ import annotations

from dispatch.model.readings import USABLE, Reading
from dispatch.plausibility.bounds import Range, first, out_of_watts
from dispatch.plausibility.trail import Block, Candidate, Trail
from dispatch.plausibility.witnesses import PowerWindow


class SourceCheck:
    """The power of one PCS or PV inverter."""

    def __init__(self, source_id: str) -> None:
        self.power = Trail(source_id, "power")
        self.window = PowerWindow()
        self._block = Block()

    @property
    def trails(self) -> list[Trail]:
        """Every reading that is followed."""
        return [self.power]

    def check(
        self,
        raw: Reading,
        figures: tuple[object, ...],
        mono_s: float,
        allowed: Range | None,
        step_w: float,
        hold_s: float,
    ) -> Reading:
        """Take in an answer; return the reading as everybody else is to see it."""
        if raw.quality in USABLE and raw.value is not None:
            taken_s = mono_s - (raw.age_s or 0.0)
            sample = self._block.update(figures, taken_s)
            if allowed is not None and not allowed.holds(raw.value):
                self.power.reject(taken_s, out_of_watts("power", raw.value, allowed))
            elif self.power.settled or self.power.second(raw.value, sample):
                self.power.accept(raw.value, taken_s)
                self.window.add(taken_s, raw.value)
            else:
                self.power.wait(Candidate(raw.value, sample, taken_s, step_w), first(self.power.reading))
        return self.power.shown(raw, mono_s, hold_s)
