"""Gives the reason of each step of a plan, from the finished solution. Prices in ct/kWh with all charges; site time.

A reason names what the step's energy is used for in this plan: a dearer hour only where the trade pays by itself, a
reservation only where the load would exceed the peak without it. A price that is not published is marked as assumed; a
time on another day than the plan's first is given with its day.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property, lru_cache
from zoneinfo import ZoneInfo

from dispatch.config.battery_ratings import full_soc_pct, mean_efficiency, reserve_soc_pct, wear_eur_per_kwh
from dispatch.config.schema import DispatchConfig
from dispatch.model.forecast import STEP_S
from dispatch.model.reservations import Reservation, reserved_w

NEAR_W = 50.0  # two powers this close are the same to a reader
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
    month_peak_w: float
    now_utc_s: float = 0.0  # of the running step only the rest counts
    ready: Sequence[Sequence[float]] = ()  # `PeakOutlook.ready`: what a stored kWh spares if a pulse comes then
    reservations: Sequence[Reservation] = ()
    assumed: Sequence[bool] = ()  # steps whose price is not published
    ordered: Sequence[str] = ()  # whose order has the battery, "" where none
    assumed_from: str = "from past days"  # what stands in for it

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
    def reserve_pct(self) -> float:
        """SoC of the reserve."""
        return reserve_soc_pct(self.config)

    @cached_property
    def top_pct(self) -> float:
        """SoC with every battery at its `soc_max`."""
        return full_soc_pct(self.config)

    @cached_property
    def losses(self) -> tuple[float, float, float]:
        """Efficiencies of charging and discharging, and wear, EUR/kWh, as the plan reckons with them."""
        return (*mean_efficiency(self.config), wear_eur_per_kwh(self.config))

    @cached_property
    def mean_buy(self) -> float:
        """Mean price of import over the plan, EUR/kWh."""
        return sum(self.buy) / len(self.buy)


def reasons(plan: Sketch) -> list[str]:
    """One line for each step."""
    clock = [_clock(plan, t) for t in plan.starts_utc_s]
    buys_at = _cheapest_later(plan)
    lines = []
    for t, w in enumerate(plan.battery_w):
        if not plan.config.batteries:
            line = "no battery"
        elif plan.ordered and plan.ordered[t]:
            line = plan.ordered[t]
        elif w < -NEAR_W:
            line = _charging(plan, t, clock)
        elif w > NEAR_W:
            line = _discharging(plan, t, clock, buys_at[t])
        else:
            line = _holding(plan, t, clock, buys_at[t])
        lines.append(line + _strain(plan, t))
    return lines


def _charging(plan: Sketch, t: int, clock: list[str]) -> str:
    reserve = plan.reserve_pct
    held = ", held to the peak" if _at_peak(plan, t) else ""
    if plan.net_w[t] < 0 and plan.battery_w[t] >= plan.net_w[t] - NEAR_W:
        return "PV surplus"
    if plan.buy[t] < 0:
        return f"import is paid, {_ct(plan.buy[t])} ct/kWh{_assumed(plan, t)}"
    if _before(plan, t) < reserve - NEAR_PCT:
        return f"back to the reserve, SoC {reserve:.0f} %{held}"
    use, defends = _use(plan, t)
    if use is not None and defends:
        return f"{_risk(plan, use, clock)}{held}"
    cost, worth = _cost_and_worth(plan, t, use)
    if worth < cost and _readiness(plan, t) > 0:
        kept_w = min(plan.keep_w[t:])  # hours that do not count have none to keep
        return f"{_whose(plan, kept_w)} {_kw(kept_w)} at risk when the next pulse comes{held}"
    if use is not None and plan.buy[use] > plan.buy[t]:
        return f"price {_ct(plan.buy[t])} → {_ct(plan.buy[use])} ct/kWh at {clock[use]}{_assumed(plan, t, use)}{held}"
    return f"{_ct(plan.buy[t])} ct/kWh{_assumed(plan, t)}, energy for what comes after the plan{held}"


def _risk(plan: Sketch, k: int, clock: list[str]) -> str:
    """What the energy defends at step k: the fuse, a reservation's power, or the month's peak."""
    if plan.net_w[k] > plan.config.grid.fuse_w:
        return f"fuse {_kw(plan.config.grid.fuse_w)} at risk at {clock[k]}"
    cause = _reservation(plan, k)
    if cause is not None:
        return f"reservation {cause.name} at {_clock(plan, cause.start_utc_s)}"
    return f"{_whose(plan, plan.keep_w[k])} {_kw(plan.keep_w[k])} at risk at {clock[k]}"


def _reservation(plan: Sketch, k: int) -> Reservation | None:
    """The largest reservation of step k, if it is for the reserved jobs alone that the load passes the peak."""
    start_s, end_s = max(plan.starts_utc_s[k], plan.now_utc_s), plan.starts_utc_s[k] + STEP_S
    promised_w = reserved_w(plan.reservations, start_s, end_s)
    if promised_w <= 0 or plan.net_w[k] - promised_w > plan.keep_w[k] + NEAR_W:
        return None
    there = [r for r in plan.reservations if r.start_utc_s < end_s and r.end_utc_s > start_s]
    return max(there, key=lambda r: r.power_w)


def _cost_and_worth(plan: Sketch, t: int, use: int | None) -> tuple[float, float]:
    """EUR per kWh stored: what it costs at step t; what it is worth at the step that uses it, or left at the end."""
    charging, discharging, wear = plan.losses
    cost = (plan.buy[t] + wear) / charging - TIE_EUR_PER_KWH
    if use is not None:
        return cost, (plan.buy[use] - wear) * discharging
    mean = plan.mean_buy
    resting = plan.soc_pct[t] <= plan.config.rules.rest_soc_pct + NEAR_PCT
    return cost, (mean + wear) / charging if resting else (mean - wear) * discharging


def _readiness(plan: Sketch, t: int) -> float:
    """What the energy stored on top at step t's end would spare the pulses that may come, as `PeakOutlook.ready`."""
    reserve, width = plan.reserve_pct, plan.top_pct - plan.reserve_pct
    worth = 0.0
    for layers, soc_pct in zip(plan.ready[t:], plan.soc_pct[t:], strict=False):
        share = (soc_pct - NEAR_PCT - reserve) / width if width > 0 else 0.0
        if layers:
            worth += layers[min(max(int(share * len(layers)), 0), len(layers) - 1)]
    return worth


def _discharging(plan: Sketch, t: int, clock: list[str], buys: int | None) -> str:
    if plan.net_w[t] > plan.config.grid.fuse_w:
        return f"keeps import within the fuse, {_kw(plan.config.grid.fuse_w)}"
    if _defends(plan, t):
        keep_w = plan.keep_w[t]
        cause = _reservation(plan, t)
        since = "" if cause is None else f": reservation {cause.name} since {_clock(plan, cause.start_utc_s)}"
        return f"keeps import below the {_whose(plan, keep_w)} {_kw(keep_w)}{since}"
    if plan.grid_w[t] < -NEAR_W:
        return f"export earns {_ct(plan.sell[t])} ct/kWh{_assumed(plan, t)}"
    if buys is not None and plan.buy[buys] < plan.buy[t]:
        return f"{_ct(plan.buy[t])} ct/kWh, {_ct(plan.buy[buys])} at {clock[buys]}{_assumed(plan, t, buys)}"
    return f"{_ct(plan.buy[t])} ct/kWh is above what stored energy is worth later{_assumed(plan, t)}"


def _holding(plan: Sketch, t: int, clock: list[str], buys: int | None) -> str:
    following = plan.next_active[t]
    acts = following < len(plan.battery_w)
    if acts and plan.battery_w[following] > 0:
        use, defends = _use(plan, t)
        if use is not None and defends:
            return f"kept: {_risk(plan, use, clock)}"
        if use is not None and plan.buy[use] > plan.buy[t]:
            against = f"{_ct(plan.buy[use])} ct/kWh against {_ct(plan.buy[t])}"
            return f"kept for {clock[use]}, {against}{_assumed(plan, t, use)}"
    if acts and buys is not None and plan.buy[buys] < plan.buy[t]:
        cheaper = f"cheaper to charge at {clock[buys]}, {_ct(plan.buy[buys])}"
        return f"{_ct(plan.buy[t])} ct/kWh, {cheaper}{_assumed(plan, t, buys)}"
    if plan.soc_pct[t] <= plan.reserve_pct + NEAR_PCT:
        return f"at the reserve, SoC {plan.reserve_pct:.0f} %"
    if plan.soc_pct[t] >= plan.top_pct - NEAR_PCT:
        return "battery full"
    return "no price difference pays for losses and wear"


def _use(plan: Sketch, t: int) -> tuple[int | None, bool]:
    """What the energy in the battery after step t is for: (a step, whether it is there to keep the peak).

    Looks as far as the SoC falls back to where it was before step t (for a step that holds: to the next charge), and
    takes whichever uses more of the energy, peak or price; of the price, the dearest step.
    """
    peak_w = trade_w = 0.0
    first_peak: int | None = None
    dearest: int | None = None
    charging, empty_pct = plan.battery_w[t] < -NEAR_W, _before(plan, t) + NEAR_PCT
    first = t + 1 if charging else plan.next_active[t]
    for k, w in enumerate(plan.battery_w[first:], first):
        if w < -NEAR_W and not charging:
            break
        if w > NEAR_W and _defends(plan, k):
            peak_w += w
            first_peak = k if first_peak is None else first_peak
        elif w > NEAR_W:
            trade_w += w
            dearest = k if dearest is None or plan.buy[k] > plan.buy[dearest] else dearest
        if charging and plan.soc_pct[k] <= empty_pct:
            break
    return (first_peak, True) if peak_w > trade_w else (dearest, False)


def _strain(plan: Sketch, t: int) -> str:
    """What the step cannot keep. Charging above the contract is no strain: it uses what an interval has left."""
    grid, limits = plan.grid_w[t], plan.config.grid
    if grid > limits.fuse_w + NEAR_W:
        return f"; import {_kw(grid)} exceeds the fuse {_kw(limits.fuse_w)}"
    if grid > limits.contracted_peak_w + NEAR_W and plan.battery_w[t] > -NEAR_W:
        return f"; import {_kw(grid)} exceeds the contract {_kw(limits.contracted_peak_w)}"
    if -grid > limits.export_limit_w + NEAR_W:
        return f"; export {_kw(-grid)} exceeds the limit {_kw(limits.export_limit_w)}"
    return ""


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


def _defends(plan: Sketch, t: int) -> bool:
    """Without the battery the import of step t would pass the peak."""
    return plan.net_w[t] > plan.keep_w[t] + NEAR_W


def _at_peak(plan: Sketch, t: int) -> bool:
    return plan.grid_w[t] >= plan.keep_w[t] - NEAR_W


def _whose(plan: Sketch, keep_w: float) -> str:
    """What the import to keep is: the peak that there is, or one that the plan lets it rise to."""
    return _peak_word(plan) if keep_w <= plan.month_peak_w + NEAR_W else "planned peak"


def _peak_word(plan: Sketch) -> str:
    """Which peak the demand charge is on: the month's, the year's, or on the mean of several days, that of the day."""
    terms = plan.config.tariff.demand_terms
    return f"{terms.per}'s peak" if terms.top_days == 1 else "day's free peak"


def _assumed(plan: Sketch, *steps: int) -> str:
    """Which of the prices just named, those of `steps`, are assumed."""
    unsure = [k for k in steps if plan.assumed and plan.assumed[k]]
    if not unsure:
        return ""
    which = "" if len(steps) == 1 else f" {_ct(plan.buy[unsure[0]])}" if len(unsure) < len(steps) else " both"
    return f",{which} assumed {plan.assumed_from}"


def _clock(plan: Sketch, utc_s: float) -> str:
    """A local time, with its day unless that is the plan's first."""
    day, weekday, time = _local(plan.zone, utc_s)
    return time if day == plan.first_day else f"{weekday} {time}"


@lru_cache(maxsize=1024)  # plan after plan names the same quarters
def _local(zone: ZoneInfo, utc_s: float) -> tuple[date, str, str]:
    """Day, its name, and time."""
    then = datetime.fromtimestamp(utc_s, zone)
    return then.date(), f"{then:%a}", f"{then:%H:%M}"


def _kw(w: float) -> str:
    return f"{w / 1000:.1f} kW"


def _ct(eur: float) -> str:
    return f"{100 * eur:.1f}"
