"""Reports a grid event from the record: what was delivered in each settlement interval, what was missing, what it cost.

**Delivered**: the mean import of each metering interval, clipped to the event, against its limit; and below the
baseline, that before the notice on which "drop by" acts, or that of similar days. An interval of which less than 60 %
is on record is not known, never taken as kept.

**Cost**: what was done from the notice to the end of the ramp, against the battery power that the plan in force at the
notice had for that time, with the same load. Beyond that plan's end, and where none was kept, the battery counts as at
rest; so does the time without a battery reading for both. The parts are

* energy: import at the price of its minute; export earns nothing here;
* stored: what the battery holds less at the end than the plan's would, charged at the mean price of that time;
* wear of the throughput beyond the plan's;
* compute: the energy that caps withheld, at the price that [caps] gives it. It is not counted as saved: the work is
  still to be done.

So preparing and rebound are in the cost and in no baseline. The month's peak is what the controller counted before the
notice and after the ramp, with the peak that the plan's battery power would have made beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

from dispatch.billing.peak_charges import main_charge
from dispatch.config.battery_ratings import mean_efficiency, wear_eur_per_kwh
from dispatch.config.schema import DispatchConfig
from dispatch.events.baseline import LEAST_KNOWN, Baseline
from dispatch.events.model import EventState, Phase
from dispatch.model.forecast import QUARTER_S
from dispatch.model.plan import NEAR_W
from dispatch.power_caps.pricing import linear

Result = Literal["kept", "short", "not known", "aborted", "running"]
Against = Literal["plan", "rest"]  # what the cost is against: the plan before the notice, or the battery at rest
HOUR_S = 3600.0


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """What is on record, evenly spaced from `start_utc_s` on; None: not known. W; `price` EUR/kWh of import."""

    start_utc_s: int
    step_s: int
    grid_w: Sequence[float | None]
    battery_w: Sequence[float | None]  # all PCS, > 0 discharges
    price: Sequence[float | None]

    def span(self, start_utc_s: float, end_utc_s: float) -> range:
        """The steps that lie wholly between two instants."""
        first = math.ceil((start_utc_s - self.start_utc_s) / self.step_s)
        last = math.floor((end_utc_s - self.start_utc_s) / self.step_s)
        return range(max(first, 0), min(last, len(self.grid_w)))


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """One metering interval, clipped to the event. None: less than 60 % of it is on record, or there is no baseline."""

    start_utc_s: float
    end_utc_s: float
    import_w: float | None  # mean
    limit_w: float
    baseline_w: float | None
    delivered_w: float | None  # below the baseline
    shortfall_w: float | None  # above the limit, >= 0

    @property
    def hours(self) -> float:
        """How long it is."""
        return (self.end_utc_s - self.start_utc_s) / HOUR_S


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """EUR, against what the cost is `against`; > 0 costs. `compute_eur` None: caps have no price."""

    against: Against
    energy_eur: float
    stored_eur: float
    wear_eur: float
    compute_eur: float | None
    prepared_kwh: float  # charged beyond it from the notice to the start
    discharged_kwh: float  # discharged beyond it while the event was held
    unknown_s: float  # of the time, in which nothing could be counted
    unpriced_s: float  # of the time, without a price on record: at the mean of the rest

    @property
    def total_eur(self) -> float:
        """Without what has no price."""
        return self.energy_eur + self.stored_eur + self.wear_eur + (self.compute_eur or 0.0)


class Peak(msgspec.Struct, frozen=True, kw_only=True):
    """The month's peak, W, and what its rise costs. None: not known."""

    before_w: float | None
    after_w: float | None
    rise_eur: float | None
    measured_w: float | None  # highest interval from the notice to the end of the ramp
    by_plan_w: float | None  # the same with the battery power of the plan before the notice

    @property
    def rise_w(self) -> float | None:
        """By how much it rose; it may have done so without the event, see `by_plan_w`."""
        if self.before_w is None or self.after_w is None:
            return None
        return max(0.0, self.after_w - self.before_w)


class EventReport(msgspec.Struct, frozen=True, kw_only=True):
    """What an event showed. Powers W, energies kWh."""

    state: EventState
    result: Result
    intervals: tuple[Settled, ...]
    known_pct: float  # of the time in which it was held
    within_pct: float | None  # of the known steps of it, import at or below the limit
    delivered_kwh: float | None  # below the baseline; None: there is none
    days: tuple[str, ...]  # local days that the baseline is made of; empty: it is that before the notice
    factor: float | None  # by which their mean was adjusted to the day
    shortfall_kwh: float  # above the limit, of intervals
    worst_shortfall_w: float  # of an interval
    cost: Cost
    peak: Peak


def report(
    config: DispatchConfig, state: EventState, recorded: Recorded, baseline: Baseline | None = None
) -> EventReport | None:
    """The report of an event that was held; None: it was not, or its limit was never known.

    recorded: from the notice to the end of the ramp, or as far as the record goes. baseline: of similar days, instead
    of that before the notice; the limit stays that which was held.
    """
    if state.limit_w is None or state.end_utc_s <= state.event.start_utc_s:
        return None
    held = recorded.span(state.event.start_utc_s, state.end_utc_s)
    intervals = tuple(_settled(config, state, recorded, baseline))
    known_w = [w for n in held if (w := recorded.grid_w[n]) is not None]
    within = [w <= state.limit_w + NEAR_W for w in known_w]
    shortfalls = [(one.shortfall_w, one.hours) for one in intervals if one.shortfall_w is not None]
    known_delivery = [(one.delivered_w, one.hours) for one in intervals if one.delivered_w is not None]
    return EventReport(
        state=state,
        result=_result(state, intervals),
        intervals=intervals,
        known_pct=100 * len(known_w) / len(held) if held else 0.0,
        within_pct=100 * sum(within) / len(within) if within else None,
        delivered_kwh=None if not known_delivery else sum(w * h for w, h in known_delivery) / 1000,
        days=() if baseline is None else baseline.days,
        factor=None if baseline is None else baseline.factor,
        shortfall_kwh=sum(w * h for w, h in shortfalls) / 1000,
        worst_shortfall_w=max((w for w, _ in shortfalls), default=0.0),
        cost=_cost(config, state, recorded),
        peak=_peak(config, state, recorded),
    )


def _result(state: EventState, intervals: Sequence[Settled]) -> Result:
    if any(one.shortfall_w is not None and one.shortfall_w > NEAR_W for one in intervals):
        return "short"
    if state.aborted_utc_s is not None:
        return "aborted"
    if state.phase not in (Phase.OVER, Phase.ENDING):
        return "running"
    known = bool(intervals) and all(one.shortfall_w is not None for one in intervals)
    return "kept" if known else "not known"


def _settled(
    config: DispatchConfig, state: EventState, recorded: Recorded, baseline: Baseline | None
) -> Iterator[Settled]:
    """Each metering interval that the event touches."""
    length_s, limit_w = config.grid.metering_interval_s, state.limit_w or 0.0
    begin_utc_s = state.event.start_utc_s
    while begin_utc_s < state.end_utc_s:
        end_utc_s = min((begin_utc_s // length_s + 1) * length_s, state.end_utc_s)
        mean_w = _mean_w(recorded, begin_utc_s, end_utc_s)
        baseline_w = state.baseline_w if baseline is None else baseline.mean_w(begin_utc_s, end_utc_s)
        yield Settled(
            start_utc_s=begin_utc_s,
            end_utc_s=end_utc_s,
            import_w=mean_w,
            limit_w=limit_w,
            baseline_w=baseline_w,
            delivered_w=None if mean_w is None or baseline_w is None else baseline_w - mean_w,
            shortfall_w=None if mean_w is None else max(0.0, mean_w - limit_w),
        )
        begin_utc_s = end_utc_s


def _mean_w(recorded: Recorded, start_utc_s: float, end_utc_s: float) -> float | None:
    """Mean import between two instants; None: less than 60 % of it is known. Export earns nothing back."""
    known = [max(0.0, w) for n in recorded.span(start_utc_s, end_utc_s) if (w := recorded.grid_w[n]) is not None]
    if not known or len(known) * recorded.step_s < LEAST_KNOWN * (end_utc_s - start_utc_s):
        return None
    return sum(known) / len(known)


class _Step(NamedTuple):
    """What was done in a step, and what the plan had for it, W."""

    utc_s: int
    net_w: float  # import as without battery
    battery_w: float
    planned_w: float
    price: float | None


def _steps(state: EventState, recorded: Recorded) -> Iterator[_Step]:
    """From the notice to the end of the ramp, what is known."""
    for n in recorded.span(state.event.notice_utc_s, state.lifted_utc_s):
        grid_w, battery_w = recorded.grid_w[n], recorded.battery_w[n]
        if grid_w is None or battery_w is None:
            continue
        utc_s = recorded.start_utc_s + n * recorded.step_s
        yield _Step(utc_s, grid_w + battery_w, battery_w, _planned_w(state, utc_s), recorded.price[n])


def _planned_w(state: EventState, utc_s: int) -> float:
    """Battery power of the plan before the notice; 0 where it says nothing."""
    if state.plan_before_utc_s is None:
        return 0.0
    index = int((utc_s - state.plan_before_utc_s) // QUARTER_S)
    return state.plan_before[index] if 0 <= index < len(state.plan_before) else 0.0


def _cost(config: DispatchConfig, state: EventState, recorded: Recorded) -> Cost:
    steps, hours = list(_steps(state, recorded)), recorded.step_s / HOUR_S
    prices = [step.price for step in steps if step.price is not None]
    mean_price = sum(prices) / len(prices) if prices else 0.0
    charge, discharge = mean_efficiency(config)
    energy_eur = missing_kwh = more_kwh = 0.0
    for step in steps:
        price = mean_price if step.price is None else step.price
        import_w, planned_w = max(0.0, step.net_w - step.battery_w), max(0.0, step.net_w - step.planned_w)
        energy_eur += (import_w - planned_w) / 1000 * hours * price
        missing_kwh += (_drawn_w(step.battery_w, charge, discharge) - _drawn_w(step.planned_w, charge, discharge)) * (
            hours / 1000
        )
        more_kwh += (abs(step.battery_w) - abs(step.planned_w)) / 1000 * hours
    start_utc_s, end_utc_s = state.event.start_utc_s, state.end_utc_s
    of_s = len(recorded.span(state.event.notice_utc_s, state.lifted_utc_s)) * recorded.step_s
    value_eur_per_kwh = linear(config.caps).value_eur_per_kwh
    shed_kwh = state.figures.shed_wh / 1000
    return Cost(
        against="rest" if state.plan_before_utc_s is None else "plan",
        energy_eur=energy_eur,
        stored_eur=missing_kwh / charge * mean_price,
        wear_eur=more_kwh * wear_eur_per_kwh(config),
        compute_eur=None if shed_kwh > 0 and value_eur_per_kwh <= 0 else shed_kwh * value_eur_per_kwh,
        prepared_kwh=_beyond_kwh(steps, hours, -1, -math.inf, start_utc_s),
        discharged_kwh=_beyond_kwh(steps, hours, 1, start_utc_s, end_utc_s),
        unknown_s=of_s - len(steps) * recorded.step_s,
        unpriced_s=(len(steps) - len(prices)) * recorded.step_s,
    )


def _drawn_w(battery_w: float, charge: float, discharge: float) -> float:
    """The power at which the stored energy falls, W."""
    return battery_w / discharge if battery_w > 0 else battery_w * charge


def _beyond_kwh(steps: Sequence[_Step], hours: float, sign: int, start_utc_s: float, end_utc_s: float) -> float:
    """Energy discharged (sign 1) or charged (-1) beyond the plan between two instants, >= 0."""
    beyond_w = (sign * (step.battery_w - step.planned_w) for step in steps if start_utc_s <= step.utc_s < end_utc_s)
    return max(0.0, sum(beyond_w) / 1000 * hours)


def _peak(config: DispatchConfig, state: EventState, recorded: Recorded) -> Peak:
    steps, length_s = list(_steps(state, recorded)), config.grid.metering_interval_s
    before_w = state.figures.month_peak_at_notice_w
    after_w = state.figures.month_peak_after_w
    if after_w is None:
        after_w = state.figures.month_peak_at_end_w
    rise_w = None if before_w is None or after_w is None else max(0.0, after_w - before_w)
    return Peak(
        before_w=before_w,
        after_w=after_w,
        rise_eur=None if rise_w is None else rise_w / 1000 * main_charge(config).rise_eur_per_kw,
        measured_w=_highest_w({step.utc_s: step.net_w - step.battery_w for step in steps}, length_s, recorded.step_s),
        by_plan_w=_highest_w({step.utc_s: step.net_w - step.planned_w for step in steps}, length_s, recorded.step_s),
    )


def _highest_w(import_w: Mapping[int, float], length_s: int, step_s: int) -> float | None:
    """The highest mean import of the metering intervals that are known to 60 % at least; None: there is none."""
    by_interval: dict[int, list[float]] = {}
    for utc_s, w in import_w.items():
        by_interval.setdefault(utc_s // length_s, []).append(max(0.0, w))
    known = (values for values in by_interval.values() if len(values) * step_s >= LEAST_KNOWN * length_s)
    return max((sum(values) / len(values) for values in known), default=None)
