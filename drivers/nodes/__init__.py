"""Compute nodes: reading their power and load, capping, suspending, shutting them down.

Inputs: a `[[node]]` of the site file; node orders.
Outputs: a `Node` reading; the difference between the state asked and the present state is carried out.
Units and signs: W, % of CPU, numbers of GPUs.
Must not import: `gateway`, `console`, `storage`.

NVML calls may hang, so they run in a thread of their own.
"""
