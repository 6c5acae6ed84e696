"""Simulates Kostal Plenticore hybrid inverters: external battery management by Modbus, with a time-out.

Registers: Kostal, interface description MODBUS (TCP) and SunSpec, as openHAB lists it (KostalInverterConstants.java):
5 byte order, 14, 56, 152 to 172, 200 to 216, 531, 768, 1034 by functions 3 and 16, 1066 to 1080. OpenEMS @0e4ea8881f,
KostalManagedEssImpl.java: floats with the low word first, 582 and 1034 > 0 discharge; BatteryManagementMode: 1080.
openWB, kostal_plenticore bat.py: falls back after the time-out, 30 s as delivered. The power is that of the battery.
"""

from __future__ import annotations

import math

from drivers.twin.families.family import DEVICE, Behaviour, Family, Installed
from drivers.twin.map_registers import Register, Text
from drivers.twin.registers import Area, Getter, Image, Write

TIMEOUT_S = 30.0
NONE, DIGITAL_INPUTS, MODBUS = range(3)  # battery management mode
FEED_IN = 6  # inverter state
PHASES = (0, 1, 2)


class KostalPlenticore(Family):
    """One inverter, byte order as delivered."""

    behaviour = Behaviour(
        silence="30 s without a setpoint end external management; it goes on by itself",
        out_of_range="a management mode above 2: refused; a power beyond its own: it gives what it can",
        wrong_mode="without external management by Modbus (1080) a setpoint is kept and does nothing",
        other_firmware="another product name, or byte order 1 (high word first)",
    )
    nominal_v = 400.0

    def __init__(self, installed: Installed) -> None:
        super().__init__(installed)
        self.management, self.power_w = MODBUS, 0.0

    def set_power(self, w: float) -> None:
        """Write the battery's setpoint, DC."""
        self.power_w = w
        if self.management == MODBUS:
            self.command_dc(w)
            self.watch(TIMEOUT_S)

    def set_management(self, mode: float) -> None:
        """Write who manages the battery."""
        self.management = int(mode)
        if self.management != MODBUS:
            self.let_go()

    def images(self) -> dict[int, Image]:
        """One unit; what lies between its values reads 0."""
        areas = [Area(2, 800), Area(1024, 1082)]
        return {self.units[DEVICE]: self.image(self.registers(), self.texts(), areas=areas)}

    def texts(self) -> list[Text]:
        """Serial number and product name."""
        return [Text(14, 8, "90342XYZ00010"), Text(768, 32, "PLENTICORE plus")]

    def registers(self) -> list[Register]:
        """Numbers of two registers have the low word first."""
        battery, site = self.unit.battery, self.site
        config = battery.config
        setpoint = Write(self.set_power, -math.inf, math.inf, (), (16,))
        management = Write(self.set_management, 0, 2, (NONE, DIGITAL_INPUTS, MODBUS), (6,))

        def low(name: str, address: int, get: Getter, kind: str = "f32", write: Write | None = None) -> Register:
            return Register(name, address, kind, get=get, write=write, low_word_first=True)

        return [
            Register("byte order", 5, fixed=0),
            low("state", 56, lambda: FEED_IN, "u32"),
            low("Hz", 152, lambda: site.hz),
            *(low(f"V{n}", 158 + 6 * n, lambda: site.v) for n in PHASES),
            low("AC W", 172, lambda: self.ac_w),
            low("battery A", 200, lambda: self.battery_w / self.pack.v),
            low("SoC", 210, lambda: battery.shown_soc_pct),
            low("battery C", 214, lambda: battery.temp_c),
            low("battery V", 216, lambda: self.pack.v),
            Register("rated W", 531, fixed=10_000),
            Register("battery W", 582, "s16", get=lambda: self.battery_w),
            low("setpoint W", 1034, lambda: self.power_w, write=setpoint),
            low("PV W", 1066, lambda: self.pv_w),
            low("capacity Wh", 1068, lambda: 1000 * config.energy_kwh),
            low("charge limit W", 1076, lambda: self.pack.limit_a(0) * self.pack.v),
            low("discharge limit W", 1078, lambda: self.pack.limit_a(1) * self.pack.v),
            Register("management", 1080, get=lambda: self.management, write=management),
        ]
