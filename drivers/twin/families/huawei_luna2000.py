"""Simulates a Huawei LUNA2000 battery at a SUN2000 inverter: forced operation for some minutes.

Registers: huawei-solar 2.5.0 (PyPI) registers.py and register_values.py (types, gains, "no value" all ones or the
largest number, 47100: 0 stop 1 charge 2 discharge, 47246: 0 by time). evcc @b29b49e30 huawei-sun2000-hybrid.yaml:
signs, the order, 47083 = 2 min as watchdog, 47087 charging from the grid. evcc issue 12302: 47100 goes back to 0 at the
end.
"""

from __future__ import annotations

from functools import partial

from drivers.twin.families.family import DEVICE, Behaviour, Family, Installed
from drivers.twin.map_registers import Register, Text
from drivers.twin.pcs import InvSt
from drivers.twin.registers import Area, Image, Write

STOP, CHARGE, DISCHARGE = 0, 1, 2
BY_TIME = 0
MINUTE_S = 60.0
NAN_U16, NAN_U32, NAN_S32, NAN_S16 = 0xFFFF, 0xFFFFFFFF, 0x7FFFFFFF, 0x7FFF
MOST_W = 2**31 - 1
SINGLY, LONG = (6,), (16,)


class HuaweiLuna2000(Family):
    """Forced operation begins when 47100 is written, with the powers and minutes that stand there then."""

    behaviour = Behaviour(
        silence="forced operation ends after the minutes that were written (47083), and its working mode goes on",
        out_of_range="47100 other than 0, 1, 2, or 47246 other than 0, 1: refused; a power beyond its own: "
        "it gives what it can",
        wrong_mode="powers and minutes do nothing until 47100 is written; without charging from the grid (47087) it "
        "charges what the PV gives",
        other_firmware="another model text than SUN2000 (30000)",
    )
    nominal_v = 450.0

    def __init__(self, installed: Installed) -> None:
        super().__init__(installed)
        self.kept = {47083: 0.0, 47087: 1.0, 47246: 0.0, 47247: 0.0, 47249: 0.0}
        self.forced = STOP

    def put(self, at: int, value: float) -> None:
        """Write a setting."""
        self.kept[at] = value

    def force(self, what: float) -> None:
        """Write 47100."""
        self.forced = int(what) if self.obeys else STOP
        if self.forced == STOP:
            self.let_go()
            return
        charge_w = self.kept[47247] if self.kept[47087] else min(self.kept[47247], self.pv_w)
        self.command_dc(-charge_w if self.forced == CHARGE else self.kept[47249])
        self.watch(MINUTE_S * self.kept[47083] if self.kept[47246] == BY_TIME else 0.0)

    def reverted(self) -> None:
        """The minutes are over."""
        self.forced = STOP

    @property
    def status(self) -> int:
        """37762: 0 offline, 1 standby, 2 running, 3 fault."""
        if self.unit.state is InvSt.FAULT:
            return 3
        return 2 if self.unit.ready else 1

    def images(self) -> dict[int, Image]:
        """One unit: readings and settings."""
        areas = [Area(30000, 30080), Area(32064, 32096), Area(37000, 37138), Area(37738, 37799), Area(47083, 47250)]
        texts = [Text(30000, 15, "SUN2000-10KTL-M1"), Text(30015, 10, f"tw{self.unit.id}")]
        return {self.units[DEVICE]: self.image([*self._measured(), *self._settings()], texts, areas=areas)}

    def _measured(self) -> list[Register]:
        battery, site = self.unit.battery, self.site
        return [
            Register("PV W", 32064, "s32", get=lambda: self.pv_w, none=NAN_S32),
            *(Register(f"V{n}", 32069 + n, per_unit=10, get=lambda: site.v, none=NAN_U16) for n in range(3)),
            Register("active W", 32080, "s32", get=lambda: self.ac_w, none=NAN_S32),
            Register("Hz", 32085, per_unit=100, get=lambda: site.hz, none=NAN_U16),
            Register("battery 1 W", 37001, "s32", get=lambda: -self.battery_w, none=NAN_S32),
            Register("battery 1 SoC", 37004, per_unit=10, get=lambda: battery.shown_soc_pct, none=NAN_U16),
            Register("battery 1 C", 37022, "s16", 10, get=lambda: battery.temp_c, none=NAN_S16),
            Register("most charging", 37046, "u32", get=lambda: battery.limits_w(0.0)[0], none=NAN_U32),
            Register("most discharging", 37048, "u32", get=lambda: battery.limits_w(0.0)[1], none=NAN_U32),
            Register("meter W, > 0 exports", 37113, "s32", get=lambda: -site.grid_w, none=NAN_S32),
            Register("capacity Wh", 37758, "u32", get=lambda: battery.config.energy_kwh * 1000, none=NAN_U32),
            Register("SoC", 37760, per_unit=10, get=lambda: battery.shown_soc_pct, none=NAN_U16),
            Register("status", 37762, get=lambda: self.status, none=NAN_U16),
            Register("bus V", 37763, per_unit=10, get=lambda: self.pack.v, none=NAN_U16),
            Register("bus A", 37764, "s16", 10, get=lambda: -self.battery_w / self.pack.v, none=NAN_S16),
            Register("battery W", 37765, "s32", get=lambda: -self.battery_w, none=NAN_S32),
        ]

    def _settings(self) -> list[Register]:
        def setting(name: str, at: int, kind: str, most: float) -> Register:
            write = Write(partial(self.put, at), 0, most, (), SINGLY if kind == "u16" else LONG)
            return Register(name, at, kind, get=partial(self.kept.__getitem__, at), write=write)

        forced = Write(self.force, STOP, DISCHARGE, (STOP, CHARGE, DISCHARGE), SINGLY)
        return [
            setting("minutes", 47083, "u16", 1440),
            setting("charging from the grid", 47087, "u16", 1),
            Register("forced operation", 47100, get=lambda: self.forced, write=forced),
            setting("ends by", 47246, "u16", 1),
            setting("charging W", 47247, "u32", MOST_W),
            setting("discharging W", 47249, "u32", MOST_W),
        ]
