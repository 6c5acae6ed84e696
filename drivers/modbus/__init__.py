"""Modbus TCP: connections, checks of every answer, errors.

Inputs: host, port, unit id; registers to read or write.
Outputs: register values, or a `DeviceError` that says device, register and what to do.
Units and signs: 16-bit registers; deadlines in s of the machine's clock.
Must not import: `gateway`, `console`, `storage`, the other drivers.

pymodbus builds and parses frames; each raw answer is compared with its request first, because pymodbus accepts wrong
ones.
"""
