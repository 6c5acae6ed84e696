"""Decides how far the month's peak may rise, from the site's past.

Inputs: load, PV and prices of the last fortnight, earlier months' billed peaks, the forecast, the peak so far, the days
    left in the month.
Outputs: the peak to keep (W), the cost of a higher one (EUR per kW, in steps), the value of stored energy (EUR/kWh
    per step).
Units and signs: W, kWh, EUR; quarter hours.
Must not import: the other modules of `dispatch.planning`; anything of the other top-level packages; I/O, clocks,
    random numbers (an import contract checks it).

`outlook` is the entry, `exceedance` estimates how likely a peak is exceeded, `upkeep` what keeping it costs, `prior`
is for a site without a fortnight of data.
"""
