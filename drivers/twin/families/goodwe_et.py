"""Simulates a GoodWe ET hybrid inverter: EMS mode and power, no watchdog.

Registers: goodwe 0.4.10 (PyPI) et.py and inverter.py (EMSMode); 47511 and 47512 by OpenEMS AbstractGoodWe.java. Mode 1
is its own: it holds the grid meter at 0 W. 11 charges and 12 discharges the battery with the power of 47512; in all
others it stands by here. No source knows a time-out: what was written last stays.
"""

from __future__ import annotations

from drivers.twin.families.family import DEVICE, Behaviour, Family, Installed
from drivers.twin.map_registers import Register, Text
from drivers.twin.pcs import InvSt
from drivers.twin.registers import Image, Write

AUTO, CHARGE, DISCHARGE = 1, 11, 12  # EMSMode
MOST_MODE, MOST_W = 12, 65_535
CELLS = 128


class GoodWeEt(Family):
    """EMS mode in front of the control that the physics follow."""

    behaviour = Behaviour(
        silence="no source knows a time-out: mode and power stay, whatever `silence_s` says",
        out_of_range="an unknown mode: refused; a power beyond its own: it gives what it can",
        wrong_mode="in other modes than 11 and 12 the power is kept and does nothing",
        other_firmware="another model text (35011), such as the large ones, which have their mode at 42000",
    )
    nominal_v = 400.0

    def __init__(self, installed: Installed) -> None:
        super().__init__(installed)
        self.mode, self.power_w = AUTO, 0.0

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

    def _apply(self) -> None:
        if self.mode == AUTO:
            self.let_go()
        else:
            self.command_dc({CHARGE: -self.power_w, DISCHARGE: self.power_w}.get(self.mode, 0.0))

    def images(self) -> dict[int, Image]:
        """One unit."""
        texts = [Text(35003, 8, f"tw{self.unit.id}"), Text(35011, 5, "GW-TWIN-ET")]
        return {
            self.units[DEVICE]: self.image([*_running_data(self), *_bms(self), *_settings(self)], texts, functions=(3,))
        }


def _running_data(inverter: GoodWeEt) -> list[Register]:
    unit, site = inverter.unit, inverter.site
    return [
        Register("PV 1", 35105, "u32", get=lambda: inverter.pv_w),
        *(Register(f"PV {n}", 35101 + 4 * n, "u32", fixed=0) for n in range(2, 5)),
        Register("grid V", 35121, per_unit=10, get=lambda: site.v),
        Register("grid Hz", 35123, per_unit=100, get=lambda: site.hz),
        Register("grid mode", 35136, get=lambda: int(unit.connected and not unit.grid_lost)),
        Register("temperature", 35176, "s16", 10, get=lambda: unit.battery.temp_c),
        Register("battery V", 35180, per_unit=10, get=lambda: inverter.pack.v),
        Register("battery A", 35181, "s16", 10, get=lambda: inverter.battery_w / inverter.pack.v),
        Register("inverter W", 35137, "s32", get=lambda: inverter.ac_w),
        Register("battery W", 35182, "s32", get=lambda: inverter.battery_w),
        Register("work mode", 35187, get=lambda: inverter.work_mode),
    ]


def _bms(inverter: GoodWeEt) -> list[Register]:
    battery = inverter.unit.battery
    return [
        Register("BMS temperature", 37003, "s16", 10, get=lambda: battery.temp_c),
        Register("charge limit", 37004, get=lambda: inverter.pack.limit_a(0)),
        Register("discharge limit", 37005, get=lambda: inverter.pack.limit_a(1)),
        Register("BMS errors", 37006, fixed=0),
        Register("BMS warnings", 37010, fixed=0),
        Register("cell C high", 37020, "s16", 10, get=lambda: battery.temp_c + 1),
        Register("cell C low", 37021, "s16", 10, get=lambda: battery.temp_c - 1),
        Register("cell mV high", 37022, per_unit=1000, get=lambda: inverter.pack.v / CELLS + 0.005),
        Register("cell mV low", 37023, per_unit=1000, get=lambda: inverter.pack.v / CELLS - 0.005),
        Register("SoC", 37007, get=lambda: battery.shown_soc_pct),
        Register("SoH", 37008, get=lambda: battery.soh_pct),
    ]


def _settings(inverter: GoodWeEt) -> list[Register]:
    return [
        Register("EMS mode", 47511, get=lambda: inverter.mode, write=Write(inverter.set_mode, AUTO, MOST_MODE)),
        Register("EMS power", 47512, get=lambda: inverter.power_w, write=Write(inverter.set_power, 0, MOST_W)),
    ]
