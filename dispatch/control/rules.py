"""Defines the rules of a decision, in order, each a function of the situation and the limits of earlier rules.

Powers are the total AC power of the PCS that take part, discharge > 0. A rule that bounds import at the PCC goes
through `battery_window`: import = net load - battery.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec

from dispatch.billing.interval_budget import Allowance
from dispatch.config.battery_ratings import reserve_soc_pct, worst_efficiency
from dispatch.config.schema import DispatchConfig, GridConfig
from dispatch.control.pcs_limits import Ready, Unit
from dispatch.model.equipment import Meter
from dispatch.model.islanding import Islanding, IslandState
from dispatch.model.plan import PlanStep
from dispatch.model.rule_chain import Ask, Bounds, Chain, Outcome
from dispatch.model.snapshot import Snapshot
from dispatch.orders.book import Standing, ask, signed
from dispatch.wording.formatting import action, kw, soc_text

SOC_HYSTERESIS_PCT = 1.0  # reserve and rest begin charging this far below and end at (rest) or above (reserve) the mark
CHARGE_ROOM = (
    0.05  # of the aim: charging on our own account stays this far below it, so that it never makes the budget bind
)
RESERVE_TAPER_PCT = 1.0  # discharging fades to 0 over this much SoC above the reserve


class Ramp(msgspec.Struct, frozen=True):
    """The import that follows what is aimed at no faster than the ramp limit, and how far it may move by now."""

    import_w: float
    step_w: float


class Situation(msgspec.Struct, frozen=True):
    """All that the rules may look at."""

    config: DispatchConfig
    snapshot: Snapshot
    islanding: Islanding
    units: tuple[Unit, ...]
    net_w: float | None  # load - pv - what PCS do that take no part; None: not known
    allowance: Allowance
    soc_pct: float | None
    available_pct: float | None  # what of it is stored in batteries in service
    last_w: float  # the last total asked
    hold_s: float = 0.0  # how long the setpoint is meant to hold; 0 at tick rate
    safe: tuple[float, str] | None = None  # battery power and reason when the net load is not known
    ramp: Ramp | None = None
    step: PlanStep | None = None
    recharging: bool = False  # the reserve was touched and is being refilled
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
    """Rule 0: local control, fault, trip. No command to such a PCS, and nothing from here ever restarts one."""
    if not s.units:
        return Ask("the site file declares 0 PCS", command=False)
    withheld = [u.why for u in s.units if u.ready is Ready.WITHHELD]
    if len(withheld) == len(s.units):
        return Ask("; ".join(withheld), command=False)
    if withheld:
        return Ask(f"{len(withheld)} of {len(s.units)} PCS get no command: {'; '.join(withheld)}")
    return Ask(f"{len(s.units)} of {len(s.units)} PCS are free to be commanded")


def device_limits(s: Situation, so_far: Bounds) -> Ask:
    """Rule 1: ratings, limits that PCS and BMS report, temperature, SoC bounds, readings that are lost."""
    ready = [u for u in s.units if u.ready is Ready.READY]
    lost = "; ".join(u.why for u in s.units if u.ready is Ready.LOST)
    if not ready:
        return Ask(lost or "0 PCS take part", low_w=0.0, high_w=0.0, preferred_w=0.0)
    low_w, high_w = sum(u.low_w for u in ready), sum(u.high_w for u in ready)
    low_why = "; ".join(u.low_why for u in ready)
    high_why = "; ".join(u.high_why for u in ready)
    reason = f"charge at most {kw(-low_w)} ({low_why}), discharge at most {kw(high_w)} ({high_why})"
    if lost:
        reason = f"{lost}; {reason}"
    return Ask(reason, low_w, high_w, low_why=low_why, high_why=high_why)


def safe_value(s: Situation, so_far: Bounds) -> Ask:
    """Rule 1, communication: without a net load the battery follows the safe-value table."""
    if s.safe is None:
        return Ask(f"the net load is known: {kw(s.net_w)}" if s.net_w is not None else "nothing to hold")
    value_w, reason = s.safe
    return Ask(reason, value_w, value_w, value_w)


# ── 2: islanding ────────────────────────────────────────────────────────────────────────────────────────────────────


def islanding(s: Situation, so_far: Bounds) -> Ask:
    """Rule 2: islanded or not known to be grid-tied, no setpoint; the forming PCS is never stopped or reverted."""
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
    return Ask(f"import ramps back after the return to the grid, {kw(ramp_w or 0.0)} now", low_w, high_w)


# ── 3: fuse, export ─────────────────────────────────────────────────────────────────────────────────────────────────


def import_window(meter: Meter, grid: GridConfig) -> tuple[float, float, str]:
    """Smallest and largest import, W, that fuses and export limit allow, and the figures.

    A balanced PCS moves all phases alike, so the worst phase's distance from the mean stays; it is taken off what the
    fuses carry. Without good currents the total power at the nominal voltage is all there is to go by.
    """
    amps = [a.good for a in meter.a[: grid.phases]]
    total_w = meter.w.good
    known = [a for a in amps if a is not None]
    if total_w is None or len(known) < grid.phases:
        carries_w, worst = grid.fuse_w, f"no phase currents, {grid.fuse_a:g} A x {grid.phases} at nominal voltage"
    else:
        volts = [v.good for v in meter.v[: grid.phases]] + [None] * grid.phases
        phase_w = [a * (v or grid.voltage_v) * grid.phases for a, v in zip(known, volts, strict=False)]
        lowest_v = min(v or grid.voltage_v for v in volts[: grid.phases])
        uneven_w = max(max(phase_w) - abs(total_w), 0.0)
        carries_w = max(grid.fuse_a * lowest_v * grid.phases - uneven_w, 0.0)
        worst = f"worst phase {max(known):.0f} of {grid.fuse_a:g} A"
    export_w = min(grid.export_limit_w, carries_w)
    return -export_w, carries_w, f"import at most {kw(carries_w)}, export at most {kw(export_w)} ({worst})"


def fuse(s: Situation, so_far: Bounds) -> Ask:
    """Rule 3: fuse per phase and export limit. No grid operator's order yet; the contracted peak is in rule 6."""
    if s.net_w is None:
        return Ask("the net load is not known: no bound")
    lowest_w, highest_w, reason = import_window(s.snapshot.grid, s.config.grid)
    return Ask(reason, *battery_window(s.net_w, lowest_w, highest_w))


# ── 4: reserve ──────────────────────────────────────────────────────────────────────────────────────────────────────


def reserve(s: Situation, so_far: Bounds) -> Ask:
    """Rule 4: SoC for ride-through is not spent on money. Below it, refill within the budget."""
    mark_pct, order = s.reserve_soc_pct, s.orders.reserve
    if s.config.reserve_kwh <= 0 and order is None:
        return Ask("no reserve is declared: 0 kWh")
    if s.soc_pct is None or s.available_pct is None:
        most_w = max(s.last_w, 0.0)
        return Ask(f"SoC is not known, reserve {mark_pct:.0f} %: discharge at most {kw(most_w)}", high_w=most_w)
    whose = f"{s.config.reserve_kwh:g} kWh" if order is None else signed(order, s.orders.mono_s)
    figures = f"{soc_text(s.soc_pct, s.available_pct)}, reserve {mark_pct:.1f} % ({whose})"
    if s.islanding.import_high_w is not None:
        return Ask(f"{figures}: refill once import has ramped back")
    if s.recharging:
        return Ask(
            f"{figures}: refill while import stays under {kw(_charge_ceiling_w(s))}",
            high_w=0.0,
            preferred_w=-_charge_room_w(s),
            high_why=f"{figures}: no discharge",
        )
    share = min(max((s.available_pct - mark_pct) / RESERVE_TAPER_PCT, 0.0), 1.0)
    high_w = min(share * s.config.discharge_w, _lasting_w(s))
    if high_w < s.config.discharge_w:
        return Ask(f"{figures}: discharge at most {kw(high_w)}", high_w=high_w)
    return Ask(f"{figures}: untouched")


def _lasting_w(s: Situation) -> float:
    """Discharging power, >= 0, whose energy above the reserve lasts as long as the setpoint holds."""
    if s.available_pct is None or s.hold_s <= 0:
        return math.inf
    spare_pct = max(s.available_pct - reserve_soc_pct(s.config), 0.0)
    return spare_pct / 100 * s.config.energy_kwh * worst_efficiency(s.config).discharge * 1000 * 3600 / s.hold_s


# ── 5: manual ───────────────────────────────────────────────────────────────────────────────────────────────────────


def manual(s: Situation, so_far: Bounds) -> Ask:
    """Rule 5: a person's order (`dispatch.orders.book`): who, for how long, why. What is above it in this list wins."""
    order = s.orders.battery
    if order is None:
        return Ask("no manual order")
    fixed_w = sum(u.fixed_w for u in s.units)
    asked = ask(order, s.orders.mono_s, s.net_w, fixed_w, s.soc_pct, s.config, so_far)
    # the safe value steers then, and is named also where both ask for the same power
    return asked if s.safe is None else msgspec.structs.replace(asked, preferred_w=None)


# ── 6 and 7: import ─────────────────────────────────────────────────────────────────────────────────────────────────


def interval_budget(s: Situation, so_far: Bounds) -> Ask:
    """Rule 6: the energy left in the metering interval before its mean exceeds the limit."""
    if s.net_w is None:
        return Ask("the net load is not known: no bound")
    a = s.allowance
    minutes, seconds = divmod(int(a.left_s), 60)
    reason = (
        f"{a.left_wh / 1000:.1f} kWh left before the peak rises above {kw(a.limit_w)} "
        f"({minutes}:{seconds:02d} to go, import at most {kw(a.import_max_w)})"
    )
    low_w, _ = battery_window(s.net_w, -math.inf, a.import_max_w)
    return Ask(reason, low_w=low_w)


def grid_ramp(s: Situation, so_far: Bounds) -> Ask:
    """Rule 7: import moves no faster than the ramp limit; the battery takes the difference while it can.

    The deadband is its tolerance, so that a load that only flickers is not chased.
    """
    rate_w_per_s = s.config.grid.ramp_w_per_s
    if rate_w_per_s <= 0:
        return Ask("no ramp limit: 0 kW/s declared")
    if s.net_w is None or s.ramp is None:
        return Ask(f"no import to start from yet, limit {rate_w_per_s / 1000:g} kW/s")
    reach_w = s.ramp.step_w + s.config.rules.deadband_w
    low_w, high_w = battery_window(s.net_w, s.ramp.import_w - reach_w, s.ramp.import_w + reach_w)
    return Ask(f"import moves at most {rate_w_per_s / 1000:g} kW/s from {kw(s.ramp.import_w)}", low_w, high_w)


# ── 8 and 9: what is left to want ───────────────────────────────────────────────────────────────────────────────────


def plan(s: Situation, so_far: Bounds) -> Ask:
    """Rule 8: the plan's step; it does not export what it did not mean to, charge above the limit on the interval's
    credit, nor undo the reserve's refill, nor go on with an order that is over.
    """
    if s.orders.battery is not None:
        return Ask(f"at rest: order {s.orders.battery.id} steers")
    if s.step is None:
        return Ask("no plan for this instant")
    if not any(u.ready is Ready.READY for u in s.units):
        return Ask(f"plan asks {action(s.step.battery_w)}, but no PCS takes part: 0 of {len(s.units)}")
    if s.soc_pct is None:
        stuck = so_far.low_w == so_far.high_w == 0  # then the rule that left only 0 is the one to name
        wanted_w = s.step.battery_w if stuck else 0.0
        return Ask(f"plan asks {action(s.step.battery_w)}, but SoC is not known", preferred_w=wanted_w)
    wanted_w = s.step.battery_w - sum(u.fixed_w for u in s.units)
    reason = s.step.reason or f"{s.step.price_eur_per_kwh:.3f} EUR/kWh"
    if s.step.order:  # the next plan is on its way; until then the battery does not go on as it was ordered to
        wanted_w, reason = 0.0, f"order {s.step.order} is over: hold until the next plan"
    if s.net_w is not None and wanted_w > 0:
        most_w = max(s.net_w - min(s.step.grid_w, 0.0), 0.0)
        if wanted_w > most_w:
            wanted_w, reason = most_w, f"{reason}; load is lower than planned, {kw(most_w)} is enough"
    if s.net_w is not None and wanted_w < 0:  # unused energy of the interval is there for the load, not for charging
        room_w = max(s.allowance.aim_w - s.net_w, 0.0)
        if -wanted_w > room_w:
            wanted_w, reason = -room_w, f"{reason}; import stays under {kw(s.allowance.aim_w)}: {action(-room_w)}"
    if so_far.preferred_w is not None and so_far.preferred_w <= wanted_w:
        return Ask(f"{reason}; an earlier rule already asks {action(so_far.preferred_w)}")
    return Ask(reason, preferred_w=wanted_w)


def rest(s: Situation, so_far: Bounds) -> Ask:
    """Rule 8 without a plan: back up to rest SoC, slowly, under the peak.

    What is above rest SoC stays: without prices nobody knows what it was stored for.
    """
    rules = s.config.rules
    if s.orders.battery is not None:
        return Ask(f"at rest: order {s.orders.battery.id} steers")
    if s.step is not None or so_far.preferred_w is not None:
        return Ask("not needed: an earlier rule states what it prefers")
    if s.soc_pct is None:
        return Ask(f"SoC is not known, rest {rules.rest_soc_pct:g} %: no charging")
    figures = f"no plan; SoC {s.soc_pct:.1f} %, rest {rules.rest_soc_pct:g} %"
    if not s.topping or s.net_w is None:
        return Ask(f"{figures}: nothing to do")
    wanted_w = min(rules.rest_charge_w, _charge_room_w(s))
    ceiling = kw(_charge_ceiling_w(s))
    return Ask(
        f"{figures}: charge up to {kw(rules.rest_charge_w)} while import stays under {ceiling}", preferred_w=-wanted_w
    )


def _charge_ceiling_w(s: Situation) -> float:
    """Import up to which the rules charge the battery of their own accord."""
    return (1 - CHARGE_ROOM) * s.allowance.aim_w


def _charge_room_w(s: Situation) -> float:
    """Charging power, >= 0, that keeps import under that; 0 when the net load is not known."""
    return 0.0 if s.net_w is None else max(_charge_ceiling_w(s) - s.net_w, 0.0)


def idle(s: Situation, so_far: Bounds) -> Ask:
    """Rule 9: nothing is wanted."""
    if so_far.preferred_w is not None:
        return Ask(f"not idle: {action(so_far.preferred_w)} is preferred")
    return Ask("nothing asks for power: idle at 0 kW", preferred_w=0.0)


Rule = Callable[[Situation, Bounds], Ask]
ALL = frozenset(IslandState)
TIED = frozenset({IslandState.GRID_TIED})
CLOSED = frozenset({IslandState.GRID_TIED, IslandState.PREPARING})

# Number, name, the islanding states in which it lives, the rule. The order is DESIGN §3's.
RULES: tuple[tuple[int, str, frozenset[IslandState], Rule], ...] = (
    (0, "protection", ALL, protection),
    (1, "device limits", ALL, device_limits),
    (1, "safe value", CLOSED, safe_value),
    (2, "islanding", ALL, islanding),
    (3, "fuse", CLOSED, fuse),
    (4, "reserve", TIED, reserve),
    (5, "manual", TIED, manual),
    (6, "interval budget", TIED, interval_budget),
    (7, "grid ramp", TIED, grid_ramp),
    (8, "plan", TIED, plan),
    (8, "rest", TIED, rest),
    (9, "idle", ALL, idle),
)
RESERVE = 4  # the last rule before what people order; where setpoints hold for minutes it is a limit too
HARD = 3  # rules up to this one are limits: the deadband gives way to them


def run(situation: Situation) -> tuple[Outcome, Bounds]:
    """Every rule that lives in this islanding state. Return what came out, and what the hard rules left."""
    config, state = situation.config, situation.islanding.state
    chain = Chain(-config.charge_w, config.discharge_w)
    hard, last_hard = chain.bounds, RESERVE if situation.hold_s > 0 else HARD
    for number, name, states, rule in RULES:
        if state in states:
            chain.apply(number, name, rule(situation, chain.bounds))
        else:
            chain.apply(number, name, Ask(f"at rest: the site is {state.value}"))
        if number <= last_hard:
            hard = chain.bounds
    return chain.outcome(), hard
