"""The rule of the fuses, the export limit and the obligations of the grid operator."""

from __future__ import annotations

import math

from dispatch.control.import_limits import import_window
from dispatch.control.rules.reserve import reserve
from dispatch.control.rules.situation import Situation, battery_window, surplus_w
from dispatch.model.islanding import IslandState
from dispatch.model.reasons import Reason, joined
from dispatch.model.rule_chain import Ask, Bounds


def fuse(s: Situation, so_far: Bounds) -> Ask:
    """Fuse per phase, export limit, obligations. The contracted peak is part of the interval budget.

    On a generator the grid operator limits nothing.
    """
    if s.net_w is None:
        return Ask(Reason("rule.net_load_unknown"))
    lowest_w, highest_w, reason = import_window(s.snapshot.grid, s.config.grid, s.export_w)
    if s.islanding.state is IslandState.GENSET or not s.obliged.by:
        return Ask(reason, *battery_window(s.net_w, lowest_w, highest_w))
    return _obliged(s, so_far, s.net_w, (lowest_w, highest_w, reason))


def _obliged(s: Situation, so_far: Bounds, net_w: float, window: tuple[float, float, Reason]) -> Ask:
    """The same with what the grid operator allows.

    An import limit asks for no discharge below the reserve. A charge limit (§14a EnWG, decision BK6-22-300 of the
    Bundesnetzagentur) is about what the batteries take from the grid: PV beyond the load does not count.
    """
    lowest_w, highest_w, otherwise = window
    limits = s.obliged
    lowest_w = max(lowest_w, -limits.export_w)
    low_w, high_w = battery_window(net_w, lowest_w, highest_w)
    parts = (
        (limits.import_w, Reason("signals.import", {"limit_w": limits.import_w})),
        (limits.export_w, Reason("signals.export", {"limit_w": limits.export_w})),
        (limits.charge_w, Reason("signals.charge", {"limit_w": limits.charge_w})),
        (limits.production_w, Reason("fuse.production", {"limit_w": limits.production_w})),
    )
    asked = joined(part for w, part in parts if w < math.inf)
    reason = Reason("fuse.obliged", {"by": ", ".join(limits.by), "asked": asked, "window": otherwise})
    wanted_w, spare_w = net_w - limits.import_w, reserve(s, so_far).high_w
    if wanted_w > max(spare_w, low_w):
        reason = Reason("fuse.operator_reserve", {"operator": reason, "limit_w": max(spare_w, 0.0)})
    low_w = max(low_w, min(wanted_w, spare_w))
    if limits.charge_w < math.inf:
        low_w = max(low_w, -limits.charge_w - surplus_w(net_w))
    return Ask(reason, low_w, high_w)
