"""Reads the electricity meter of the grid operator by its customer port P1: DSMR 5 and e-MUCS, a telegram a second.

Inputs: a `[[meter]]` with `source = "p1"`, and the telegrams that the meter sends by itself over a serial port or a
TCP bridge. Outputs: `Meter` parts of the snapshot; W > 0 import, V, A, Wh. Nothing is ever sent to the meter.
It must not import the twin, nor decide anything.
"""
