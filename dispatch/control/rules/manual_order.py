"""The rule of manual orders."""

from __future__ import annotations

import msgspec

from dispatch.control.rules.situation import Situation
from dispatch.model.battery_bank import counted
from dispatch.model.orders import Order, OrderKind
from dispatch.model.reasons import Reason
from dispatch.model.rule_chain import Ask, Bounds
from dispatch.orders.book import ask


def manual(s: Situation, so_far: Bounds) -> Ask:
    """A person's order (`dispatch.orders.book`): who, for how long, why. What is above it in this list wins."""
    order = s.orders.battery
    if order is None:
        return Ask(Reason("manual.none"))
    fixed_w = sum(u.fixed_w for u in s.units)
    asked = ask(order, s.orders.mono_s, s.net_w, fixed_w, _soc_for(s, order), s.config, so_far)
    if order.kind is OrderKind.SOC_TARGET:
        asked = msgspec.structs.replace(asked, reason=counted(asked.reason, s.snapshot.batteries))
    # the safe value steers then, and is named also where both ask for the same power
    return asked if s.safe is None else msgspec.structs.replace(asked, preferred_w=None)


def _soc_for(s: Situation, order: Order) -> float | None:
    """The SoC that an order to reach one is judged by: of what it may be, the one nearest to the target."""
    if s.soc_pct is None or s.soc_high_pct is None:
        return None
    return min(max(order.value, s.soc_pct), s.soc_high_pct)
