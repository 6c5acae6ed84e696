"""The rule of market targets and fleet limits: they narrow what is left to the plan."""

from __future__ import annotations

import math

from dispatch.control.rules.situation import Situation, battery_window, surplus_w
from dispatch.model.reasons import Reason, joined
from dispatch.model.rule_chain import Ask, Bounds


def signals(s: Situation, so_far: Bounds) -> Ask:
    """Import, export and charging as signals ask for it, where reserve and manual orders leave room for it."""
    limits = s.wished
    if not limits.by:
        return Ask(Reason("signals.none"))
    if s.net_w is None:
        return Ask(Reason("rule.net_load_unknown"))
    low_w, high_w = battery_window(s.net_w, -limits.export_w, limits.import_w)
    if limits.charge_w < math.inf:
        low_w = max(low_w, -limits.charge_w - surplus_w(s.net_w))
    parts = (
        (limits.import_w, Reason("signals.import", {"limit_w": limits.import_w})),
        (limits.export_w, Reason("signals.export", {"limit_w": limits.export_w})),
        (limits.charge_w, Reason("signals.charge", {"limit_w": limits.charge_w})),
    )
    asked = joined(reason for w, reason in parts if w < math.inf)
    return Ask(Reason("signals.limits", {"by": ", ".join(limits.by), "asked": asked}), low_w, high_w)
