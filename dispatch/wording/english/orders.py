"""What people order, and the caps for the month's peak."""

from __future__ import annotations

TEMPLATES = {
    # what an order asks
    "asked.setpoint": "{battery_w:action}",
    "asked.import": "import {import_w:kw}",
    "asked.export": "export {export_w:kw}",
    "asked.soc": "SoC {soc_pct:g} %",
    "asked.hold": "hold at 0 kW",
    "asked.reserve": "reserve {soc_pct:g} % SoC",
    "asked.node_cap": "{node} at most {cap_w:kw}",
    "asked.disable": "{pcs} disabled",
    "order.no_tick": "no tick within {waited_s:g} s",
    # the rule of manual setpoints
    "manual.none": "no manual order",
    "manual.order": "order {order} of {who}, {asked}, {left_s:span} left",
    "manual.order_with_reason": "order {order} of {who}, {asked}, {left_s:span} left: {reason}",
    "manual.net_load_unknown": "{order}; the net load is not known",
    "manual.soc_unknown": "{order}; SoC is not known: hold",
    "manual.soc_reached": "{order}; SoC {soc_pct:.1f} %: there",
    "manual.soc_evenly": "{order}; SoC {soc_pct:.1f} %, evenly {battery_w:action}",
    "manual.soc_insists": "{evenly}: no time left to give way",
    # the range of an order, and what to know before it is confirmed
    "range.node_least": "a node draws something",
    "range.node_most": "what its register holds",
    "range.soc_min": "soc_min of the site file",
    "range.soc_max": "soc_max of the site file",
    "range.ratings": "ratings of the PCS in the site file",
    "range.rule": "{rule:rule}: {reason}",
    "note.held_to": "held to {asked} now by {why}",
    "note.above_contract": (
        "import of {import_w:kw} is above the contracted peak {contract_w:kw}: an order outranks the budget"
    ),
    "note.below_reserve": "below the declared reserve of {reserve_pct:.1f} %: ride-through is shorter than promised",
    "note.no_setpoint_anyway": "the site is {state}: no setpoint is sent anyway",
    "note.slows_down": "{node} draws {drawn_w:kw} now: its jobs slow down",
    "note.critical": "{node} is critical",
    "note.others_carry_on": "{pcs} carry on",
    "note.no_pcs_left": "no PCS is left: peaks are not held",
    "note.takes_no_part": "{device} {silence}: it takes no part",
    "device.never_answered": "has never answered",
    "device.silent": "has been silent for {silent_s:.0f} s",
    "device.silent_error": "{silent}: {error}",
    "note.pv_limits_not_counted": "what it does is reckoned without the limits of PV",
    # what it does until it ends
    "consequence.gives": (
        "until {until_local:clock} gives {battery_wh:kwh}, SoC {before_pct:.1f} → {soc_pct:.1f} %; {import}"
    ),
    "consequence.takes": (
        "until {until_local:clock} takes {battery_wh:kwh}, SoC {before_pct:.1f} → {soc_pct:.1f} %; {import}"
    ),
    "consequence.rests": "until {until_local:clock} the battery rests at {soc_pct:.1f} %; {import}",
    "consequence.more": "import {by_wh:kwh} more{cost}",
    "consequence.less": "import {by_wh:kwh} less{cost}",
    "consequence.eur": ", {eur:+.2f} EUR",
    "consequence.mean": "interval of {start_local:clock}: mean {mean_w:kw}{band}{after}",
    "consequence.band": " ({low_w:kw} to {high_w:kw})",
    "consequence.planned_after": ", as planned after it",
    "consequence.rest_after": ", at rest after it unless the limit binds",
    "consequence.no_rise": "{peak} does not rise",
    "consequence.rise": "{peak} rises by {rise_w:kw}{cost}",
    "consequence.rise_eur": ", {eur:.0f} EUR",
    "consequence.limit_kept": "{by}: {asked} kept",
    "consequence.limit_exceeded": "{by}: {asked} EXCEEDED at {at_local:clock} by {over_w:kw}",
    "consequence.broken": "CONTRACT BROKEN at {at_local:clock} by {over_w:kw}{anyway}",
    "consequence.anyway": ", as it is without the order",
    "consequence.at_risk": "contract {contract_w:kw} kept, at the upper end of the band exceeded by {over_w:kw}",
    "consequence.kept": "contract {contract_w:kw} kept",
    "consequence.unmetered": (
        "contract {contract_w:kw} kept by the forecast; {unknown_s:.0f} s of this interval were not metered"
    ),
    # caps for the month's peak and for limits of import
    "caps.months_peak": "the month's peak",
    "caps.limit": "a limit of the site's import",
    "caps.none": "no caps are needed",
    "caps.battery_holds": "the battery holds the peak",
    "caps.not_allowed": "no caps are allowed",
    "caps.let_rise": (
        "let the peak rise: caps have cost {rent_eur:.2f} EUR, {spared_w:kw} more peak costs {purchase_eur:.2f} EUR"
    ),
    "caps.used_up": "caps are used up for today: {day_min:g} min",
    "caps.idle_load": "nothing left to cap: the load is idle",
    "caps.cap": (
        "cap GPUs by {cap_w:kw}: the battery cannot hold {import_w:kw}; {rent_eur:.2f} of {purchase_eur:.2f} EUR spent"
    ),
    "caps.excess": (
        "cap GPUs by {cap_w:kw}: the battery cannot hold {import_w:kw}; what is above a contract would cost "
        "{excess_eur_per_h:.2f} EUR/h, caps {rent_eur_per_h:.2f} EUR/h"
    ),
    "caps.let_excess": (
        "let import rise above the contract: caps would cost {rent_eur_per_h:.2f} EUR/h and spare "
        "{excess_eur_per_h:.2f} EUR/h"
    ),
    "caps.event": "{cap_w:kw} to be taken to keep import below {limit_w:kw}: the battery cannot give it alone",
    # nodes for a grid event, beyond caps
    "event.nodes": "a grid event limits import",
    "event.nodes_begin": "import is limited, no new jobs on {nodes}",
    "event.nodes_off": "off once empty: {nodes}",
    "event.nodes_save": "jobs on {nodes} save: {missing_w:kw} above the limit for {for_s:span}, battery included",
    "event.nodes_requeued": "jobs on {nodes} go back to the queue: import would still be above the limit",
    "event.nodes_end": "{nodes} take jobs again: nothing limits import any more",
    "caps.priced": (
        "{reason}; at most {slowdown_pct:.0f} % slower, {lost_gpus:.2f} GPU-hours lost an hour, {eur_per_h:.2f} EUR, "
        "{basis}"
    ),
    "caps.priced_kwh": "{reason}; nodes without GPUs, {eur_per_h:.2f} EUR an hour",
    "caps.energy": "the energy saved, at {eur_per_kwh:.3f} EUR/kWh, is worth more than what is lost",
    "caps.by_curve": "by the published curve",
    "caps.by_site": "by the site's curve",
    "caps.by_jobs": "as such jobs reported",
    "caps.by_several": "known in several ways",
    "caps.off_grid": "the site is not on the grid",
    "caps.clock_not_known": "the time is not known, nor which month's peak is at stake",
    "caps.import_unknown": "import is not known for {unknown_s:span}",
    "caps.rests": "{reason}; caps stay {rest_s:span} where BMCs keep them: their memory wears out by writing",
    "caps.no_node": "no deferrable node can give anything: {reason}",
}
