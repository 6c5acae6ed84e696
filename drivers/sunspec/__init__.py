"""SunSpec information models: finding them on a device, reading and writing their points.

Inputs: the model definitions (JSON) that pysunspec2 ships; a Modbus connection.
Outputs: point values scaled to their unit; points that are not implemented are missing.
Units and signs: as in the SunSpec models: W, V, A, Hz, %.
Must not import: `gateway`, `console`, `storage`, pymodbus.
"""
