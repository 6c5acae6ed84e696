"""The rule of the islanding state machine."""

from __future__ import annotations

import math

from dispatch.control.rules.genset import on_genset
from dispatch.control.rules.situation import Situation
from dispatch.model.islanding import IslandState
from dispatch.model.reasons import Reason
from dispatch.model.rule_chain import Ask, Bounds


def islanding(s: Situation, so_far: Bounds) -> Ask:
    """Islanded or not known to be joined, no setpoint; the forming PCS is never stopped or reverted."""
    seen = s.islanding
    if seen.state is IslandState.GENSET:
        return on_genset(s)
    if not seen.commands_battery or s.net_w is None or (seen.import_low_w is None and seen.import_high_w is None):
        return Ask(seen.reason, command=seen.commands_battery)
    low_w, high_w = -math.inf, math.inf
    if seen.import_high_w is not None:  # as far as the battery reaches: the grid takes the rest
        low_w = min(max(s.net_w - seen.import_high_w, so_far.low_w), so_far.high_w)
    if seen.import_low_w is not None:  # nobody has to charge what PV sends out by itself
        high_w = max(s.net_w - seen.import_low_w, low_w, min(0.0, so_far.high_w))
    if seen.state is IslandState.PREPARING:
        return Ask(seen.reason, low_w, max(low_w, min(s.net_w - (seen.import_low_w or 0.0), so_far.high_w)), low_w)
    ramp_w = seen.import_high_w if seen.import_high_w is not None else seen.import_low_w
    return Ask(Reason("islanding.ramp_back", {"import_w": ramp_w or 0.0}), low_w, high_w)
