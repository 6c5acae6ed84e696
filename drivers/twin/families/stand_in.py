"""Shows the battery of the physics, a pack of 725 V, as one of another voltage: what a device's registers can hold."""

from __future__ import annotations

from drivers.twin.battery import EMPTY_V, FULL_V, TwinBattery

PACK_V = (EMPTY_V + FULL_V) / 2


class StandIn:
    """A battery of `nominal_v` with the same power, energy and limits."""

    def __init__(self, battery: TwinBattery, nominal_v: float) -> None:
        self._battery, self._share = battery, nominal_v / PACK_V

    @property
    def v(self) -> float:
        """DC voltage."""
        return self._battery.v * self._share

    def limit_a(self, way: int) -> float:
        """DC current that the BMS allows: way 0 charging, 1 discharging."""
        return self._battery.dc_limit_w(way) / self.v
