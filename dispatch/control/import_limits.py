"""What limits import at the PCC, and how a reason says it: fuses and export limit, the budget of the interval."""

from __future__ import annotations

from dispatch.billing.import_allowance import Allowance
from dispatch.config.schema import GridConfig
from dispatch.model.equipment import Meter
from dispatch.model.reasons import Reason


def import_window(meter: Meter, grid: GridConfig, export_w: float | None = None) -> tuple[float, float, Reason]:
    """Smallest and largest import, W, that fuses and export limit allow, and the figures.

    `export_w`: the export allowed now; None: the limit of the site file.

    A balanced PCS moves all phases alike, so the worst phase's distance from the mean stays; it is taken off what the
    fuses carry. Without good currents the total power at the nominal voltage is all there is to go by.
    """
    amps = [a.good for a in meter.a[: grid.phases]]
    total_w = meter.w.good
    known = [a for a in amps if a is not None]
    if total_w is None or len(known) < grid.phases:
        carries_w = grid.fuse_w
        phases = Reason("fuse.no_currents", {"fuse_a": grid.fuse_a, "phases": grid.phases})
    else:
        volts = [v.good for v in meter.v[: grid.phases]] + [None] * grid.phases
        phase_w = [a * (v or grid.voltage_v) * grid.phases for a, v in zip(known, volts, strict=False)]
        lowest_v = min(v or grid.voltage_v for v in volts[: grid.phases])
        uneven_w = max(max(phase_w) - abs(total_w), 0.0)
        carries_w = max(grid.fuse_a * lowest_v * grid.phases - uneven_w, 0.0)
        phases = Reason("fuse.worst_phase", {"phase_a": max(known), "fuse_a": grid.fuse_a})
    export_w = min(grid.export_limit_w if export_w is None else export_w, carries_w)
    reason = Reason("fuse.window", {"import_w": carries_w, "export_w": export_w, "phases": phases})
    return -export_w, carries_w, reason


def budget_reason(a: Allowance) -> Reason:
    """What is left below a limit, or by how much it is exceeded."""
    if a.left_wh < 0:
        return Reason(
            "budget.spent",
            {
                "over_wh": -a.left_wh,
                "peak": a.peak,
                "limit_w": a.limit_w,
                "left_s": a.left_s,
                "import_w": a.import_max_w,
            },
        )
    return Reason(
        "budget.left",
        {"left_wh": a.left_wh, "peak": a.peak, "limit_w": a.limit_w, "left_s": a.left_s, "import_w": a.import_max_w},
    )
