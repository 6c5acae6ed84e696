"""Gives the simulated switch the registers of a Socomec ATyS p M, written from its maker's table and not from the map.

Socomec, MODBUS tables of Atys pM, 2021-09: identification 0xC350, status 0x5000, both read only by function 3. Source 1
is the grid, source 2 the generator.
"""

from __future__ import annotations

from drivers.twin.grid import PccSwitch, Position
from drivers.twin.map_registers import Register, map_image
from drivers.twin.physics import TwinSite
from drivers.twin.registers import Area, Image

ATYS_P_M = "socomec-atys-p-m"  # its map
MANUAL, AUTO = 0x0000, 0x0010
UNKNOWN, POSITION_0, POSITION_1, POSITION_2 = range(4)
SOCO = (0x53, 0x4F, 0x43, 0x4F)  # one letter in each register
ATYS = 300  # product order
BY_SOURCE = {"grid": POSITION_1, "genset": POSITION_2, "none": POSITION_0}
BY_CONTACT = {Position.MOVING: UNKNOWN, Position.OPEN: POSITION_0, Position.CLOSED: POSITION_1}


def atys_p_m_image(switch: PccSwitch, site: TwinSite) -> Image:
    """Its registers. On a site without a generator it is in position I or 0."""

    def position() -> float:
        if switch.position is Position.MOVING or site.source is None:
            return BY_CONTACT[switch.position]
        return BY_SOURCE[site.source]

    def of_source_2(there: int) -> float:
        return there if site.on_genset else 0

    letters = [Register(f"soco_{n}", 0xC350 + n, fixed=letter) for n, letter in enumerate(SOCO)]
    image = map_image(
        [
            Register("network", 0x5000, fixed=2),
            Register("mode", 0x5001, get=lambda: MANUAL if switch.local else AUTO),
            Register("position", 0x5002, get=position),
            Register("start_2", 0x5004, get=lambda: of_source_2(1)),
            Register("priority", 0x5005, fixed=1),
            Register("source_1", 0x5006, get=lambda: 2 if site.grid_alive else 0),
            Register("source_2", 0x5007, get=lambda: of_source_2(2)),
            Register("test", 0x5008, fixed=0),
            Register("last", 0x500E, fixed=0),
            *letters,
            Register("order", 0xC354, fixed=ATYS),
            Register("product", 0xC355, fixed=1000),
            Register("reserve", 0xC360, fixed=0),
        ]
    )
    image.areas = (Area(0x5000, 0x500E), Area(0xC350, 0xC360))
    return image
