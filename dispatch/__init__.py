"""Decides what the site does: rules, plan, islanding, alarms, bills. Functions of their inputs.

Inputs: snapshots of readings, the site file's sections, plans, orders, histories of load and price; time is part of
    them.
Outputs: decisions (a setpoint per actuator with the rules that led to it), plans, alarms, bills, reports.
Units and signs: W at the AC terminals, kWh, s, %, EUR; battery > 0 discharges, grid > 0 imports, PV >= 0. `utc_s` is
    POSIX seconds, `mono_s` the site's monotonic clock.
Must not import: anything of the other top-level packages; I/O, clocks, random numbers (an import contract checks it).

Order of the sub-packages, each may import those after it: alarms, evaluation > planning > control > orders,
power_caps, islanding, billing, forecasting > model > config, wording.
"""
