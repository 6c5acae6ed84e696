"""Checks the power of compute nodes: no node takes more than the site's load."""

from __future__ import annotations

from dispatch.model.equipment import Node
from dispatch.model.readings import Reading
from dispatch.model.reasons import Reason
from dispatch.plausibility.bounds import Range, out_of_watts
from dispatch.plausibility.reading_history import RELEARN_S, Candidate, ReadingHistory, SampleCounter
from dispatch.plausibility.witnesses import PowerWindow

EARLY_S = 10.0  # a node's own figure may be a mean, or read seldom: the load meter showed its step as long before
LATE_S = 3.0  # or it shows it so much later
SHOWN_SHARE = 0.5  # of a step that the load meter shows


def figures_of_node(node: Node) -> tuple[object, ...]:
    """What a node has measured, without ages: as `figures_of`, for hundreds of nodes a second."""
    gpus = [(g.w.value, g.util_pct.value, g.temp_c.value, g.memory_used_mib.value) for g in node.gpus]
    return node.w.value, node.cpu_pct.value, node.memory_pct.value, gpus


class NodeCheck:
    """The power of one node.

    A step up that the load meter does not show is taken only after a minute. A step down may be another node's gain.
    """

    def __init__(self, node_id: str) -> None:
        self.power = ReadingHistory(node_id, "power")
        self._counter = SampleCounter()
        self._room = PowerWindow()
        self._early_s = EARLY_S
        self._unseen_s: float | None = None  # since when a step up has not been shown

    @property
    def histories(self) -> list[ReadingHistory]:
        """Every reading that is followed."""
        return [self.power]

    def check(
        self,
        raw: Reading,
        figures: tuple[object, ...],
        allowed: Range,
        step_w: float,
        room_w: float | None,
        mono_s: float,
        hold_s: float,
        period_s: float = 0.0,
    ) -> Reading:
        """The power as everybody else is to see it. A step larger than `step_w` needs a second distinct sample.

        room_w: measured load less the power of the other nodes; None: there is no load meter that can tell.
        period_s: how often its source measures: the load meter may have shown its step so much earlier.
        """
        self._early_s = EARLY_S + period_s
        if room_w is not None:
            self._room.add(mono_s, room_w)
            self._room.forget(mono_s - (raw.age_s or 0.0) - self._early_s)
        history = self.power
        w = raw.good
        if w is not None:
            taken_s = mono_s - (raw.age_s or 0.0)
            sample = self._counter.update(figures, taken_s, period_s)
            if not allowed.holds(w):
                history.reject(taken_s, out_of_watts("power", w, allowed))
            elif history.value is None or abs(w - history.value) <= step_w:
                self._accept(w, taken_s)
            else:
                self._judge_step(Candidate(w, sample, taken_s, step_w), history.value, room_w)
        return history.shown(raw, mono_s, hold_s)

    def _judge_step(self, candidate: Candidate, last_w: float, room_w: float | None) -> None:
        w, taken_s = candidate.value, candidate.taken_s
        if self._shown(w - last_w, room_w, taken_s):
            self._unseen_s = None
        elif self._unseen_s is None:
            self._unseen_s = taken_s
        since_s = 0.0 if self._unseen_s is None else taken_s - self._unseen_s
        if LATE_S < since_s <= RELEARN_S:
            why = Reason("doubt.unseen_load", {"reading": "power", "value_w": w, "last_w": last_w})
            self.power.reject(taken_s, why)
        elif self.power.second(w, candidate.sample) and (self._unseen_s is None or since_s > RELEARN_S):
            self._accept(w, taken_s)
        else:
            why = Reason("doubt.step", {"reading": "power", "value_w": w, "last_w": last_w})
            self.power.wait(candidate, why)

    def _accept(self, w: float, taken_s: float) -> None:
        self.power.accept(w, taken_s)
        self._unseen_s = None

    def _shown(self, step_w: float, room_w: float | None, taken_s: float) -> bool:
        """Whether the load meter shows this step, or cannot tell. A step down may be what another node takes more."""
        band = self._room.band(taken_s - self._early_s)
        return step_w < 0 or room_w is None or band is None or room_w - band.low_w >= SHOWN_SHARE * step_w
