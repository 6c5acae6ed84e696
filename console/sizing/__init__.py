"""Compares sizes of battery, PCS and PV, and tariffs, by a replay of each.

Inputs: a site file, recorded data, lists of sizes and tariffs.
Outputs: one result per point; a map as text, picture and sizing.csv.
Units and signs: kWh, kW, kWp, % of the bill.
Must not import: Textual, `console.cli`, `console.tui`.

A point is a function of its inputs alone, so processes and Dask workers give the same result.
"""
