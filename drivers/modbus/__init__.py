"""Modbus over TCP, TLS and serial ports: connections, checks of every answer, errors.

Inputs: address, unit id; registers to read or write.
Outputs: register values, or a `DeviceError` that says device, register and what to do.
Units and signs: 16-bit registers; deadlines in s of the machine's clock.
Must not import: `gateway`, `console`, `storage`, the other drivers.

Frames are built and checked here, not by pymodbus, which accepts wrong answers; in tests it is the other side.
"""
