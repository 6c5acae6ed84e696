"""Says what an order on the battery would do until it ends: SoC, import, interval means, the peak and the contract.

Reckoned in slices that end with each quarter hour, metering interval and order: the net load is the one measured now
for the running quarter hour, then the plan's; without a plan the one measured now holds. The order goes through the
rules that outrank it (`order_projection`), beside the other orders in force and the limits of signals and grid events.
Those of the grid operator outrank an order; the others it may exceed, which is told. Limits of PV are not counted, and
what BMS and temperatures allow now is taken to stay.

Against it stands the site without the order: the order in force that it would replace, else the battery as planned, at
rest where no plan is in force; and where no order has the battery, it holds the mean of the interval at the limit that
is kept, as far as power and reserve allow.

What a load does that nobody has announced is not known. The band of the means is that of the plan's load; without a
plan there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import msgspec

from dispatch.billing.demand_charge import IntervalAccount, free_peak, free_w, interval_account
from dispatch.billing.market_prices import NO_PRICES
from dispatch.billing.peak_charges import main_charge, peak_charges
from dispatch.config.battery_ratings import mean_efficiency, reserve_soc_pct
from dispatch.config.demand_terms import DemandTerms
from dispatch.config.schema import DispatchConfig
from dispatch.control.rules.situation import surplus_w
from dispatch.model.forecast import QUARTER_S, Forecast
from dispatch.model.metering_interval import LAST_S, Interval
from dispatch.model.orders import BATTERY, Order, OrderKind
from dispatch.model.plan import NEAR_W, Plan, PlanStep
from dispatch.model.reasons import Reason
from dispatch.model.signals import Quantity, Signal, both
from dispatch.planning.inputs import PlanInputs
from dispatch.planning.order_projection import project_steps, rise_pct
from dispatch.planning.signals_in_time import limits_in

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
    charge: str = ""  # id of the listed charge that `free_w` is of; "": the main one
    orders: tuple[Order, ...] = ()  # in force; one on the battery is replaced
    signals: tuple[Signal, ...] = ()  # from outside, and the limits of grid events, that are not over


class IntervalOutcome(msgspec.Struct, frozen=True):
    """The mean import of one metering interval, W."""

    start_utc_s: float
    end_utc_s: float
    mean_w: float
    without_w: float  # without the order
    low_w: float | None  # at the ends of the load's band; None: there is none
    high_w: float | None
    exceeds_utc_s: float | None  # when its energy passes what the contract allows; None: it does not


class LimitOutcome(msgspec.Struct, frozen=True):
    """The limit from outside that an order comes nearest to, or exceeds most."""

    signal: Signal
    over_w: float  # < 0: so much is left
    at_utc_s: float


class Consequence(msgspec.Struct, frozen=True):
    """What an order does until it ends."""

    ends_utc_s: float
    battery_wh: float  # AC, > 0 discharged
    soc_before_pct: float
    soc_pct: float  # at its end
    import_wh: float  # more than without it, until it ends
    eur: float | None  # what that costs, < 0: saves; None: a price is not known
    rests: bool  # the battery is at rest all the time
    unknown_s: float  # of the running interval that were not measured
    worst: IntervalOutcome  # the interval with the highest mean
    intervals: tuple[IntervalOutcome, ...]
    peak: Reason  # which one
    peak_rise_w: float  # more than without it
    peak_eur: float | None  # None: it has no single price
    contract_w: float
    planned: bool  # the battery is as planned once the order is over; False: it rests
    limit: LimitOutcome | None = None  # None: no limit from outside stands in its time

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
    planned_w: float  # the battery where no order has it
    price: float | None


def consequence(site: SiteNow, order: Order, beside: tuple[Order, ...] = ()) -> Consequence | None:
    """What the order does; None for one that is not on the battery's power. `beside`: orders that come with it."""
    if order.kind not in BATTERY:
        return None
    taken = {o.slot for o in (order, *beside)}
    others = (*(o for o in site.orders if o.slot not in taken), *beside)
    slices = _slices(site, order.ends_utc_s)
    under = [s.begin_utc_s < order.ends_utc_s for s in slices]
    ordered, soc_pct = _powers(site, slices, (*others, order), 0.0)
    without, _ = _powers(site, slices, site.orders, 0.0)
    held = [(w, w * s.seconds / 3600) for s, w, it_holds in zip(slices, ordered, under, strict=True) if it_holds]
    more_wh = [
        (max(0.0, s.net_w - w) - max(0.0, s.net_w - else_w)) * s.seconds / 3600
        for s, w, else_w, it_holds in zip(slices, ordered, without, under, strict=True)
        if it_holds
    ]
    priced = [s.price for s, it_holds in zip(slices, under, strict=True) if it_holds]
    costs = [None if price is None else wh / 1000 * price for price, wh in zip(priced, more_wh, strict=True)]
    low, high = (_powers(site, slices, (*others, order), share)[0] for share in (-1.0, 1.0))
    outcomes = _outcomes(site, slices, _Ways(ordered, without, low, high))
    rise_w, rise_eur = _peak(site, outcomes)
    return Consequence(
        ends_utc_s=order.ends_utc_s,
        battery_wh=sum(wh for _, wh in held),
        soc_before_pct=site.soc_pct,
        soc_pct=soc_pct,
        import_wh=sum(more_wh),
        eur=None if None in costs else sum(eur for eur in costs if eur is not None),
        rests=all(abs(w) <= NEAR_W for w, _ in held),
        unknown_s=site.interval.unknown_s,
        worst=max(outcomes, key=lambda outcome: outcome.mean_w),
        intervals=outcomes,
        peak=free_peak(_terms(site)),
        peak_rise_w=rise_w,
        peak_eur=rise_eur,
        contract_w=site.config.grid.contracted_peak_w,
        planned=site.plan is not None,
        limit=_limit(site, [(s, w) for s, w, it_holds in zip(slices, ordered, under, strict=True) if it_holds]),
    )


def _slices(site: SiteNow, ends_utc_s: float) -> list[_Slice]:
    """From now to the end of the metering interval in which the order ends."""
    start_s, length_s = site.interval.start_utc_s, site.interval.length_s
    last_s = start_s + length_s * -(-(ends_utc_s - start_s) // length_s)
    cuts = {site.utc_s, ends_utc_s, last_s, *(o.ends_utc_s for o in site.orders)}
    cuts |= {float(t) for t in range(int(site.utc_s // QUARTER_S + 1) * QUARTER_S, int(last_s) + 1, QUARTER_S)}
    cuts |= {t for signal in site.signals for t in (signal.start_utc_s, signal.end_utc_s)}
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
        planned_w=0.0 if step is None or step.order else step.battery_w,
        price=_price(site, step, running),
    )


def _price(site: SiteNow, step: PlanStep | None, running: bool) -> float | None:
    """What an imported kWh costs; without a plan it is known of the running quarter hour only."""
    if step is None:
        return site.price_eur_per_kwh if running else None
    return None if step.assumed else step.price_eur_per_kwh


class _Ways(msgspec.Struct, frozen=True):
    """The battery's power in each slice, W: with the order, without it, and with it at the ends of the load's band."""

    ordered: Sequence[float]
    without: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


def _powers(
    site: SiteNow, slices: Sequence[_Slice], orders: tuple[Order, ...], share: float
) -> tuple[list[float], float]:
    """(the battery's power in each slice under these orders, W; the SoC once they are over)."""
    inputs = PlanInputs(
        now_utc_s=site.utc_s,
        config=site.config,
        prices=NO_PRICES,
        load=NO_LOAD,
        soc_pct=site.soc_pct,
        month_peak_w=site.free_w,
        orders=orders,
        signals=site.signals,
    )
    nets = [s.net_w + _apart_w(s, share) for s in slices]
    given = project_steps(inputs, [s.begin_utc_s for s in slices], [s.seconds for s in slices], nets)
    powers: list[float] = []
    soc_pct, wh, interval_s = site.soc_pct, _so_far_wh(site.interval), site.interval.start_utc_s
    for s, net_w, step in zip(slices, nets, given.steps, strict=True):
        start_s = _interval_start_s(site.interval, s)
        if start_s != interval_s:
            wh, interval_s = 0.0, start_s
        w = step.battery_w
        if step.reason is None:  # no order has the battery
            kept = max((o.value for o in orders if _raises(o, s)), default=reserve_soc_pct(site.config))
            w = _unordered_w(site, s, net_w, wh, min(step.discharge_w, _given_w(site.config, s, soc_pct - kept)))
        powers.append(w)
        soc_pct += rise_pct(w, s.seconds, site.config)
        wh += max(0.0, net_w - w) * s.seconds / 3600
    return powers, given.soc_pct


def _raises(order: Order, s: _Slice) -> bool:
    return order.kind is OrderKind.RESERVE_LEVEL and order.ends_utc_s > s.begin_utc_s


def _given_w(config: DispatchConfig, s: _Slice, spare_pct: float) -> float:
    """The power that so much SoC lasts for."""
    return max(0.0, spare_pct) * 10 * config.energy_kwh * mean_efficiency(config).discharge * 3600 / s.seconds


def _unordered_w(site: SiteNow, s: _Slice, net_w: float, so_far_wh: float, most_w: float) -> float:
    """As planned, but no less than what keeps the interval's mean at its limit, and the limits from outside."""
    interval = site.interval
    left_s = _interval_start_s(interval, s) + interval.length_s - s.begin_utc_s
    allowed_w = max(0.0, interval.limit_w * interval.length_s / 3600 - so_far_wh) * 3600 / max(left_s, LAST_S)
    asked = both(*limits_in(site.signals, s.begin_utc_s, s.begin_utc_s + s.seconds))
    w = max(s.planned_w, min(net_w - min(allowed_w, asked.import_w), most_w), -asked.charge_w - surplus_w(net_w))
    return min(w, net_w + asked.export_w)


def _so_far_wh(interval: Interval) -> float:
    return 0.0 if interval.never_read else interval.energy_wh


def _interval_start_s(interval: Interval, s: _Slice) -> float:
    """When the metering interval begins that holds a slice."""
    return interval.start_utc_s + (s.begin_utc_s - interval.start_utc_s) // interval.length_s * interval.length_s


def _apart_w(s: _Slice, share: float) -> float:
    """How far from the expected net load; share: -1 at the lower end of the load's band, 1 at the upper one."""
    return share * (s.high_w if share > 0 else s.low_w)


def _outcomes(site: SiteNow, slices: Sequence[_Slice], ways: _Ways) -> tuple[IntervalOutcome, ...]:
    """The mean of each metering interval that the order reaches into."""
    grid, interval = site.config.grid, site.interval
    allowed_wh = grid.contracted_peak_w * interval.length_s / 3600
    found: dict[float, list[int]] = {}
    for n, s in enumerate(slices):
        found.setdefault(_interval_start_s(interval, s), []).append(n)
    result = []
    for start_s, numbers in found.items():
        so_far_wh = _so_far_wh(interval) if start_s == interval.start_utc_s else 0.0

        def mean_w(powers: Sequence[float], share: float, wh: float = so_far_wh, of: Sequence[int] = numbers) -> float:
            imported = (
                max(0.0, slices[n].net_w + _apart_w(slices[n], share) - powers[n]) * slices[n].seconds for n in of
            )
            return (wh * 3600 + sum(imported)) / interval.length_s

        banded = any(slices[n].low_w or slices[n].high_w for n in numbers)
        result.append(
            IntervalOutcome(
                start_utc_s=start_s,
                end_utc_s=start_s + interval.length_s,
                mean_w=mean_w(ways.ordered, 0.0),
                without_w=mean_w(ways.without, 0.0),
                low_w=mean_w(ways.low, -1.0) if banded else None,
                high_w=mean_w(ways.high, 1.0) if banded else None,
                exceeds_utc_s=_exceeds([(slices[n], ways.ordered[n]) for n in numbers], so_far_wh, allowed_wh),
            )
        )
    return tuple(result)


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


def _limit(site: SiteNow, parts: Sequence[tuple[_Slice, float]]) -> LimitOutcome | None:
    """The limit from outside that is exceeded most under the order, or comes nearest to that."""
    found: list[LimitOutcome] = []
    for s, w in parts:
        powers_w = {
            Quantity.IMPORT: s.net_w - w,
            Quantity.EXPORT: w - s.net_w,
            Quantity.CHARGE: -w - surplus_w(s.net_w),
        }
        found += [
            LimitOutcome(signal, powers_w[signal.quantity] - signal.limit_w, s.begin_utc_s)
            for signal in site.signals
            if signal.quantity in powers_w and signal.overlaps(s.begin_utc_s, s.begin_utc_s + s.seconds)
        ]
    return max(found, key=lambda outcome: outcome.over_w, default=None)


def _peak(site: SiteNow, outcomes: Sequence[IntervalOutcome]) -> tuple[float, float | None]:
    """By how much the billed peak would be higher than without the order, W, and what that costs, EUR.

    Of the charge that leaves least free now, in the intervals that count towards it.
    """
    terms, offset_s = _terms(site), site.config.grid.interval_offset_s

    def place(start_utc_s: float) -> IntervalAccount:
        return interval_account(terms, site.config.timezone, start_utc_s + offset_s)

    now = place(site.interval.start_utc_s).period
    counted = [(o, at.period == now) for o in outcomes if (at := place(o.start_utc_s)).counts]
    this_w = _rise_w(site.free_w, [o for o, is_now in counted if is_now])
    next_w = _rise_w(free_w(terms, ()), [o for o, is_now in counted if not is_now])  # a new period has no peak yet
    known = site.one_charge and terms.rise_eur_per_kw and not next_w
    return max(this_w, next_w), this_w / 1000 * terms.rise_eur_per_kw if known else None


def _terms(site: SiteNow) -> DemandTerms:
    return next((terms for terms in peak_charges(site.config) if terms.id == site.charge), main_charge(site.config))


def _rise_w(paid_w: float, outcomes: Sequence[IntervalOutcome]) -> float:
    rise_w = max([paid_w, *(o.mean_w for o in outcomes)]) - max([paid_w, *(o.without_w for o in outcomes)])
    return rise_w if rise_w > NEAR_W else 0.0
