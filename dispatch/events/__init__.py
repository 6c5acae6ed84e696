"""Grid events: import is not to exceed a level from one time to another: announced, prepared for, held, ended in steps.

Inputs: what an operator asks, signals from outside; at each tick time, import, SoC, month's peak, caps and plan.
Outputs: the state of each event, the limits that controller and plan keep, what is measured of each; baselines, what
    can be offered, reports.
Units and signs: W and Wh at the AC terminals, import and discharging > 0; UTC seconds; EUR.
Must not import: `dispatch.control`, `dispatch.alarms`, `dispatch.commissioning`; anything of the other top-level
    packages; I/O, clocks, random numbers (an import contract checks it).
"""
