"""Judges the reasons of every decision that a lock-step run makes, by `reason_claims`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from figure_claims import FIGURE_CLAIMS
from reason_claims import ALARM_CLAIMS, CLAIMS, Truth

from dispatch.alarms.points import Condition
from dispatch.alarms.states import Alarm
from dispatch.model.decision import Decision
from dispatch.model.reasons import Reason
from drivers.twin.lockstep import LockstepSite

OF_THE_PAST = ("ride.recovered", "ride.recovered_on_genset")  # what stood when a step was taken, with its SoC
PAST_FIELDS = ("report",)  # of a drill that is over: its timeline tells what was seen then
EVERY = 8  # a reason that stands is judged again so often, a new one at once


def reasons_in(value: Any) -> Iterator[Reason]:
    """Every reason in a struct, a tuple or another reason."""
    if isinstance(value, Reason):
        yield value
        if value.code not in OF_THE_PAST:
            for part in value.figures.values():
                yield from reasons_in(part)
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from reasons_in(part)
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            if name not in PAST_FIELDS:
                yield from reasons_in(getattr(value, name))


class Witness:
    """What was shown in the runs of a test, and what of it was not true."""

    def __init__(self) -> None:
        self.shown: Counter[str] = Counter()
        self.untrue: list[str] = []
        self._truths: dict[int, tuple[LockstepSite, Truth]] = {}
        self._ticks = 0

    def judge(self, lockstep: LockstepSite, decision: Decision) -> None:
        """Look at the truth, and judge what the decision says."""
        _, truth = self._truths.setdefault(id(lockstep), (lockstep, Truth(lockstep.site)))
        before = truth.decision
        truth.look(decision)
        self._ticks += 1
        if self._ticks % EVERY and before is not None and _codes(before) == _codes(decision):
            return
        self._judge_reasons(truth, decision)

    def _judge_reasons(self, truth: Truth, said: Any) -> None:
        for reason in reasons_in(said):
            self.shown[reason.code] += 1
            claim, figures_claim = CLAIMS.get(reason.code), FIGURE_CLAIMS.get(reason.code)
            true = claim is None or claim(truth, reason.figures)
            if not true or (figures_claim is not None and not figures_claim(reason.figures)):
                self.untrue.append(f"{truth.site.t_s:.1f} s: {reason.code} {reason.figures}: {truth.now}")

    @property
    def judged(self) -> set[str]:
        """The codes that were shown and have a claim."""
        return self.shown.keys() & (CLAIMS.keys() | FIGURE_CLAIMS.keys())

    def judge_alarms(self, lockstep: LockstepSite, found: Mapping[str, Condition], listed: Sequence[Alarm]) -> None:
        """Judge the alarms that are listed and hold at the decision judged last, and what is seen of them."""
        _, truth = self._truths[id(lockstep)]
        for id_ in (alarm.id for alarm in listed):
            condition, (name, _, subject) = found.get(id_), id_.partition(":")
            if condition is None or not condition.active:
                continue
            self.shown[f"alarm {name}"] += 1
            self._judge_reasons(truth, condition.detail)
            claim = ALARM_CLAIMS.get(name)
            figures = {"subject": subject} | (condition.detail.figures if condition.detail else {})
            if claim is not None and not claim(truth, figures):
                self.untrue.append(f"{lockstep.site.t_s:.1f} s: alarm-{name} {figures}: {truth.now}")


def _codes(decision: Decision) -> tuple[str, ...]:
    return (decision.reason.code, *(trace.reason.code for trace in decision.chain))
