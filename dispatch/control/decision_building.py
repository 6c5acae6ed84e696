"""Puts a decision together from what the rules have left: setpoints, mode, reason; what islanding adds to it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from dispatch.control.pcs_limits import Ready
from dispatch.control.rules.situation import Situation
from dispatch.islanding.load_shedding import LoadSheddingResult
from dispatch.islanding.observation import IslandStep
from dispatch.model.decision import Decision, Mode, Setpoint
from dispatch.model.islanding import IslandState, NodeOrder
from dispatch.model.reasons import Reason, joined
from dispatch.model.rule_chain import Outcome
from dispatch.power_caps.event_nodes import joined_orders


def decision_of(
    situation: Situation, outcome: Outcome, total_w: float | None, asked: Mapping[str, float | None]
) -> Decision:
    """The decision of a tick. `total_w`: what the PCS that take part are to do together; `asked`: each PCS, W."""
    unread_w = {u.id: u.fixed_w for u in situation.units if u.ready is Ready.LOST}  # it does this, whatever is asked
    known = [unread_w.get(name, w) for name, w in asked.items() if w is not None]
    battery_w = sum(known) if known else None
    net_w = situation.net_w
    return Decision(
        seq=situation.snapshot.seq,
        utc_s=situation.snapshot.utc_s,
        mode=_mode(situation, battery_w),
        island=situation.islanding.state,
        setpoints=tuple(Setpoint(name, w) for name, w in asked.items()),
        battery_w=battery_w,
        net_load_w=situation.site_net_w,
        import_target_w=None if net_w is None or total_w is None else net_w - total_w,
        binding=outcome.binding,
        reason=_reason(battery_w, outcome, situation.derived),
        chain=outcome.traces,
    )


def with_island(
    decision: Decision, island: IslandStep, ride: LoadSheddingResult, event_nodes: tuple[NodeOrder, ...]
) -> Decision:
    """The same with what islanding and load shedding ask and show, and what a grid event asks of nodes."""
    return msgspec.structs.replace(
        decision,
        islanding=island.view,
        switch=island.switch,
        pcs_orders=island.pcs_orders,
        nodes=joined_orders(ride.orders, event_nodes),
        ride=ride.view,
        replies=island.replies,
        report=island.report,
    )


def _reason(battery_w: float | None, outcome: Outcome, derived: Reason | None) -> Reason:
    """`derived`: how the net load is known, where not by the grid meter."""
    rule = outcome.binding.value
    if battery_w is None:
        return Reason("decision.no_setpoint", {"rule": rule, "reason": outcome.reason})
    why = outcome.reason if derived is None or outcome.reason == derived else joined([outcome.reason, derived])
    return Reason("decision.setpoint", {"battery_w": battery_w, "rule": rule, "reason": why})


def _mode(situation: Situation, battery_w: float | None) -> Mode:
    if battery_w is None:
        return Mode.OBSERVE
    if any(contact.stops for contact in situation.contacts):
        return Mode.SAFE
    if situation.safe is not None or all(u.ready is not Ready.READY for u in situation.units):
        return Mode.SAFE
    if situation.orders.battery is not None:
        return Mode.MANUAL
    tied = situation.islanding.state is IslandState.GRID_TIED  # elsewhere the plan is not in force
    return Mode.PLAN if situation.step is not None and tied else Mode.RULES
