"""Simulates a Sungrow SH10RT hybrid inverter: EMS mode, command, power, heartbeat.

Registers: mkaiser/Sungrow-SHx-Inverter-Modbus-Home-Assistant @63beec6 modbus_sungrow.yaml: input registers (function
4), low word first, 5213 > 0 discharges; holding registers (function 3) 13049 to 13051, the power in W on an SH10RT.
evcc @b29b49e30 sungrow-hybrid.yaml: modes 0 self-consumption and 2 forced, commands 0xAA 0xBB 0xCC, function 6. mkaiser
issue 377, a console protocol: in mode 3 the heartbeat at 13079 counts down in seconds, and at 0 the mode is 0 again.
"""

from __future__ import annotations

import math

from drivers.twin.families.family import DEVICE, Behaviour, Family, Installed
from drivers.twin.map_registers import Register, Text
from drivers.twin.registers import Area, Image, Write

SELF, FORCED, EXTERNAL, VPP = 0, 2, 3, 4
CHARGE, DISCHARGE, STOP = 0xAA, 0xBB, 0xCC
TYPE_SH10RT = 0x0E03


class SungrowSh(Family):
    """A command counts in the forced and in the external mode; in the external one as long as the heartbeat lasts."""

    behaviour = Behaviour(
        silence="in the external EMS mode (13049 = 3) the heartbeat (13079) counts down, and at 0 it is "
        "self-consumption again; the forced mode (2) stays",
        out_of_range="an unknown mode or command: refused; a power beyond its own: it gives what it can",
        wrong_mode="in self-consumption a command is kept and does nothing; the external mode without heartbeat ends "
        "at once",
        other_firmware="another type code (4999) has other registers; the battery power of old firmware, at 13021, has "
        "no sign",
    )
    nominal_v = 250.0

    def __init__(self, installed: Installed) -> None:
        super().__init__(installed)
        self.mode, self.order, self.power_w = SELF, STOP, 0.0
        self._beat_until_s = -math.inf

    def set_mode(self, mode: float) -> None:
        """Write the EMS mode."""
        self.mode = int(mode)
        self._apply()

    def set_order(self, order: float) -> None:
        """Write the command."""
        self.order = int(order)
        self._apply()

    def set_power(self, w: float) -> None:
        """Write the power of the command."""
        self.power_w = w
        self._apply()

    def beat(self, s: float) -> None:
        """Write the heartbeat: how long the external mode lasts from now on."""
        self._beat_until_s = self.site.t_s + s
        self._apply()

    @property
    def left_s(self) -> float:
        """What is left of the heartbeat."""
        return max(0.0, self._beat_until_s - self.site.t_s)

    def reverted(self) -> None:
        """The heartbeat has run out."""
        self.mode = SELF

    def _apply(self) -> None:
        if self.mode == EXTERNAL and not self.left_s:
            self.mode = SELF
        if self.mode not in (FORCED, EXTERNAL):
            self.let_go()
            return
        self.command_dc({CHARGE: -self.power_w, DISCHARGE: self.power_w}.get(self.order, 0.0))
        self.watch(self.left_s if self.mode == EXTERNAL else 0.0)

    def images(self) -> dict[int, Image]:
        """Input and holding registers have addresses of their own here, so one image holds both."""
        holding = [Area(13049, 13051), Area(13079, 13079)]
        areas = [Area(4949, 5299, (4,)), Area(5600, 5699, (4,)), Area(13000, 13046, (4,)), *holding]
        texts = [Text(4989, 10, f"tw{self.unit.id}")]
        image = self.image(
            [*self._inverter(), *self._battery(), *self._settings()], texts, areas=areas, functions=(3, 4)
        )
        return {self.units[DEVICE]: image}

    def _inverter(self) -> list[Register]:
        site = self.site
        return [
            Register("type", 4999, fixed=TYPE_SH10RT),
            Register("rated", 5000, per_unit=0.01, fixed=10_000),
            Register("inverter C", 5007, "s16", 10, get=lambda: self.unit.battery.temp_c + 10),
            Register("PV W", 5016, "u32", get=lambda: self.pv_w, low_word_first=True),
            *(Register(f"V{n}", 5018 + n, per_unit=10, get=lambda: site.v) for n in range(3)),
            Register("Hz", 5241, per_unit=100, get=lambda: site.hz),
            Register("meter W", 5600, "s32", get=lambda: site.grid_w, low_word_first=True),
            Register("export W", 13009, "s32", get=lambda: -site.grid_w, low_word_first=True),
            Register("active W", 13033, "s32", get=lambda: self.ac_w, low_word_first=True),
        ]

    def _battery(self) -> list[Register]:
        battery = self.unit.battery
        return [
            Register("battery W", 5213, "s32", get=lambda: self.battery_w, low_word_first=True),
            Register("battery A", 5630, "s16", 10, get=lambda: self.battery_w / self.pack.v),
            Register("most charging A", 5634, get=lambda: self.pack.limit_a(0)),
            Register("most discharging A", 5635, get=lambda: self.pack.limit_a(1)),
            Register("battery V", 13019, per_unit=10, get=lambda: self.pack.v),
            Register("SoC", 13022, per_unit=10, get=lambda: battery.shown_soc_pct),
            Register("SoH", 13023, per_unit=10, get=lambda: battery.soh_pct),
            Register("battery C", 13024, "s16", 10, get=lambda: battery.temp_c),
        ]

    def _settings(self) -> list[Register]:
        modes, orders = (SELF, FORCED, EXTERNAL, VPP), (CHARGE, DISCHARGE, STOP)
        return [
            Register("EMS mode", 13049, get=lambda: self.mode, write=Write(self.set_mode, SELF, VPP, modes)),
            Register("command", 13050, get=lambda: self.order, write=Write(self.set_order, CHARGE, STOP, orders)),
            Register("power", 13051, get=lambda: self.power_w, write=Write(self.set_power, 0, 0xFFFF)),
            Register("heartbeat", 13079, get=lambda: self.left_s, write=Write(self.beat, 0, 0xFFFF)),
        ]
