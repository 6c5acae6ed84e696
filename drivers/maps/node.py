"""Defines the register map `skerry-node`: power and use of a compute node, holding registers from 0."""

from __future__ import annotations

from drivers.maps.registers import Register, RegisterMap

CAP_REGISTER, NO_CAP = 7, 0xFFFF  # register 8, right behind it, suspends

NODE = RegisterMap(
    name="skerry-node",
    magic=0x534E,  # "SN"
    versions=(1,),
    registers=(
        Register("power_w", 2, size=2, missing=0xFFFFFFFF),
        Register("cpu_pct", 4, factor=0.1, missing=0xFFFF),
        Register("gpus_total", 5, missing=0xFFFF),
        Register("gpus_busy", 6, missing=0xFFFF),
        # power cap and suspended: read and write; 2 shuts the node down
        Register("power_cap_w", CAP_REGISTER, missing=NO_CAP),
        Register("suspended", 8, words={0: "no", 1: "yes", 2: "off"}),
        Register("memory_pct", 9, factor=0.1, missing=0xFFFF),
    ),
)
