"""What a plan says of a balancing charge."""

from __future__ import annotations

from collections.abc import Sequence

from dispatch.config.battery_ratings import full_soc_pct
from dispatch.config.schema import DispatchConfig
from dispatch.model.balancing import BalanceDue, last_full, local, marks_kwh
from dispatch.model.forecast import QUARTER_S
from dispatch.model.plan import NEAR_W
from dispatch.model.reasons import Reason
from dispatch.planning.balancing import Balancing
from dispatch.planning.inputs import PlanInputs

NEAR_PCT = 0.1


def balance_reasons(
    inputs: PlanInputs, balancing: Balancing | None, battery_w: Sequence[float], soc_pct: Sequence[float]
) -> dict[int, Reason]:
    """Why the battery is charged above soc_max, or held there, by step; soc_pct: after each."""
    if balancing is None:
        return {}
    mark_pct, last = _figures(inputs.config, inputs.balance)
    found, top_pct = {}, full_soc_pct(inputs.config)
    for t in range(balancing.steps.stop):
        if battery_w[t] < -NEAR_W and soc_pct[t] > top_pct + min(NEAR_PCT, (mark_pct - top_pct) / 2):
            found[t] = Reason("step.balance_charge", {"mark_pct": mark_pct, "last": last})
        elif t in balancing.steps and battery_w[t] <= NEAR_W:
            found[t] = Reason("step.balance_hold", {"mark_pct": mark_pct, "last": last})
    return found


def balance_notes(inputs: PlanInputs, balancing: Balancing | None, starts_utc_s: Sequence[int]) -> list[Reason]:
    """When a battery that is due will be full, or that it will not be."""
    if not inputs.balance or not inputs.config.batteries:
        return []
    config = inputs.config
    mark_pct, last = _figures(config, inputs.balance)
    if balancing is None:
        return [Reason("plan.balance_not", {"hours": config.plan.horizon_h, "last": last})]
    full_local = local(starts_utc_s[balancing.steps.start] + QUARTER_S, config.timezone)
    return [Reason("plan.balance", {"mark_pct": mark_pct, "full_local": full_local, "last": last})]


def _figures(config: DispatchConfig, balance: Sequence[BalanceDue]) -> tuple[float, Reason]:
    """The SoC that is asked for, and when the battery that is due first was full last."""
    mark_kwh, _ = marks_kwh(config, balance)
    first = min(balance, key=lambda state: state.due_utc_s)
    return 100 * mark_kwh / config.energy_kwh, last_full(first, config.timezone)
