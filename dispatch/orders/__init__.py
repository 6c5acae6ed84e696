"""Manual orders and power reservations: the book of each, and whether an order may be given.

Inputs: an order or reservation asked for, those in force, snapshot and site file.
Outputs: the order in force and what it asks of the battery; or a refusal with rule and figure.
Units and signs: W, %; orders end on `mono_s`, reservations on `utc_s`.
Must not import: `dispatch.control`, `dispatch.planning`; anything of the other top-level packages; I/O, clocks,
    random numbers (an import contract checks it).
"""
