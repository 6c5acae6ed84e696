"""The rule of the fuses and the export limit."""

from __future__ import annotations

from dispatch.control.import_limits import import_window
from dispatch.control.rules.situation import Situation, battery_window
from dispatch.model.reasons import Reason
from dispatch.model.rule_chain import Ask, Bounds


def fuse(s: Situation, so_far: Bounds) -> Ask:
    """Fuse per phase and export limit. The contracted peak is part of the interval budget."""
    if s.net_w is None:
        return Ask(Reason("rule.net_load_unknown"))
    lowest_w, highest_w, reason = import_window(s.snapshot.grid, s.config.grid, s.export_w)
    return Ask(reason, *battery_window(s.net_w, lowest_w, highest_w))
