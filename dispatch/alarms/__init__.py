"""Decides which alarms are active, acknowledged or cleared.

Inputs: snapshot, decision and a few facts of the gateway (lateness, disk, audit).
Outputs: the conditions that hold, and alarm states with cause, consequence and action.
Units and signs: W, s, %; times are POSIX seconds.
Must not import: anything of the other top-level packages; I/O, clocks, random numbers (an import contract checks it).

`catalogue.toml`, read by `definitions`, is the list of alarms, `conditions` says which hold, `states` is the state
machine (ISA-18.2 terms), `shelving` what is off the list, `priorities` the table of consequence and time to act.
"""
