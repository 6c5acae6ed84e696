"""Calculates what a site can offer to a grid event: so many kW less for so many hours, now and ahead, and its cost.

An offer is a drop of import below what would be imported without battery (`baseline`), held from its first to its last
second. By battery: the least of what PCS and BMS give, of the net load at the lower edge of its band (an offer exports
nothing), and of the energy above the reserve, through the worst efficiency. For an offer ahead, the energy is what the
plan will have stored by then, and what can be charged more until then below the import that the plan keeps: preparing
raises no peak. With GPUs: also what the caps of all nodes that take one give, at the tolerated slowdown and the power
that the nodes draw now; nobody knows what they will draw.

The cost of the battery is counted against the plan: energy discharged beyond it is charged at the cheapest times of the
plan that have room, less what it would have cost in the offer's hours, and wears the battery twice. GPU-hours that are
lost cost what [caps] says.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from dispatch.config.battery_ratings import full_kwh, reserve_soc_pct, wear_eur_per_kwh, worst_efficiency
from dispatch.config.schema import DispatchConfig
from dispatch.model.equipment import Node
from dispatch.model.plan import Plan, PlanStep
from dispatch.model.power_caps import LEAST_W
from dispatch.model.reasons import Reason
from dispatch.power_caps.pricing import Chosen, Prices, cost, member_of, tier_pct

QUIET_W = 1.0  # less is nothing
DURATIONS_H = (0.25, 1.0, 2.0, 4.0)  # that are shown
LATER_H = (1, 2, 3, 6, 12, 18, 24)  # starts that are shown besides now, from the next full hour on
HOUR_S = 3600


class Compute(msgspec.Struct, frozen=True):
    """What caps on compute nodes give as they draw now."""

    shed_w: float = 0.0
    eur_per_h: float | None = 0.0  # None: the site file gives it no price
    nodes: tuple[str, ...] = ()


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What can be given with the mean load and PV that are expected, not those at the edge of their band. W, EUR."""

    battery_w: float
    battery_eur: float  # against the plan
    compute_w: float
    compute_eur: float | None  # None: GPU-hours have no price


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """A drop that can be held. Powers W, >= 0, below the import as without battery."""

    start_utc_s: float
    hours: float
    battery_w: float  # without touching GPUs
    compute_w: float  # more with caps
    import_w: float  # the mean import then expected, without touching GPUs
    charge_kwh: float  # to be charged for it before it begins, beyond the plan
    battery_eur: float  # against the plan; < 0: it pays as it is
    compute_eur: float | None  # None: GPU-hours have no price
    limited_by: Reason  # what keeps the battery's part from being larger
    expected: Expected  # what there is for a limit of import


class _Ahead(msgspec.Struct, frozen=True):
    """A stretch of the plan. Energies kWh at its end."""

    step: PlanStep
    start_utc_s: float
    end_utc_s: float
    planned_kwh: float
    most_kwh: float  # with all that can be charged up to here
    room_w: float  # by which the battery can charge more, or discharge less

    @property
    def hours(self) -> float:
        return (self.end_utc_s - self.start_utc_s) / 3600


def compute_flexibility(config: DispatchConfig, nodes: Iterable[Node]) -> Compute:
    """What caps on these nodes give, each as deep as its site and its tier of tolerated slowdown allow."""
    if config.caps.max_share <= 0:
        return Compute()
    priced = config.caps.price_eur_per_gpu_hour is not None
    prices = Prices(config.caps.price_eur_per_gpu_hour or 0.0, config.caps.value_eur_per_kwh)
    capped = [one for one in _deepest(config, nodes, prices) if one.shed_w > LEAST_W]
    shed_w = sum(one.shed_w for one in capped)
    eur_per_h = sum(one.eur_per_h for one in capped) if priced else shed_w / 1000 * prices.value_eur_per_kwh
    known = priced or prices.value_eur_per_kwh > 0
    return Compute(shed_w, eur_per_h if known else None, tuple(one.members[0].id for one in capped))


def _deepest(config: DispatchConfig, nodes: Iterable[Node], prices: Prices) -> Iterator[Chosen]:
    """The deepest cap of each node that takes one and whose power is known."""
    terms = {term.id: term for term in config.nodes if term.cap_w is not None and not term.critical}
    for node in nodes:
        term, drawn_w = terms.get(node.id), node.w.good
        if term is not None and drawn_w is not None:
            member = member_of(node, term, config.caps, drawn_w, tier_pct(term, config.caps))
            yield cost((member,), member.lowest_w(), prices)


def shown_starts(now_utc_s: float) -> tuple[float, ...]:
    """The starts that are shown: now, and full hours."""
    hour = int(now_utc_s // HOUR_S) * HOUR_S
    return (now_utc_s, *(float(hour + HOUR_S * later) for later in LATER_H))


def offers(
    config: DispatchConfig,
    plan: Plan,
    soc_pct: float,
    asked: Iterable[tuple[float, float]],
    compute: Compute = Compute(),  # noqa: B008  a frozen value
    discharge_w: float | None = None,
) -> tuple[Offer, ...]:
    """What can be offered at each of the asked times, (start UTC s, hours); one beyond the plan's end is left out.

    soc_pct: of all batteries now. discharge_w: what PCS and BMS give now; None: their rating.
    """
    ahead = tuple(_ahead(config, plan, soc_pct))
    most_w = config.discharge_w if discharge_w is None else min(discharge_w, config.discharge_w)
    found = []
    for start_utc_s, hours in asked:
        window = [one for part in ahead if (one := _cut(part, start_utc_s, start_utc_s + 3600 * hours)) is not None]
        if not window or sum(one.hours for one in window) < hours - 1e-6:
            continue
        before = [part for part in ahead if part.end_utc_s <= start_utc_s]
        found.append(_offer(config, ahead, before, window, soc_pct, most_w, compute))
    return tuple(found)


def _offer(
    config: DispatchConfig,
    ahead: Sequence[_Ahead],
    before: Sequence[_Ahead],
    window: Sequence[_Ahead],
    soc_pct: float,
    most_w: float,
    compute: Compute,
) -> Offer:
    hours = sum(one.hours for one in window)
    now_kwh = soc_pct / 100 * config.energy_kwh
    planned_kwh, stored_kwh = (before[-1].planned_kwh, before[-1].most_kwh) if before else (now_kwh, now_kwh)
    floor_kwh = reserve_soc_pct(config) / 100 * config.energy_kwh
    discharge = worst_efficiency(config).discharge
    by_energy_w = 1000 * max(0.0, stored_kwh - floor_kwh) * discharge / hours
    by_load_w = max(0.0, min(one.step.load_low_w - one.step.pv_w for one in window))
    bounds = (
        (most_w, Reason("flexibility.power", {"battery_w": most_w})),
        (by_energy_w, Reason("flexibility.energy", {"stored_wh": 1000 * max(0.0, stored_kwh - floor_kwh)})),
        (by_load_w, Reason("flexibility.load", {"load_w": by_load_w})),
    )
    battery_w, why = min(bounds, key=lambda bound: bound[0])
    battery_w = battery_w if battery_w >= QUIET_W and config.batteries else 0.0
    net_wh = sum((one.step.load_w - one.step.pv_w) * one.hours for one in window)
    expected_w = max(0.0, min(most_w, by_energy_w, net_wh / hours)) if config.batteries else 0.0
    expected_compute_w = max(0.0, min(compute.shed_w, net_wh / hours - expected_w))
    needed_kwh = battery_w / 1000 * hours / discharge
    spare_w = max(0.0, by_load_w - battery_w)
    compute_w = min(compute.shed_w, spare_w)
    return Offer(
        start_utc_s=window[0].start_utc_s,
        hours=hours,
        battery_w=battery_w,
        compute_w=compute_w,
        import_w=net_wh / hours - battery_w,
        charge_kwh=max(0.0, floor_kwh + needed_kwh - planned_kwh) if battery_w else 0.0,
        battery_eur=_battery_eur(config, ahead, window, battery_w),
        compute_eur=_compute_eur(compute, compute_w, hours),
        limited_by=why if config.batteries else Reason("flexibility.no_battery"),
        expected=Expected(
            battery_w=expected_w,
            battery_eur=_battery_eur(config, ahead, window, expected_w),
            compute_w=expected_compute_w,
            compute_eur=_compute_eur(compute, expected_compute_w, hours),
        ),
    )


def _battery_eur(config: DispatchConfig, ahead: Sequence[_Ahead], window: Sequence[_Ahead], battery_w: float) -> float:
    """What a constant discharge costs more than the plan's, EUR."""
    more_kwh = [max(0.0, battery_w - one.step.battery_w) / 1000 * one.hours for one in window]
    spared_eur = sum(kwh * one.step.price_eur_per_kwh for kwh, one in zip(more_kwh, window, strict=True))
    efficiency = worst_efficiency(config)
    out_kwh = sum(more_kwh)
    bought_kwh = out_kwh / (efficiency.charge * efficiency.discharge)
    begin_utc_s, end_utc_s = window[0].start_utc_s, window[-1].end_utc_s
    outside = [one for one in ahead if one.end_utc_s <= begin_utc_s or one.start_utc_s >= end_utc_s]
    return _bought_eur(outside, bought_kwh) - spared_eur + wear_eur_per_kwh(config) * (out_kwh + bought_kwh)


def _bought_eur(parts: Sequence[_Ahead], kwh: float) -> float:
    """The price of charging so much at the cheapest times that have room; what finds none at the dearest of them."""
    left_kwh, total_eur, price = kwh, 0.0, 0.0
    for part in sorted(parts, key=lambda one: one.step.price_eur_per_kwh):
        taken_kwh = min(left_kwh, part.room_w / 1000 * part.hours)
        price = part.step.price_eur_per_kwh
        total_eur += taken_kwh * price
        left_kwh -= taken_kwh
        if left_kwh <= 0:
            break
    return total_eur + max(0.0, left_kwh) * price


def _ahead(config: DispatchConfig, plan: Plan, soc_pct: float) -> Iterator[_Ahead]:
    """The plan from when it was made on, with what is stored by the plan and at most."""
    full, efficiency = full_kwh(config), worst_efficiency(config)
    planned_kwh = most_kwh = soc_pct / 100 * config.energy_kwh
    for n, step in enumerate(plan.steps):
        end_utc_s = float(step.start_utc_s + plan.step_s)
        start_utc_s = max(float(step.start_utc_s), min(plan.made_utc_s, end_utc_s))
        hours = (end_utc_s - start_utc_s) / 3600
        room_w = _room_w(config, plan, n)
        planned_kwh = _within(planned_kwh + _stored_kwh(step.battery_w, hours, efficiency), max(full, planned_kwh))
        more_kwh = most_kwh + _stored_kwh(step.battery_w - room_w, hours, efficiency)
        most_kwh = max(planned_kwh, _within(more_kwh, max(full, most_kwh)))
        yield _Ahead(step, start_utc_s, end_utc_s, planned_kwh, most_kwh, room_w)


def _room_w(config: DispatchConfig, plan: Plan, n: int) -> float:
    """By how much more the battery can charge in a step of the plan, without a higher peak than the plan keeps."""
    step, kept_w = plan.steps[n], plan.keep_w[n] if plan.keep_w else plan.peak_target_w
    most_w = min(config.grid.fuse_w, config.grid.contracted_peak_w, math.inf if kept_w is None else kept_w)
    return max(0.0, min(step.battery_w + config.charge_w, most_w - step.grid_w))


def _stored_kwh(battery_w: float, hours: float, efficiency: tuple[float, float]) -> float:
    """By how much the stored energy changes at a power, > 0 discharges."""
    charge, discharge = efficiency
    return -battery_w / 1000 * hours * (charge if battery_w < 0 else 1 / discharge)


def _within(kwh: float, most_kwh: float) -> float:
    return min(max(kwh, 0.0), most_kwh)


def _cut(part: _Ahead, start_utc_s: float, end_utc_s: float) -> _Ahead | None:
    """What of a stretch lies between two instants; None: nothing."""
    begin, end = max(part.start_utc_s, start_utc_s), min(part.end_utc_s, end_utc_s)
    return msgspec.structs.replace(part, start_utc_s=begin, end_utc_s=end) if end > begin else None


def _compute_eur(compute: Compute, w: float, hours: float) -> float | None:
    """What so much of what caps give costs; None: GPU-hours have no price."""
    if compute.shed_w <= 0:
        return 0.0
    return None if compute.eur_per_h is None else w / compute.shed_w * compute.eur_per_h * hours
