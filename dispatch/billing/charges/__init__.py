"""Bills the charges of a tariff: when each holds, what it is charged on, what it costs.

Inputs: the tariff section of the site file, a series of metered energy, market prices where a charge uses them.
Outputs: an invoice exact to the cent; the energy price of each instant; the account that an interval belongs to.
Units and signs: W, kWh, kvarh, EUR/kWh, market prices EUR/MWh; import and export are >= 0; what export earns is
    negative on an invoice.
Must not import: `dispatch.control`, `dispatch.planning` and what is above them; anything of the other top-level
    packages; I/O, clocks, random numbers (an import contract checks it).
"""
