"""Import in the hours to come, in steps of five minutes at most, and the level at which the battery can hold it.

The path is the forecast load less PV, with every reservation that stands. Over it the battery gives what is above a
level and takes back what is below, as fast as ratings and that level allow: no other use of it holds a level that this
does not. A battery that a manual order has does what the order says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import msgspec

from dispatch.billing.demand_charge import ChargeTerms, added_eur, interval_account
from dispatch.billing.import_allowance import MARGIN, SURGE
from dispatch.config.battery_ratings import Efficiency, full_kwh, reserve_soc_pct, worst_efficiency
from dispatch.config.demand_terms import DemandTerms
from dispatch.config.schema import DispatchConfig
from dispatch.model.forecast import QUARTER_S
from dispatch.model.orders import OrderKind
from dispatch.model.plan import NEAR_W, Plan
from dispatch.model.reasons import Reason
from dispatch.model.reservations import reserved_w
from dispatch.planning.inputs import PlanInputs
from dispatch.planning.lp_peaks import levels_of
from dispatch.planning.order_projection import OrderedStep, battery_holder, project_steps, with_raised_reserve

GRID_S = 300.0  # the path's steps end on these marks of the clock
ROUNDING_KW = 1e-6


class PathStep(msgspec.Struct, frozen=True):
    """One step of the path without the job."""

    start_s: float
    hours: float
    net_kw: float  # load less PV, with what is reserved
    free_kw: float  # what import costs nothing in any case: the limit where it does not count
    given: OrderedStep  # what manual orders make of the step, and leave of the battery
    most_kw: float = math.inf  # whatever level is kept, import stays below

    def overlap_s(self, start_s: float, end_s: float) -> float:
        """How much of the step lies between two instants."""
        return max(0.0, min(self.start_s + 3600 * self.hours, end_s) - max(self.start_s, start_s))


class _Level(msgspec.Struct, frozen=True):
    """A level of import in one step, kW."""

    level_kw: float
    aim_kw: float  # a margin below it: up to here the battery charges
    credit_kw: float  # how far import may be above it in the running metering interval; < 0: must be below

    @property
    def most_kw(self) -> float:
        return self.level_kw + self.credit_kw


class _ChargeLevel(NamedTuple):
    """The level that is kept anyway in the intervals that count towards a charge."""

    terms: DemandTerms
    w: float
    added: float = 0.0  # what the running period has above its contract, where that adds up

    def counts(self, config: DispatchConfig, utc_s: float) -> bool:
        """Whether the interval that begins then counts."""
        return interval_account(self.terms, config.timezone, utc_s).counts

    def rise_eur_per_kw(self, path: ImportPath) -> float:
        """What a kW more costs in the path's hours, EUR: where months have weights, in the heaviest of them."""
        places = [interval_account(self.terms, path.config.timezone, step.start_s) for step in path.steps]
        weight = max((at.weight for at in places if at.counts), default=1.0)
        return weight * self.terms.rise_eur_per_kw


@dataclass(frozen=True)
class ImportPath:
    """The hours to come without the job, and what the battery could do about them."""

    config: DispatchConfig
    steps: tuple[PathStep, ...]
    stored_kwh: float  # above the floor
    room_kwh: float  # from the floor to the ceiling
    efficiency: Efficiency
    interval_end_s: float  # of the running metering interval
    imported_kwh: float | None  # in it so far; None: not known
    kept_w: float  # the level that is kept anyway
    allowed_w: float  # the level that may not be passed
    rule: Reason  # what sets it
    follows: bool  # the order keeps an import: what the job draws comes out of the battery
    least_kwh: float  # <= 0: so far below the floor the order takes the energy
    levels: tuple[_ChargeLevel, ...]  # of each charge on peaks, the main one's first

    @classmethod
    def of(
        cls,
        inputs: PlanInputs,
        plan: Plan | None,
        until_s: float,
        promised: PlanInputs | None = None,
    ) -> ImportPath:
        """`promised`: where the load forecast holds other reservations than `inputs` name, those inputs."""
        config, now_s = with_raised_reserve(inputs.config, inputs.orders), inputs.now_utc_s
        (limit_w, rule), order = _limit(inputs), _battery_order(inputs)
        levels = _levels(inputs, plan, limit_w)
        steps, soc_pct = _steps(inputs, promised or inputs, until_s, limit_w, levels)
        stored_kwh, room_kwh = _battery(config, inputs.soc_pct)
        left_kwh = stored_kwh + (soc_pct - (inputs.soc_pct or 0.0)) / 100 * config.energy_kwh
        length_s, energy_wh = config.grid.metering_interval_s, inputs.interval_energy_wh
        bare = cls(
            config=config,
            steps=steps,
            stored_kwh=stored_kwh,
            room_kwh=room_kwh,
            efficiency=worst_efficiency(config),
            interval_end_s=(now_s // length_s + 1) * length_s,
            imported_kwh=None if energy_wh is None else energy_wh / 1000,
            kept_w=0.0,
            allowed_w=0.0,
            rule=rule,
            follows=order is OrderKind.IMPORT_TARGET,
            least_kwh=min(0.0, left_kwh),
            levels=levels,
        )
        floor_w = limit_w
        if levels[0].terms.eur_per_kw > 0:
            met = [level.w for level in levels if any(level.counts(config, step.start_s) for step in steps)]
            floor_w = min(met, default=levels[0].w)
        kept_w = min(max(floor_w, bare.level_w(bare.net_kw, floor_w)), config.grid.fuse_w)
        return replace(bare, kept_w=kept_w, allowed_w=max(limit_w, kept_w))

    @property
    def net_kw(self) -> tuple[float, ...]:
        """The path without the job."""
        return tuple(step.net_kw for step in self.steps)

    def with_job(self, power_w: float, start_s: float, end_s: float) -> tuple[float, ...]:
        """The path with a job on top."""
        added_kw = (power_w / 1000 * step.overlap_s(start_s, end_s) / (3600 * step.hours) for step in self.steps)
        return tuple(step.net_kw + kw for step, kw in zip(self.steps, added_kw, strict=True))

    def can_hold(self, level_w: float, path_kw: Sequence[float]) -> bool:
        """Whether the battery keeps import at this level, W, all along a path. It does what the rules do: it aims a
        margin below the level, charges up to that, and in the running metering interval uses what is left of it.
        """
        stored_kwh = self.stored_kwh
        for step, net_kw in zip(self.steps, path_kw, strict=True):
            level = self._level(step, level_w)
            after = self._stored_after_order if step.given.order else self._stored_after
            left_kwh = after(step, net_kw, level, stored_kwh)
            if left_kwh is None:
                return False
            stored_kwh = left_kwh
        return True

    def _level(self, step: PathStep, level_w: float) -> _Level:
        level_kw = max(min(level_w / 1000, step.most_kw), step.free_kw)
        aim_kw = level_kw - min(max(self.config.rules.deadband_w / 1000, MARGIN * level_kw), level_kw / 2)
        return _Level(level_kw, aim_kw, self._credit_kw(level_kw) if step.start_s < self.interval_end_s else 0.0)

    def _stored_after_order(self, step: PathStep, net_kw: float, level: _Level, stored_kwh: float) -> float | None:
        """Energy stored after a step in which an order has the battery; None: import is above the level."""
        ordered_kw = step.given.battery_w / 1000
        out_kw = ordered_kw + (net_kw - step.net_kw if self.follows else 0.0)
        own_kw = step.net_kw - ordered_kw if ordered_kw < 0 else 0.0  # no job's doing
        if net_kw - min(0.0, out_kw) > max(level.most_kw, own_kw) + ROUNDING_KW:
            return None
        return max(
            stored_kwh - max(0.0, out_kw) * step.hours / self.efficiency.discharge, min(stored_kwh, self.least_kwh)
        )

    def _stored_after(self, step: PathStep, net_kw: float, level: _Level, stored_kwh: float) -> float | None:
        """Energy stored, kWh, after a step in which the battery holds import at the level; None if it cannot."""
        wanted_kw = net_kw - level.aim_kw - level.credit_kw
        if wanted_kw <= 0:
            charge_kw = min(max(0.0, level.aim_kw - net_kw), step.given.charge_w / 1000)
            return min(self.room_kwh, stored_kwh + charge_kw * step.hours * self.efficiency.charge)
        most_kw = min(wanted_kw, step.given.discharge_w / 1000, self._gives_kw(step, stored_kwh))
        carried_kw = max(0.0, most_kw)
        if net_kw - carried_kw > level.most_kw + ROUNDING_KW:
            return None
        return stored_kwh - carried_kw * step.hours / self.efficiency.discharge

    def _credit_kw(self, level_kw: float) -> float:
        """How much above a level import may run for the rest of the running metering interval; < 0: must be below."""
        left_h = (self.interval_end_s - self.steps[0].start_s) / 3600
        length_h = self.config.grid.metering_interval_s / 3600
        if self.imported_kwh is None or left_h <= 0:
            return 0.0
        credit_kw = (level_kw * (length_h - left_h) - self.imported_kwh) / left_h
        return min(credit_kw, SURGE * level_kw, max(0.0, self.config.grid.fuse_w / 1000 - level_kw))

    def level_w(self, path_kw: Sequence[float], low_w: float = 0.0) -> float:
        """The lowest level, W, from `low_w` on at which a path can be kept, to `NEAR_W`."""
        low, high = low_w, max(low_w, 1000 * max(path_kw), NEAR_W)
        if self.can_hold(low, path_kw):
            return low
        while not self.can_hold(high, path_kw):  # what the running interval has had may be above all that comes
            low, high = high, 1.5 * high
        while high - low > NEAR_W:
            middle = (low + high) / 2
            low, high = (low, middle) if self.can_hold(middle, path_kw) else (middle, high)
        return high

    def rise_eur(self, rise_w: float, above_w: float, path_kw: Sequence[float]) -> float:
        """What a path costs that takes a rise by so much above a level, by the charges whose own level it must pass.

        Of several charges, the dearest first, each is kept at its level in its hours if the battery can do that.
        """
        kept: tuple[_ChargeLevel, ...] = ()
        total_eur = 0.0
        for level in self.levels:
            if level.terms.adds:  # see `excess_eur`
                continue
            passed_w = rise_w - max(0.0, level.w - above_w)
            if passed_w <= 0:
                continue
            if self.levels[1:] and self._keeping((*kept, level)).can_hold(above_w + rise_w, path_kw):
                kept = (*kept, level)
            else:
                total_eur += passed_w / 1000 * level.rise_eur_per_kw(self)
        return total_eur

    @property
    def adds(self) -> bool:
        """Whether a charge adds up what each interval has above its contract."""
        return any(level.terms.adds for level in self.levels)

    def excess_eur(self, path_kw: Sequence[float]) -> float:
        """What a path costs more than that without the job, EUR, by charges that add up what each interval has above a
        contract. The battery carries what is above it while it has energy.
        """
        adding = [level for level in self.levels if level.terms.adds]
        return sum(self._added_eur(level, path_kw) - self._added_eur(level, self.net_kw) for level in adding)

    def _added_eur(self, level: _ChargeLevel, path_kw: Sequence[float]) -> float:
        """What a path costs by one of them, EUR. Of the running interval what was imported so far is in its mean."""
        terms, zone = level.terms, self.config.timezone
        if not isinstance(terms, ChargeTerms):
            return 0.0
        length_s, contract_kw = terms.interval_s, terms.floor_w / 1000
        energy: dict[int, tuple[float, float]] = {}  # by interval: kWh, hours
        first_s = self.steps[0].start_s
        if self.imported_kwh is not None and length_s == self.config.grid.metering_interval_s:
            energy[int(first_s // length_s)] = self.imported_kwh, first_s % length_s / 3600
        stored_kwh = self.stored_kwh
        for step, net_kw in zip(self.steps, path_kw, strict=True):
            counts = level.counts(self.config, step.start_s // length_s * length_s)
            import_kw, stored_kwh = self._carried(step, net_kw, contract_kw if counts else math.inf, stored_kwh)
            kwh, hours = energy.get(int(step.start_s // length_s), (0.0, 0.0))
            energy[int(step.start_s // length_s)] = kwh + max(0.0, import_kw) * step.hours, hours + step.hours
        above: dict[str, list[tuple[float, float]]] = {}
        for number, (kwh, hours) in energy.items():
            at = interval_account(terms, zone, number * length_s)
            if at.counts:
                above_w = max(0.0, 1000 * at.weight * kwh / hours - terms.floor_w)
                above.setdefault(at.account, []).append((above_w, 3600 * hours / length_s))
        now = interval_account(terms, zone, first_s).account
        return sum(added_eur(terms, level.added if of == now else 0.0, each) for of, each in above.items())

    def _carried(self, step: PathStep, net_kw: float, most_kw: float, stored_kwh: float) -> tuple[float, float]:
        """(import, kW; energy stored after the step, kWh), where the battery keeps import below `most_kw` as far as it
        can, and charges only below that; or does what an order says.
        """
        level = _Level(most_kw, most_kw, 0.0)
        if step.given.order:
            out_kw = step.given.battery_w / 1000 + (net_kw - step.net_kw if self.follows else 0.0)
            left_kwh = self._stored_after_order(step, net_kw, _Level(math.inf, math.inf, 0.0), stored_kwh)
            return net_kw - out_kw, stored_kwh if left_kwh is None else left_kwh
        over_kw = max(0.0, net_kw - most_kw)
        can_kw = max(0.0, min(over_kw, step.given.discharge_w / 1000, self._gives_kw(step, stored_kwh)))
        left_kwh = self._stored_after(step, min(net_kw, most_kw + can_kw), level, stored_kwh)
        return net_kw - can_kw, stored_kwh if left_kwh is None else left_kwh

    def _gives_kw(self, step: PathStep, stored_kwh: float) -> float:
        """What the energy stored is in a step, kW."""
        return stored_kwh * self.efficiency.discharge / step.hours

    def _keeping(self, levels: tuple[_ChargeLevel, ...]) -> ImportPath:
        """The same, where the levels of these charges are not passed in their hours."""
        most_kw = (
            min((level.w for level in levels if level.counts(self.config, step.start_s)), default=math.inf) / 1000
            for step in self.steps
        )
        steps = (msgspec.structs.replace(step, most_kw=kw) for step, kw in zip(self.steps, most_kw, strict=True))
        return replace(self, steps=tuple(steps))

    def need_w(self, power_w: float, start_s: float, end_s: float) -> float:
        """The level that a job takes."""
        return self.level_w(self.with_job(power_w, start_s, end_s), self.kept_w)


def _limit(inputs: PlanInputs) -> tuple[float, Reason]:
    """The import that may not be passed, W, and what sets it."""
    contract_w, fuse_w = inputs.config.grid.contracted_peak_w, inputs.config.grid.fuse_w
    limit_w = min(max(contract_w, inputs.month_peak_w), fuse_w)
    if limit_w == fuse_w:
        return limit_w, Reason("sets.fuse")
    return limit_w, Reason("sets.contract") if limit_w == contract_w else Reason("peak.month")


def _steps(
    inputs: PlanInputs, promised: PlanInputs, until_s: float, limit_w: float, levels: Sequence[_ChargeLevel]
) -> tuple[tuple[PathStep, ...], float]:
    """(the steps up to a time, or to the last reservation's end; the SoC that orders leave after them)."""
    config, starts = inputs.config, [inputs.now_utc_s]
    until_s = max(until_s, *(r.end_utc_s for r in inputs.reservations), inputs.now_utc_s + GRID_S)
    while (mark := (starts[-1] // GRID_S + 1) * GRID_S) < until_s:
        starts.append(mark)
    spans = list(zip(starts, [*starts[1:], until_s], strict=True))
    net_kw = [(_base_w(promised, a) + reserved_w(inputs.reservations, a, b)) / 1000 for a, b in spans]
    seconds = [b - a for a, b in spans]
    ahead = project_steps(inputs, starts, seconds, [1000 * kw for kw in net_kw])
    given = ahead.steps
    if _battery_order(inputs) is OrderKind.SOC_TARGET:  # its charging gives way to the peak
        given = tuple(msgspec.structs.replace(step, battery_w=max(0.0, step.battery_w)) for step in given)
    free_kw = [_free_w(config, levels, t, limit_w) / 1000 for t in starts]
    rows = zip(starts, [s / 3600 for s in seconds], net_kw, free_kw, given, strict=True)
    return tuple(PathStep(*row) for row in rows), ahead.soc_pct


def _levels(inputs: PlanInputs, plan: Plan | None, limit_w: float) -> tuple[_ChargeLevel, ...]:
    """What each charge on peaks leaves free, or the plan lets it rise to; at most the limit."""
    targets_w, planned_w = dict[str, float](), limit_w
    if plan is not None and plan.at(inputs.now_utc_s) is not None:
        targets_w, planned_w = plan.targets_w, plan.peak_target_w
    return tuple(
        _ChargeLevel(terms, min(max(targets_w.get(terms.id, planned_w), level.free_w), limit_w), level.added)
        for terms, level in levels_of(inputs)
    )


def _free_w(config: DispatchConfig, levels: Sequence[_ChargeLevel], utc_s: float, limit_w: float) -> float:
    """What import costs nothing at an instant whatever level is kept, W: where several charges are, the lowest's."""
    counting = [level.w for level in levels if level.counts(config, utc_s)]
    if not counting:
        return limit_w
    return min(counting) if levels[1:] else 0.0


def _battery_order(inputs: PlanInputs) -> OrderKind | None:
    order = battery_holder(inputs.orders, inputs.config, inputs.now_utc_s)
    return None if order is None else order.kind


def _base_w(inputs: PlanInputs, at_s: float) -> float:
    """Net load without any reservation, W: the forecast's, less what the forecast holds of them."""
    k = int((at_s - inputs.load.start_utc_s) // QUARTER_S)
    k = min(max(k, 0), len(inputs.load.load_w) - 1)
    start_s = inputs.load.start_utc_s + k * QUARTER_S
    promised_w = reserved_w(inputs.reservations, max(float(start_s), inputs.now_utc_s), start_s + QUARTER_S)
    pv_w = inputs.pv_w[min(k, len(inputs.pv_w) - 1)] if inputs.pv_w else 0.0
    return inputs.load.load_w[k] - promised_w - pv_w


def _battery(config: DispatchConfig, soc_pct: float | None) -> tuple[float, float]:
    """(kWh stored above the floor, kWh from there to the ceiling). The floor is the reserve, or what is stored now."""
    if not config.batteries or soc_pct is None:
        return 0.0, 0.0
    stored = soc_pct / 100 * config.energy_kwh
    floor = min(reserve_soc_pct(config) / 100 * config.energy_kwh, stored)
    return stored - floor, max(full_kwh(config), stored) - floor
