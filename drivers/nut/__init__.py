"""Reads UPSs and metered PDUs from Network UPS Tools (NUT): `upsd`, TCP 3493, by its text protocol.

Inputs: the `[[ups]]` and `[[pdu]]` sections of the site file, and what upsd answers. Outputs: `Ups` and `Node` parts of
the snapshot; W, %, s. It only reads: no LOGIN, no SET, no INSTCMD, so that upsd needs no user for it.
It must not import Modbus clients, nor decide anything.
"""
