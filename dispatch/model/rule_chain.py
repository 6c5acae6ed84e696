"""Combines rules: each may only narrow the interval of battery power or move the preferred value inside it."""

from __future__ import annotations

import math

import msgspec

from dispatch.model.decision import RuleTrace
from dispatch.model.reasons import Reason, RuleId


def up_to(last: RuleId) -> frozenset[RuleId]:
    """The rules that run before `last`, and `last` itself."""
    ids: list[RuleId] = [rule for rule in RuleId if rule is not RuleId.RATINGS]
    return frozenset(ids[: ids.index(last) + 1])


DEVICE = up_to(RuleId.SAFE_VALUE)  # what the devices allow
HARD = up_to(RuleId.FUSE)  # limits: the deadband gives way to them
LIMITS = up_to(RuleId.RESERVE)  # limits on what people may order, too; where setpoints hold for minutes all are hard
MET_OR_ALARMED = up_to(RuleId.INTERVAL_BUDGET) - {RuleId.PROTECTION}  # one of these that cannot be met is an alarm


class Ask(msgspec.Struct, frozen=True):
    """What one rule asks of the total battery power (AC W, discharge > 0), and why."""

    reason: Reason
    low_w: float = -math.inf
    high_w: float = math.inf
    preferred_w: float | None = None
    command: bool = True  # False: the battery must get no setpoint at all
    low_why: Reason | None = None  # when the lower edge binds, say this instead of `reason`
    high_why: Reason | None = None


class Bounds(msgspec.Struct, frozen=True):
    """What the rules so far have left."""

    low_w: float
    high_w: float
    preferred_w: float | None = None

    @property
    def chosen_w(self) -> float | None:
        """The preferred power inside the bounds."""
        return None if self.preferred_w is None else min(max(self.preferred_w, self.low_w), self.high_w)


class Outcome(msgspec.Struct, frozen=True):
    """What came out of the chain. `w` is None when some rule forbids a setpoint."""

    w: float | None
    binding: RuleId
    reason: Reason
    traces: tuple[RuleTrace, ...]


class _Step(msgspec.Struct, frozen=True):
    """One rule's ask and what it left. `met`: earlier rules left room for it."""

    rule: RuleId
    ask: Ask
    reason: Reason
    left: Bounds
    met: bool


class _End(msgspec.Struct, frozen=True):
    """One end of the interval and the number of the step that set it; None: the ratings."""

    w: float
    step: int | None = None

    def moved(self, w: float, step: int) -> _End:
        """This end at `w`, set by that step; the same end where it is there already."""
        return self if self.w == w else _End(w, step)


class Chain:
    """The rules' asks in order. An ask that empties the interval is met as far as the earlier rules allow."""

    def __init__(self, low_w: float, high_w: float) -> None:
        self._low, self._high = _End(low_w), _End(high_w)
        self._preferred_w: float | None = None
        self._steps: list[_Step] = []
        self._preferring: int | None = None  # number of the step that set the preferred power
        self._forbidding: int | None = None  # of the first that forbids a setpoint
        self._unmet: int | None = None  # of the first that asked for what was not left
        self._unmet_high = False  # and whether it ran into the upper end
        self.bounds = Bounds(low_w, high_w)  # what the rules so far have left

    def apply(self, rule: RuleId, ask: Ask) -> None:
        """Narrow by what a rule asks. Raises ValueError for a bound that is not a number."""
        if math.isnan(ask.low_w) or math.isnan(ask.high_w):
            raise ValueError(f"rule {rule.value} asks for a bound that is not a number: {ask}")
        number, reason = len(self._steps), ask.reason
        above, below = ask.low_w > self._high.w, ask.high_w < self._low.w
        if above:
            by = self._setter(self._high)
            reason = Reason(
                "rule.unmet_at_least", {"asked_w": ask.low_w, "left_w": self._high.w, "by": by, "reason": reason}
            )
            self._low = self._low.moved(self._high.w, number)
        elif below:
            by = self._setter(self._low)
            reason = Reason(
                "rule.unmet_at_most", {"asked_w": ask.high_w, "left_w": self._low.w, "by": by, "reason": reason}
            )
            self._high = self._high.moved(self._low.w, number)
        else:
            self._narrow(ask, number)
        if (above or below) and self._unmet is None:
            self._unmet, self._unmet_high = number, above
        if ask.preferred_w is not None:
            self._preferred_w, self._preferring = ask.preferred_w, number
        if not ask.command and self._forbidding is None:
            self._forbidding = number
        self.bounds = Bounds(self._low.w, self._high.w, self._preferred_w)
        self._steps.append(_Step(rule, ask, reason, self.bounds, not (above or below)))

    def _narrow(self, ask: Ask, number: int) -> None:
        if ask.low_w > self._low.w:
            self._low = _End(ask.low_w, number)
        if ask.high_w < self._high.w:
            self._high = _End(ask.high_w, number)

    def outcome(self) -> Outcome:
        """The battery power that results, and the rule that bound it."""
        w = min(max(self._preferred_w or 0.0, self._low.w), self._high.w)
        binder, reason = self._binding(self._preferred_w or 0.0)
        traces = tuple(
            RuleTrace(
                rule=step.rule,
                low_w=step.left.low_w,
                high_w=step.left.high_w,
                preferred_w=step.left.chosen_w,
                bound=number == binder,
                reason=step.reason,
                unmet=not step.met,
            )
            for number, step in enumerate(self._steps)
        )
        rule = RuleId.RATINGS if binder is None else self._steps[binder].rule
        return Outcome(None if self._forbidding is not None else w, rule, reason, traces)

    def _binding(self, wanted_w: float) -> tuple[int | None, Reason]:
        """The number of the step that bound what came out, None for the ratings or for none, and why."""
        if self._forbidding is not None:
            return self._forbidding, self._steps[self._forbidding].reason
        if self._unmet is not None:  # both ends are one: the one that the first unmet ask ran into
            return self._at_high() if self._unmet_high else self._at_low()
        if wanted_w < self._low.w:
            return self._at_low()
        if wanted_w > self._high.w:
            return self._at_high()
        if self._preferring is None:
            return None, Reason("rule.nothing_asked")
        return self._preferring, self._steps[self._preferring].reason

    def _at_low(self) -> tuple[int | None, Reason]:
        by = self._low.step
        return by, self._and_unmet(None if by is None else self._steps[by].ask.low_why or self._steps[by].reason)

    def _at_high(self) -> tuple[int | None, Reason]:
        by = self._high.step
        return by, self._and_unmet(None if by is None else self._steps[by].ask.high_why or self._steps[by].reason)

    def _and_unmet(self, reason: Reason | None) -> Reason:
        """Why an end is where it is, and the later rule that ran into it."""
        reason = reason or Reason("rule.at_ratings")
        if self._unmet is None:
            return reason
        unmet = self._steps[self._unmet]
        return Reason("rule.and_unmet", {"reason": reason, "rule": unmet.rule.value, "unmet": unmet.reason})

    def _setter(self, end: _End) -> str:
        return (RuleId.RATINGS if end.step is None else self._steps[end.step].rule).value
