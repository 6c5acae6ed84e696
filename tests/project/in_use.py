"""Names that are used where vulture cannot see it; it reads this file as their use. Each with where that is."""

# console/tui/app.py loads views by name
AlarmList
Compute
EventLog
HelpPage
Overview
PlanView

# dispatch/model.py: shown by `skerry status --json` and kept in the record, by name of the field
_.memory_used_mib
_.revert_remaining_s
_.solve_ms

# dispatch/model.py: states of the islanding machine that devices and the record name
_.PREPARING
_.OPENING
_.SYNCHRONISING
_.CLOSING
_.BLACK_START

# drivers/twin/pcs.py: values of SunSpec registers, taken by number
_.SLEEPING
_.SHUTTING_DOWN
_.EXIT_STANDBY
