"""Caps on compute nodes that keep the month's peak when the battery cannot, or save energy worth more than they cost.

Inputs: the power that is missing, the nodes' readings and jobs, the price of a cap, of energy and of a higher peak.
Outputs: a cap in W per node, and what caps have cost this month.
Units and signs: W at the node, kWh, EUR.
Must not import: `dispatch.control`, `dispatch.planning`; anything of the other top-level packages; I/O, clocks,
    random numbers (an import contract checks it).

`ski_rental` decides whether to cap, `cap_controller` which nodes and how deep: in proportion to what they can give, or
by `pricing` and `priced_caps` where GPU-hours have a price. `job_groups` gives the nodes of one job the same limit for
each GPU. `throughput` tells how much slower a cap makes a GPU, `progress` learns that from what jobs report, and
`latency` how long caps take to show.
"""
