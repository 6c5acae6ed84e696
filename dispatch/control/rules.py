"""Defines the rules of a decision, in order, each a function of the situation and the limits of earlier rules.

Powers are the total AC power of the PCS that take part, discharge > 0. A rule that bounds import at the PCC goes
through `battery_window`: import = net load - battery.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from dispatch.billing.import_allowance import Budget
from dispatch.config.battery_ratings import reserve_soc_pct, worst_efficiency
from dispatch.config.schema import DispatchConfig
from dispatch.control.import_limits import budget_reason, import_window
from dispatch.control.pcs_limits import Ready, Unit
from dispatch.model.battery_bank import counted, in_service
from dispatch.model.islanding import Islanding, IslandState
from dispatch.model.orders import Order, OrderKind
from dispatch.model.plan import PlanStep
from dispatch.model.reasons import Reason, RuleId, joined
from dispatch.model.rule_chain import HARD, LIMITS, Ask, Bounds, Chain, Outcome
from dispatch.model.snapshot import Snapshot
from dispatch.orders.book import Standing, ask, signed

CHARGE_ROOM = (
    0.05  # of the aim: charging on our own account stays this far below it, so that it never makes the budget bind
)
RESERVE_TAPER_PCT = 1.0  # discharging fades to 0 over this much SoC above the reserve


class Ramp(msgspec.Struct, frozen=True):
    """Import reference that moves towards its target no faster than the ramp limit, and the range allowed now."""

    import_w: float
    step_w: float


class Situation(msgspec.Struct, frozen=True):
    """All that the rules may look at."""

    config: DispatchConfig
    snapshot: Snapshot
    islanding: Islanding
    units: tuple[Unit, ...]
    net_w: float | None  # load - pv - what PCS do that take no part; None: not known
    budget: Budget
    soc_pct: float | None
    soc_high_pct: float | None  # the highest that it may be
    available_pct: float | None  # what of it is stored in batteries in service
    last_w: float  # the last total asked
    hold_s: float = 0.0  # how long the setpoint is meant to hold; 0 at tick rate
    safe: tuple[float, Reason] | None = None  # battery power and reason when the net load is not known
    ramp: Ramp | None = None
    step: PlanStep | None = None
    recharging: bool = False  # the reserve was touched and is being refilled
    derived: Reason | None = None  # how the net load is known, where not by the grid meter
    topping: bool = False  # on the way back to rest SoC
    orders: Standing = Standing()

    @property
    def reserve_soc_pct(self) -> float:
        """The reserve in force: a person's, else the site file's."""
        order = self.orders.reserve
        return reserve_soc_pct(self.config) if order is None else order.value


def battery_window(net_w: float, import_min_w: float, import_max_w: float) -> tuple[float, float]:
    """Lowest and highest battery power that keep import within bounds: import = net load - battery."""
    return net_w - import_max_w, net_w - import_min_w


# ── 0 and 1: what the devices allow ─────────────────────────────────────────────────────────────────────────────────


def protection(s: Situation, so_far: Bounds) -> Ask:
    """Local control, fault, trip. No command to such a PCS, and nothing from here ever restarts one."""
    if not s.units:
        return Ask(Reason("protection.no_pcs"), command=False)
    withheld = [u.why for u in s.units if u.ready is Ready.WITHHELD and u.why is not None]
    if len(withheld) == len(s.units):
        return Ask(joined(withheld), command=False)
    if withheld:
        withheld_pcs, all_pcs = len(withheld), len(s.units)
        return Ask(Reason("protection.some", {"pcs": withheld_pcs, "of_pcs": all_pcs, "why": joined(withheld)}))
    return Ask(Reason("protection.free", {"pcs": len(s.units)}))


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


def safe_value(s: Situation, so_far: Bounds) -> Ask:
    """Without a net load the battery follows the safe-value table."""
    if s.derived is not None:
        return Ask(s.derived)
    if s.safe is None:
        known = s.net_w is not None
        return Ask(Reason("safe.net_load_known", {"net_w": s.net_w}) if known else Reason("safe.nothing_to_hold"))
    value_w, reason = s.safe
    return Ask(reason, value_w, value_w, value_w)


# ── 2: islanding ────────────────────────────────────────────────────────────────────────────────────────────────────


def islanding(s: Situation, so_far: Bounds) -> Ask:
    """Islanded or not known to be grid-tied, no setpoint; the forming PCS is never stopped or reverted."""
    seen = s.islanding
    if not seen.commands_battery or s.net_w is None or (seen.import_low_w is None and seen.import_high_w is None):
        return Ask(seen.reason, command=seen.commands_battery)
    low_w, high_w = -math.inf, math.inf
    if seen.import_high_w is not None:  # as far as the battery reaches: the grid takes the rest
        low_w = min(max(s.net_w - seen.import_high_w, so_far.low_w), so_far.high_w)
    if seen.import_low_w is not None:  # nobody has to charge what PV sends out by itself
        high_w = max(s.net_w - seen.import_low_w, low_w, min(0.0, so_far.high_w))
    if seen.state is IslandState.PREPARING:
        return Ask(seen.reason, low_w, max(low_w, min(s.net_w - (seen.import_low_w or 0.0), so_far.high_w)), low_w)
    ramp_w = seen.import_high_w if seen.import_high_w is not None else seen.import_low_w
    return Ask(Reason("islanding.ramp_back", {"import_w": ramp_w or 0.0}), low_w, high_w)


# ── 3: fuse, export ─────────────────────────────────────────────────────────────────────────────────────────────────


def fuse(s: Situation, so_far: Bounds) -> Ask:
    """Fuse per phase and export limit. The contracted peak is part of the interval budget."""
    if s.net_w is None:
        return Ask(Reason("rule.net_load_unknown"))
    lowest_w, highest_w, reason = import_window(s.snapshot.grid, s.config.grid)
    return Ask(reason, *battery_window(s.net_w, lowest_w, highest_w))


# ── 4: reserve ──────────────────────────────────────────────────────────────────────────────────────────────────────


def reserve(s: Situation, so_far: Bounds) -> Ask:
    """SoC for ride-through is not spent on money. Below it, refill within the budget."""
    mark_pct, order = s.reserve_soc_pct, s.orders.reserve
    if s.config.reserve_kwh <= 0 and order is None:
        return Ask(Reason("reserve.none"))
    if s.soc_pct is None or s.available_pct is None:
        most_w = max(s.last_w, 0.0)
        return Ask(Reason("reserve.soc_unknown", {"reserve_pct": mark_pct, "limit_w": most_w}), high_w=most_w)
    declared = Reason("reserve.declared", {"reserve_kwh": s.config.reserve_kwh})
    whose = declared if order is None else signed(order, s.orders.mono_s)
    soc = counted(in_service(s.soc_pct, s.available_pct), s.snapshot.batteries)
    level = Reason("reserve.level", {"soc": soc, "reserve_pct": mark_pct, "whose": whose})
    if s.islanding.import_high_w is not None:
        return Ask(Reason("reserve.after_ramp", {"level": level}))
    if s.recharging:
        return Ask(
            Reason("reserve.refill", {"level": level, "import_w": _charge_ceiling_w(s)}),
            high_w=0.0,
            preferred_w=-_charge_room_w(s),
            high_why=Reason("reserve.no_discharge", {"level": level}),
        )
    share = min(max((s.available_pct - mark_pct) / RESERVE_TAPER_PCT, 0.0), 1.0)
    high_w = min(share * s.config.discharge_w, _lasting_w(s))
    if high_w < s.config.discharge_w:
        return Ask(Reason("reserve.taper", {"level": level, "limit_w": high_w}), high_w=high_w)
    return Ask(Reason("reserve.untouched", {"level": level}))


def _lasting_w(s: Situation) -> float:
    """Discharging power, >= 0, whose energy above the reserve lasts as long as the setpoint holds."""
    if s.available_pct is None or s.hold_s <= 0:
        return math.inf
    spare_pct = max(s.available_pct - reserve_soc_pct(s.config), 0.0)
    return spare_pct / 100 * s.config.energy_kwh * worst_efficiency(s.config).discharge * 1000 * 3600 / s.hold_s


# ── 5: manual ───────────────────────────────────────────────────────────────────────────────────────────────────────


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


# ── 6 and 7: import ─────────────────────────────────────────────────────────────────────────────────────────────────


def interval_budget(s: Situation, so_far: Bounds) -> Ask:
    """The energy left in the metering interval before its mean exceeds the contract or the month's peak."""
    if s.net_w is None:
        return Ask(Reason("rule.net_load_unknown"))
    low_w, _ = battery_window(s.net_w, -math.inf, s.budget.guard.import_max_w)
    return Ask(budget_reason(s.budget.guard), low_w=low_w)


def grid_ramp(s: Situation, so_far: Bounds) -> Ask:
    """Import moves no faster than the ramp limit; the battery takes the difference while it can.

    The deadband is its tolerance, so that a load that only flickers is not chased.
    """
    rate_w_per_s = s.config.grid.ramp_w_per_s
    if rate_w_per_s <= 0:
        return Ask(Reason("ramp.none"))
    if s.net_w is None or s.ramp is None:
        return Ask(Reason("ramp.no_start", {"rate_w_per_s": rate_w_per_s}))
    reach_w = s.ramp.step_w + s.config.rules.deadband_w
    low_w, high_w = battery_window(s.net_w, s.ramp.import_w - reach_w, s.ramp.import_w + reach_w)
    return Ask(Reason("ramp.limit", {"rate_w_per_s": rate_w_per_s, "from_w": s.ramp.import_w}), low_w, high_w)


# ── 8 and 9: what is left to want ───────────────────────────────────────────────────────────────────────────────────


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
    wanted_w = min(rules.rest_charge_w, _charge_room_w(s))
    reason = Reason(
        "rest.charge",
        {
            "soc_pct": s.soc_pct,
            "rest_pct": rules.rest_soc_pct,
            "charge_w": rules.rest_charge_w,
            "import_w": _charge_ceiling_w(s),
        },
    )
    return Ask(counted(reason, s.snapshot.batteries), preferred_w=-wanted_w)


def _charge_ceiling_w(s: Situation) -> float:
    """Import up to which the rules charge the battery of their own accord."""
    return (1 - CHARGE_ROOM) * s.budget.kept.aim_w


def _charge_room_w(s: Situation) -> float:
    """Charging power, >= 0, that keeps import under that; 0 when the net load is not known."""
    return 0.0 if s.net_w is None else max(_charge_ceiling_w(s) - s.net_w, 0.0)


def idle(s: Situation, so_far: Bounds) -> Ask:
    """Nothing is wanted."""
    if so_far.preferred_w is not None:
        return Ask(Reason("idle.not_idle", {"preferred_w": so_far.preferred_w}))
    return Ask(Reason("idle.idle"), preferred_w=0.0)


class Rule(NamedTuple):
    """A rule, the islanding states in which it lives, and what it asks."""

    id: RuleId
    states: frozenset[IslandState]
    ask: Callable[[Situation, Bounds], Ask]


ALL = frozenset(IslandState)
TIED = frozenset({IslandState.GRID_TIED})
CLOSED = frozenset({IslandState.GRID_TIED, IslandState.PREPARING})

# In the order in which they run, that of `RuleId`: each may only narrow what those before it have left.
RULES = (
    Rule(RuleId.PROTECTION, ALL, protection),
    Rule(RuleId.DEVICE_LIMITS, ALL, device_limits),
    Rule(RuleId.SAFE_VALUE, CLOSED, safe_value),
    Rule(RuleId.ISLANDING, ALL, islanding),
    Rule(RuleId.FUSE, CLOSED, fuse),
    Rule(RuleId.RESERVE, TIED, reserve),
    Rule(RuleId.MANUAL, TIED, manual),
    Rule(RuleId.INTERVAL_BUDGET, TIED, interval_budget),
    Rule(RuleId.GRID_RAMP, TIED, grid_ramp),
    Rule(RuleId.PLAN, TIED, plan),
    Rule(RuleId.REST, TIED, rest),
    Rule(RuleId.IDLE, ALL, idle),
)


def run(situation: Situation) -> tuple[Outcome, Bounds]:
    """Every rule that lives in this islanding state. Return what came out, and what the hard rules left."""
    config, state = situation.config, situation.islanding.state
    chain = Chain(-config.charge_w, config.discharge_w)
    hard, hard_rules = chain.bounds, LIMITS if situation.hold_s > 0 else HARD
    for rule in RULES:
        if state in rule.states:
            chain.apply(rule.id, rule.ask(situation, chain.bounds))
        else:
            chain.apply(rule.id, Ask(Reason("rule.at_rest", {"state": state.value})))
        if rule.id in hard_rules:
            hard = chain.bounds
    return chain.outcome(), hard
