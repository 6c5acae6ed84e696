"""The rule of the reserve for ride-through."""

from __future__ import annotations

import math

from dispatch.config.battery_ratings import reserve_soc_pct, worst_efficiency
from dispatch.control.rules.situation import Situation, charge_ceiling_w, charge_room_w
from dispatch.model.battery_bank import counted, in_service
from dispatch.model.islanding import IslandState
from dispatch.model.reasons import Reason
from dispatch.model.rule_chain import Ask, Bounds
from dispatch.orders.book import signed

RESERVE_TAPER_PCT = 1.0  # discharging fades to 0 over this much SoC above the reserve


def reserve(s: Situation, so_far: Bounds) -> Ask:
    """SoC for ride-through is not spent on money. Below it, refill within the budget."""
    mark_pct, order = s.reserve_soc_pct, s.orders.reserve
    if s.config.reserve_kwh <= 0 and order is None:
        return Ask(Reason("reserve.none"))
    if s.soc_pct is None or s.available_pct is None:
        most_w = max(s.last_w, 0.0)
        return Ask(Reason("reserve.soc_unknown", {"reserve_pct": mark_pct, "limit_w": most_w}), high_w=most_w)
    declared = Reason("reserve.declared", {"reserve_kwh": s.config.reserve_kwh})
    whose = declared if order is None else signed(order, s.orders.mono_s)
    soc = counted(in_service(s.soc_pct, s.available_pct), s.snapshot.batteries)
    level = Reason("reserve.level", {"soc": soc, "reserve_pct": mark_pct, "whose": whose})
    if s.islanding.import_high_w is not None:
        below = s.recharging or s.available_pct < mark_pct
        after_ramp, untouched = (
            Reason("reserve.after_ramp", {"level": level}),
            Reason("reserve.untouched", {"level": level}),
        )
        return Ask(after_ramp if below else untouched)
    if s.recharging:
        refill = Reason("reserve.refill", {"level": level, "import_w": charge_ceiling_w(s)})
        if s.islanding.state is IslandState.GENSET:
            refill = Reason("reserve.refill_on_genset", {"level": level, "genset_w": charge_ceiling_w(s)})
        return Ask(
            refill,
            high_w=0.0,
            preferred_w=-charge_room_w(s),
            high_why=Reason("reserve.no_discharge", {"level": level}),
        )
    share = min(max((s.available_pct - mark_pct) / RESERVE_TAPER_PCT, 0.0), 1.0)
    high_w = min(share * s.config.discharge_w, _lasting_w(s))
    if high_w < s.config.discharge_w:
        return Ask(Reason("reserve.taper", {"level": level, "limit_w": high_w}), high_w=high_w)
    return Ask(Reason("reserve.untouched", {"level": level}))


def _lasting_w(s: Situation) -> float:
    """Discharging power, >= 0, whose energy above the reserve lasts as long as the setpoint holds."""
    if s.available_pct is None or s.hold_s <= 0:
        return math.inf
    spare_pct = max(s.available_pct - reserve_soc_pct(s.config), 0.0)
    return spare_pct / 100 * s.config.energy_kwh * worst_efficiency(s.config).discharge * 1000 * 3600 / s.hold_s
