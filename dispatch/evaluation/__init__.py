"""Judges the past: perfect foresight, the Energy IQ against it, and the record against the utility's meter values.

Inputs: recorded load, PV, prices and battery power in quarter hours; recorded power and the utility's intervals.
Outputs: the best possible cost, the Energy IQ (0 to 100), the loss by part of the bill and by cause;
    energy by interval, the offset of the meter's clock, the likely reasons of differences.
Units and signs: W and kWh, EUR; the Energy IQ is in %.
Must not import: `dispatch.control`; anything of the other top-level packages; I/O, clocks, random numbers (an import
    contract checks it). The results are never an input of control or planning.
"""
