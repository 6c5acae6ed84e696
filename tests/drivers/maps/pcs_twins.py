"""Devices of mapped PCS families on loopback: registers, a little physics, and what they do in silence.

Written from the sources that the maps name, not from the maps. Powers in W, > 0 discharges the battery.
"""

from __future__ import annotations

from typing import ClassVar

from toxic import FakeDevice, ToxicServer, Units


def signed(word: int) -> int:
    return word - 0x10000 if word >= 0x8000 else word


def wide(number: int) -> list[int]:
    return [number >> 16 & 0xFFFF, number & 0xFFFF]


class PcsTwin:
    """One family. `battery_w`: what its battery gives now; `wait` lets device time pass without a request."""

    name = ""
    units: ClassVar[dict[str, int]] = {}

    def __init__(self) -> None:
        self.devices = {unit: FakeDevice(blocks, unit) for unit, blocks in self.blocks().items()}
        self.server = ToxicServer(Units(*self.devices.values()))
        self.battery_w = 0.0
        for device in self.devices.values():
            device.on_write = self._written

    def blocks(self) -> dict[int, dict[int, list[int]]]:
        raise NotImplementedError

    def obey(self) -> None:
        """Work out the power from the registers."""
        raise NotImplementedError

    def revert(self) -> None:
        """Leave the setpoint after the family's own time."""
        raise NotImplementedError

    @property
    def main(self) -> FakeDevice:
        return next(iter(self.devices.values()))

    def writes(self) -> list[tuple[int, int, int, list[int]]]:
        """Unit, function, address and values of each write since the last call."""
        found = []
        for unit, device in self.devices.items():
            found += [(unit, f, a, v) for f, (a, v) in zip(device.write_functions, device.writes, strict=False)]
            device.writes.clear()
            device.write_functions.clear()
        return found

    def _written(self, address: int, values: list[int]) -> None:
        self.obey()


class VictronTwin(PcsTwin):
    """attributes.csv of dbus_modbustcp: 37, 40, 41 are the power at the AC input, > 0 drawn; only in ESS mode 3."""

    name = "victron-gx"
    units: ClassVar[dict[str, int]] = {"vebus": 227, "battery": 225}
    out_w = (1200, 900, 600)

    def blocks(self) -> dict[int, dict[int, list[int]]]:
        vebus = [0] * 140
        vebus[15], vebus[21], vebus[28], vebus[29], vebus[31] = 2301, 5001, 3, 0, 10
        vebus[130:132] = wide(15000)
        battery = {256: [0] * 64, 1290: [331, 333]}
        battery[256][3], battery[256][10], battery[256][48] = 5200, 553, 990  # 52 V, 55.3 %, 99 %
        battery[256][51], battery[256][52] = 2000, 2500  # 200 A, 250 A
        return {
            227: {0: vebus},
            100: {800: [0x4851, 0x3231, 0x3333, 0x4142, 0x4344, 0x0000], 2902: [1]},
            225: battery,
        }

    def obey(self) -> None:
        vebus, system, battery = self.devices[227], self.devices[100], self.devices[225]
        external = system[2902] == 3
        drawn = [signed(vebus[a]) if external else w for a, w in zip((37, 40, 41), self.out_w, strict=True)]
        for n, (in_w, out_w) in enumerate(zip(drawn, self.out_w, strict=True)):
            vebus[12 + n], vebus[23 + n] = round(in_w / 10), round(out_w / 10)
        self.battery_w = sum(self.out_w) - sum(drawn)
        for n, word in enumerate(wide(round(-self.battery_w))):
            battery[256 + n] = word

    def revert(self) -> None:
        vebus = self.devices[227]
        for address, w in zip((37, 40, 41), self.out_w, strict=True):
            vebus[address] = w
        self.obey()


class SinexcelTwin(PcsTwin):
    """Sheet PCS30kW-COMM_PROTOCOL V1.06: 135 in 0.1 kW, > 0 discharges; 327 is the EMS time-out in s."""

    name = "sinexcel-pws2"

    def blocks(self) -> dict[int, dict[int, list[int]]]:
        low = [0] * 230
        low[17:25] = [0x5331, 0x3233, 0, 0, 0, 0, 0, 0]  # "S123"
        low[32] = 0b1100  # on, grid-tied
        low[107], low[132], low[142] = 5000, 35, 7000
        low[225], low[226] = 500, 400
        device = {0: low, 327: [5], 500: [0x5375, 0x6E53], 753: [2], 650: [0] * 9, 790: [1]}
        return {1: device}

    def obey(self) -> None:
        self.battery_w = 100.0 * signed(self.main[135])
        self.main[122] = self.main[141] = round(self.battery_w / 10)

    def revert(self) -> None:
        self.main[135] = 0
        self.main[32] = 1  # EMS connection time-out, a fault
        self.obey()


class GoodWeTwin(PcsTwin):
    """goodwe et.py and OpenEMS: 47511 mode, 47512 W; 11 charges, 12 discharges, 1 is its own mode. No watchdog."""

    name = "goodwe-et"

    def blocks(self) -> dict[int, dict[int, list[int]]]:
        info = [0] * 20
        info[3:11] = [0x3930, 0x3130, 0x4554, 0x5531, 0, 0, 0, 0]  # "9010ETU1"
        info[11:16] = [0x4757, 0x3130, 0x4B2D, 0x4554, 0]  # "GW10K-ET"
        run = [0] * 90  # from 35100
        run[5:7] = run[9:11] = wide(1500)
        run[21], run[23], run[36], run[80], run[87] = 2301, 5000, 1, 3800, 1
        bms = [0] * 24  # from 37000
        bms[3], bms[4], bms[5], bms[7], bms[8] = 251, 25, 25, 61, 98
        bms[20:24] = [264, 243, 3341, 3318]
        return {247: {35000: info, 35100: run, 37000: bms, 47511: [1, 0]}}

    def obey(self) -> None:
        mode, w = self.main[47511], self.main[47512]
        self.battery_w = {11: -w, 12: w}.get(mode, 700)
        pv_w = self.main[35106] + self.main[35110]
        for address, total_w in ((35182, self.battery_w), (35137, self.battery_w + pv_w)):
            for n, word in enumerate(wide(round(total_w))):
                self.main[address + n] = word

    def revert(self) -> None:
        """It never does."""


class FoxTwin(PcsTwin):
    """foxess_modbus: 44000 enables, 44002 and 44003 are the AC power of PV and battery; 44000..44003 are write-only."""

    name = "foxess-h3"
    deaf = False  # it takes every write and does nothing

    def blocks(self) -> dict[int, dict[int, list[int]]]:
        model = [ord(letter) for letter in " H3-10.0-E"]
        run = [0] * 40  # from 31000
        run[2], run[5], run[6], run[34], run[38] = 1200, 800, 2301, 4000, 55
        return {247: {30000: model, 31000: run, 44000: [0, 0, 0, 0]}}

    def obey(self) -> None:
        ac_w = (self.main[44002] << 16 | self.main[44003]) - (self.main[44002] >> 15 << 32)
        given = bool(self.main[44000]) and not self.deaf
        self.battery_w = float(ac_w - self.main[31002] - self.main[31005]) if given else 0.0
        self.main[31036] = round(self.battery_w)

    def revert(self) -> None:
        self.main[44000] = 0
        self.obey()
