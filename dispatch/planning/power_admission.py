"""Decides when a job can get the power it asks for, and at which peak; or gives the rule and figure against it.

The test is a course of import in steps of five minutes at most: forecast load less PV, every reservation in force, and
the job. Over it the battery discharges what is above a level and recharges below it, as fast as ratings and level
allow: no other use of it keeps a level that this does not. The level that is kept anyway (the plan's peak, or the
contract and the month's peak) costs nothing. A start that keeps it is granted first, the earliest of them. Otherwise
the peak may rise up to the contract, at the start that needs the least of it; the answer gives the cost.

Energy that will be missing later, up to the plan's horizon, forbids nothing: a forecast that far is a guess. But the
rise it may cause is in the answer, with its cost. A battery under a manual order carries nothing: what the order
discharges is gone, what it charges is import, and what it stores counts once it is there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import msgspec

from dispatch.billing.demand_charge import place
from dispatch.billing.interval_budget import MARGIN, SURGE
from dispatch.config.battery_ratings import full_kwh, reserve_soc_pct, worst_efficiency
from dispatch.config.schema import DispatchConfig
from dispatch.model.forecast import STEP_S
from dispatch.model.islanding import IslandState
from dispatch.model.orders import OrderKind, OrderRefused
from dispatch.model.plan import Plan
from dispatch.model.reservations import Reservation, reserved_w
from dispatch.planning.inputs import PlanInputs
from dispatch.planning.order_projection import Given, clock, followed, holder, kept_back, whose
from dispatch.wording.catalogue import words
from dispatch.wording.formatting import kw, span

GRID_S = 300.0  # the path's steps end on these marks of the clock
SHORTEST_S = 60.0
NEAR_W = 50.0  # two levels this close are one to a reader
SLACK = 0.02  # of the level allowed: plans store to the point, meters and forecasts are not that exact
NAME_MAX = 32


class Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a job asks for. `within_s`: how long it may wait for its start."""

    power_w: float
    for_s: float
    within_s: float = 0.0
    name: str = ""


class Grant(msgspec.Struct, frozen=True):
    """A start the site can carry."""

    start_utc_s: float
    level_w: float  # the import it takes, as far as the forecast goes
    rise_w: float  # of it above what is kept anyway
    cost_eur: float  # of that rise, in the month's or year's demand charge
    why: str  # why not at once, or what it costs; empty when there is nothing to say


def grant(
    asked: Asked,
    inputs: PlanInputs,
    plan: Plan | None,
    island: IslandState,
    standing: Sequence[Reservation],
) -> Grant:
    """The start for this job. `standing`: what is promised now; the `inputs` know it too. Raises OrderRefused."""
    _check(asked, inputs, island, standing)
    held = _held(inputs)
    try:
        found, site = _start(asked, inputs, plan)
    except OrderRefused as refusal:
        raise OrderRefused(refusal.rule, "; ".join(filter(None, (refusal.line, held)))) from None
    after, above = _afterwards(asked, inputs, plan, site, found)
    why = "; ".join(filter(None, (after.why, above, held)))
    return msgspec.structs.replace(after, why=why)


def _start(asked: Asked, inputs: PlanInputs, plan: Plan | None) -> tuple[Grant, _Site]:
    """The start itself, and the hours up to the job's end. Raises OrderRefused.

    Each start is looked at up to its own end, so that none is worth less to a job that could wait for others.
    """
    tried: list[tuple[float, float, _Site]] = []  # rise, start
    for start in _starts(inputs.now_utc_s, inputs.now_utc_s + asked.within_s):
        site = _Site.of(inputs, plan, start + asked.for_s)
        if site.holds(site.kept_w, site.with_job(asked.power_w, start, start + asked.for_s)):
            return Grant(start, site.kept_w, 0.0, 0.0, _why_later(asked, inputs, plan, start)), site
        tried.append((max(0.0, site.need_w(asked, start) - site.kept_w), start, site))
    carried = [one for one in tried if one[0] + one[2].kept_w <= one[2].allowed_w + NEAR_W]
    if not carried:
        need_w, start, site = min(
            ((rise_w + site.kept_w, start, site) for rise_w, start, site in tried), key=lambda one: one[:2]
        )
        raise OrderRefused(site.rule, _refusal(asked, inputs, plan, site, (need_w, start)))
    least_w = min(rise_w for rise_w, _, _ in carried)
    rise_w, start, site = next(one for one in carried if one[0] <= least_w + NEAR_W)  # the earliest of equals
    terms = inputs.config.tariff.demand_terms
    cost_eur = rise_w / 1000 * terms.rise_eur_per_kw
    level_w = site.kept_w + rise_w
    why = f"the peak may rise by {kw(rise_w)} to {kw(level_w)}: {cost_eur:.2f} EUR this {terms.per}"
    later = _why_later(asked, inputs, plan, start)
    return Grant(start, level_w, rise_w, cost_eur, f"{later}; {why}" if later else why), site


def _held(inputs: PlanInputs) -> str:
    """Which manual order has the battery now, in words; empty when none has."""
    order = holder(inputs.orders, inputs.config, inputs.now_utc_s)
    return "" if order is None else words(whose(order, inputs.config))


def _afterwards(asked: Asked, inputs: PlanInputs, plan: Plan | None, near: _Site, found: Grant) -> tuple[Grant, str]:
    """The grant with the rise that it may take until the plan's horizon, and what it does to the contract, in words."""
    config, end_s = inputs.config, found.start_utc_s + asked.for_s
    horizon_s = inputs.now_utc_s + config.plan.horizon_h * 3600
    site = _Site.of(inputs, plan, horizon_s)
    path = site.with_job(asked.power_w, found.start_utc_s, end_s)
    without_w = site.level_w(site.net_kw, near.kept_w)
    with_w = site.level_w(path, max(without_w, found.level_w))
    rise_w, terms = with_w - without_w, config.tariff.demand_terms
    later = rise_w > found.rise_w + 2 * NEAR_W  # each level is found to one of them
    if later:
        cost_eur = rise_w / 1000 * terms.rise_eur_per_kw
        line = f"later its energy is missing: the peak may rise by {kw(rise_w)} to {kw(with_w)}: {cost_eur:.2f} EUR"
        why = "; ".join(filter(None, (found.why if not found.rise_w else "", f"{line} this {terms.per}")))
        found = Grant(found.start_utc_s, with_w, rise_w, cost_eur, why)
    contract_w = config.grid.contracted_peak_w
    if not later and near.holds(contract_w + NEAR_W, near.with_job(asked.power_w, found.start_utc_s, end_s)):
        return found, ""
    if with_w <= contract_w + NEAR_W:
        return found, ""
    bare_w = near.level_w(near.net_kw) if not later else without_w
    cause = f"without the job {kw(bare_w)}" if bare_w > contract_w + NEAR_W else ""
    if not cause and inputs.month_peak_w > contract_w + NEAR_W:
        cause = f"the month's peak is {kw(inputs.month_peak_w)} already"
    above = f"import may reach {kw(with_w)}, above the contract of {kw(contract_w)}"
    return found, f"{above}; {cause}" if cause else above


def short_of(reservation: Reservation, inputs: PlanInputs, plan: Plan | None) -> str:
    """Why the site could not carry what is left of a reservation, as things stand; empty when it can."""
    rest = tuple(r for r in inputs.reservations if r.id != reservation.id)
    held = _held(inputs)
    rested = msgspec.structs.replace(inputs, reservations=rest)
    site = _Site.of(rested, plan, reservation.end_utc_s, inputs)
    path = site.with_job(reservation.power_w, reservation.start_utc_s, reservation.end_utc_s)
    if site.holds((1 + SLACK) * site.allowed_w, path):
        return ""
    line = f"{site.rule} allows an import of {kw(site.allowed_w)}, it would take {kw(site.level_w(path))}"
    return f"{line}; {held}" if held else line


# ── what is against it at once ──────────────────────────────────────────────────────────────────────────────────────


def _check(asked: Asked, inputs: PlanInputs, island: IslandState, standing: Sequence[Reservation]) -> None:
    """Raise OrderRefused for what no start could mend."""
    config = inputs.config
    horizon_s = config.plan.horizon_h * 3600
    for what, value in (("power", asked.power_w), ("duration", asked.for_s), ("window", asked.within_s)):
        if not math.isfinite(value):
            raise OrderRefused(what, f"expected a number, got {value}")
    if asked.power_w <= 0:
        raise OrderRefused("power", f"{kw(asked.power_w)}: a job asks for more than 0 kW")
    if asked.for_s < SHORTEST_S:
        raise OrderRefused("duration", f"{asked.for_s:g} s: at least {SHORTEST_S:g} s")
    if asked.within_s < 0:
        raise OrderRefused("in the past", f"a start {span(-asked.within_s)} ago cannot be granted")
    if asked.within_s + asked.for_s > horizon_s:
        line = f"{span(asked.within_s + asked.for_s)} from now to its end; the site plans {span(horizon_s)} ahead"
        raise OrderRefused("plan.horizon_h", line)
    if len(asked.name) > NAME_MAX or not asked.name.isprintable() or asked.name.strip() != asked.name:
        raise OrderRefused("name", f"{asked.name[:40]!r}: expected at most {NAME_MAX} printable characters")
    if asked.power_w > config.grid.fuse_w:
        raise OrderRefused("fuse", f"{kw(asked.power_w)} is more than the {kw(config.grid.fuse_w)} that it carries")
    if island is not IslandState.GRID_TIED:
        raise OrderRefused("islanding", f"the site is {island.value}; power is promised when it is grid-tied")
    double = next((r for r in standing if asked.name and r.name == asked.name), None)
    if double is not None:
        line = (
            f"{asked.name} has reservation {double.id} of {double.who}, {kw(double.power_w)} from "
            f"{clock(double.start_utc_s, config)} to {clock(double.end_utc_s, config)}; withdraw that first"
        )
        raise OrderRefused("one reservation per name", line)


def _starts(first_s: float, last_s: float) -> Iterator[float]:
    """At once, then on quarter hours up to the last: the plan's steps, so that it charges right up to the start."""
    yield first_s
    mark = (first_s // STEP_S + 1) * STEP_S
    while mark <= last_s:
        yield mark
        mark += STEP_S


# ── the path and the battery ────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Site:
    """The hours to come without the job, and what the battery could do about them. kW, kWh, hours."""

    config: DispatchConfig
    starts_s: tuple[float, ...]
    hours: tuple[float, ...]
    net_kw: tuple[float, ...]
    stored_kwh: float  # above the floor
    room_kwh: float  # from the floor to the ceiling
    interval_end_s: float  # of the running metering interval
    imported_kwh: float | None  # in it so far; None: not known
    kept_w: float  # the level that is kept anyway
    allowed_w: float  # the level that may not be passed
    rule: str  # what sets it
    free_kw: tuple[float, ...]  # what import costs nothing in each step in any case: the limit where it does not count
    given: tuple[Given, ...]  # what manual orders make of each step without the job, and leave of the battery
    follows: bool  # the order keeps an import: what the job draws comes out of the battery
    least_kwh: float  # <= 0: so far below the floor the order takes the energy

    @classmethod
    def of(
        cls,
        inputs: PlanInputs,
        plan: Plan | None,
        until_s: float,
        promised: PlanInputs | None = None,
    ) -> _Site:
        """`promised`: where the load forecast holds other reservations than `inputs` name, those inputs."""
        config, now_s = kept_back(inputs.config, inputs.orders), inputs.now_utc_s
        until_s = max(until_s, *(r.end_utc_s for r in inputs.reservations), now_s + GRID_S)
        starts = [now_s]
        while (mark := (starts[-1] // GRID_S + 1) * GRID_S) < until_s:
            starts.append(mark)
        ends = [*starts[1:], until_s]
        net_kw = [
            (_base_w(promised or inputs, a) + reserved_w(inputs.reservations, a, b)) / 1000
            for a, b in zip(starts, ends, strict=True)
        ]
        seconds = [b - a for a, b in zip(starts, ends, strict=True)]
        ahead, order = followed(inputs, starts, seconds, [1000 * kw for kw in net_kw]), _battery_order(inputs)
        given = ahead.steps
        if order is OrderKind.SOC_TARGET:  # its charging gives way to the peak
            given = tuple(msgspec.structs.replace(step, battery_w=max(0.0, step.battery_w)) for step in given)
        stored_kwh, room_kwh = _battery(config, inputs.soc_pct)
        left_kwh = stored_kwh + (ahead.soc_pct - (inputs.soc_pct or 0.0)) / 100 * config.energy_kwh
        contract_w, fuse_w = config.grid.contracted_peak_w, config.grid.fuse_w
        limit_w = min(max(contract_w, inputs.month_peak_w), fuse_w)
        rule = "fuse" if limit_w == fuse_w else "contract" if limit_w == contract_w else "month's peak"
        planned_w = limit_w if plan is None or plan.at(now_s) is None else plan.peak_target_w
        terms = config.tariff.demand_terms
        free_kw = tuple(0.0 if place(terms, config.timezone, t).counts else limit_w / 1000 for t in starts)
        length_s, energy_wh = config.grid.metering_interval_s, inputs.interval_energy_wh
        bare = cls(
            config=config,
            starts_s=tuple(starts),
            hours=tuple(s / 3600 for s in seconds),
            net_kw=tuple(net_kw),
            stored_kwh=stored_kwh,
            room_kwh=room_kwh,
            interval_end_s=(now_s // length_s + 1) * length_s,
            imported_kwh=None if energy_wh is None else energy_wh / 1000,
            kept_w=0.0,
            allowed_w=0.0,
            rule=rule,
            free_kw=free_kw,
            given=given,
            follows=order is OrderKind.IMPORT_TARGET,
            least_kwh=min(0.0, left_kwh),
        )
        floor_w = limit_w
        if terms.eur_per_kw > 0:
            floor_w = min(max(planned_w, inputs.month_peak_w), limit_w)
        kept_w = min(max(floor_w, bare.level_w(bare.net_kw, floor_w)), fuse_w)
        allowed_w = max(limit_w, kept_w)
        return replace(bare, kept_w=kept_w, allowed_w=allowed_w)

    def with_job(self, power_w: float, start_s: float, end_s: float) -> tuple[float, ...]:
        """The path with a job on top."""
        return tuple(
            net + power_w / 1000 * max(0.0, min(a + 3600 * h, end_s) - max(a, start_s)) / (3600 * h)
            for net, a, h in zip(self.net_kw, self.starts_s, self.hours, strict=True)
        )

    def holds(self, level_w: float, path_kw: Sequence[float]) -> bool:
        """Whether the battery keeps import at this level, W, all along a path. It does what the rules do: it aims a
        margin below the level, charges up to that, and in the running metering interval uses what is left of it.
        """
        config, stored = self.config, self.stored_kwh
        charging, discharging = worst_efficiency(config)
        steps = zip(path_kw, self.net_kw, self.given, self.hours, self.free_kw, self.starts_s, strict=True)
        for net, bare, given, hours, free_kw, start_s in steps:
            level_kw = max(level_w / 1000, free_kw)
            aim_kw = level_kw - min(max(config.rules.deadband_w / 1000, MARGIN * level_kw), level_kw / 2)
            credit_kw = self._credit_kw(level_kw) if start_s < self.interval_end_s else 0.0
            wanted = net - aim_kw - credit_kw
            if given.order:
                out_kw = given.battery_w / 1000 + (net - bare if self.follows else 0.0)
                own_kw = bare - given.battery_w / 1000 if given.battery_w < 0 else 0.0  # no job's doing
                if net - min(0.0, out_kw) > max(level_kw + credit_kw, own_kw) + 1e-6:
                    return False
                stored = max(stored - max(0.0, out_kw) * hours / discharging, min(stored, self.least_kwh))
            elif wanted > 0:
                carried = max(0.0, min(wanted, given.discharge_w / 1000, stored * discharging / hours))
                if net - carried > level_kw + credit_kw + 1e-6:
                    return False
                stored -= carried * hours / discharging
            else:
                room_kw = min(max(0.0, aim_kw - net), given.charge_w / 1000)
                stored = min(self.room_kwh, stored + room_kw * hours * charging)
        return True

    def _credit_kw(self, level_kw: float) -> float:
        """How much above a level import may run for the rest of the running metering interval; < 0: must be below."""
        length_h, left_h = self.config.grid.metering_interval_s / 3600, (self.interval_end_s - self.starts_s[0]) / 3600
        if self.imported_kwh is None or left_h <= 0:
            return 0.0
        credit_kw = (level_kw * (length_h - left_h) - self.imported_kwh) / left_h
        return min(credit_kw, SURGE * level_kw, max(0.0, self.config.grid.fuse_w / 1000 - level_kw))

    def level_w(self, path_kw: Sequence[float], low_w: float = 0.0) -> float:
        """The lowest level, W, from `low_w` on at which a path can be kept, to `NEAR_W`."""
        low, high = low_w, max(low_w, 1000 * max(path_kw), NEAR_W)
        if self.holds(low, path_kw):
            return low
        while not self.holds(high, path_kw):  # what the running interval has had already may be above all that comes
            low, high = high, 1.5 * high
        while high - low > NEAR_W:
            middle = (low + high) / 2
            low, high = (low, middle) if self.holds(middle, path_kw) else (middle, high)
        return high

    def need_w(self, asked: Asked, start_s: float) -> float:
        """The level that a job takes if it starts then."""
        return self.level_w(self.with_job(asked.power_w, start_s, start_s + asked.for_s), self.kept_w)


def _battery_order(inputs: PlanInputs) -> OrderKind | None:
    order = holder(inputs.orders, inputs.config, inputs.now_utc_s)
    return None if order is None else order.kind


def _base_w(inputs: PlanInputs, at_s: float) -> float:
    """Net load without any reservation, W: the forecast's, less what the forecast holds of them."""
    k = int((at_s - inputs.load.start_utc_s) // STEP_S)
    k = min(max(k, 0), len(inputs.load.load_w) - 1)
    start_s = inputs.load.start_utc_s + k * STEP_S
    promised_w = reserved_w(inputs.reservations, max(float(start_s), inputs.now_utc_s), start_s + STEP_S)
    pv_w = inputs.pv_w[min(k, len(inputs.pv_w) - 1)] if inputs.pv_w else 0.0
    return inputs.load.load_w[k] - promised_w - pv_w


def _battery(config: DispatchConfig, soc_pct: float | None) -> tuple[float, float]:
    """(kWh stored above the floor, kWh from there to the ceiling). The floor is the reserve, or what is stored now."""
    if not config.batteries or soc_pct is None:
        return 0.0, 0.0
    stored = soc_pct / 100 * config.energy_kwh
    floor = min(reserve_soc_pct(config) / 100 * config.energy_kwh, stored)
    return stored - floor, max(full_kwh(config), stored) - floor


# ── words ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _why_later(asked: Asked, inputs: PlanInputs, plan: Plan | None, start_s: float) -> str:
    now_s = inputs.now_utc_s
    if start_s <= now_s:
        return ""
    site = _Site.of(inputs, plan, now_s + asked.for_s)
    return f"started at once it would take an import of {kw(site.need_w(asked, now_s))}, {kw(site.kept_w)} is kept"


def _refusal(asked: Asked, inputs: PlanInputs, plan: Plan | None, site: _Site, best: tuple[float, float]) -> str:
    config = inputs.config
    best_w, at_s = best
    battery = (
        f"the battery has {site.stored_kwh:.1f} kWh above its reserve now" if config.batteries
        else "there is no battery to help"
    )  # fmt: skip
    line = (
        f"{kw(asked.power_w)} for {span(asked.for_s)} takes an import of {kw(best_w)} at best, started at "
        f"{clock(at_s, config)}; {kw(site.allowed_w)} is allowed, {battery}"
    )
    latest_s = inputs.now_utc_s + config.plan.horizon_h * 3600 - asked.for_s
    for start in _starts(inputs.now_utc_s + asked.within_s, latest_s):
        far = _Site.of(inputs, plan, start + asked.for_s)
        if far.holds(far.allowed_w, far.with_job(asked.power_w, start, start + asked.for_s)):
            wait = span(start - inputs.now_utc_s)
            return f"{line}; it could start at {clock(start, config)}: let it wait {wait}"
    return f"{line}; no start within {span(config.plan.horizon_h * 3600)} would do"
