"""The rule of the ramp limit at the PCC."""

from __future__ import annotations

from dispatch.control.rules.situation import Situation, battery_window
from dispatch.model.reasons import Reason
from dispatch.model.rule_chain import Ask, Bounds


def grid_ramp(s: Situation, so_far: Bounds) -> Ask:
    """Import moves no faster than the ramp limit; the battery takes the difference while it can.

    The deadband is its tolerance, so that a load that only flickers is not chased.
    """
    rate_w_per_s = s.config.grid.ramp_w_per_s
    if rate_w_per_s <= 0:
        return Ask(Reason("ramp.none"))
    if s.net_w is None or s.ramp is None:
        return Ask(Reason("ramp.no_start", {"rate_w_per_s": rate_w_per_s}))
    reach_w = s.ramp.step_w + s.config.rules.deadband_w
    low_w, high_w = battery_window(s.net_w, s.ramp.import_w - reach_w, s.ramp.import_w + reach_w)
    return Ask(Reason("ramp.limit", {"rate_w_per_s": rate_w_per_s, "from_w": s.ramp.import_w}), low_w, high_w)
