"""Runs controller and planner over recorded load, PV, prices and jobs, and compares bills.

Inputs: a site file, CSV files, a period, a step from 100 ms to a metering interval.
Outputs: schedule.csv, summary.json, jobs_started.csv, a chart; the bill with those of no battery, a night-valley rule
    and perfect foresight.
Units and signs: W, %, EUR; UTC instants; battery > 0 discharges.
Must not import: Textual, `console.cli`, `console.tui`.

The controller sees at each step what it would have known. `engine` is for steps of 10 s and more, `fine` for shorter
ones.
"""
