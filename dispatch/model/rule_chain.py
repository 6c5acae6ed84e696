"""Combines rules: each may only narrow the interval of battery power or move the preferred value inside it."""

from __future__ import annotations

import math

import msgspec

from dispatch.model.decision import RuleTrace
from dispatch.wording.formatting import kw


class Ask(msgspec.Struct, frozen=True):
    """What one rule asks of the total battery power (AC W, discharge > 0), and why."""

    reason: str
    low_w: float = -math.inf
    high_w: float = math.inf
    preferred_w: float | None = None
    command: bool = True  # False: the battery must get no setpoint at all
    low_why: str = ""  # when the lower edge binds, say this instead of `reason`
    high_why: str = ""


class Bounds(msgspec.Struct, frozen=True):
    """What the rules so far have left."""

    low_w: float
    high_w: float
    preferred_w: float | None = None


class Outcome(msgspec.Struct, frozen=True):
    """What came out of the chain. `w` is None when some rule forbids a setpoint."""

    w: float | None
    binding: str
    reason: str
    traces: tuple[RuleTrace, ...]


class Chain:
    """The rules' asks in order. An ask that empties the interval is met as far as the earlier rules allow."""

    def __init__(self, low_w: float, high_w: float) -> None:
        self.bounds = Bounds(low_w, high_w)
        self._steps: list[tuple[int, str, Bounds, str]] = []
        self._low_by = self._high_by = self._preferred_by = -1  # index of the step that set each
        self._asks: list[Ask] = []
        self._forbidden_by = -1
        self._unmet, self._unmet_high = -1, False  # the first ask that emptied the interval, and at which edge

    def apply(self, rule: int, name: str, ask: Ask) -> None:
        """Narrow by what rule number `rule` asks."""
        if math.isnan(ask.low_w) or math.isnan(ask.high_w):
            raise ValueError(f"rule {rule} ({name}) asks for a bound that is not a number: {ask}")
        step, old, reason = len(self._steps), self.bounds, ask.reason
        low_w, high_w = old.low_w, old.high_w
        if ask.low_w > old.high_w:
            low_w = high_w
            reason = self._cannot("at least", ask.low_w, old.high_w, self._high_by, reason)
            if self._unmet < 0:
                self._unmet, self._unmet_high = step, True
        elif ask.high_w < old.low_w:
            high_w = low_w
            reason = self._cannot("at most", ask.high_w, old.low_w, self._low_by, reason)
            if self._unmet < 0:
                self._unmet = step
        else:
            if ask.low_w > low_w:
                low_w, self._low_by = ask.low_w, step
            if ask.high_w < high_w:
                high_w, self._high_by = ask.high_w, step
        preferred_w = old.preferred_w
        if ask.preferred_w is not None:
            preferred_w, self._preferred_by = ask.preferred_w, step
        if not ask.command and self._forbidden_by < 0:
            self._forbidden_by = step
        self.bounds = Bounds(low_w, high_w, preferred_w)
        self._steps.append((rule, name, self.bounds, reason))
        self._asks.append(ask)

    def outcome(self) -> Outcome:
        """The battery power that results, and the rule that bound it."""
        low_w, high_w = self.bounds.low_w, self.bounds.high_w
        wanted_w = self.bounds.preferred_w if self.bounds.preferred_w is not None else 0.0
        w: float | None = min(max(wanted_w, low_w), high_w)
        if self._forbidden_by >= 0:
            w, binder, reason = None, self._forbidden_by, self._steps[self._forbidden_by][3]
        elif self._unmet >= 0:  # low_w == high_w: the edge that the first unmet ask ran into
            binder, reason = self._edge("high" if self._unmet_high else "low")
        elif wanted_w < low_w:
            binder, reason = self._edge("low")
        elif wanted_w > high_w:
            binder, reason = self._edge("high")
        else:
            binder = self._preferred_by
            reason = self._steps[binder][3] if binder >= 0 else "nothing asks for anything"
        traces = tuple(
            RuleTrace(rule, name, b.low_w, b.high_w, _inside(b), n == binder, text)
            for n, (rule, name, b, text) in enumerate(self._steps)
        )
        return Outcome(w, self._steps[binder][1] if binder >= 0 else "ratings", reason, traces)

    def _edge(self, side: str) -> tuple[int, str]:
        """The rule that set an edge and its reason; a later rule that ran into the edge is named too."""
        by = self._low_by if side == "low" else self._high_by
        if by < 0:
            reason = "at the ratings"
        else:
            ask = self._asks[by]
            reason = (ask.low_why if side == "low" else ask.high_why) or self._steps[by][3]
        if self._unmet >= 0:
            reason = f"{reason}; {self._steps[self._unmet][1]} {self._steps[self._unmet][3]}"
        return by, reason

    def _cannot(self, word: str, asked_w: float, edge_w: float, by: int, reason: str) -> str:
        """The line for an ask outside what earlier rules left."""
        who = self._steps[by][1] if by >= 0 else "the ratings"
        return f"cannot be met: asks {word} {kw(asked_w)}, {who} leaves {kw(edge_w)} ({reason})"


def _inside(bounds: Bounds) -> float | None:
    if bounds.preferred_w is None:
        return None
    return min(max(bounds.preferred_w, bounds.low_w), bounds.high_w)
