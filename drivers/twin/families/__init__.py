"""Simulated PCS with registers of their own, each written by hand from its sources: not from the map that they check.

Inputs: writes to registers, the physics of `drivers.twin`. Outputs: register images by Modbus unit, a wanted power.
Units and signs: W, > 0 discharges; registers in the unit and sign of the device.
Must not import: `drivers.maps`, `gateway`, `console`, `storage`.
"""
