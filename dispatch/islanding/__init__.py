"""Outages and drills: islanding state, reconnection, load shedding, remaining runtime.

Inputs: snapshots (switch contacts, PCS modes, voltage, frequency, SoC) and requests of people (drill, abort, reset,
    black start).
Outputs: the islanding state with limits for import; orders to switch, PCS and nodes; drill reports; remaining
    runtime.
Units and signs: W at the AC terminals, V phase to neutral, Hz, %, s; import > 0, battery > 0 discharges.
Must not import: `dispatch.control`, `dispatch.planning`; anything of the other top-level packages; I/O, clocks,
    random numbers (an import contract checks it).

Nothing here protects: it follows the devices, permits and requests. `state_machine` is the entry, `transitions` the
table of states, `reconnection` alone permits closing.
"""
