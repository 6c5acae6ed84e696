"""Checks what feeds the bus: PCS and PV inverters.

A step of their power must show elsewhere: in the setpoint that the PCS is asked to hold, at the grid meter, in the
balance with the load meter. What shows it confirms it in the same tick; what stands still contradicts it.
"""

from __future__ import annotations

from collections import deque

import msgspec

from dispatch.model.readings import Reading
from dispatch.model.reasons import Reason
from dispatch.plausibility.bounds import Range, first, out_of_watts
from dispatch.plausibility.reading_history import RELEARN_S, Candidate, ReadingHistory, SampleCounter
from dispatch.plausibility.witnesses import Band, PowerWindow

SHOWN_SHARE = 0.2  # a witness shows a step if it moved by it, up to this share of it
STILL_SHARE = 0.5  # and contradicts it if it moved by less than this share
AGREES_SHARE = 0.05  # of a power: by no more the balance of the meters and the reading of it differ where they agree
FINE_W = 1_000.0  # where the load meter witnesses, a smaller step that it contradicts is seen, too
REACH_S = 5.0  # a PCS may still be moving towards setpoints of the last seconds


class BusNow(msgspec.Struct, frozen=True):
    """What the other devices show at this tick.

    outlet_w: where a step of this source shows: load (if its meter can be used) less grid and other sources.
    None: not known. exact: the load is in it, so that nothing else can move it.
    """

    mono_s: float
    outlet_w: float | None
    exact: bool


class SourceCheck:
    """The power of one PCS or PV inverter."""

    def __init__(self, source_id: str, delay_s: float) -> None:
        self.power = ReadingHistory(source_id, "power")
        self.window = PowerWindow()
        self._delay_s = delay_s
        self.block = SampleCounter()
        self._asked: deque[tuple[float, float]] = deque()
        self._anchor: tuple[float, float] | None = None  # its power, and what the others showed then
        self._step: tuple[float, float] | None = None  # when a step was first read, and the power it goes to

    @property
    def histories(self) -> list[ReadingHistory]:
        """Every reading that is followed."""
        return [self.power]

    def ask(self, mono_s: float, w: float | None) -> None:
        """Take note of the setpoint that it is asked to hold."""
        if w is not None and (not self._asked or self._asked[-1][1] != w):
            self._asked.append((mono_s, w))
        while len(self._asked) > 1 and mono_s - self._asked[1][0] > REACH_S:
            self._asked.popleft()

    def check(
        self,
        raw: Reading,
        figures: tuple[object, ...],
        allowed: Range | None,
        step_w: float,
        bus: BusNow,
        rest_w: float | None,
    ) -> None:
        """Take in an answer. `rest_w`: the device says that it does not run, and gives this at most; None: it runs."""
        w = raw.good
        if w is None:
            return
        taken_s = bus.mono_s - (raw.age_s or 0.0)
        candidate = Candidate(w, self.block.update(figures, taken_s), taken_s, step_w)
        if allowed is not None and not allowed.holds(w):
            self.power.reject(taken_s, out_of_watts("power", w, allowed))
        elif not self.power.established:
            self._start(candidate, bus)
        elif rest_w is not None and abs(w) <= rest_w and self._shown(w, rest_w, bus) is not False:
            self._accept(candidate, bus)
        elif self._expected(step_w).off_w(w) <= 0:
            if not self._contradicted(w, bus):
                self._accept(candidate, bus)
            else:  # too small for an event, unless it stays
                self._judge_step(msgspec.structs.replace(candidate, step=0.0), bus)
        else:
            self._judge_step(candidate, bus)

    def _contradicted(self, w: float, bus: BusNow) -> bool:
        """Whether a step that is no larger than it may be is none that the load meter shows."""
        return bus.exact and self._expected(FINE_W).off_w(w) > 0 and self._shown(w, FINE_W, bus) is False

    def _start(self, candidate: Candidate, bus: BusNow) -> None:
        if self.power.second(candidate.value, candidate.sample):
            self._accept(candidate, bus)
        else:
            self.power.wait(candidate, first(self.power.reading))

    def _expected(self, step_w: float) -> Band:
        """Between what it did last and the setpoints of the last seconds."""
        powers = [self.power.value or 0.0, *(w for _, w in self._asked)]
        return Band(min(powers) - step_w, max(powers) + step_w)

    def _accept(self, candidate: Candidate, bus: BusNow) -> None:
        self.power.accept(candidate.value, candidate.taken_s)
        self.window.add(candidate.taken_s, candidate.value)
        self._step = None
        band = self.window.band(candidate.taken_s - self._delay_s)
        resting = band is not None and band.width_w <= candidate.step / 2  # the meter shows this power, too
        self._anchor = (candidate.value, bus.outlet_w) if resting and bus.outlet_w is not None else None

    def _judge_step(self, candidate: Candidate, bus: BusNow) -> None:
        w, last_w, taken_s = candidate.value, self.power.value or 0.0, candidate.taken_s
        if self._step is None or abs(self._step[1] - w) > candidate.step:
            self._step = (taken_s, w)
        since_s = taken_s - self._step[0]
        shown = self._shown(w, candidate.step, bus)
        if shown or (shown is None and self.power.second(w, candidate.sample)):
            self._accept(candidate, bus)
        elif shown is False and since_s > RELEARN_S and not bus.exact:
            self._accept(candidate, bus)  # only what was seen long ago speaks against it
        elif shown is False and since_s > self._delay_s:
            why = Reason("doubt.unseen", {"reading": "power", "value_w": w, "last_w": last_w})
            self.power.reject(taken_s, why)
        else:
            self.power.wait(candidate, Reason("doubt.step", {"reading": "power", "value_w": w, "last_w": last_w}))

    def _shown(self, w: float, least_w: float, bus: BusNow) -> bool | None:
        """Whether the other devices show this step; None: they cannot tell."""
        if bus.outlet_w is None or self._anchor is None:
            return None
        if bus.exact and abs(w - bus.outlet_w) <= max(FINE_W, AGREES_SHARE * abs(w)):
            return True  # what it was compared with before may have been a meter that stood still
        step_w, moved_w = w - self._anchor[0], bus.outlet_w - self._anchor[1]
        if abs(moved_w - step_w) <= max(least_w, SHOWN_SHARE * abs(step_w)):
            return True
        if bus.exact or abs(moved_w) < STILL_SHARE * abs(step_w) or moved_w * step_w < 0:
            return False
        return None
