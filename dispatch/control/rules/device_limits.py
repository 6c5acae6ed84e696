"""The rule of ratings, reported limits, temperature and SoC bounds."""

from __future__ import annotations

from dispatch.control.pcs_limits import Ready
from dispatch.control.rules.situation import Situation
from dispatch.model.reasons import Reason, joined
from dispatch.model.rule_chain import Ask, Bounds


def device_limits(s: Situation, so_far: Bounds) -> Ask:
    """Ratings, limits that PCS and BMS report, temperature, SoC bounds, readings that are lost."""
    ready = [u for u in s.units if u.ready is Ready.READY]
    lost = [u.why for u in s.units if u.ready is Ready.LOST and u.why is not None]
    if not ready:
        reason = joined(lost) if lost else Reason("limit.no_pcs")
        return Ask(reason, low_w=0.0, high_w=0.0, preferred_w=0.0)
    low_w, high_w = sum(u.low_w for u in ready), sum(u.high_w for u in ready)
    low_why, high_why = joined(u.low_why for u in ready), joined(u.high_why for u in ready)
    reason = Reason(
        "limit.both", {"charge_w": -low_w, "charge_why": low_why, "discharge_w": high_w, "discharge_why": high_why}
    )
    if lost:
        reason = joined([*lost, reason])
    return Ask(reason, low_w, high_w, low_why=low_why, high_why=high_why)
