"""Names that are used where vulture cannot see it; it reads this file as their use. Each with where that is."""

# console/tui/viewing.py loads views by name
AlarmHistory
AlarmList
Compute
Devices
EventLog
HelpPage
Island
Overview
PlanView

# dispatch/model/equipment.py: shown by `skerry status --json` and kept in the record, by name of the field
_.memory_used_mib
_.largest_step_w
_.revert_remaining_s
_.solve_ms

# dispatch/config/charges.py: months of MonthWeights, taken by name
_.jan
_.feb
_.mar
_.apr
_.jun
_.jul
_.aug
_.sep
_.oct
_.nov
_.dec

# dispatch/model/equipment.py: states of the islanding machine that devices and the record name
_.PREPARING
_.OPENING
_.SYNCHRONISING
_.CLOSING
_.BLACK_START

# drivers/twin/pcs.py: values of SunSpec registers, taken by number
_.SLEEPING
_.SHUTTING_DOWN
_.EXIT_STANDBY

# dispatch/model/islanding.py: travels in each decision, into `status --json` and the record
_.in_window
_.hold_left_s
_.ended_utc_s
_.timeline
_.transfer_gap
_.islanded_s
_.v_min
_.v_max
_.hz_min
_.hz_max
_.battery_wh
_.soc_track
_.permit_close
_.reconnect
_.promised_left_s
_.draw_w

# commands, by their decorators
black_start
upgrade

# storage: what an uplink to a fleet, and views of the console, ask of the record
_.gaps
_.at
_.found_factor
_.age_s
_.alarms

# drivers/maps: keys of a map's file, for its drivers and the table in the docs
_.disagreements
_.sign_of_zero
_.refresh_s
_.latching

# drivers/tariffs/price_sheets.py: the table in the docs
_.not_verified

# drivers/twin/families: the table in the docs
_.behaviour
_.silence
_.out_of_range
_.wrong_mode
_.other_firmware

# dispatch/model/jobs.py: for forecasts, accounting and consoles; shown by `skerry queue --json`
_.expected_start_utc_s
_.gpu_uuids
_.partition
_.account
_.cpus
_.node_count
_.jobs
_.cluster

# storage/jobs.py: what `skerry jobs` prints of groups
_.gpu_h
_.node_h

# drivers/signals/cloud_event.py: checked by its type where an event is decoded
_.specversion

# dispatch/events/model.py: travels with the state of each grid event, into the record, its report and `--json`
_.soc_at_notice_pct
_.soc_at_start_pct
_.soc_at_end_pct
_.month_peak_at_notice_w
_.month_peak_at_start_w
_.month_peak_at_end_w
_.month_peak_after_w
_.aborted_by
_.abort_reason
_.plan_before
_.plan_before_utc_s
_.over_limit_w

# gateway/api/site_overview.py: into `skerry fleet --json`, by name of the field
_.peak_at_least
_.peak_utc_s
_.jobs_waiting

# console/tui/fleet_app.py: read by Textual
_.CSS

# console/tui/driver.py: called by Textual's driver
_._enable_mouse_support
_._disable_mouse_support

# dispatch/model/orders.py: printed by `skerry setpoint --dry-run --json`
_.breaks_contract
