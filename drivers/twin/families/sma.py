"""Simulates SMA battery inverters: Sunny Island (a setpoint and its switch) and Sunny Boy Storage (a set of six).

Registers: SMA_Modbus-TI-en-28.xlsx, sheets SI4.4M-12_SIn.nH-12 and SBS2.5-1VL-40 (FIX2: two decimals, TEMP: one; all of
32 bits, so function 16 only); SMA_Modbus-TI-en-15.pdf, 3.6 and 3.8: "not a number", and an exception for what may not
be read. Signs, and the set of six: evcc @b29b49e30 sma-si-modbus.yaml, sma-hybrid.yaml; 40149 and 40151 in one request:
OpenEMS EssSmaSunnyIslandImpl.java. That the six count only as a complete set, and as limits: evcc issue 17115.
"""

from __future__ import annotations

import math
from functools import partial

from drivers.twin.families.family import DEVICE, Behaviour, Family, Installed
from drivers.twin.map_registers import Register
from drivers.twin.pcs import InvSt
from drivers.twin.registers import Area, Getter, Image, Write

NAN_U32, NAN_S32 = 0xFFFFFFFF, 0x80000000
MOST_W = 2**31 - 1
LONG = (16,)  # two registers can only be written together
ACTIVE, INACTIVE = 802, 803
OFF, CHARGE, DISCHARGE, PRESET = 303, 2289, 2290, 2424
MODES = (OFF, 308, 1438, CHARGE, DISCHARGE, PRESET)  # 308 on, 1438 automatic
NEVER_S = 0.0


class SmaBatteryInverter(Family):
    """What both families share: measurements of 32 bits."""

    device_type, nominal_v = 0, 48.0

    def fall_back(self) -> None:
        """No sheet says that it does: only where the installer has set a fallback, `silence_s`."""
        self.watch(NEVER_S if self._silence_s is None else self._silence_s)

    @property
    def condition(self) -> int:
        """30201: 35 fault, 303 off, 307 ok."""
        if self.unit.state is InvSt.FAULT:
            return 35
        return 307 if self.unit.ready else 303

    @property
    def mains(self) -> int:
        """30881: 1779 separated, 1780 public mains, 1781 island mains."""
        if self.unit.forming:
            return 1781
        return 1780 if self.unit.connected and not self.unit.grid_lost else 1779

    def images(self) -> dict[int, Image]:
        """One unit; what is only written cannot be read."""
        areas = [Area(30001, 30500, (3, 4)), Area(30700, 31500, (3, 4)), Area(40185, 40192, (3, 4))]
        return {self.units[DEVICE]: self.image([*self.measured(), *self.written()], areas=areas, functions=(3, 4))}

    def written(self) -> list[Register]:
        """The registers that are written."""
        raise NotImplementedError

    def measured(self) -> list[Register]:
        """What can be read."""
        unit, battery, site = self.unit, self.unit.battery, self.site

        def u32(name: str, at: int, get: Getter, per_unit: float = 1.0) -> Register:
            return Register(name, at, "u32", per_unit, get, none=NAN_U32)

        def s32(name: str, at: int, get: Getter, per_unit: float = 1.0) -> Register:
            return Register(name, at, "s32", per_unit, get, none=NAN_S32)

        return [
            Register("device class", 30051, "u32", fixed=8007),
            Register("device type", 30053, "u32", fixed=self.device_type),
            u32("condition", 30201, lambda: self.condition),
            u32("most W", 30231, lambda: max(unit.ratings.charge_w, unit.ratings.discharge_w)),
            s32("power", 30775, lambda: unit.w),
            *(u32(f"V{n}", 30783 + 2 * n, lambda: site.v, 100) for n in range(3)),
            u32("Hz", 30803, lambda: site.hz, 100),
            u32("SoC", 30845, lambda: battery.shown_soc_pct),
            s32("battery C", 30849, lambda: battery.temp_c, 10),
            u32("battery V", 30851, lambda: self.pack.v, 100),
            u32("mains", 30881, lambda: self.mains),
            u32("charging", 31393, lambda: max(-unit.w, 0.0)),
            u32("discharging", 31395, lambda: max(unit.w, 0.0)),
            u32("control by communication", 31061, lambda: 1130 if unit.local else 1129),
            u32("capacity", 40187, lambda: battery.config.energy_kwh * 1000),
            u32("most charging", 40189, lambda: battery.limits_w(0.0)[0]),
            u32("most discharging", 40191, lambda: battery.limits_w(0.0)[1]),
        ]


class SunnyIsland(SmaBatteryInverter):
    """40149 the power, 40151 whether it counts."""

    behaviour = Behaviour(
        silence="its sheet has no fallback: the setpoint stays. With `silence_s` it goes on by itself, as where an "
        "installer has set one",
        out_of_range="40151 other than 802 and 803, or half of a number: refused; a power beyond its own: "
        "it gives what it can",
        wrong_mode="a power with 40151 inactive is kept and does nothing; without control by communication (31061): "
        "refused",
        other_firmware="takes 40149 and 40151 and does not follow, as a Sunny Boy Storage 2.5 (evcc issue 15881)",
    )
    device_type = 9333

    def __init__(self, installed: Installed) -> None:
        super().__init__(installed)
        self.power_w = 0.0

    def set_power(self, w: float) -> None:
        """Write the setpoint."""
        self.power_w = w
        if self.control.enabled:
            self.command(w)
            self.fall_back()

    def set_active(self, state: float) -> None:
        """Write whether the setpoint counts."""
        if state == INACTIVE:
            self.let_go()
            return
        self.command(self.power_w)
        self.fall_back()

    def written(self) -> list[Register]:
        """Setpoint and its switch."""
        power = Write(self.set_power, -MOST_W, MOST_W, (), LONG)
        active = Write(self.set_active, ACTIVE, INACTIVE, (ACTIVE, INACTIVE), LONG)
        return [
            Register("setpoint", 40149, "s32", write=power, fixed=0),
            Register("active", 40151, "u32", write=active, fixed=INACTIVE),
        ]


class SunnyBoyStorage(SmaBatteryInverter):
    """40236 the mode of the BMS, 40793 to 40802 four limits and the power at the mains."""

    behaviour = Behaviour(
        silence="its sheet says nothing: the set stays. With `silence_s` it goes on by itself",
        out_of_range="an unknown mode, a negative limit or half of a number: refused",
        wrong_mode="less than all six does nothing; in the preset mode the limits are limits of its own control",
        other_firmware="takes the set and does not follow, as a Sunny Tripower Smart Energy (evcc issue 11580)",
    )
    device_type, nominal_v = 9326, 360.0
    POINTS = (40236, 40793, 40795, 40797, 40799, 40801)

    def __init__(self, installed: Installed) -> None:
        super().__init__(installed)
        self._given: dict[int, float] = {}  # of a set that is not complete yet
        self.most_charge_w = self.most_discharge_w = float(MOST_W)
        self.grid_w = 0.0  # wanted at the mains
        self._until_s = math.inf  # how long the limits last

    def own_w(self) -> float:
        """By itself it brings the mains to the wanted power, within the limits."""
        if self.site.t_s >= self._until_s:
            return super().own_w()
        return min(max(super().own_w() - self.grid_w, -self.most_charge_w), self.most_discharge_w)

    def put(self, at: int, value: float) -> None:
        """Write one of the six; with the last of them the set counts."""
        self._given[at] = value
        if len(self._given) == len(self.POINTS):
            if self.obeys:
                self._count([self._given[point] for point in self.POINTS])
            self._given = {}

    def _count(self, points: list[float]) -> None:
        mode, least_charge_w, most_charge_w, least_discharge_w, most_discharge_w, self.grid_w = points
        self.most_charge_w = max(most_charge_w, least_charge_w)
        self.most_discharge_w = max(most_discharge_w, least_discharge_w)
        forced = {CHARGE: -self.most_charge_w, DISCHARGE: self.most_discharge_w, OFF: 0.0}.get(int(mode))
        if forced is None:
            self.let_go()
        else:
            self.command(forced)
        self.fall_back()
        self._until_s = self.site.t_s + (self.control.revert_s or math.inf)

    def written(self) -> list[Register]:
        """The six."""
        mode = Write(partial(self.put, 40236), min(MODES), max(MODES), MODES, LONG)
        found = [Register("mode", 40236, "u32", write=mode, fixed=PRESET)]
        for at in self.POINTS[1:-1]:
            found.append(Register(str(at), at, "u32", write=Write(partial(self.put, at), 0, MOST_W, (), LONG), fixed=0))
        grid = Write(partial(self.put, 40801), -MOST_W, MOST_W, (), LONG)
        return [*found, Register("mains", 40801, "s32", write=grid, fixed=0)]
