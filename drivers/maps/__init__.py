"""Register maps of devices that do not speak SunSpec.

Inputs: a block of holding registers.
Outputs: named values with their unit; or an error that names map, register and what was found.
Units and signs: as documented in each map.
Must not import: `gateway`, `console`, `storage`, pymodbus.

A map starts with a magic number and a version, so that a wrong device is noticed.
"""
