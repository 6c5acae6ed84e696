"""Reads the utility's meter values: a CSV of energy or mean power of each metering interval.

Inputs: the file as the grid operator or supplier gives it, and what the user says of it (`Layout`).
Outputs: `MeterFile`, kWh by interval, UTC.
Must not import: other drivers, `storage`; what a file does not tell is asked by an error, not guessed.
"""
