"""What a generator at the PCC allows the battery: no export, its lowest load, no charging beyond its spare power.

The grid meter shows the generator's power as import, so that import = net load - battery holds as on the grid.
"""

from __future__ import annotations

from dispatch.config.off_grid import GensetConfig
from dispatch.control.rules.situation import Situation
from dispatch.model.reasons import Reason
from dispatch.model.rule_chain import Ask


def on_genset(s: Situation) -> Ask:
    """The battery power that keeps the generator between its lowest load and its rating.

    Below its lowest load the battery charges; above its rating it discharges. Where the net load is not known it does
    neither: `dispatch.control.meter_loss`.
    """
    genset = s.config.genset
    if genset is None:
        return Ask(Reason("genset.undeclared"), 0.0, 0.0, 0.0)
    if s.net_w is None:
        return Ask(s.islanding.reason)
    low_w, high_w = window_w(genset, s.net_w)
    net_w, rated_w, least_w = s.net_w, genset.rated_w, genset.min_load_w
    spare = Reason("genset.spare", {"net_w": net_w, "rated_w": rated_w})
    return Ask(
        Reason(
            "genset.window",
            {"net_w": net_w, "rated_w": rated_w, "least_w": least_w, "charge_w": max(-low_w, 0.0)},
        ),
        low_w,
        high_w,
        low_why=Reason("genset.overload", {"net_w": net_w, "rated_w": rated_w}) if low_w > 0 else spare,
        high_why=Reason("genset.least", {"net_w": net_w, "least_w": least_w}),
    )


def window_w(genset: GensetConfig, net_w: float) -> tuple[float, float]:
    """Lowest and highest battery power beside a net load, W: charging leaves the margin of the rating free."""
    charging_w = min(net_w - genset.charge_up_to_w, 0.0)
    return max(net_w - genset.rated_w, charging_w), net_w - genset.min_load_w
