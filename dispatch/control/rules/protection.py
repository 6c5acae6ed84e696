"""The rule of local control, faults and trips."""

from __future__ import annotations

from dispatch.control.pcs_limits import Ready
from dispatch.control.rules.situation import Situation
from dispatch.model.reasons import Reason, joined
from dispatch.model.rule_chain import Ask, Bounds


def protection(s: Situation, so_far: Bounds) -> Ask:
    """Local control, fault, trip. No command to such a PCS, and nothing from here ever restarts one."""
    if not s.units:
        return Ask(Reason("protection.no_pcs"), command=False)
    withheld = [u.why for u in s.units if u.ready is Ready.WITHHELD and u.why is not None]
    if len(withheld) == len(s.units):
        return Ask(joined(withheld), command=False)
    if withheld:
        withheld_pcs, all_pcs = len(withheld), len(s.units)
        return Ask(Reason("protection.some", {"pcs": withheld_pcs, "of_pcs": all_pcs, "why": joined(withheld)}))
    return Ask(Reason("protection.free", {"pcs": len(s.units)}))
