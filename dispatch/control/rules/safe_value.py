"""The rule for a net load that is not known: the safe-value table."""

from __future__ import annotations

from dispatch.control.rules.situation import Situation
from dispatch.model.reasons import Reason
from dispatch.model.rule_chain import Ask, Bounds


def safe_value(s: Situation, so_far: Bounds) -> Ask:
    """Without a net load the battery follows the safe-value table."""
    if s.derived is not None:
        return Ask(s.derived)
    if s.safe is None:
        net_w = s.site_net_w
        if net_w is None:
            return Ask(Reason("safe.nothing_to_hold"))
        return Ask(Reason("safe.net_load_known", {"net_w": net_w}))
    value_w, reason = s.safe
    return Ask(reason, value_w, value_w, value_w)
