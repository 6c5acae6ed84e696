"""What the rules of the tick say."""

from __future__ import annotations

# As shown, where they are not called as `RuleId` calls them.
NAMES: dict[str, str] = {}

TEMPLATES = {
    "text": "{text}",
    "several": "{parts}",
    "decision.setpoint": "{battery_w:action} — {rule:rule}: {reason}",
    "decision.no_setpoint": "no setpoint — {rule:rule}: {reason}",
    # how rules combine
    "rule.at_rest": "not in force: the site is {state}",
    "rule.order_steers": "not in force: order {order} steers",
    "rule.net_load_unknown": "the net load is not known: no bound",
    "rule.unmet_at_least": "cannot be met: asks at least {asked_w:kw}, held at {left_w:kw} by {by:setter} ({reason})",
    "rule.unmet_at_most": "cannot be met: asks at most {asked_w:kw}, held at {left_w:kw} by {by:setter} ({reason})",
    "rule.and_unmet": "{reason}; {rule:rule} {unmet}",
    "rule.at_ratings": "at the ratings",
    "rule.nothing_asked": "nothing asks for anything",
    # protection
    "protection.no_pcs": "the site file declares 0 PCS",
    "protection.some": "{pcs:g} of {of_pcs:g} PCS get no command: {why}",
    "protection.free": "{pcs:g} of {pcs:g} PCS are free to be commanded",
    "contact.stop": "battery to 0 kW: {why}",
    "contact.state": "{purpose} {contact} {state}",
    "contact.latched": "{purpose} {contact} is back and not acknowledged yet",
    "contact.released": "acknowledged: the battery may be operated again",
    "contact.epo": "emergency stop",
    "contact.fire": "fire alarm",
    "contact.gas": "gas alarm",
    "contact.na_protection": "grid and plant protection",
    "contact.cooling_fault": "cooling fault",
    "contact.door": "door",
    "contact.grid_operator": "step of the grid operator's",
    "contact.operator_wire": "wire of the grid operator's",
    "contact.alarm": "alarm contact",
    "contact.active": "is active",
    "contact.inactive": "is not active",
    "contact.broken": "has a wire break: its two inputs contradict each other",
    "contact.no_step": "counts as active: its wires say no step of the site file",
    "contact.was_active": "was active when it was last read",
    "contact.was_inactive": "was not active when it was last read",
    "contact.was_broken": "had a wire break when it was last read",
    "contact.lost": "is not read",
    "pcs.battery_tripped": "battery {battery} reports {state}{because}",
    "pcs.contactor_open": "the contactor of {battery} is open: no power can flow{because}",
    "battery.because": " ({alarms})",
    "pcs.never_read": "{pcs} has not been read",
    "pcs.local_control": "{pcs} is under local control",
    "pcs.not_running": "{pcs} is in state {state}",
    "pcs.disconnected": "{pcs} is disconnected from the grid",
    "pcs.power_unknown": "{pcs}'s power is not known ({absence})",
    "pcs.last_read": "last usable reading {age_s:.1f} s ago",
    "pcs.answers_without_power": "it answers, but without its power",
    "pcs.no_answer": "no answer that names it",
    "pcs.lost_without_setpoint": "{lost}: no setpoint of it is known",
    "pcs.power_assumed": "{lost}: assumed to go on ({power_w:action}), no setpoint of it is known",
    "pcs.power_by_meters": "{lost}; measured by grid and load meter: {power_w:action}{asked}",
    "pcs.sum_by_meters": "{lost}; measured by grid and load meter: {sum_w:action} by all PCS that are silent{asked}",
    "pcs.reverted_by_meters": (
        "{lost}; it has reverted: grid and load meter show {power_w:action}, its setpoint ({setpoint_w:action}) ran "
        "out {over_s:.0f} s ago"
    ),
    "pcs.last_setpoint": " (last setpoint: {setpoint_w:action})",
    "pcs.setpoint_assumed": "{lost}: assumed to keep its setpoint ({setpoint_w:action}), its timeout is not known",
    "pcs.setpoint_until": (
        "{lost}: assumed to keep its setpoint ({setpoint_w:action}); unless a write reaches it, that runs out in "
        "{left_s:.0f} s"
    ),
    "dies.reverts": "{pcs} reverts to {to_w:kw} after {after_s:g} s (timer read back, not tried)",
    "dies.reverts_somewhere": (
        "{pcs} drops its setpoint after {after_s:g} s (timer read back, not tried); to which power is not known"
    ),
    "dies.map_reverts": (
        "{pcs} drops its setpoint after {after_s:g} s (by its device map, not tried); to which power is not known"
    ),
    "dies.map_keeps": "{pcs} keeps its last setpoint: by its device map it never reverts by itself",
    "dies.keeps": "{pcs} keeps its last setpoint, now {held_w:kw}: no reversion timer runs in it",
    "dies.proven": "{pcs} reverts to {to_w:kw} after {after_s:.0f} s, proven {proven_local:date_clock}{firmware}",
    "dies.proven_keeps": (
        "{pcs} keeps its last setpoint, now {held_w:kw}: it did not revert in {waited_s:.0f} s, proven "
        "{proven_local:date_clock}{firmware}"
    ),
    "dies.proven_keeps_unread": (
        "{pcs} keeps the setpoint last written, which cannot be read back: it did not revert in {waited_s:.0f} s, "
        "proven {proven_local:date_clock}{firmware}"
    ),
    "dies.firmware": ", fw {firmware}",
    "dies.forms": "{pcs} goes on forming: it gets no setpoint",
    "dies.not_enabled": "{pcs} holds no setpoint: it is not enabled",
    "dies.not_asked": "{pcs} gets no setpoint, and holds none",
    "dies.not_read": "of {pcs} it is not known: its setpoint is not read",
    "pcs.foreign_master": (
        "another controller writes to {pcs}, last {held_w:kw}: it gets no setpoint, tried again in {again_s:span}"
    ),
    "pcs.reverted_assumed": (
        "{lost}: assumed at {to_w:kw}, its setpoint ({setpoint_w:action}) ran out {over_s:.0f} s ago"
    ),
    # device limits
    "limit.not_as_proven": "{limit_w:kw}, half of its rating: it is not as it was proven",
    "curtail.export": "PV at most {limit_w:kw} in all: the rest of the site takes {load_w:kw}, "
    "the battery can take {charge_w:kw}, "
    "export at most {export_w:kw}",
    "curtail.production": "PV at most {limit_w:kw} in all: the grid operator allows {production_w:kw} of all inverters",
    "curtail.price": "PV at most {limit_w:kw} in all: export earns {price_eur_per_kwh:cents} ct/kWh, the rest of the "
    "site takes {load_w:kw}, the battery {charge_w:kw}",
    "curtail.load_unknown": "PV at most {limit_w:kw} in all: what the site takes is not known, export at most "
    "{export_w:kw}",
    "curtail.held": "as before: the net load has been unknown for less than {hold_s:g} s",
    "curtail.state_unknown": "as before: the site is {state}, whether it is joined to the grid is not known",
    "curtail.none": "not limited: {room_w:kw} of PV can be used, stored or exported",
    "curtail.off_grid": "not limited: the site is {state}",
    "curtail.genset": "PV at most {limit_w:kw} in all: the rest of the site takes {load_w:kw}, "
    "the battery can take {charge_w:kw}, the generator gives at least {least_w:kw}",
    "curtail.none_on_genset": "not limited: {room_w:kw} of PV can be used or stored",
    "curtail.genset_undeclared": "as before: a generator feeds the site, and the site file has no [genset]",
    "curtail.genset_load_unknown": "PV at most {limit_w:kw} in all: what the site takes of its generator is not known",
    "genset.undeclared": "the switch says that a generator feeds the site, and the site file has no [genset]: 0 kW",
    "genset.window": (
        "generator of {rated_w:kw} beside a net load of {net_w:kw}: at least {least_w:kw} from it, charge at most "
        "{charge_w:kw}"
    ),
    "genset.spare": "the generator, rated {rated_w:kw}, has this to spare beside a net load of {net_w:kw}",
    "genset.overload": "the net load of {net_w:kw} is above the generator's rating of {rated_w:kw}",
    "genset.least": "the generator gives at least {least_w:kw}, and the net load is {net_w:kw}",
    "genset.load_unknown": "on the generator with an unknown load the battery stands still: {lost}",
    "limit.no_pcs": "0 PCS take part",
    "limit.both": "charge at most {charge_w:kw} ({charge_why}), discharge at most {discharge_w:kw} ({discharge_why})",
    "limit.cap": "cap_w of the site file, {limit_w:kw} of {rated_w:kw}",
    "limit.rating": "rating {limit_w:kw}",
    "limit.pcs": "{pcs} allows {limit_w:kw}",
    "limit.bms": "BMS of {battery} allows {limit_w:kw}",
    "limit.bms_amps": "BMS of {battery} allows {limit_a:g} A, which is {limit_w:kw}",
    "limit.soc": "SoC {soc_pct:.1f} % against {end}",
    "limit.soc_unknown": "SoC of {battery} unknown: only towards 0",
    "limit.unmonitored": "{battery} tells neither its temperature nor a limit of its BMS: "
    "at most {limit_w:kw}, by its unmonitored_w",
    "limit.temperature": "{battery} at {temp_c:.1f} C, allowed {min_c:g}..{max_c:g} C",
    "limit.isolation_fault": "{battery} reports an isolation fault: 0 kW until its BMS reports none",
    "limit.isolation_low": "{battery} has {isolation_kohm:.0f} kOhm to earth, at least {least_kohm:.0f} kOhm needed, "
    "by its isolation_min_ohm: 0 kW",
    "soc.minimum": "soc_min {soc_pct:g} %",
    "soc.maximum": "soc_max {soc_pct:g} %",
    # safe value
    "net.by_load_meter": "grid meter {meter} stands still: net load {net_w:kw} is derived from load meter and PV",
    "safe.net_load_known": "the net load is known: {net_w:kw}",
    "safe.nothing_to_hold": "nothing to hold",
    "safe.hold": "{lost} for {lost_s:.1f} s: hold {held_w:kw} up to {hold_s:g} s",
    "safe.ramp": "{lost} for {lost_s:.0f} s: to the safe value {safe_w:kw}, now {now_w:kw}",
    "lost.no_reading": "no reading from grid meter {meter}",
    "lost.not_believed": "grid meter {meter} answers, but its power is not believed,",
    "lost.stands_still": "grid meter {meter} stands still,",
    "lost.load_meter_frozen": "stands still while grid meter, PCS and PV move: not used",
    "lost.load_meter_moves": "its reading changes again",
    "lost.pcs_never_read": "a PCS has never been read,",
    # islanding, fuse
    "islanding.ramp_back": "import ramps back after the return to the grid, {import_w:kw} now",
    "fuse.window": "import at most {import_w:kw}, export at most {export_w:kw} ({phases})",
    "fuse.obliged": "grid operator ({by}): {asked}; otherwise {window}",
    "fuse.production": "PV at most {limit_w:kw}",
    "fuse.operator_reserve": "{operator}; for the import limit discharge at most {limit_w:kw}, the reserve is kept",
    "signals.none": "no market target and no fleet limit is in force",
    "signals.limits": "{by}: {asked}",
    "signals.import": "import at most {limit_w:kw}",
    "signals.export": "export at most {limit_w:kw}",
    "signals.charge": "charge at most {limit_w:kw} from the grid",
    "fuse.no_currents": "no phase currents, {fuse_a:g} A x {phases:g} at nominal voltage",
    "fuse.worst_phase": "worst phase {phase_a:.0f} of {fuse_a:g} A",
    # reserve
    "reserve.none": "no reserve is declared: 0 kWh",
    "reserve.soc_unknown": "SoC is not known, reserve {reserve_pct:.0f} %: discharge at most {limit_w:kw}",
    "reserve.declared": "{reserve_kwh:g} kWh",
    "soc.stored": "SoC {soc_pct:.1f} %",
    "soc.in_service": "SoC {soc_pct:.1f} %, {available_pct:.1f} % in service",
    "reserve.level": "{soc}, reserve {reserve_pct:.1f} % ({whose})",
    "reserve.after_ramp": "{level}: refill once import has ramped back",
    "reserve.refill": "{level}: refill while import stays under {import_w:kw}",
    "reserve.refill_on_genset": "{level}: refill while the generator gives less than {genset_w:kw}",
    "reserve.no_discharge": "{level}: no discharge",
    "reserve.taper": "{level}: discharge at most {limit_w:kw}",
    "reserve.untouched": "{level}: untouched",
    # import
    "budget.left": (
        "{left_wh:kwh} left in the interval up to the {peak} {limit_w:kw} "
        "({left_s:countdown} to go, import at most {import_w:kw})"
    ),
    "budget.spent": (
        "the interval's mean exceeds the {peak} {limit_w:kw} by {over_wh:kwh} "
        "({left_s:countdown} to go, import at most {import_w:kw})"
    ),
    "interval.bounds": (
        "metering interval of {local:clock}: mean import between {low_w:kw} and {high_w:kw}; the meter's power was "
        "not read, or not believed, across one of its ends, and its register tells the sum only"
    ),
    "interval.at_least": (
        "metering interval of {local:clock}: mean import at least {low_w:kw}; import is not known for "
        "{unknown_s:span} of it"
    ),
    "interval.placed": (
        "the clock is known now: {placed_wh:kwh} imported in the {placed_s:span} before are counted in the metering "
        "intervals in which they were measured"
    ),
    "interval.unplaced": (
        "the clock is known now: {placed_wh:kwh} imported in the last {placed_s:span} are counted in the metering "
        "intervals in which they were measured; {before_wh:kwh} before that are in none"
    ),
    "register.impossible": (
        "reading not believed: the import register says {now_wh:kwh} after {before_wh:kwh}, which no import through "
        "the fuse can make; expected a register that only counts up ([grid] fuse_a). It is not counted"
    ),
    "register.reset": (
        "the import register stays at {now_wh:kwh} after {before_wh:kwh}: it was reset or replaced. Counting goes on "
        "from there; time without readings before stays as assumed"
    ),
    "ramp.none": "no ramp limit: 0 kW/s declared",
    "ramp.no_start": "no import to start from yet, limit {rate_w_per_s:kw_per_s}",
    "ramp.limit": "import moves at most {rate_w_per_s:kw_per_s} from {from_w:kw}",
    # plan, rest, idle
    "plan.none": "no plan for this instant",
    "plan.no_pcs": "plan asks {planned_w:action}, but no PCS takes part: 0 of {of_pcs:g}",
    "plan.soc_unknown": "plan asks {planned_w:action}, but SoC is not known",
    "plan.price": "{price_eur_per_kwh:.3f} EUR/kWh",
    "plan.order_over": "order {order} is over: hold until the next plan",
    "plan.load_lower": "{plan}; load is lower than planned, {enough_w:kw} is enough",
    "plan.import_held": "{plan}; import stays under {import_w:kw}: {battery_w:action}",
    "plan.already_asked": "{plan}; an earlier rule already asks {asked_w:action}",
    "rest.not_needed": "not needed: an earlier rule states what it prefers",
    "rest.soc_unknown": "SoC is not known, rest {rest_pct:g} %: no charging",
    "rest.nothing_to_do": "no plan; SoC {soc_pct:.1f} %, rest {rest_pct:g} %: nothing to do",
    "rest.charge": (
        "no plan; SoC {soc_pct:.1f} %, rest {rest_pct:g} %: charge up to {charge_w:kw} while import stays under "
        "{import_w:kw}"
    ),
    "idle.not_idle": "not idle: {preferred_w:action} is preferred",
    "idle.held": "nothing asks for power; earlier rules do not allow 0 kW",
    "idle.idle": "nothing asks for power: idle at 0 kW",
}
