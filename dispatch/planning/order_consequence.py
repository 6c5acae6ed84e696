"""Says what an order on the battery would do until it ends: SoC, import, interval means, the peak and the contract.

Reckoned in slices that end with each quarter hour, metering interval and order: the net load is the one measured now
for the running quarter hour, then the plan's; without a plan the one measured now holds. The order goes through the
rules that outrank it (`order_projection`; signals and grid events are not among these). Against it stands the site
without the order: the battery as planned, at rest where no plan is in force.

What a load does that nobody has announced is not known. The band of the means is that of the plan's load; without a
plan there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import msgspec

from dispatch.billing.demand_charge import free_peak, interval_account
from dispatch.billing.market_prices import NO_PRICES
from dispatch.billing.peak_charges import main_charge
from dispatch.config.schema import DispatchConfig
from dispatch.model.forecast import QUARTER_S, Forecast
from dispatch.model.metering_interval import Interval
from dispatch.model.orders import BATTERY, Order
from dispatch.model.plan import NEAR_W, Plan, PlanStep
from dispatch.model.reasons import Reason
from dispatch.planning.inputs import PlanInputs
from dispatch.planning.order_projection import local_iso, project_steps

NO_LOAD = Forecast(0, (), (), ())  # the projection asks for the net load of its slices only


class SiteNow(msgspec.Struct, frozen=True, kw_only=True):
    """The site at the moment at which somebody thinks of an order."""

    config: DispatchConfig
    utc_s: float
    net_w: float  # load less PV
    soc_pct: float
    interval: Interval
    free_w: float  # interval mean that raises no bill
    plan: Plan | None = None
    price_eur_per_kwh: float | None = None  # of an imported kWh now; where no plan knows it
    one_charge: bool = True  # False: several charges on peaks are listed, and a kW has not one price


class IntervalOutcome(msgspec.Struct, frozen=True):
    """The mean import of one metering interval, W."""

    start_utc_s: float
    end_utc_s: float
    mean_w: float
    without_w: float  # without the order
    low_w: float | None  # at the ends of the load's band; None: there is none
    high_w: float | None
    exceeds_utc_s: float | None  # when its energy passes what the contract allows; None: it does not


class Consequence(msgspec.Struct, frozen=True):
    """What an order does until it ends."""

    ends_utc_s: float
    battery_wh: float  # AC, > 0 discharged
    soc_before_pct: float
    soc_pct: float  # at its end
    import_wh: float  # more than without it, until the end of the interval in which it ends
    eur: float | None  # what that costs; None: a price is not known
    worst: IntervalOutcome  # the interval with the highest mean
    intervals: tuple[IntervalOutcome, ...]
    peak_rise_w: float  # more than without it
    peak_eur: float | None  # None: it has no single price
    contract_w: float
    planned: bool  # the battery is as planned once the order is over; False: it rests

    @property
    def broken(self) -> IntervalOutcome | None:
        """The first interval above the contract; None: none is expected to be."""
        return next((i for i in self.intervals if i.mean_w > self.contract_w + NEAR_W), None)


class _Slice(msgspec.Struct, frozen=True):
    """A part of a quarter hour. Powers in W."""

    begin_utc_s: float
    seconds: float
    net_w: float
    low_w: float  # how far below and above that the load's band reaches
    high_w: float
    without_w: float  # the battery without the order
    price: float | None


def consequence(site: SiteNow, order: Order) -> Consequence | None:
    """What the order does; None for one that is not on the battery's power."""
    if order.kind not in BATTERY:
        return None
    slices = _slices(site, order.ends_utc_s)
    inputs = PlanInputs(
        now_utc_s=site.utc_s,
        config=site.config,
        prices=NO_PRICES,
        load=NO_LOAD,
        soc_pct=site.soc_pct,
        month_peak_w=site.free_w,
        orders=(order,),
    )
    seconds = [s.seconds for s in slices]
    given = project_steps(inputs, [s.begin_utc_s for s in slices], seconds, [s.net_w for s in slices])
    under = [s.begin_utc_s < order.ends_utc_s for s in slices]
    powers = [step.battery_w for step in given.steps]
    ordered = [w if it_holds else s.without_w for s, w, it_holds in zip(slices, powers, under, strict=True)]
    held = [w * s.seconds / 3600 for s, w, it_holds in zip(slices, powers, under, strict=True) if it_holds]
    more_wh = [
        (max(0.0, s.net_w - w) - max(0.0, s.net_w - s.without_w)) * s.seconds / 3600
        for s, w in zip(slices, ordered, strict=True)
    ]
    costs = [None if s.price is None else wh / 1000 * s.price for s, wh in zip(slices, more_wh, strict=True)]
    outcomes = _outcomes(site, slices, ordered)
    rise_w, rise_eur = _peak(site, outcomes)
    return Consequence(
        ends_utc_s=order.ends_utc_s,
        battery_wh=sum(held),
        soc_before_pct=site.soc_pct,
        soc_pct=given.soc_pct,
        import_wh=sum(more_wh),
        eur=None if None in costs else sum(eur for eur in costs if eur is not None),
        worst=max(outcomes, key=lambda outcome: outcome.mean_w),
        intervals=outcomes,
        peak_rise_w=rise_w,
        peak_eur=rise_eur,
        contract_w=site.config.grid.contracted_peak_w,
        planned=site.plan is not None,
    )


def _slices(site: SiteNow, ends_utc_s: float) -> list[_Slice]:
    """From now to the end of the metering interval in which the order ends."""
    start_s, length_s = site.interval.start_utc_s, site.interval.length_s
    last_s = start_s + length_s * -(-(ends_utc_s - start_s) // length_s)
    cuts = {site.utc_s, ends_utc_s, last_s}
    cuts |= {float(t) for t in range(int(site.utc_s // QUARTER_S + 1) * QUARTER_S, int(last_s) + 1, QUARTER_S)}
    cuts |= {start_s + n * length_s for n in range(int((last_s - start_s) // length_s) + 1)}
    inside = sorted(t for t in cuts if site.utc_s <= t <= last_s)
    return [_slice(site, begin, end) for begin, end in pairwise(inside) if end - begin > 1e-6]


def _slice(site: SiteNow, begin_utc_s: float, end_utc_s: float) -> _Slice:
    step = None if site.plan is None else site.plan.at(begin_utc_s)
    running = begin_utc_s < site.utc_s // QUARTER_S * QUARTER_S + QUARTER_S
    net_w = site.net_w if step is None or running else step.load_w - step.pv_w
    return _Slice(
        begin_utc_s=begin_utc_s,
        seconds=end_utc_s - begin_utc_s,
        net_w=net_w,
        low_w=0.0 if step is None else step.load_w - step.load_low_w,
        high_w=0.0 if step is None else step.load_high_w - step.load_w,
        without_w=0.0 if step is None else step.battery_w,
        price=_price(site, step),
    )


def _price(site: SiteNow, step: PlanStep | None) -> float | None:
    return site.price_eur_per_kwh if step is None else step.price_eur_per_kwh


def _outcomes(site: SiteNow, slices: Sequence[_Slice], ordered: Sequence[float]) -> tuple[IntervalOutcome, ...]:
    """The mean of each metering interval that the order reaches into."""
    grid, interval = site.config.grid, site.interval
    allowed_wh = grid.contracted_peak_w * interval.length_s / 3600
    found: dict[float, list[tuple[_Slice, float]]] = {}
    for s, w in zip(slices, ordered, strict=True):
        start_s = interval.start_utc_s + (s.begin_utc_s - interval.start_utc_s) // interval.length_s * interval.length_s
        found.setdefault(start_s, []).append((s, w))
    result = []
    for start_s, parts in found.items():
        so_far_wh = 0.0 if interval.never_read or start_s != interval.start_utc_s else interval.energy_wh
        means = [_mean_w(parts, so_far_wh, interval.length_s, share) for share in (0.0, -1.0, 1.0)]
        without_wh = so_far_wh + sum(max(0.0, s.net_w - s.without_w) * s.seconds / 3600 for s, _ in parts)
        banded = any(s.low_w or s.high_w for s, _ in parts)
        result.append(
            IntervalOutcome(
                start_utc_s=start_s,
                end_utc_s=start_s + interval.length_s,
                mean_w=means[0],
                without_w=without_wh * 3600 / interval.length_s,
                low_w=means[1] if banded else None,
                high_w=means[2] if banded else None,
                exceeds_utc_s=_exceeds(parts, so_far_wh, allowed_wh),
            )
        )
    return tuple(result)


def _mean_w(parts: Sequence[tuple[_Slice, float]], so_far_wh: float, length_s: float, share: float) -> float:
    """The mean of an interval; share: -1 at the lower end of the load's band, 1 at the upper one."""
    wh = so_far_wh
    for s, w in parts:
        apart_w = share * (s.high_w if share > 0 else s.low_w)
        wh += max(0.0, s.net_w + apart_w - w) * s.seconds / 3600
    return wh * 3600 / length_s


def _exceeds(parts: Sequence[tuple[_Slice, float]], so_far_wh: float, allowed_wh: float) -> float | None:
    """When the energy of an interval passes what is allowed, UTC s; None: it does not."""
    wh = so_far_wh
    for s, w in parts:
        import_w = max(0.0, s.net_w - w)
        after_wh = wh + import_w * s.seconds / 3600
        if after_wh > allowed_wh and import_w > 0:
            return s.begin_utc_s + max(0.0, allowed_wh - wh) * 3600 / import_w
        wh = after_wh
    return None


def _peak(site: SiteNow, outcomes: Sequence[IntervalOutcome]) -> tuple[float, float | None]:
    """By how much the billed peak would be higher than without the order, W, and what that costs, EUR.

    Of the main charge, in the intervals that count towards it.
    """
    terms, offset_s = main_charge(site.config), site.config.grid.interval_offset_s
    counted = [o for o in outcomes if interval_account(terms, site.config.timezone, o.start_utc_s + offset_s).counts]
    with_w = max([site.free_w, *(o.mean_w for o in counted)])
    without_w = max([site.free_w, *(o.without_w for o in counted)])
    rise_w = with_w - without_w if with_w - without_w > NEAR_W else 0.0
    return rise_w, rise_w / 1000 * terms.rise_eur_per_kw if site.one_charge and terms.rise_eur_per_kw else None


# ── in words ────────────────────────────────────────────────────────────────────────────────────────────────────────


def told(found: Consequence, config: DispatchConfig) -> tuple[Reason, ...]:
    """What an order does, a reason for each line: energy and its cost, the interval's mean, the peak, the contract."""
    return (_energy(found, config), _mean(found, config), _rise(found, config), _contract(found, config))


def _energy(found: Consequence, config: DispatchConfig) -> Reason:
    """What the battery gives or takes, the SoC, and the import against none of it."""
    until, wh = local_iso(found.ends_utc_s, config), abs(found.battery_wh)
    soc_pct, before_pct, imported = found.soc_pct, found.soc_before_pct, _import(found)
    if wh < 1.0:
        return Reason("consequence.rests", {"until_local": until, "soc_pct": soc_pct, "import": imported})
    if found.battery_wh > 0:
        return Reason(
            "consequence.gives",
            {"until_local": until, "battery_wh": wh, "before_pct": before_pct, "soc_pct": soc_pct, "import": imported},
        )
    return Reason(
        "consequence.takes",
        {"until_local": until, "battery_wh": wh, "before_pct": before_pct, "soc_pct": soc_pct, "import": imported},
    )


def _import(found: Consequence) -> Reason:
    cost = None if found.eur is None else Reason("consequence.eur", {"eur": abs(found.eur)})
    if found.import_wh < 0:
        return Reason("consequence.less", {"by_wh": -found.import_wh, "cost": cost})
    return Reason("consequence.more", {"by_wh": found.import_wh, "cost": cost})


def _mean(found: Consequence, config: DispatchConfig) -> Reason:
    worst, band, after = found.worst, None, None
    if worst.low_w is not None and worst.high_w is not None:
        band = Reason("consequence.band", {"low_w": worst.low_w, "high_w": worst.high_w})
    if found.ends_utc_s < worst.end_utc_s:  # what rules and plan then do in the rest of it is theirs
        after = Reason("consequence.planned_after", {}) if found.planned else Reason("consequence.rest_after", {})
    start = local_iso(worst.start_utc_s, config)
    return Reason("consequence.mean", {"start_local": start, "mean_w": worst.mean_w, "band": band, "after": after})


def _rise(found: Consequence, config: DispatchConfig) -> Reason:
    peak = free_peak(main_charge(config))
    if not found.peak_rise_w:
        return Reason("consequence.no_rise", {"peak": peak})
    cost = None if found.peak_eur is None else Reason("consequence.rise_eur", {"eur": found.peak_eur})
    return Reason("consequence.rise", {"peak": peak, "rise_w": found.peak_rise_w, "cost": cost})


def _contract(found: Consequence, config: DispatchConfig) -> Reason:
    broken = found.broken
    if broken is not None:
        at_utc_s = broken.start_utc_s if broken.exceeds_utc_s is None else broken.exceeds_utc_s
        anyway = broken.without_w > found.contract_w + NEAR_W
        return Reason(
            "consequence.broken",
            {
                "at_local": local_iso(at_utc_s, config),
                "over_w": broken.mean_w - found.contract_w,
                "anyway": Reason("consequence.anyway") if anyway else None,
            },
        )
    over_w = max((i.high_w or 0.0 for i in found.intervals), default=0.0) - found.contract_w
    if over_w > NEAR_W:
        return Reason("consequence.at_risk", {"contract_w": found.contract_w, "over_w": over_w})
    return Reason("consequence.kept", {"contract_w": found.contract_w})
