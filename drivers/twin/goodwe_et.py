"""Simulates the battery side of a GoodWe ET hybrid inverter without PV: EMS mode and power, no watchdog.

Registers: goodwe 0.4.10 (PyPI) et.py and inverter.py (EMSMode); 47511 and 47512 by OpenEMS AbstractGoodWe.java. Mode 1
is its own: it holds the grid meter at 0 W. 11 charges and 12 discharges the battery with the power of 47512; in all
others it stands by here. No source knows a time-out: what was written last stays. The efficiency of the site file lies
between the AC power (35137) and the battery's (35182, 47512).
"""

from __future__ import annotations

from collections.abc import Mapping

from dispatch.config.battery_ratings import ac_of_dc_w, dc_of_ac_w
from drivers.twin.map_registers import Register, Text, map_image
from drivers.twin.pcs import InvSt, TwinPcs
from drivers.twin.physics import TwinSite
from drivers.twin.registers import Image, Write
from drivers.twin.stand_in import StandIn

AUTO, CHARGE, DISCHARGE = 1, 11, 12  # EMSMode
MOST_MODE, MOST_W = 12, 65_535
RENEWS_S = 1.0  # the inverter renews its readings about once a second
NOMINAL_V = 400.0  # its battery stands for the twin's pack of 725 V


class GoodWeEt:
    """EMS mode in front of the control that the physics follow."""

    def __init__(self, unit: TwinPcs, site: TwinSite) -> None:
        self.unit, self.site = unit, site
        self.mode, self.power_w = AUTO, 0.0
        self.pack = StandIn(unit.battery, NOMINAL_V)
        unit.control.in_watts, unit.control.revert_s = True, 0.0
        unit.control.own_w = lambda: unit.w + site.grid_w

    def set_mode(self, mode: float) -> None:
        """Write the EMS mode."""
        self.mode = int(mode)
        self._apply()

    def set_power(self, w: float) -> None:
        """Write the power of the EMS mode."""
        self.power_w = w
        self._apply()

    @property
    def work_mode(self) -> int:
        """35187: 0 waiting, 1 on the grid, 2 off the grid, 3 fault."""
        if self.unit.state is InvSt.FAULT:
            return 3
        if not self.unit.ready:
            return 0
        return 2 if self.unit.forming else 1

    @property
    def battery_w(self) -> float:
        """Power at the battery's terminals, W, > 0 discharges."""
        return dc_of_ac_w(self.unit.battery.config, self.unit.w)

    def _apply(self) -> None:
        dc_w = {CHARGE: -self.power_w, DISCHARGE: self.power_w}.get(self.mode, 0.0)
        self.unit.control.setpoint_w = ac_of_dc_w(self.unit.battery.config, dc_w)
        self.unit.control.enable(self.mode != AUTO)


def goodwe_et_images(
    unit: TwinPcs, site: TwinSite, units: Mapping[str, int], silence_s: float | None
) -> dict[int, Image]:
    """The registers by Modbus unit. `silence_s` changes nothing: it never lets go."""
    inverter = GoodWeEt(unit, site)
    image = map_image(
        [*_running_data(inverter), *_bms(inverter), *_settings(inverter)],
        [Text(35003, 8, f"tw{unit.id}"), Text(35011, 5, "GW-TWIN-ET")],
    )
    image.locked = lambda: unit.local
    image.every_s = RENEWS_S
    image.functions = (3,)
    return {units["device"]: image}


def _running_data(inverter: GoodWeEt) -> list[Register]:
    unit, site = inverter.unit, inverter.site
    return [
        *(Register(f"PV {n}", 35105 + 4 * n, "u32", fixed=0) for n in range(4)),
        Register("grid V", 35121, per_unit=10, get=lambda: site.v),
        Register("grid Hz", 35123, per_unit=100, get=lambda: site.hz),
        Register("grid mode", 35136, get=lambda: int(unit.connected and not unit.grid_lost)),
        Register("temperature", 35176, "s16", 10, get=lambda: unit.battery.temp_c),
        Register("battery V", 35180, per_unit=10, get=lambda: inverter.pack.v),
        Register("battery A", 35181, "s16", 10, get=lambda: inverter.battery_w / inverter.pack.v),
        Register("inverter W", 35137, "s32", get=lambda: unit.w),
        Register("battery W", 35182, "s32", get=lambda: inverter.battery_w),
        Register("work mode", 35187, get=lambda: inverter.work_mode),
    ]


def _bms(inverter: GoodWeEt) -> list[Register]:
    battery = inverter.unit.battery
    return [
        Register("BMS temperature", 37003, "s16", 10, get=lambda: battery.temp_c),
        Register("charge limit", 37004, get=lambda: inverter.pack.limit_a(0)),
        Register("discharge limit", 37005, get=lambda: inverter.pack.limit_a(1)),
        Register("SoC", 37007, get=lambda: battery.shown_soc_pct),
        Register("SoH", 37008, get=lambda: battery.soh_pct),
    ]


def _settings(inverter: GoodWeEt) -> list[Register]:
    return [
        Register("EMS mode", 47511, get=lambda: inverter.mode, write=Write(inverter.set_mode, AUTO, MOST_MODE)),
        Register("EMS power", 47512, get=lambda: inverter.power_w, write=Write(inverter.set_power, 0, MOST_W)),
    ]
