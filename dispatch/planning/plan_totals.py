"""Sums a finished plan up, the same for every screen and command."""

from __future__ import annotations

import msgspec

from dispatch.model.plan import Plan
from dispatch.planning.step_costs import hours


class PlanTotals(msgspec.Struct, frozen=True):
    """A whole plan, as planned and without the battery (`bare_`). Import is never below 0; export has no part in it."""

    import_kwh: float
    import_eur: float
    bare_import_kwh: float
    bare_import_eur: float
    other_eur: float  # of `Plan.cost_eur`: peaks, wear and losses by ageing, less what export earns and what is stored


def plan_totals(plan: Plan) -> PlanTotals:
    """The sums over the steps; the one that runs counts for the time that it had left when the plan was made."""
    import_kwh = import_eur = bare_kwh = bare_eur = 0.0
    for n, step in enumerate(plan.steps):
        kwh = max(0.0, step.grid_w) / 1000 * hours(plan, n)
        without_kwh = max(0.0, step.grid_w + step.battery_w) / 1000 * hours(plan, n)
        import_kwh += kwh
        bare_kwh += without_kwh
        import_eur += kwh * step.price_eur_per_kwh
        bare_eur += without_kwh * step.price_eur_per_kwh
    return PlanTotals(import_kwh, import_eur, bare_kwh, bare_eur, plan.cost_eur - import_eur)
