"""What each compute job drew, and what that cost.

Inputs: the nodes' readings, the running jobs as the schedulers tell, import and load of the site, prices.
Outputs: a record of each run of a job; of each quarter hour what jobs and idle nodes drew, and the whole load; the
    intervals that set the billed peak, and who drew how much in them.
Units and signs: Wh, W, s, EUR, g of CO2; energy that is drawn is > 0.
Must not import: `dispatch.control`, `dispatch.planning`; anything of the other top-level packages; I/O, clocks,
    random numbers (an import contract checks it).

`samples` turns the readings of a node into energy, `shares` divides it among jobs, `costs` prices it; `meter` keeps the
runs of the jobs, and `site_accounts` the quarter hours. How figures were got: measured, where all of what was measured
belongs to one job; apportioned, where it is divided by what was allocated; estimated, where a figure was no
measurement, or who ran was assumed.
"""
