"""Caps for a grid event or a limit from outside: what the battery cannot give of it is taken from deferrable nodes.

The battery comes first: as it nears the reserve, the rule of the reserve lets it give less and less; caps take over.
How deep a node may be capped, and for how long a day, is as for the month's peak. Nothing weighs the rent against a
purchase here: whoever accepted the event has done that. Minutes and rent count in the same ledger.
"""

from __future__ import annotations

import msgspec

from dispatch.config.schema import CapsConfig
from dispatch.model.reasons import Reason
from dispatch.power_caps.ski_rental import QUIET_W, CapsDecision


class Short(msgspec.Struct, frozen=True):
    """What is missing of a limit of import. Powers are without caps; the battery gives all that it may."""

    limit_w: float
    import_w: float
    load_w: float


def with_event(
    decided: CapsDecision, caps: CapsConfig, short: Short, step_s: float, capped_before_w: float
) -> CapsDecision:
    """The decision for the month's peak, or a deeper cap where import would be above the limit without.

    `capped_before_w`: what was asked in the step before. Pure: the ledger returned is the one to hand in next.
    """
    cap_w = min(short.import_w - short.limit_w, caps.max_share * max(0.0, short.load_w - caps.idle_w))
    if caps.ramp_w_per_s > 0:
        cap_w = min(cap_w, capped_before_w + caps.ramp_w_per_s * step_s)
    if cap_w <= max(decided.cap_w, QUIET_W):
        return decided
    ledger, minutes = decided.ledger, 0.0 if decided.cap_w > 0 else step_s / 60
    if ledger.minutes + minutes > caps.minutes_per_day:
        return CapsDecision(0.0, Reason("caps.used_up", {"day_min": caps.minutes_per_day}), ledger)
    rent_eur = (cap_w - decided.cap_w) / 1000 * step_s / 3600 * caps.value_eur_per_kwh
    ledger = msgspec.structs.replace(
        ledger, minutes=ledger.minutes + minutes, rent_eur=ledger.rent_eur + rent_eur, cap_w=cap_w
    )
    return CapsDecision(cap_w, Reason("caps.event", {"cap_w": cap_w, "limit_w": short.limit_w}), ledger)
