"""Judges the past: perfect foresight, and the Energy IQ against it.

Inputs: recorded load, PV, prices and battery power in quarter hours.
Outputs: the best possible cost, the Energy IQ (0 to 100), the loss by part of the bill and by cause.
Units and signs: W and kWh, EUR; the Energy IQ is in %.
Must not import: `dispatch.control`; anything of the other top-level packages; I/O, clocks, random numbers (an import
    contract checks it). The results are never an input of control or planning.
"""
