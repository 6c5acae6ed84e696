"""Gives the reason of each step of a plan, from the finished solution. Prices in ct/kWh with all charges; site time.

A reason names what the step's energy is used for in this plan: a dearer hour only where the trade pays by itself, a
reservation only where the load would exceed the peak without it. A price that is not published is marked as assumed; a
time on another day than the plan's first is given with its day.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property, lru_cache
from zoneinfo import ZoneInfo

from dispatch.billing.battery_ageing import least_eur_per_kwh
from dispatch.billing.demand_charge import free_peak
from dispatch.config.battery_ratings import full_soc_pct, mean_efficiency, reserve_soc_pct, wear_eur_per_kwh
from dispatch.config.demand_terms import DemandTerms
from dispatch.config.schema import DispatchConfig
from dispatch.model.charge_levels import ChargeLevel
from dispatch.model.forecast import QUARTER_S
from dispatch.model.job_outlook import SHOWN_STARTS, ExpectedStart
from dispatch.model.plan import NEAR_W
from dispatch.model.reasons import Reason
from dispatch.model.reservations import Reservation, reserved_w
from dispatch.planning.step_limits import StepLimits

NEAR_PCT = 0.1
TIE_EUR_PER_KWH = 1e-4


@dataclass(frozen=True)
class Sketch:
    """A finished plan before its reasons. Sequences hold one value for each step; W, %, EUR/kWh."""

    config: DispatchConfig
    starts_utc_s: Sequence[int]
    buy: Sequence[float]
    sell: Sequence[float]
    net_w: Sequence[float]  # load - pv
    battery_w: Sequence[float]
    grid_w: Sequence[float]
    soc_pct: Sequence[float]
    soc_now_pct: float
    keep_w: Sequence[float]  # import to keep for the sake of the peak; inf in hours that do not count towards it
    levels: Sequence[tuple[DemandTerms, ChargeLevel]]  # each charge on peaks, and what it leaves free
    keepers: Sequence[int]  # for each step the charge that `keep_w` is of
    now_utc_s: float = 0.0  # of the running step only the rest counts
    ready: Sequence[Sequence[float]] = ()  # `PeakOutlook.ready`: what a stored kWh spares if a pulse comes then
    reservations: Sequence[Reservation] = ()
    waiting_w: Sequence[float] = ()  # what `net_w` holds of jobs that wait in a queue; may end before the plan
    expected: Sequence[ExpectedStart] = ()  # the largest of those jobs, by power
    assumed: Sequence[bool] = ()  # steps whose price is not published
    curtail_w: Sequence[float] = ()  # what PV is limited by; empty: nowhere
    limits: StepLimits | None = None  # of signals and export; None: the site file's alone
    ordered: Sequence[Reason | None] = ()  # whose order has the battery, None where none
    balanced: Mapping[int, Reason] = field(default_factory=dict)  # steps of a balancing charge above soc_max
    prices_known: bool = True  # False: not even of past days, from which those not published are assumed

    @cached_property
    def zone(self) -> ZoneInfo:
        """The site's."""
        return ZoneInfo(self.config.timezone)

    @cached_property
    def first_day(self) -> date:
        """The local day on which the plan begins."""
        return datetime.fromtimestamp(self.starts_utc_s[0], self.zone).date()

    @cached_property
    def next_active(self) -> list[int]:
        """For each step, the next one in which the battery does something; the number of steps where there is none."""
        found, result = len(self.battery_w), []
        for t in range(len(self.battery_w) - 1, -1, -1):
            result.append(found)
            if abs(self.battery_w[t]) > NEAR_W:
                found = t
        return result[::-1]

    @cached_property
    def any_assumed(self) -> bool:
        """Whether any price is not published."""
        return any(self.assumed)

    @cached_property
    def discharges(self) -> list[int]:
        """The steps that discharge."""
        return [t for t, w in enumerate(self.battery_w) if w > NEAR_W]

    @cached_property
    def defends(self) -> list[bool]:
        """Whether without the battery the import of a step would pass the peak, for each step."""
        return [net > keep + NEAR_W for net, keep in zip(self.net_w, self.keep_w, strict=True)]

    @cached_property
    def uses(self) -> dict[tuple[int, int], tuple[int | None, bool]]:
        """What `_use` found already, by where the uses begin and end among those that discharge."""
        return {}

    @cached_property
    def spares_pulses(self) -> list[bool]:
        """For each step, whether the energy stored on top at its end or later spares a pulse that may come then."""
        later, result = False, [False] * len(self.soc_pct)
        known = zip(range(len(self.soc_pct)), self.ready, self.soc_pct, strict=False)
        for t, layers, soc_pct in reversed(list(known)):
            result[t] = later = later or _spared(self, layers, soc_pct) > 0
        return result

    @cached_property
    def reserve_pct(self) -> float:
        """SoC of the reserve."""
        return reserve_soc_pct(self.config)

    @cached_property
    def top_pct(self) -> float:
        """SoC with every battery at its `soc_max`."""
        return full_soc_pct(self.config)

    @cached_property
    def losses(self) -> tuple[float, float, float, float]:
        """Efficiencies of charging and discharging; wear, and ageing at least depth, EUR/kWh: as the plan reckons."""
        return (*mean_efficiency(self.config), wear_eur_per_kwh(self.config), least_eur_per_kwh(self.config))

    @cached_property
    def mean_buy(self) -> float:
        """Mean price of import over the plan, EUR/kWh."""
        return sum(self.buy) / len(self.buy)


def reasons(plan: Sketch) -> list[Reason]:
    """Why each step is as it is."""
    clock = [_clock(plan, t) for t in plan.starts_utc_s]
    buys_at = _cheapest_later(plan)
    return [_strained(plan, t, _reason(plan, t, clock, buys_at[t])) for t in range(len(plan.battery_w))]


_FOR_PRICE = frozenset(
    {
        "step.import_paid",
        "step.charge_for_price",
        "step.charge_for_later",
        "step.export",
        "step.cheaper_later",
        "step.dear_now",
        "step.kept_for_price",
        "step.charge_later",
    }
)


def for_price(reason: Reason) -> bool:
    """Whether a step is as it is for the sake of prices."""
    inner = reason.figures.get("step")
    return reason.code in _FOR_PRICE or (isinstance(inner, Reason) and for_price(inner))


def _reason(plan: Sketch, t: int, clock: list[Reason], buys: int | None) -> Reason:
    w = plan.battery_w[t]
    if not plan.config.batteries:
        return Reason("step.no_battery")
    if plan.ordered and (ordered := plan.ordered[t]) is not None:
        return ordered
    if t in plan.balanced:
        return plan.balanced[t]
    if w < -NEAR_W:
        return _charging(plan, t, clock)
    if w > NEAR_W:
        return _discharging(plan, t, clock, buys)
    return _holding(plan, t, clock, buys)


def _charging(plan: Sketch, t: int, clock: list[Reason]) -> Reason:
    if plan.net_w[t] < 0 and plan.battery_w[t] >= plan.net_w[t] - NEAR_W:
        return Reason("step.pv_surplus")
    if plan.buy[t] < 0:
        return Reason("step.import_paid", {"price_eur_per_kwh": plan.buy[t], "assumed": _assumed(plan, t)})
    held = Reason("step.held_to_peak") if _at_peak(plan, t) else None
    if _before(plan, t) < plan.reserve_pct - NEAR_PCT:
        return Reason("step.to_reserve", {"reserve_pct": plan.reserve_pct, "held": held})
    use, defends = _use(plan, t)
    if use is not None and defends:
        return Reason("step.charge_for_risk", {"risk": _risk(plan, use, clock), "held": held})
    cost, worth = _cost_and_worth(plan, t, use)
    if worth < cost and plan.spares_pulses[t]:
        k = min(range(t, len(plan.keep_w)), key=plan.keep_w.__getitem__)  # hours that do not count have none to keep
        return Reason("step.next_pulse", {"peak": _whose(plan, k), "peak_w": plan.keep_w[k], "held": held})
    if use is not None and plan.buy[use] > plan.buy[t]:
        return Reason(
            "step.charge_for_price",
            {
                "price_eur_per_kwh": plan.buy[t],
                "later_eur_per_kwh": plan.buy[use],
                "at": clock[use],
                "assumed": _assumed(plan, t, use),
                "held": held,
            },
        )
    return Reason(
        "step.charge_for_later", {"price_eur_per_kwh": plan.buy[t], "assumed": _assumed(plan, t), "held": held}
    )


def _risk(plan: Sketch, k: int, clock: list[Reason]) -> Reason:
    """What the energy defends at step k: the fuse, a reservation's power, or the month's peak."""
    if plan.net_w[k] > plan.config.grid.fuse_w:
        return Reason("risk.fuse", {"fuse_w": plan.config.grid.fuse_w, "at": clock[k]})
    cause = _reservation(plan, k)
    if cause is not None:
        return Reason("risk.reservation", {"reservation": cause.id, "at": _clock(plan, cause.start_utc_s)})
    peak, keep_w, waiting = _whose(plan, k), plan.keep_w[k], _waiting(plan, k)
    if waiting is not None:
        return Reason("risk.peak_jobs", {"peak": peak, "peak_w": keep_w, "at": clock[k], "waiting": waiting})
    return Reason("risk.peak", {"peak": peak, "peak_w": keep_w, "at": clock[k]})


def _reservation(plan: Sketch, k: int) -> Reservation | None:
    """The largest reservation of step k, if it is for the reserved jobs alone that the load passes the peak."""
    start_s, end_s = max(plan.starts_utc_s[k], plan.now_utc_s), plan.starts_utc_s[k] + QUARTER_S
    promised_w = reserved_w(plan.reservations, start_s, end_s)
    if promised_w <= 0 or plan.net_w[k] - promised_w > plan.keep_w[k] + NEAR_W:
        return None
    there = [r for r in plan.reservations if r.start_utc_s < end_s and r.end_utc_s > start_s]
    return max(there, key=lambda r: r.power_w)


def _waiting(plan: Sketch, k: int) -> Reason | None:
    """The jobs that wait and are expected in step k, if it is for them alone that the load passes the peak."""
    part_w = plan.waiting_w[k] if k < len(plan.waiting_w) else 0.0
    if part_w <= NEAR_W or plan.net_w[k] - part_w > plan.keep_w[k] + NEAR_W:
        return None
    start_s, end_s = plan.starts_utc_s[k], plan.starts_utc_s[k] + QUARTER_S
    there = [job for job in plan.expected if job.start_utc_s < end_s and job.end_utc_s > start_s]
    if not there:
        return None
    largest = max(there, key=lambda job: job.power_w)
    since = _clock(plan, largest.start_utc_s)
    if len(there) == 1 and len(plan.expected) < SHOWN_STARTS:  # of more, small ones are not among these
        return Reason("waiting.job", {"job": largest.job, "since": since})
    return Reason("waiting.jobs", {"job": largest.job, "since": since})


def _cost_and_worth(plan: Sketch, t: int, use: int | None) -> tuple[float, float]:
    """EUR per kWh stored: what it costs at step t; what it is worth at the step that uses it, or left at the end."""
    charging, discharging, wear, aged = plan.losses
    co2 = plan.config.tariff.co2_eur_per_kwh
    cost = (plan.buy[t] + co2 + wear) / charging - TIE_EUR_PER_KWH
    if use is not None:
        return cost, (plan.buy[use] + co2 - wear) * discharging - aged
    mean = plan.mean_buy + co2
    resting = plan.soc_pct[t] <= plan.config.rules.rest_soc_pct + NEAR_PCT
    return cost, (mean + wear) / charging if resting else (mean - wear) * discharging - aged


def _spared(plan: Sketch, layers: Sequence[float], soc_pct: float) -> float:
    """What the energy stored on top at this SoC would spare a pulse that comes then, as `PeakOutlook.ready`; >= 0."""
    reserve, width = plan.reserve_pct, plan.top_pct - plan.reserve_pct
    share = (soc_pct - NEAR_PCT - reserve) / width if width > 0 else 0.0
    return layers[min(max(int(share * len(layers)), 0), len(layers) - 1)] if layers else 0.0


def _discharging(plan: Sketch, t: int, clock: list[Reason], buys: int | None) -> Reason:
    if plan.net_w[t] > plan.config.grid.fuse_w:
        return Reason("step.within_fuse", {"fuse_w": plan.config.grid.fuse_w})
    if plan.defends[t]:
        return _defending(plan, t)
    if plan.grid_w[t] < -NEAR_W:
        return Reason("step.export", {"price_eur_per_kwh": plan.sell[t], "assumed": _assumed(plan, t)})
    if buys is not None and plan.buy[buys] < plan.buy[t]:
        return Reason(
            "step.cheaper_later",
            {
                "price_eur_per_kwh": plan.buy[t],
                "later_eur_per_kwh": plan.buy[buys],
                "at": clock[buys],
                "assumed": _assumed(plan, t, buys),
            },
        )
    return Reason("step.dear_now", {"price_eur_per_kwh": plan.buy[t], "assumed": _assumed(plan, t)})


def _defending(plan: Sketch, t: int) -> Reason:
    keep_w, cause = plan.keep_w[t], _reservation(plan, t)
    peak = _whose(plan, t)
    if cause is None and (waiting := _waiting(plan, t)) is not None:
        return Reason("step.below_peak_jobs", {"peak": peak, "peak_w": keep_w, "waiting": waiting})
    if cause is None:
        return Reason("step.below_peak", {"peak": peak, "peak_w": keep_w})
    since = _clock(plan, cause.start_utc_s)
    return Reason("step.below_peak_reserved", {"peak": peak, "peak_w": keep_w, "reservation": cause.id, "since": since})


def _holding(plan: Sketch, t: int, clock: list[Reason], buys: int | None) -> Reason:
    following = plan.next_active[t]
    acts = following < len(plan.battery_w)
    if acts and plan.battery_w[following] > 0:
        use, defends = _use(plan, t)
        if use is not None and defends:
            return Reason("step.kept_for_risk", {"risk": _risk(plan, use, clock)})
        if use is not None and plan.buy[use] > plan.buy[t]:
            return Reason(
                "step.kept_for_price",
                {
                    "at": clock[use],
                    "later_eur_per_kwh": plan.buy[use],
                    "price_eur_per_kwh": plan.buy[t],
                    "assumed": _assumed(plan, t, use),
                },
            )
    if acts and buys is not None and plan.buy[buys] < plan.buy[t]:
        return Reason(
            "step.charge_later",
            {
                "price_eur_per_kwh": plan.buy[t],
                "at": clock[buys],
                "later_eur_per_kwh": plan.buy[buys],
                "assumed": _assumed(plan, t, buys),
            },
        )
    if plan.soc_pct[t] <= plan.reserve_pct + NEAR_PCT:
        return Reason("step.at_reserve", {"reserve_pct": plan.reserve_pct})
    if plan.soc_pct[t] >= plan.top_pct - NEAR_PCT:
        return Reason("step.full")
    return Reason("step.nothing_pays")


def _use(plan: Sketch, t: int) -> tuple[int | None, bool]:
    """What the energy in the battery after step t is for: (a step, whether it is there to keep the peak).

    Whichever uses more of the energy, peak or price; of the price, the dearest step.
    """
    part = _uses(plan, t)
    if (found := plan.uses.get(part)) is None:
        uses = plan.discharges[slice(*part)]
        peak = [k for k in uses if plan.defends[k]]
        trade = [k for k in uses if not plan.defends[k]]
        if sum([plan.battery_w[k] for k in peak]) > sum([plan.battery_w[k] for k in trade]):
            found = peak[0], True
        else:
            found = max(trade, key=plan.buy.__getitem__, default=None), False
        plan.uses[part] = found
    return found


def _uses(plan: Sketch, t: int) -> tuple[int, int]:
    """The steps that discharge what is in the battery after step t, as a part of `Sketch.discharges`.

    They reach as far as the SoC falls back to where it was before step t; for a step that holds, to the next charge.
    """
    if plan.battery_w[t] < -NEAR_W:
        first, empty_pct = t + 1, _before(plan, t) + NEAR_PCT
        last = next((k for k, pct in enumerate(plan.soc_pct[first:], first) if pct <= empty_pct), len(plan.soc_pct))
        return bisect_left(plan.discharges, first), bisect_right(plan.discharges, last)
    first = plan.next_active[t]
    end = next((k for k, w in enumerate(plan.battery_w[first:], first) if w < -NEAR_W), len(plan.battery_w))
    return bisect_left(plan.discharges, first), bisect_left(plan.discharges, end)


def _strained(plan: Sketch, t: int, reason: Reason) -> Reason:
    """With what the step cannot keep. Charging above the contract is no strain: it uses what an interval has left."""
    grid, limits = plan.grid_w[t], plan.config.grid
    if grid > limits.fuse_w + NEAR_W:
        return Reason("step.over_fuse", {"step": reason, "import_w": grid, "fuse_w": limits.fuse_w})
    if grid > limits.contracted_peak_w + NEAR_W and plan.battery_w[t] > -NEAR_W:
        return Reason("step.over_contract", {"step": reason, "import_w": grid, "contract_w": limits.contracted_peak_w})
    export_w = limits.export_limit_w if plan.limits is None else 1000 * plan.limits.export_kw[t]
    if plan.curtail_w and (curtail_w := plan.curtail_w[t]) > NEAR_W and plan.limits is not None:
        dear = _price_of_export(plan, t) if plan.sell[t] < 0 or plan.buy[t] < 0 else None
        reason = Reason("step.curtailed", {"step": reason, "curtail_w": curtail_w, "why": dear or plan.limits.why(t)})
    if -grid > export_w + NEAR_W:
        return Reason("step.over_export", {"step": reason, "export_w": -grid, "limit_w": export_w})
    return reason


def _price_of_export(plan: Sketch, t: int) -> Reason:
    return Reason("curtailed.price", {"price_eur_per_kwh": plan.sell[t], "assumed": _assumed(plan, t)})


def _cheapest_later(plan: Sketch) -> list[int | None]:
    """For each step, the cheapest (of equals the earliest) step of the next time the battery charges."""
    result: list[int | None] = [None] * len(plan.battery_w)
    best: int | None = None
    discharged = False
    for t in range(len(plan.battery_w) - 1, -1, -1):
        result[t] = best
        if plan.battery_w[t] > NEAR_W:
            discharged = True
        elif plan.battery_w[t] < -NEAR_W:
            if best is None or discharged or plan.buy[t] <= plan.buy[best]:
                best = t
            discharged = False
    return result


def _before(plan: Sketch, t: int) -> float:
    """SoC at the start of step t, %."""
    return plan.soc_pct[t - 1] if t else plan.soc_now_pct


def _at_peak(plan: Sketch, t: int) -> bool:
    return plan.grid_w[t] >= plan.keep_w[t] - NEAR_W


def _whose(plan: Sketch, t: int) -> Reason:
    """What the import to keep in a step is: the peak that there is, or one that the plan lets it rise to."""
    terms, level = plan.levels[plan.keepers[t]]
    if plan.keep_w[t] > level.free_w + NEAR_W:
        return Reason("peak.planned_by", {"charge": terms.id}) if terms.id else Reason("peak.planned")
    return free_peak(terms)


def _assumed(plan: Sketch, *steps: int) -> Reason | None:
    """Which of the prices just named, those of `steps`, are assumed, and from what."""
    if not plan.any_assumed or not (unsure := [k for k in steps if plan.assumed[k]]):
        return None
    source = Reason("assumed.past_days") if plan.prices_known else Reason("assumed.no_price")
    if len(steps) == 1:
        return Reason("assumed.it", {"source": source})
    if len(unsure) < len(steps):
        return Reason("assumed.one", {"price_eur_per_kwh": plan.buy[unsure[0]], "source": source})
    return Reason("assumed.both", {"source": source})


def _clock(plan: Sketch, utc_s: float) -> Reason:
    """A local time, with its day unless that is the plan's first."""
    day, local = _local(plan.zone, utc_s)
    return Reason("time.today", {"local": local}) if day == plan.first_day else Reason("time.day", {"local": local})


@lru_cache(maxsize=1024)  # plan after plan names the same quarters
def _local(zone: ZoneInfo, utc_s: float) -> tuple[date, str]:
    """Day, and the time as ISO 8601."""
    then = datetime.fromtimestamp(utc_s, zone)
    return then.date(), then.isoformat(timespec="minutes")
