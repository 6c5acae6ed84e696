"""Exchanges data with devices and feeds: Modbus, SunSpec, register maps, compute nodes, price files; and the twin.

Inputs: the device sections of the site file; setpoints and orders to send.
Outputs: parts of a snapshot (`Meter`, `Pcs`, `Switch`, …) as read, and whether a write was accepted.
Units and signs: W at the AC terminals, V, A, Hz, %, °C; signs as in `dispatch.model`. A value that cannot be read is
    missing.
Must not import: `gateway`, `console`, `storage`; pymodbus outside `drivers.twin`. Drivers decide
    nothing.

`config` holds the sections of the site file, `devices` makes the drivers of a site.
"""
