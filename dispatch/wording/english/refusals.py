"""Why an order or a power reservation is refused, and what is said of one that is granted.

A refusal begins with what is against it: a rule, a key of the site file, the field that is wrong.
"""

from __future__ import annotations

TEMPLATES = {
    # what is asked, as such
    "refused.no_reason": (
        "reason: an order needs a reason of at least {least:g} characters; it is shown to others and recorded"
    ),
    "refused.command_reason": "reason: {command} needs a reason of at least {least:g} characters",
    "refused.long_reason": "reason: {characters:g} characters; at most {most:g}",
    "refused.unprintable_reason": "reason: expected printable characters on one line",
    "refused.no_number": "{field}: expected a number, got {value}",
    "refused.no_time": "by: a SoC target needs the time by which it is to be reached",
    "refused.past_time": "in the past: the time stated was {ago_s:span} ago by the site's clock",
    "refused.past_duration": "in the past: a duration of {for_s:g} s has ended before it begins",
    "refused.past_start": "in the past: a start {ago_s:span} ago cannot be granted",
    "refused.too_long": "{key}: {for_s:span} is longer than the {most_s:span} this site allows",
    # where and when
    "refused.no_tick": "not ready: the gateway has not completed a tick yet; try again in a second",
    "refused.withdrawn_meanwhile": "the job was withdrawn before its power was granted",
    "refused.part_hangs": "cannot be computed now: {error}",
    "refused.unknown_site": "not ready: SoC, load or PV is not known now; try again when they are",
    "refused.no_state_seen": "stale console: expected seen_utc_s, the time of the newest state this console has seen",
    "refused.stale_console": (
        "stale console: the newest state it has seen is {age_s:.0f} s old, at most {most_s:g} s; look again, then order"
    ),
    "refused.one_at_a_time": (
        "one order at a time: {who} holds {slot} by order {order}: {asked}, {left_s:span} left; "
        "end it first, or replace it with --replace {order}"
    ),
    "refused.one_at_a_time_why": (
        "one order at a time: {who} holds {slot} by order {order}: {asked}, {left_s:span} left ({reason}); "
        "end it first, or replace it with --replace {order}"
    ),
    "refused.no_such_pcs": "device: {device}: expected a PCS, {pcs}",
    "refused.no_pcs": "device: the site file declares no PCS: there is no battery to order about",
    "refused.no_such_node": "node: {node}: expected one of {nodes}",
    "refused.no_cap": "node: {node} takes no power cap; these do: {nodes}",
    "refused.contact": "protection: {why}; power is reserved again once it is released",
    "refused.off_grid": "islanding: the site is {state}; a battery order is taken when it is grid-tied",
    "refused.offline": "device offline: {devices}",
    "refused.silence": "{device} {silence}",
    "found.none_here": "none on this site",
    "found.no_node_here": "no node of this site",
    # beyond what the site can do
    "refused.setpoint": ("beyond ratings: {asked} against rated {charge_w:kw} charge, {discharge_w:kw} discharge"),
    "refused.import": "beyond ratings: {asked} against export limit {export_w:kw}, fuse {fuse_w:kw}",
    "refused.soc": "beyond ratings: {asked} against soc_min {least_pct:g} %, soc_max {most_pct:g} %",
    "refused.node_cap": "beyond ratings: {asked} against {least_w:g} W to {most_w:kw}",
    "refused.soc_too_fast": (
        "beyond ratings: SoC {soc_pct:.1f} % to {target_pct:g} % in {for_s:span} takes {battery_w:action}, "
        "rated {rated_w:kw}; it can be had in {least_s:span}"
    ),
    # power reservations
    "refused.no_power": "power: {power_w:kw}: a job asks for more than 0 kW",
    "refused.short": "duration: {for_s:g} s: at least {least_s:g} s",
    "refused.beyond_plan": "plan.horizon_h: {ends_s:span} from now to its end; the site plans {horizon_s:span} ahead",
    "refused.name": "{field}: {text}: expected at most {most:g} printable characters",
    "refused.above_fuse": "fuse: {power_w:kw} is more than the {fuse_w:kw} that it carries",
    "refused.promise_off_grid": "islanding: the site is {state}; power is promised when it is grid-tied",
    "refused.same_job": (
        "one reservation per job: {name} has reservation {reservation} of {who}, {power_w:kw} from "
        "{start_local:clock} to {end_local:clock}; withdraw that first"
    ),
    "refused.restart": "restart: {restart:g}: expected how often the job was started again, 0 or more",
    "refused.earlier_restart": (
        "restart: job {job} was started again since: {reservation} is of restart {of_restart:g}, not {restart:g}"
    ),
    "refused.not_carried": (
        "{rule}: {power_w:kw} for {for_s:span} takes an import of {need_w:kw} at best, started at {start_local:clock}; "
        "{allowed_w:kw} is allowed, {battery}; {otherwise}"
    ),
    "refused.limit_ahead": (
        "{limit}, which leaves {room_w:kw} of {power_w:kw} to the job without the battery; {otherwise}"
    ),
    "limit.ahead": "{by} allows an import of {limit_w:kw} from {start_local:clock}",
    "limit.none": "no limit of import stands",
    "sets.fuse": "fuse",
    "sets.contract": "contract",
    "power.battery": "the battery has {stored_wh:kwh} above its reserve now",
    "power.no_battery": "there is no battery to help",
    "power.limited": "{limit}: started at once it would have {room_w:kw} without the battery",
    "power.could_wait": "it could start at {start_local:clock}: let it wait {wait_s:span}",
    "power.no_start": "no start within {horizon_s:span} would do",
    "power.later": "started at once it would take an import of {need_w:kw}, {kept_w:kw} is kept",
    "power.rise": "the peak may rise by {rise_w:kw} to {level_w:kw}: {cost_eur:.2f} EUR this {per}",
    "power.rise_later": (
        "the battery then lacks its energy later: the peak may rise by {rise_w:kw} to {level_w:kw}: "
        "{cost_eur:.2f} EUR this {per}"
    ),
    "power.excess": "{cost_eur:.2f} EUR more this {per} for what intervals have above a contract",
    "power.above_contract": "import may reach {level_w:kw}, above the contract of {contract_w:kw}",
    "power.without_job": "without the job {bare_w:kw}",
    "power.month_peak": "the month's peak is {peak_w:kw} already",
    "power.shortfall": "{rule} allows an import of {allowed_w:kw}, it would take {need_w:kw}",
    "power.starts": "it starts at {start_local:clock}",
    "power.at_risk": "at risk: {why}",
    "power.site_state": "the site is {state}",
    "power.not_known": "SoC, load or PV is not known now",
    # signals from outside
    "refused.signal_clock": "the time is not known yet, so no signal can be judged; send it again",
    "refused.signal_id_twice": "id {message} was used before for another message: expected a new one",
    "refused.heartbeat_time": (
        "heartbeat: its time is {late_s:.0f} s before the site's; expected at most {most_s:.0f} s before it"
    ),
    "refused.heartbeat_ahead": (
        "heartbeat: its time is {ahead_s:.0f} s after the site's; expected at most {most_s:.0f} s after it"
    ),
    "refused.heartbeat_old": "heartbeat: not newer than the last one of its sender",
    "refused.signal_quantity": "a sender of the sort {sort} may not limit {quantity}",
    "refused.signal_endless": "no end: expected end_time, nothing stands without one",
    "refused.signal_past": "it is over since {ago_s:span}: expected an end in the future",
    "refused.signal_backwards": "its end is not after its start",
    "refused.signal_long": "it lasts {asked_s:span}: expected at most {most_s:span}, max_s of the [[signal]]",
    "refused.signal_early": "it begins in {ahead_s:span}: expected within {most_s:span}, ahead_s of the [[signal]]",
    "refused.signal_site": "it is for another site, {site}",
    "refused.signal_number": "its number, {number:.0f}, is not above that of the last limit of its sender, {last:.0f}",
    "refused.signal_many": "so many signals of this sender stand already: expected at most {most:g}",
    "signal.below_critical": (
        "import at most {limit_w:kw} is below the critical load, {critical_w:kw}: it is held only as far as the "
        "battery has energy above the reserve; no critical load is shed for it"
    ),
    "signal.production_not_held": (
        "PV at most {limit_w:kw}: inverters without `curtail = true` are not limited and may give up to {fixed_w:kw}"
    ),
    "signal.export_not_held": (
        "export at most {limit_w:kw}: with a full battery inverters without `curtail = true`, up to {fixed_w:kw}, may "
        "export more"
    ),
    "signal.no_tighter": "{limit_w:kw} is no tighter than the site's own limit of {own_w:kw}: nothing changes",
    # grid events
    "refused.event_clock": "the time is not known yet, so no grid event can be taken; try again",
    "refused.event_target": "expected one target: an import not to be exceeded, or a power by which import is to drop",
    "refused.event_power": "target: {found} W: expected 0 or more, and more than 0 for a drop",
    "refused.event_baseline": "baseline: expected {known}",
    "refused.event_times": "start, end, notice or ramp is no number",
    "refused.event_endless": "no end: expected one, {most_s:span} after the start at most",
    "refused.event_long": "it lasts {asked_s:span}: expected at most {most_s:span}",
    "refused.event_early": "it begins in {ahead_s:span}: expected within {most_s:span}",
    "refused.event_ramp": "notice and ramp: expected 0 or more, of the ramp at most {most_s:span}",
    "refused.event_many": "so many grid events stand already: expected at most {most:g}",
    "event.baseline_unknown": (
        "import without the battery is not known for a minute of the last five: nothing is limited until it is"
    ),
    "event.begun_before": "its start is {ago_s:span} ago: it begins at once",
    # with how much power jobs may start
    "starts.free": (
        "jobs may start with {free_w:kw} more: an import of {level_w:kw} is kept, the load is {load_w:kw} and jobs "
        "that have just begun may draw another {undrawn_w:kw}"
    ),
    "starts.none_free": (
        "no power is free for jobs to start with: an import of {level_w:kw} is kept, the load is {load_w:kw} and jobs "
        "that have just begun may draw another {undrawn_w:kw}"
    ),
    "starts.limited": "jobs may start with {free_w:kw} more: {limit}, the load is {load_w:kw}",
    "starts.not_fewer_yet": "as before; fewer only once it is seen what jobs that have just begun draw",
    "starts.off_grid": "no job starts: the site is {state}",
    "starts.stopped": "no job starts: {why}",
    # what holds before an order
    "now.no_setpoint": "no setpoint",
    "now.import_unknown": "import not known",
    "now.import": "import {import_w:kw}",
    "now.soc_unknown": "SoC not known",
    "now.soc": "SoC {soc_pct:.1f} %",
    "now.reserve": "reserve {soc_pct:.1f} % SoC",
    "now.uncapped": "{node} uncapped",
    "now.enabled": "{pcs} enabled",
}
