"""Defines the register map `skerry-switch`: the transfer switch at the PCC, holding registers from 0.

The two auxiliary contacts are wired to the main contact: NO closes with it, NC opens with it. Version 2 adds what the
synchro-check measures: the grid side, and bus minus grid.
"""

from __future__ import annotations

from drivers.maps.registers import Register, RegisterMap

COMMANDS = {0: "none", 1: "open", 2: "close"}
COMMAND_REGISTER = 7

SWITCH = RegisterMap(
    name="skerry-switch",
    magic=0x534B,  # "SK"
    versions=(1, 2),
    registers=(
        Register("position", 2, words={0: "moving", 1: "open", 2: "closed"}),
        Register("contact_no", 3, words={0: "open", 1: "closed"}),
        Register("contact_nc", 4, words={0: "open", 1: "closed"}),
        Register("control", 5, words={0: "remote", 1: "local"}),
        Register("grid_voltage", 6, words={0: "absent", 1: "present"}),
        # command: read and write
        Register("command", COMMAND_REGISTER, words=COMMANDS),
        Register("transfer_ms", 8, missing=0xFFFF),  # the last transfer, by the device's own recorder
        Register("faults", 9),  # bits, vendor's
    ),
)

SWITCH_2 = RegisterMap(
    name=SWITCH.name,
    magic=SWITCH.magic,
    versions=(2,),
    registers=(
        *SWITCH.registers,
        Register("grid_v", 10, factor=0.1, missing=0xFFFF),
        Register("grid_hz", 11, factor=0.01, missing=0xFFFF),
        Register("delta_v", 12, factor=0.1, missing=0x8000, signed=True),
        Register("delta_hz", 13, factor=0.001, missing=0x8000, signed=True),
        Register("delta_deg", 14, factor=0.1, missing=0x8000, signed=True),
    ),
)
