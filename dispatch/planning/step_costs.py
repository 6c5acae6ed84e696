"""Calculates the cost of each step of a finished plan, with the battery and without it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from dispatch.billing.demand_charge import IntervalAccount, interval_account
from dispatch.config.demand_terms import DemandTerms
from dispatch.model.plan import NEAR_W, Plan

BEGUN_S = 5.0  # an interval this long under way when the plan is made counts as whole


class StepCost(msgspec.Struct, frozen=True):
    """One step, as planned and without the battery (`bare_`). Import is never below 0; what is exported has no part."""

    import_w: float
    import_kwh: float
    import_eur: float
    bare_import_w: float
    bare_import_kwh: float
    bare_import_eur: float
    peak_rise_w: float  # without the battery the month's peak would be higher by this, if only in this interval


def hours(plan: Plan, index: int) -> float:
    """How long a step counts, h: the one that runs when the plan is made, for the time it then has left."""
    start_utc_s = plan.steps[index].start_utc_s
    return (start_utc_s + plan.step_s - max(float(start_utc_s), min(plan.made_utc_s, start_utc_s + plan.step_s))) / 3600


def step_costs(
    plan: Plan, interval_s: float, month_peak_w: float, timezone: str, terms: DemandTerms | None = None
) -> tuple[StepCost, ...]:
    """One entry for each step. `interval_s`: the metering interval; `month_peak_w`: the running month's so far.

    `terms`: the demand charge; without, the month's highest interval counts. Where it averages days, a day has the
    part of a month here. The peak a month has in any case is the highest interval of the plan in it, in the month the
    plan begins in also the peak so far and the one the plan means to keep. A step's peak is its metering interval's
    mean. Where there are several charges on peaks, the plan itself says what each step keeps.
    """
    span_s = max(int(interval_s), plan.step_s)
    places = [interval_account(terms or DemandTerms(), timezone, s.start_utc_s) for s in plan.steps]
    planned_w = _interval_means(plan, span_s, [max(0.0, s.grid_w) for s in plan.steps])
    bare_w = _interval_means(plan, span_s, [max(0.0, s.grid_w + s.battery_w) for s in plan.steps])
    kept_w = _peaks_kept_w(plan, places, planned_w, month_peak_w)
    result = []
    for n, (step, at) in enumerate(zip(plan.steps, places, strict=True)):
        import_w, bare_import_w = max(0.0, step.grid_w), max(0.0, step.grid_w + step.battery_w)
        import_kwh, bare_kwh = import_w / 1000 * hours(plan, n), bare_import_w / 1000 * hours(plan, n)
        keep_w = kept_w[at.account] if at.counts else None
        if plan.keep_w:
            keep_w = plan.keep_w[n]
        rise_w = 0.0 if keep_w is None else (bare_w[n] or 0.0) - keep_w
        result.append(
            StepCost(
                import_w,
                import_kwh,
                import_kwh * step.price_eur_per_kwh,
                bare_import_w,
                bare_kwh,
                bare_kwh * step.price_eur_per_kwh,
                rise_w if rise_w > NEAR_W else 0.0,
            )
        )
    return tuple(result)


def _peaks_kept_w(
    plan: Plan, places: Sequence[IntervalAccount], planned_w: Sequence[float | None], month_peak_w: float
) -> dict[str, float]:
    """The peak that each account has in any case; `planned_w` has each step's interval mean, None: not all of it."""
    counting = [(at, w or 0.0) for at, w in zip(places, planned_w, strict=True) if at.counts]
    kept_w = {at.account: plan.peak_target_w for at, _ in counting[:1]}  # the plan's target is for the first
    for at, w in counting:
        so_far_w = month_peak_w if at.period == places[0].period else 0.0
        kept_w[at.account] = max(kept_w.get(at.account, 0.0), so_far_w, w)
    return kept_w


def _interval_means(plan: Plan, span_s: int, values_w: list[float]) -> list[float | None]:
    """For each step the mean over its metering interval; None where the plan does not cover all of that."""
    energy_wh: dict[int, float] = {}
    length_h: dict[int, float] = {}
    intervals = [step.start_utc_s // span_s for step in plan.steps]
    for n, interval in enumerate(intervals):
        energy_wh[interval] = energy_wh.get(interval, 0.0) + values_w[n] * hours(plan, n)
        length_h[interval] = length_h.get(interval, 0.0) + hours(plan, n)
    whole_h = (span_s - BEGUN_S) / 3600
    return [energy_wh[i] / length_h[i] if length_h[i] >= whole_h else None for i in intervals]
