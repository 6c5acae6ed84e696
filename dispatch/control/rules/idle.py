"""The last rule: nothing is wanted."""

from __future__ import annotations

from dispatch.control.rules.situation import Situation
from dispatch.model.reasons import Reason
from dispatch.model.rule_chain import Ask, Bounds


def idle(s: Situation, so_far: Bounds) -> Ask:
    """Nothing is wanted."""
    if so_far.preferred_w is not None:
        return Ask(Reason("idle.not_idle", {"preferred_w": so_far.preferred_w}))
    allowed = so_far.low_w <= 0.0 <= so_far.high_w
    return Ask(Reason("idle.idle") if allowed else Reason("idle.held"), preferred_w=0.0)
