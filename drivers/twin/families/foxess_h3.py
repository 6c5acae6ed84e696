"""Simulates FoxESS H3 and H3 Pro hybrid inverters: remote control with a time-out.

Registers: nathanmarlor/foxess_modbus @90046fe, remote_control_description.py (enable, time-out, active power, work
mode), remote_control_manager.py (enable and time-out singly; power, the low word in the higher register, > 0 exports;
writing power alone keeps it alive), entity_descriptions.py, modbus_fault_sensor.py (31050), modbus_controller.py
(model). evcc @b29b49e30, fox-ess-h3.yaml: signs, time-out 60 s, order. The power is that of the inverter's AC side:
PV and battery together.
"""

from __future__ import annotations

from drivers.twin.families.family import DEVICE, Behaviour, Family, Installed
from drivers.twin.map_registers import Register, Text
from drivers.twin.registers import Area, Image, Write

CELLS = 128
MOST_W = 2.0**31 - 1
PHASES = (0, 1, 2)


class FoxEssH3(Family):
    """H3: registers 44000 on; one character of the model in each register, after a space."""

    behaviour = Behaviour(
        silence="the time-out that was written ends remote control; its work mode goes on",
        out_of_range="enable other than 0 and 1: refused; a power beyond its own: it gives what it can",
        wrong_mode="a power without enable, or after the time-out, is kept and does nothing",
        other_firmware="another model text, such as Kuara or AIO-H3, which have no remote control",
    )
    nominal_v = 400.0
    enable_at, timeout_at, power_at, work_mode_at = 44000, 44001, 44002, 41000
    model = " H3-10.0-E"
    self_use = 0  # the work mode in which it holds the meter at 0 W; feed-in first and back-up rest here
    readable: tuple[tuple[int, int], ...] = ((30000, 30015), (31000, 31051), (41000, 41010))

    def __init__(self, installed: Installed) -> None:
        super().__init__(installed)
        self.work_mode, self.timeout_s, self.power_w = self.self_use, 0.0, 0.0
        self.control.others_w = lambda: self.pv_w

    def own_w(self) -> float:
        """By its work mode."""
        return super().own_w() if self.work_mode == self.self_use else 0.0

    def set_enable(self, on: float) -> None:
        """Write Remote Enable."""
        if on:
            self.command(self.power_w)
            self.renew()
        else:
            self.let_go()

    def set_timeout(self, s: float) -> None:
        """Write Remote Timeout Set."""
        self.timeout_s = s
        self.watch(s)

    def set_power(self, w: float) -> None:
        """Write Remote Active Power: of PV and battery together."""
        self.power_w = self.control.setpoint_w = w
        self.renew()

    def set_work_mode(self, mode: float) -> None:
        """Write Work Mode."""
        self.work_mode = int(mode)

    def images(self) -> dict[int, Image]:
        """What is written is not among what can be read."""
        areas = [Area(first, last) for first, last in self.readable]
        image = self.image([*self.measured(), *self.remote()], self.texts(), areas=areas)
        return {self.units[DEVICE]: image}

    def remote(self) -> list[Register]:
        """The registers that are written."""
        modes = tuple(float(self.self_use + n) for n in PHASES)
        alone = (6,)  # "We can't do multi-register writes to these registers"
        mode, enable = Write(self.set_work_mode, 0, 3, modes), Write(self.set_enable, 0, 1, (0, 1), alone)
        timeout, power = (
            Write(self.set_timeout, 0, 0xFFFF, (), alone),
            Write(self.set_power, -MOST_W, MOST_W, (), (16,)),
        )
        return [
            Register("work mode", self.work_mode_at, get=lambda: self.work_mode, write=mode),
            Register("enable", self.enable_at, get=lambda: int(self.control.enabled), write=enable),
            Register("time-out", self.timeout_at, get=lambda: self.timeout_s, write=timeout),
            Register("power", self.power_at, "s32", get=lambda: self.power_w, write=power),
        ]

    def texts(self) -> list[Text]:
        """The model."""
        return []

    def measured(self) -> list[Register]:
        """What it measures; the model is one character in each register."""
        battery, site = self.unit.battery, self.site
        letters = [
            Register(f"model {n}", 30000 + n, fixed=ord(letter)) for n, letter in enumerate(self.model.ljust(16))
        ]
        return [
            *letters,
            Register("PV1 W", 31002, "s16", get=lambda: self.pv_w),
            Register("PV2 W", 31005, "s16", fixed=0),
            *(Register(f"V{n}", 31006 + n, per_unit=10, get=lambda: site.v) for n in PHASES),
            *(Register(f"W{n}", 31012 + n, "s16", get=lambda: self.ac_w / 3) for n in PHASES),
            Register("inverter C", 31032, "s16", 10, get=lambda: battery.temp_c + 10),
            Register("ambient C", 31033, "s16", 10, get=lambda: battery.temp_c),
            Register("battery V", 31034, "s16", 10, get=lambda: self.pack.v),
            Register("battery A", 31035, "s16", 10, get=lambda: self.battery_w / self.pack.v),
            Register("battery W", 31036, "s16", get=lambda: self.battery_w),
            Register("battery C", 31037, "s16", 10, get=lambda: battery.temp_c),
            Register("SoC", 31038, get=lambda: battery.shown_soc_pct),
            Register("BMS faults", 31050, "u32", fixed=0),
            Register("max SoC", 41010, fixed=100),
        ]


class FoxEssH3Pro(FoxEssH3):
    """H3 Pro: registers 46001 on; two characters of the model in each register."""

    enable_at, timeout_at, power_at, work_mode_at = 46001, 46002, 46003, 49203
    model = "H3-Pro-20.0"
    self_use = 1
    readable = ((30000, 30015), (37000, 37632), (38310, 38310), (39070, 39300), (46610, 46610), (49203, 49203))

    def texts(self) -> list[Text]:
        """The model."""
        return [Text(30000, 16, self.model)]

    def measured(self) -> list[Register]:
        """What it measures: one battery, PV at the first of six inputs."""
        battery, site = self.unit.battery, self.site
        return [
            Register("BMS connected", 37002, fixed=1),
            Register("battery V", 37609, per_unit=10, get=lambda: self.pack.v),
            Register("battery A", 37610, "s16", 10, get=lambda: self.battery_w / self.pack.v),
            Register("battery C", 37611, "s16", 10, get=lambda: battery.temp_c),
            Register("SoC", 37612, get=lambda: battery.shown_soc_pct),
            Register("cell C high", 37617, "s16", 10, get=lambda: battery.temp_c + 1),
            Register("cell C low", 37618, "s16", 10, get=lambda: battery.temp_c - 1),
            Register("cell mV high", 37619, per_unit=1000, get=lambda: self.pack.v / CELLS + 0.005),
            Register("cell mV low", 37620, per_unit=1000, get=lambda: self.pack.v / CELLS - 0.005),
            *(Register(f"V{n}", 39123 + n, per_unit=10, get=lambda: site.v) for n in PHASES),
            Register("inverter W", 39134, "s32", get=lambda: self.ac_w),
            Register("inverter C", 39141, "s16", 10, get=lambda: battery.temp_c + 10),
            Register("battery W", 39237, "s32", get=lambda: self.battery_w),
            Register("PV1 W", 39279, "s32", get=lambda: self.pv_w),
            *(Register(f"PV{n} W", 39277 + 2 * n, "s32", fixed=0) for n in range(2, 7)),
            Register("max SoC", 46610, fixed=100),
        ]
