"""Prices, demand charge, metering interval and the bill.

Inputs: market prices, import and export per step, the tariff and grid sections of the site file.
Outputs: the bill in EUR, the energy left in the running metering interval, the month's peak so far.
Units and signs: W, kWh, EUR/kWh, EUR/MWh for market prices, EUR/kW for demand; import and export are >= 0.
Must not import: `dispatch.control`, `dispatch.planning` and what is above them; anything of the other top-level
    packages; I/O, clocks, random numbers (an import contract checks it).

`charges/` bills every form of charge; `demand_charge` says what tick, plan and foresight defend of one on peaks.
"""
