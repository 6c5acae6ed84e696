"""The rule of the plan."""

from __future__ import annotations

import math

import msgspec

from dispatch.control.import_limits import budget_reason
from dispatch.control.pcs_limits import Ready
from dispatch.control.rules.situation import Situation, battery_window
from dispatch.model.plan import PlanStep
from dispatch.model.reasons import Reason
from dispatch.model.rule_chain import Ask, Bounds


def plan(s: Situation, so_far: Bounds) -> Ask:
    """The plan's step, and the peak that it means to keep, as far as the ramp limit leaves room for it."""
    ask, target = _step(s, so_far), s.budget.target
    if target is None or s.net_w is None:
        return ask
    low_w, _ = battery_window(s.net_w, -math.inf, target.import_max_w)
    return msgspec.structs.replace(ask, low_w=low_w, low_why=budget_reason(target))


def _step(s: Situation, so_far: Bounds) -> Ask:
    """The plan's step; it does not export what it did not mean to, charge above the limit on the interval's
    credit, nor undo the reserve's refill, nor go on with an order that is over.
    """
    if s.orders.battery is not None:
        return Ask(Reason("rule.order_steers", {"order": s.orders.battery.id}))
    if s.step is None:
        return Ask(Reason("plan.none"))
    if not any(u.ready is Ready.READY for u in s.units):
        return Ask(Reason("plan.no_pcs", {"planned_w": s.step.battery_w, "of_pcs": len(s.units)}))
    if s.soc_pct is None:
        stuck = so_far.low_w == so_far.high_w == 0  # then the rule that left only 0 is the one to name
        wanted_w = s.step.battery_w if stuck else 0.0
        return Ask(Reason("plan.soc_unknown", {"planned_w": s.step.battery_w}), preferred_w=wanted_w)
    wanted_w, reason = _from_plan(s, s.step)
    if so_far.preferred_w is not None and so_far.preferred_w <= wanted_w:
        return Ask(Reason("plan.already_asked", {"plan": reason, "asked_w": so_far.preferred_w}))
    return Ask(reason, preferred_w=wanted_w)


def _from_plan(s: Situation, step: PlanStep) -> tuple[float, Reason]:
    """The battery power that a step is good for now, W, and why."""
    wanted_w = step.battery_w - sum(u.fixed_w for u in s.units)
    reason = step.reason or Reason("plan.price", {"price_eur_per_kwh": step.price_eur_per_kwh})
    if step.order:  # a new plan is being made; until then the battery does not go on as it was ordered to
        return 0.0, Reason("plan.order_over", {"order": step.order})
    if s.net_w is None:
        return wanted_w, reason
    if wanted_w > 0:
        most_w = max(s.net_w - min(step.grid_w, 0.0), 0.0)
        if wanted_w > most_w:
            return most_w, Reason("plan.load_lower", {"plan": reason, "enough_w": most_w})
    if wanted_w < 0:  # unused energy of the interval is there for the load, not for charging
        room_w = max(s.budget.kept.aim_w - s.net_w, 0.0)
        if -wanted_w > room_w:
            return -room_w, Reason(
                "plan.import_held", {"plan": reason, "import_w": s.budget.kept.aim_w, "battery_w": -room_w}
            )
    return wanted_w, reason
