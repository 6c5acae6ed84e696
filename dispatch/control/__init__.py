"""Decides the power of each PCS at every tick.

Inputs: a snapshot, the plan in force, the orders in force; the controller's memory after a restart.
Outputs: a `Decision`: one setpoint per PCS, and the limits, preference and reason of each rule.
Units and signs: W at the AC terminals, battery > 0 discharges, import > 0; `mono_s` for deadlines.
Must not import: `dispatch.planning`, `dispatch.forecasting`, `dispatch.evaluation`, `dispatch.alarms`; anything of
    the other top-level packages; I/O, clocks, random numbers (an import contract checks it).

`controller` is the entry; `rules` lists the rules in their order; `net_load_estimator` is the control law.
"""
