"""Keeps the manual orders in force, and converts them to what the manual rule asks of the battery.

The rules before the manual rule (protection, device limits, safe value, islanding, fuse, reserve) take precedence over
an order; it takes precedence over peak, ramp and plan. Orders end on the monotonic clock and are dropped when the
gateway restarts.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from dispatch.config.battery_ratings import mean_efficiency
from dispatch.config.schema import DispatchConfig
from dispatch.model.orders import BATTERY, Order, OrderKind
from dispatch.model.reasons import Reason
from dispatch.model.rule_chain import Ask, Bounds
from dispatch.wording import catalogue

SOC_THERE_PCT = 0.1  # this close to its target a SoC order rests
INSIST_SHARE = 0.9  # a SoC order that needs this much of what is available gives way to peak and ramp no more
LAST_S = 60.0  # a SoC order spreads what is missing over no less than this


def asked(kind: OrderKind, value: float, target: str) -> Reason:
    """What an order asks for."""
    match kind:
        case OrderKind.SETPOINT:
            return Reason("asked.setpoint", {"battery_w": value})
        case OrderKind.IMPORT_TARGET if value >= 0:
            return Reason("asked.import", {"import_w": value})
        case OrderKind.IMPORT_TARGET:
            return Reason("asked.export", {"export_w": -value})
        case OrderKind.SOC_TARGET:
            return Reason("asked.soc", {"soc_pct": value})
        case OrderKind.HOLD:
            return Reason("asked.hold")
        case OrderKind.RESERVE_LEVEL:
            return Reason("asked.reserve", {"soc_pct": value})
        case OrderKind.NODE_CAP:
            return Reason("asked.node_cap", {"node": target, "cap_w": value})
        case OrderKind.DISABLE:
            return Reason("asked.disable", {"pcs": target})


def words(kind: OrderKind, value: float, target: str) -> str:
    """An order in English words: "discharge 20.0 kW", "import 30.0 kW", "SoC 80 %"."""
    return catalogue.words(asked(kind, value, target))


class OrderBook:
    """The orders in force, one per slot. Holds no clock: the caller says what time it is."""

    def __init__(self) -> None:
        self._orders: dict[str, Order] = {}

    @property
    def active(self) -> tuple[Order, ...]:
        """Every order in force, in the order in which they were given."""
        return tuple(self._orders.values())

    def standing(self, where: str) -> Order | None:
        """The order that occupies a slot."""
        return self._orders.get(where)

    def find(self, id: str) -> Order:
        """The order of this id. Raises LookupError with a line for a person."""
        for order in self._orders.values():
            if order.id == id:
                return order
        there = ", ".join(o.id for o in self._orders.values()) or "there is none"
        raise LookupError(f"no order {id!r} is in force: {there}")

    def put(self, order: Order) -> Order | None:
        """Put an order in force; returns the one that it replaces."""
        before = self._orders.pop(order.slot, None)
        self._orders[order.slot] = order
        return before

    def end(self, id: str) -> Order:
        """Take an order out of force. Raises LookupError."""
        order = self.find(id)
        del self._orders[order.slot]
        return order

    def expire(self, mono_s: float) -> tuple[Order, ...]:
        """Take out what has ended by now."""
        over = tuple(o for o in self._orders.values() if mono_s >= o.ends_mono_s)
        for order in over:
            del self._orders[order.slot]
        return over

    def follow_clock(self, utc_s: float, mono_s: float) -> None:
        """The wall clock was set: say the ends of orders, which are on the monotonic clock, by the new time."""
        for where, order in self._orders.items():
            by_s = utc_s + order.ends_mono_s - mono_s - order.ends_utc_s
            self._orders[where] = msgspec.structs.replace(
                order, given_utc_s=order.given_utc_s + by_s, ends_utc_s=order.ends_utc_s + by_s
            )


class Standing(msgspec.Struct, frozen=True):
    """The orders in force, by what they touch."""

    mono_s: float = 0.0
    battery: Order | None = None
    reserve: Order | None = None
    disabled: tuple[Order, ...] = ()


def standing(orders: Iterable[Order], mono_s: float) -> Standing:
    """Sort orders by what they touch; node caps do not concern the battery."""
    battery = reserve = None
    disabled: list[Order] = []
    for order in orders:
        if order.kind in BATTERY:
            battery = order
        elif order.kind is OrderKind.RESERVE_LEVEL:
            reserve = order
        elif order.kind is OrderKind.DISABLE:
            disabled.append(order)
    return Standing(mono_s, battery, reserve, tuple(disabled))


def signed(order: Order, mono_s: float) -> Reason:
    """Whose order it is, for how long, and why: what every reason says."""
    what, left_s = asked(order.kind, order.value, order.target), order.left_s(mono_s)
    if not order.reason:
        return Reason("manual.order", {"order": order.id, "who": order.who, "asked": what, "left_s": left_s})
    return Reason(
        "manual.order_with_reason",
        {"order": order.id, "who": order.who, "asked": what, "left_s": left_s, "reason": order.reason},
    )


def ask(
    order: Order,
    mono_s: float,
    net_w: float | None,
    fixed_w: float,
    soc_pct: float | None,
    config: DispatchConfig,
    so_far: Bounds,
) -> Ask:
    """What a battery order asks of the total battery power.

    net_w: net load that the battery sees, W; fixed_w: power of PCS that take no part, W.
    """
    reason = signed(order, mono_s)
    match order.kind:
        case OrderKind.SETPOINT:
            return _exactly(order.value - fixed_w, reason)
        case OrderKind.HOLD:
            return _exactly(0.0, reason)
        case OrderKind.IMPORT_TARGET:
            if net_w is None:
                return Ask(Reason("manual.net_load_unknown", {"order": reason}))
            return _exactly(net_w - order.value, reason)
    if soc_pct is None:
        return Ask(Reason("manual.soc_unknown", {"order": reason}), preferred_w=0.0)
    if abs(order.value - soc_pct) <= SOC_THERE_PCT:
        return Ask(Reason("manual.soc_reached", {"order": reason, "soc_pct": soc_pct}), preferred_w=0.0)
    wanted_w = soc_power_w(config, soc_pct, order.value, max(order.left_s(mono_s), LAST_S))
    reason = Reason("manual.soc_evenly", {"order": reason, "soc_pct": soc_pct, "battery_w": wanted_w})
    available_w = so_far.high_w if wanted_w > 0 else so_far.low_w
    if abs(wanted_w) >= INSIST_SHARE * abs(available_w):
        return _exactly(wanted_w, Reason("manual.soc_insists", {"evenly": reason}))
    return Ask(reason, preferred_w=wanted_w)


def _exactly(w: float, reason: Reason) -> Ask:
    return Ask(reason, w, w, w)


def soc_power_w(config: DispatchConfig, soc_pct: float, target_pct: float, seconds: float) -> float:
    """The constant AC power, W (> 0 discharges), that brings the batteries from one SoC to another in this time."""
    stored_ws = (target_pct - soc_pct) / 100 * config.energy_kwh * 3.6e6
    if stored_ws > 0:
        return -stored_ws / mean_efficiency(config).charge / seconds
    return -stored_ws * mean_efficiency(config).discharge / seconds
