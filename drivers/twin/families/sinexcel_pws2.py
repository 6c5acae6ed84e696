"""Simulates a Sinexcel PWS2-30K: target power, EMS time-out that is a fault.

Registers: Sinexcel PWS2-30K V1.06, sheet PCS30kW-COMM_PROTOCOL (functions 3 and 6): 32 and 44 states, 135 in 0.1 kW,
minus charges; 327 "even reading will feed the watchdog"; 650 to 652: "starting is invalid until the fault source is
removed and this register is written 1". 500: sheet SUNSPEC_PROTOCOL. Delivered with an EMS time-out of 5 s; here it is
off (0) until it is written, as on a device that waits for its EMS without a fault.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from drivers.twin.families.family import DEVICE, Behaviour, Family, Installed
from drivers.twin.map_registers import Register, Text
from drivers.twin.pcs import InvSt, OpCtl
from drivers.twin.registers import Area, Image, Write

SUNS = 0x53756E53
MOST_KW = 30.0
SINGLY = (6,)


class SinexcelPws2(Family):
    """The target power is always in force; without it the PCS rests."""

    behaviour = Behaviour(
        silence="after the EMS time-out without any request (327), reads included: a fault, stopped until it is "
        "cleared (652) and started (650) by hand",
        out_of_range="a power beyond 30 kW, or a time-out beyond 32767 s: refused",
        wrong_mode="stopped, in standby, in fault or off the grid: the power is kept and does nothing",
        other_firmware="another power level (753) than 30 or 29.9 kW has another range of 135",
    )
    nominal_v = 700.0

    def __init__(self, installed: Installed) -> None:
        super().__init__(installed)
        self.timeout_s, self.target_kw, self.timed_out = 0.0, 0.0, False
        self.command(0.0)

    def own_w(self) -> float:
        """It rests."""
        return 0.0

    def reverted(self) -> None:
        """EMS connection time-out: fault."""
        self.timed_out, self.target_kw = True, 0.0
        self.unit.operate(OpCtl.STOP)

    def set_timeout(self, s: float) -> None:
        """Write the EMS time-out."""
        self.timeout_s = s
        self.watch(s)

    def set_target(self, kw: float) -> None:
        """Write the target active power, kW."""
        self.target_kw = kw
        if not self.timed_out:
            self.command(1000.0 * kw)

    def clear(self, _: float) -> None:
        """Write ClearFailureCmd."""
        self.timed_out = False

    def start(self, _: float) -> None:
        """Write ModOnCmd."""
        if not self.timed_out:
            self.unit.operate(OpCtl.START)
            self.command(1000.0 * self.target_kw)

    def stop(self, _: float) -> None:
        """Write ModOffCmd."""
        self.unit.operate(OpCtl.STOP)

    @property
    def status(self) -> int:
        """Register 32."""
        unit = self.unit
        fault = self.timed_out or unit.state is InvSt.FAULT
        tied = unit.ready and unit.connected and not unit.forming and not unit.grid_lost
        bits = (fault, False, unit.ready, tied, unit.forming, unit.state is InvSt.THROTTLED, not unit.grid_lost)
        return sum(1 << n for n, bit in enumerate((*bits, unit.state is InvSt.STANDBY)) if bit)

    def images(self) -> dict[int, Image]:
        """One unit; everything can be read back, as the sheet has it."""
        areas = [Area(1, 148), Area(224, 226), Area(327, 327), Area(500, 501), Area(650, 652), Area(753, 753)]
        texts = [Text(1, 16, "PWS2-30K twin"), Text(17, 8, f"tw{self.unit.id}")]
        image = self.image([*self._measured(), *self._battery(), *self._written()], texts, every_s=0.0, areas=areas)
        image.heard = self.renew
        return {self.units[DEVICE]: image}

    def _measured(self) -> list[Register]:
        unit, site = self.unit, self.site
        third: list[tuple[int, float, Callable[[], float]]] = [  # first register of three
            (101, 10, lambda: site.v * math.sqrt(3)),
            (104, 10, lambda: abs(self.phase_a(unit.w))),
            (110, 0.1, lambda: unit.w / 3),
            (116, 0.1, lambda: abs(unit.w) / 3),
        ]
        return [
            Register("status", 32, get=lambda: self.status),
            Register("AC faults", 36, fixed=0),
            *(Register(f"{at + n}", at + n, "s16", per, get) for at, per, get in third for n in range(3)),
            Register("Hz", 107, "s16", 100, get=lambda: site.hz),
            Register("active power", 122, "s16", 0.1, get=lambda: unit.w),
            Register("apparent power", 124, "s16", 0.1, get=lambda: abs(unit.w)),
            Register("heat sink", 132, "s16", get=lambda: unit.battery.temp_c + 10),
            Register("SunS", 500, "u32", fixed=SUNS),
            Register("power level", 753, fixed=2),
        ]

    def _battery(self) -> list[Register]:
        battery = self.unit.battery
        return [
            Register("DC faults", 44, get=lambda: int(self.timed_out) << 5),
            Register("DC power", 141, "s16", 0.1, get=lambda: battery.dc_w),
            Register("DC voltage", 142, "s16", 10, get=lambda: self.pack.v),
            Register("DC current", 143, "s16", 10, get=lambda: battery.dc_w / self.pack.v),
            Register("most charging A", 225, per_unit=10, get=lambda: self.pack.limit_a(0)),
            Register("most discharging A", 226, per_unit=10, get=lambda: self.pack.limit_a(1)),
        ]

    def _written(self) -> list[Register]:
        target = Write(self.set_target, -MOST_KW, MOST_KW, (), SINGLY)
        timeout = Write(self.set_timeout, 0, 32_767, (), SINGLY)
        return [
            Register("target power", 135, "s16", 10, get=lambda: self.target_kw, write=target),
            Register("EMS time-out", 327, get=lambda: self.timeout_s, write=timeout),
            Register("start", 650, fixed=0, write=Write(self.start, 1, 1, (), SINGLY)),
            Register("stop", 651, fixed=0, write=Write(self.stop, 1, 1, (), SINGLY)),
            Register("clear fault", 652, fixed=0, write=Write(self.clear, 1, 1, (), SINGLY)),
        ]
