"""Register map `skerry-switch`: the transfer switch at the PCC, holding registers from 0.

The two auxiliary contacts are wired to the main contact: NO closes with it, NC opens with it.
"""

from __future__ import annotations

from drivers.maps.registers import Register, RegisterMap

SWITCH = RegisterMap(
    name="skerry-switch",
    magic=0x534B,  # "SK"
    version=1,
    registers=(
        Register("position", 2, words={0: "moving", 1: "open", 2: "closed"}),
        Register("contact_no", 3, words={0: "open", 1: "closed"}),
        Register("contact_nc", 4, words={0: "open", 1: "closed"}),
        Register("control", 5, words={0: "remote", 1: "local"}),
        Register("grid_voltage", 6, words={0: "absent", 1: "present"}),
        # command: read and write
        Register("command", 7, words={0: "none", 1: "open", 2: "close"}),
        Register("transfer_ms", 8, missing=0xFFFF),  # the last transfer, by the device's own recorder
        Register("faults", 9),  # bits, vendor's
    ),
)
