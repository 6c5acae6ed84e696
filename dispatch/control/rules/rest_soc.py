"""The rule without a plan: back up to the rest SoC."""

from __future__ import annotations

from dispatch.control.rules.situation import Situation, charge_ceiling_w, charge_room_w
from dispatch.model.battery_bank import counted
from dispatch.model.reasons import Reason
from dispatch.model.rule_chain import Ask, Bounds


def rest(s: Situation, so_far: Bounds) -> Ask:
    """Without a plan: back up to rest SoC, slowly, under the peak.

    What is above rest SoC stays: without prices nobody knows what it was stored for.
    """
    rules = s.config.rules
    if s.orders.battery is not None:
        return Ask(Reason("rule.order_steers", {"order": s.orders.battery.id}))
    if s.step is not None or so_far.preferred_w is not None:
        return Ask(Reason("rest.not_needed"))
    if s.soc_pct is None:
        return Ask(Reason("rest.soc_unknown", {"rest_pct": rules.rest_soc_pct}))
    if not s.topping or s.net_w is None:
        reason = Reason("rest.nothing_to_do", {"soc_pct": s.soc_pct, "rest_pct": rules.rest_soc_pct})
        return Ask(counted(reason, s.snapshot.batteries))
    wanted_w = min(rules.rest_charge_w, charge_room_w(s))
    reason = Reason(
        "rest.charge",
        {
            "soc_pct": s.soc_pct,
            "rest_pct": rules.rest_soc_pct,
            "charge_w": rules.rest_charge_w,
            "import_w": charge_ceiling_w(s),
        },
    )
    return Ask(counted(reason, s.snapshot.batteries), preferred_w=-wanted_w)
