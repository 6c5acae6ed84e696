"""The rule of the energy left in the metering interval."""

from __future__ import annotations

import math

from dispatch.control.import_limits import budget_reason
from dispatch.control.rules.situation import Situation, battery_window
from dispatch.model.reasons import Reason
from dispatch.model.rule_chain import Ask, Bounds


def interval_budget(s: Situation, so_far: Bounds) -> Ask:
    """The energy left in the metering interval before its mean exceeds the contract or the month's peak."""
    if s.net_w is None:
        return Ask(Reason("rule.net_load_unknown"))
    low_w, _ = battery_window(s.net_w, -math.inf, s.budget.guard.import_max_w)
    return Ask(budget_reason(s.budget.guard), low_w=low_w)
