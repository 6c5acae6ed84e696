"""Gives the reason of each step of a plan, from the finished solution. Prices in ct/kWh with all charges; site time.

A reason names what the step's energy is used for in this plan: a dearer hour only where the trade pays by itself, a
reservation only where the load would exceed the peak without it. A price that is not published is marked as assumed; a
time on another day than the plan's first is given with its day.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from datetime import date, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from dispatch.billing.demand_charge import free_peak
from dispatch.model.forecast import QUARTER_S
from dispatch.model.job_outlook import SHOWN_STARTS
from dispatch.model.plan import NEAR_W
from dispatch.model.reasons import Reason
from dispatch.model.reservations import Reservation, reserved_w
from dispatch.planning.sketch import NEAR_PCT, Sketch

TIE_EUR_PER_KWH = 1e-4


def reasons(plan: Sketch) -> list[Reason]:
    """Why each step is as it is."""
    clock = [_clock(plan, t) for t in plan.starts_utc_s]
    buys_at = _cheapest_later(plan)
    return [_strained(plan, t, _reason(plan, t, clock, buys_at[t])) for t in range(len(plan.battery_w))]


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
    """What the energy defends at step k: the fuse, a limit that is asked, a reservation's power, the month's peak."""
    if plan.net_w[k] > plan.config.grid.fuse_w:
        return Reason("risk.fuse", {"fuse_w": plan.config.grid.fuse_w, "at": clock[k]})
    if (by := _asked(plan, k)) is not None:
        return Reason("risk.limit", {"by": by, "limit_w": plan.asked_w[k], "at": clock[k]})
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


def _asked(plan: Sketch, t: int) -> str | None:
    """Whose limit of import (`Sketch.asked_w`) it is, where that is what a step defends."""
    asked_w = plan.asked_w[t]
    if plan.limits is None or not asked_w < plan.keep_w[t] or plan.net_w[t] <= asked_w + NEAR_W:
        return None
    return plan.limits.import_by[t]


def _defending(plan: Sketch, t: int) -> Reason:
    if (by := _asked(plan, t)) is not None:
        return Reason("step.below_limit", {"by": by, "limit_w": plan.asked_w[t]})
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
