"""Caps on compute nodes that keep the month's peak when the battery cannot.

Inputs: the power that is missing, the nodes' readings, the price of a cap and of a higher peak.
Outputs: a cap in W per node, and what caps have cost this month.
Units and signs: W at the node, kWh, EUR.
Must not import: `dispatch.control`, `dispatch.planning`; anything of the other top-level packages; I/O, clocks,
    random numbers (an import contract checks it).

`ski_rental` decides whether to cap, `cap_controller` which nodes and how deep, `throughput` tells how much slower a cap
makes a GPU.
"""
