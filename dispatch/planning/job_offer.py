"""Says whether, from when and at what cost the site could carry a power for a time. It promises nothing.

The start is that of `power_admission`: the first that keeps the peak that is kept anyway, else the one that raises it
least. The energy is priced by the plan: what would be exported at what that earns, what PV would be limited by at
nothing, the rest at the import price. What the battery could shift for it is not counted.
"""

from __future__ import annotations

import msgspec

from dispatch.model.job_offer import JobOffer
from dispatch.model.plan import Plan, PlanStep
from dispatch.orders.refusal import OrderRefused
from dispatch.planning.power_admission import Grant


class JobEnergy(msgspec.Struct, frozen=True):
    """What the energy of a job costs, and whether a price of it is assumed. None: not known."""

    eur: float | None
    assumed: bool = False


def offer(
    found: Grant | OrderRefused, plan: Plan | None, utc_s: float, within_s: float, power_w: float, for_s: float
) -> JobOffer:
    """The answer to a power, of what the admission says to it."""
    if isinstance(found, OrderRefused):
        return JobOffer(utc_s=utc_s, within_s=within_s, why=found.reason)
    energy = job_energy(plan, power_w, found.start_utc_s, found.start_utc_s + for_s)
    return JobOffer(
        utc_s=utc_s,
        within_s=within_s,
        start_utc_s=found.start_utc_s,
        level_w=found.level_w,
        rise_w=found.rise_w,
        rise_eur=found.cost_eur,
        energy_eur=energy.eur,
        assumed=energy.assumed,
        why=found.why,
    )


def job_energy(plan: Plan | None, power_w: float, start_utc_s: float, end_utc_s: float) -> JobEnergy:
    """Cost of a constant power over a time, EUR, beside what the plan has there."""
    if plan is None or not plan.steps or start_utc_s < plan.steps[0].start_utc_s:
        return JobEnergy(None)
    if end_utc_s > plan.steps[-1].start_utc_s + plan.step_s:
        return JobEnergy(None)
    eur, assumed = 0.0, False
    for step in plan.steps:
        begin_s, stop_s = max(start_utc_s, step.start_utc_s), min(end_utc_s, step.start_utc_s + plan.step_s)
        if stop_s > begin_s:
            eur += _eur_per_h(step, power_w) * (stop_s - begin_s) / 3600
            assumed = assumed or step.assumed
    return JobEnergy(eur, assumed)


def _eur_per_h(step: PlanStep, power_w: float) -> float:
    unused_w = min(power_w, max(0.0, step.curtail_w))
    sold_w = min(power_w - unused_w, max(0.0, -step.grid_w))
    sell = step.price_eur_per_kwh if step.sell_eur_per_kwh is None else step.sell_eur_per_kwh
    return (sold_w * sell + (power_w - unused_w - sold_w) * step.price_eur_per_kwh) / 1000
