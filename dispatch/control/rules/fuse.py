"""The rule of the fuses, the export limit and the grid operator's steps."""

from __future__ import annotations

import math

from dispatch.control.contact_states import operator_limits
from dispatch.control.import_limits import import_window
from dispatch.control.rules.situation import Situation, battery_window
from dispatch.model.islanding import IslandState
from dispatch.model.reasons import Reason
from dispatch.model.rule_chain import Ask, Bounds


def fuse(s: Situation, so_far: Bounds) -> Ask:
    """Fuse per phase, export limit, grid operator's steps. The contracted peak is part of the interval budget.

    On a generator the grid operator's steps limit nothing.
    """
    if s.net_w is None:
        return Ask(Reason("rule.net_load_unknown"))
    lowest_w, highest_w, reason = import_window(s.snapshot.grid, s.config.grid, s.export_w)
    steps = () if s.islanding.state is IslandState.GENSET else operator_limits(s.contacts)
    if steps:
        lowest_w = max(lowest_w, *(-v.export_limit_w for v in steps if v.export_limit_w is not None), -math.inf)
        highest_w = min(highest_w, *(v.import_limit_w for v in steps if v.import_limit_w is not None), math.inf)
        reason = Reason(
            "fuse.operator",
            {
                "contacts": ", ".join(v.id for v in steps),
                "import_w": highest_w,
                "export_w": -lowest_w,
                "window": reason,
            },
        )
    return Ask(reason, *battery_window(s.net_w, lowest_w, highest_w))
