"""Projects manual orders into the future: steps covered by an order are given to plan and reservations as fixed.

An order takes precedence over peak and plan, and limits, fuse and reserve over it. So each step that it covers goes
through those rules again, with the forecast in place of readings. The program plans the other steps, from the SoC that
the order leaves; in the step in which the order ends, the rest of the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import msgspec

from dispatch.config.battery_ratings import full_soc_pct, lowest_soc_pct, mean_efficiency, reserve_soc_pct
from dispatch.config.schema import DispatchConfig
from dispatch.control.rules.situation import battery_window, surplus_w
from dispatch.model.forecast import QUARTER_S
from dispatch.model.orders import Order, OrderKind
from dispatch.model.plan import NEAR_W
from dispatch.model.reasons import Reason, RuleId, plain
from dispatch.model.rule_chain import Ask, Chain, Outcome
from dispatch.orders.book import Standing, ask, asked, standing
from dispatch.planning.lp_model import Problem
from dispatch.planning.signals_in_time import limits_in

if TYPE_CHECKING:
    from dispatch.planning.inputs import PlanInputs

UNSAID = plain("")  # only what the rules leave is asked for
SHORTEST_S = 1.0  # a running step with less than this left counts as this long


class OrderedStep(msgspec.Struct, frozen=True):
    """What orders make of one step."""

    battery_w: float = 0.0  # mean over the step of what an order does in it, > 0 discharges
    order: str = ""  # id of the one that has the battery; empty: none has
    reason: Reason | None = None  # whose it is, until when, and what holds it back
    charge_w: float = 0.0  # mean over the step, >= 0, of what is left to plan with
    discharge_w: float = 0.0


@dataclass(frozen=True)
class OrderProjection:
    """What orders make of steps that follow each other from now on."""

    steps: tuple[OrderedStep, ...]
    soc_pct: float  # once they are over

    def limited(self, problem: Problem) -> Problem:
        """The problem with no more to decide than orders leave."""
        charge_kw = (min(kw, step.charge_w / 1000) for kw, step in zip(problem.charge_kw, self.steps, strict=True))
        discharge_kw = (
            min(kw, step.discharge_w / 1000) for kw, step in zip(problem.discharge_kw, self.steps, strict=True)
        )
        return replace(problem, charge_kw=tuple(charge_kw), discharge_kw=tuple(discharge_kw))


def with_raised_reserve(config: DispatchConfig, orders: Sequence[Order]) -> DispatchConfig:
    """The site with the reserve that an order has raised, as if it stood for ever; one that lowers it frees nothing."""
    asked_pct = max((o.value for o in orders if o.kind is OrderKind.RESERVE_LEVEL), default=0.0)
    more_pct = min(asked_pct, full_soc_pct(config)) - reserve_soc_pct(config)
    if more_pct <= 0:
        return config
    raised = (msgspec.structs.replace(b, soc_min_pct=b.soc_min_pct + more_pct) for b in config.batteries)
    return msgspec.structs.replace(config, batteries=tuple(raised))


def battery_holder(orders: Sequence[Order], config: DispatchConfig, at_utc_s: float) -> Order | None:
    """The order that has the battery at this time, None if it is free.

    With every PCS disabled it is the disabling order that ends first, unless a battery order stands.
    """
    if not config.batteries:
        return None
    there = standing((o for o in orders if o.ends_utc_s > at_utc_s), 0.0)
    if there.battery is not None:
        return there.battery
    if config.pcs and {p.id for p in config.pcs} <= {o.target for o in there.disabled}:
        return min(there.disabled, key=lambda o: o.ends_utc_s)
    return None


def holder_reason(order: Order, config: DispatchConfig) -> Reason:
    """Who has the battery, for what and until when."""
    what = asked(order.kind, order.value, order.target)
    until = local_iso(order.ends_utc_s, config)
    return Reason("step.ordered", {"order": order.id, "who": order.who, "asked": what, "until_local": until})


def local_time(utc_s: float, config: DispatchConfig) -> str:
    """HH:MM at the site."""
    return f"{_local(utc_s, config):%H:%M}"


def local_iso(utc_s: float, config: DispatchConfig) -> str:
    """A time at the site as reasons have it: ISO 8601 to the minute, with its offset."""
    return _local(utc_s, config).isoformat(timespec="minutes")


def _local(utc_s: float, config: DispatchConfig) -> datetime:
    return datetime.fromtimestamp(utc_s, UTC).astimezone(ZoneInfo(config.timezone))


def project_orders(inputs: PlanInputs, starts_utc_s: Sequence[int], net_w: Sequence[float]) -> OrderProjection:
    """The plan's steps under the orders that stand; net_w: load less PV in each, W."""
    begins = [max(float(start), inputs.now_utc_s) for start in starts_utc_s]
    seconds = [max(SHORTEST_S, start + QUARTER_S - begin) for start, begin in zip(starts_utc_s, begins, strict=True)]
    return project_steps(inputs, begins, seconds, net_w)


def project_steps(
    inputs: PlanInputs, begins_utc_s: Sequence[float], seconds: Sequence[float], net_w: Sequence[float]
) -> OrderProjection:
    """The same for steps of any length, the first of which begins now."""
    soc_pct = min(100.0, max(0.0, inputs.soc_pct or 0.0))
    if not inputs.orders:
        pcs = inputs.config.pcs
        free = OrderedStep(charge_w=sum(p.charge_w for p in pcs), discharge_w=sum(p.discharge_w for p in pcs))
        return OrderProjection((free,) * len(net_w), soc_pct)
    steps = []
    for begin, length, net in zip(begins_utc_s, seconds, net_w, strict=True):
        given, soc_pct = _under_orders(inputs, _step(inputs, begin, length, net), soc_pct)
        steps.append(given)
    return OrderProjection(tuple(steps), soc_pct)


class _Step(msgspec.Struct, frozen=True):
    """One step as the orders find it."""

    begin_utc_s: float
    seconds: float
    net_w: float  # load less PV
    standing: Standing  # the orders at its beginning
    charge_w: float  # of the PCS that are not disabled then
    discharge_w: float


def _step(inputs: PlanInputs, begin_utc_s: float, seconds: float, net_w: float) -> _Step:
    there = standing((o for o in inputs.orders if o.ends_utc_s > begin_utc_s), 0.0)
    out = {order.target for order in there.disabled}
    enabled = [p for p in inputs.config.pcs if p.id not in out]
    charge_w, discharge_w = sum(p.charge_w for p in enabled), sum(p.discharge_w for p in enabled)
    return _Step(begin_utc_s, seconds, net_w, there, charge_w, discharge_w)


def _under_orders(inputs: PlanInputs, step: _Step, soc_pct: float) -> tuple[OrderedStep, float]:
    """(what orders make of a step that begins at this SoC, the SoC at its end)."""
    config = inputs.config
    order = battery_holder(inputs.orders, config, step.begin_utc_s)
    if order is None:
        return OrderedStep(charge_w=step.charge_w, discharge_w=step.discharge_w), soc_pct
    lasts_s = min(step.seconds, order.ends_utc_s - step.begin_utc_s)
    w, reason = 0.0, holder_reason(order, config)
    if order is step.standing.battery:
        w, outcome = _under_rules(inputs, order, step, lasts_s, soc_pct)
        soc_pct += rise_pct(w, lasts_s, config)
        reason = _held(reason, w, outcome)
    rest = 1 - lasts_s / step.seconds
    given = OrderedStep(
        battery_w=w * (1 - rest),
        order=order.id,
        reason=reason,
        charge_w=rest * step.charge_w if w <= 0 else 0.0,  # both ways in one step would hide losses
        discharge_w=rest * step.discharge_w if w >= 0 else 0.0,
    )
    return given, soc_pct


def _under_rules(
    inputs: PlanInputs, order: Order, step: _Step, lasts_s: float, soc_pct: float
) -> tuple[float, Outcome | None]:
    """(what the rules make of a battery order while it lasts, W; what holds it back, None if nothing)."""
    config, grid, hours, net_w = inputs.config, inputs.config.grid, lasts_s / 3600, step.net_w
    per_pct_wh, efficiency = 10 * config.energy_kwh, mean_efficiency(config)
    kept = step.standing.reserve
    reserve_pct = reserve_soc_pct(config) if kept is None else kept.value
    limit_w = max(grid.contracted_peak_w, inputs.month_peak_w)
    if inputs.peak is not None:
        limit_w = min(limit_w, max(inputs.peak.target_w, inputs.month_peak_w))

    def to_w(floor_pct: float) -> float:
        return max(0.0, soc_pct - floor_pct) * per_pct_wh * efficiency.discharge / hours

    room_w = max(0.0, full_soc_pct(config) - soc_pct) * per_pct_wh / efficiency.charge / hours
    chain = Chain(-step.charge_w, step.discharge_w)
    chain.apply(RuleId.DEVICE_LIMITS, Ask(UNSAID, -room_w, to_w(lowest_soc_pct(config))))
    obliged, wished = limits_in(inputs.signals, step.begin_utc_s, step.begin_utc_s + lasts_s)
    low_w, high_w = battery_window(net_w, -min(grid.export_limit_w, obliged.export_w), grid.fuse_w)
    low_w = max(low_w, min(net_w - obliged.import_w, to_w(reserve_pct)), -obliged.charge_w - surplus_w(net_w))
    chain.apply(RuleId.FUSE, Ask(UNSAID, low_w, high_w))
    chain.apply(RuleId.RESERVE, Ask(UNSAID, high_w=to_w(reserve_pct)))
    mono_s = order.ends_mono_s - (order.ends_utc_s - step.begin_utc_s)
    manual = ask(order, mono_s, net_w, 0.0, soc_pct, config, chain.bounds)
    chain.apply(RuleId.MANUAL, manual)
    low_w, high_w = battery_window(net_w, -wished.export_w, wished.import_w)
    chain.apply(RuleId.SIGNALS, Ask(UNSAID, max(low_w, -wished.charge_w - surplus_w(net_w)), high_w))
    chain.apply(RuleId.INTERVAL_BUDGET, Ask(UNSAID, low_w=net_w - limit_w))
    outcome = chain.outcome()
    w = outcome.w or 0.0
    if manual.preferred_w is None or abs(w - manual.preferred_w) <= NEAR_W:
        return w, None
    return w, outcome


def _held(order: Reason, w: float, outcome: Outcome | None) -> Reason:
    """Whose order it is, with what holds it back."""
    if outcome is None:
        return order
    if abs(w) <= NEAR_W:
        return Reason("step.ordered_held_at_0", {"order": order, "rule": outcome.binding.value})
    return Reason("step.ordered_held", {"order": order, "battery_w": w, "rule": outcome.binding.value})


def rise_pct(w: float, seconds: float, config: DispatchConfig) -> float:
    """What the SoC rises by, %, at this power."""
    wh, efficiency = -w * seconds / 3600, mean_efficiency(config)
    return (wh * efficiency.charge if w < 0 else wh / efficiency.discharge) / (10 * config.energy_kwh)
