"""What a loop that is faster than a replay's steps makes of one: export is limited at every moment, not in the mean."""

from __future__ import annotations

from collections.abc import Mapping

from console.replay.traces import Trace
from dispatch.config.schema import DispatchConfig
from dispatch.model.decision import PvLimit


def net_rows_w(load: Trace, pv: Trace, t_s: int, step_s: int) -> list[float]:
    """Load less PV, W, in each row of the load inside a step; where rows are no shorter than the step, its mean."""
    row_s = load.step_s if step_s % load.step_s == 0 else step_s
    return [load.mean_w(t, t + row_s) - pv.mean_w(t, t + row_s) for t in range(t_s, t_s + step_s, row_s)]


def within_export(
    config: DispatchConfig, asked_w: Mapping[str, float], lowest_net_w: float, needed_w: float
) -> dict[str, float]:
    """The orders to the PCS with which export stays within its limit also at the lowest net load of the step.

    A power is constant over a step: where the load dips, what was asked for its mean would be exported. `needed_w`: the
    battery power that the interval's limit on import needs; it is left, as a fast loop would give it between the dips.
    """
    total_w = sum(asked_w.values())
    limit_w = max(config.grid.export_limit_w - config.grid.export_margin_w, 0.0)
    most_w = max(lowest_net_w + limit_w, needed_w)
    if total_w <= most_w:
        return dict(asked_w)
    rated_w = {pcs.id: pcs.charge_w + pcs.discharge_w for pcs in config.pcs if pcs.id in asked_w}
    less_w = (total_w - most_w) / sum(rated_w.values())
    return {id: w - less_w * rated_w[id] for id, w in asked_w.items()}


def curtailed_by(limits: tuple[PvLimit, ...], pv_w: Mapping[str, float]) -> float:
    """What inverters that could give `pv_w` do not give for their limits, W together."""
    return sum(max(0.0, pv_w[limit.device_id] - limit.w) for limit in limits if limit.w is not None)
