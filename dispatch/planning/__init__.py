"""Makes the plan of the next hours: a linear program over 36 h in quarter hours.

Inputs: SoC, forecasts of load and PV, prices, month's peak, orders, reservations, the last plan.
Outputs: a `Plan`: per step battery power, import, SoC and reason; the answer to a power reservation.
Units and signs: W and % at the interface, kW, kWh, h and EUR inside the linear program; battery > 0 discharges.
Must not import: `dispatch.control` but its rules' limits, `dispatch.evaluation`, `dispatch.alarms`; anything of the
    other top-level packages; I/O, clocks, random numbers (an import contract checks it). numpy and highspy are
    imported with the first solve only, because short commands import this package.

`pipeline` is the entry for gateway and replay; `validator` checks every plan and shares no formula with the planner.
"""
