"""The rule of protective contacts, local control, faults and trips."""

from __future__ import annotations

import msgspec

from dispatch.control.contact_states import stop_reason
from dispatch.control.pcs_limits import Ready
from dispatch.control.rules.situation import Situation
from dispatch.model.reasons import Reason, joined
from dispatch.model.rule_chain import Ask, Bounds


def protection(s: Situation, so_far: Bounds) -> Ask:
    """Protective contact, local control, fault, trip. Nothing from here ever restarts a PCS.

    A PCS that is withheld gets no command, also while a contact (EPO, fire, gas, NA protection) is active or latched;
    the others then go to 0 W and stay there.
    """
    ask, stopped = _commands(s), stop_reason(s.contacts)
    if stopped is None:
        return ask
    if not ask.command:
        return msgspec.structs.replace(ask, reason=joined([stopped, ask.reason]))
    return Ask(stopped, low_w=0.0, high_w=0.0, preferred_w=0.0)


def _commands(s: Situation) -> Ask:
    """Which PCS may be commanded at all."""
    if not s.units:
        return Ask(Reason("protection.no_pcs"), command=False)
    withheld = [u.why for u in s.units if u.ready is Ready.WITHHELD and u.why is not None]
    if len(withheld) == len(s.units):
        return Ask(joined(withheld), command=False)
    if withheld:
        withheld_pcs, all_pcs = len(withheld), len(s.units)
        return Ask(Reason("protection.some", {"pcs": withheld_pcs, "of_pcs": all_pcs, "why": joined(withheld)}))
    return Ask(Reason("protection.free", {"pcs": len(s.units)}))
