"""Forecasts load and PV for the next hours.

Inputs: past quarter hours of load and PV; running, queued and announced jobs.
Outputs: per quarter hour the expected power and, for the load, its 90 % band.
Units and signs: W, mean of a quarter hour; times are POSIX seconds.
Must not import: all other dispatch packages but `dispatch.model`; anything of the other top-level packages; I/O,
    clocks, random numbers (an import contract checks it).
"""
