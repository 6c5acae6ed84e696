"""Simulates a Victron GX with three-phase VE.Bus inverters and a 48 V battery: units system, vebus and battery.

Registers: victronenergy/dbus_modbustcp, attributes.csv; a column "0.1" there means register = W / 10. ESS: Victron,
"ESS mode 2 and 3" (victronenergy.com/live/ess:ess_mode_2_and_3):

* Hub4Mode 1 and 2: it holds the grid meter at 0 W by itself.
* Hub4Mode 3, external control: 37, 40 and 41 of vebus are the power at the AC input per phase, W, > 0 drawn from it.
  The battery gives what the loads of the output need beyond that. DisableCharge and DisableFeedIn limit it.
* After `silence_s` without a setpoint the inverters pass the input through, and the battery rests. 60 s are documented,
  10 s were seen (openWB issue 3355).

The output has no loads, so battery and input are the same but for the sign. Off the grid the site hangs on the output.
"""

from __future__ import annotations

from functools import partial

from drivers.twin.families.family import Behaviour, Family, Installed
from drivers.twin.map_registers import Register, Text
from drivers.twin.pcs import InvSt
from drivers.twin.registers import Getter, Image, Write

SILENCE_S = 60.0
UNITS = {"system": 100, "vebus": 227, "battery": 225}  # where the site file does not say another
EXTERNAL = 3  # Hub4Mode
GRID, NOT_CONNECTED, DISCONNECTED = 1, 240, 240  # of ActiveIn/Source and ActiveInput
CELLS = 16  # lithium iron phosphate
PHASES = (0, 1, 2)
SETPOINTS = (37, 40, 41)
MOST_W = 32_767.0
ALARMS, BMS_ALARMS = range(267, 280), range(320, 330)  # of the battery: 0 none, 1 warning, 2 alarm; 1282: 9 running


class VictronGx(Family):
    """ESS in front of the control that the physics follow."""

    behaviour = Behaviour(
        silence="60 s after the last setpoint the inverters pass the input through, and the battery rests; "
        "`silence_s` another time, such as the 10 s that were seen",
        out_of_range="an unknown mode: refused; a power beyond its own: it gives what it can",
        wrong_mode="in modes 1 and 2 the setpoints are kept and do nothing",
        other_firmware="a GX before 3.50 has no volatile setpoints for its own loop (2716); these are not used",
    )
    nominal_v = 51.2

    def __init__(self, installed: Installed) -> None:
        super().__init__(installed)
        self.mode = 1  # Hub4Mode
        self.drawn_w = [0.0, 0.0, 0.0]  # asked for at the AC input
        self.no_charge = self.no_feed_in = False
        self.minimum_soc_pct = 10.0  # kept, and without effect here

    def set_mode(self, mode: float) -> None:
        """Write Hub4Mode."""
        self.mode = int(mode)
        if self.mode != EXTERNAL:
            self.let_go()

    def set_minimum_soc(self, pct: float) -> None:
        """Write MinimumSocLimit."""
        self.minimum_soc_pct = pct

    def set_drawn(self, phase: int, w: float) -> None:
        """Write the AcPowerSetpoint of a phase; it begins the silence anew."""
        self.drawn_w[phase] = w
        self._apply()
        if self.mode == EXTERNAL:
            self.control.enable(self.obeys)
            self.watch(SILENCE_S)

    def disable_charge(self, disabled: float) -> None:
        """Write DisableCharge."""
        self.no_charge = bool(disabled)
        self._apply()

    def disable_feed_in(self, disabled: float) -> None:
        """Write DisableFeedIn."""
        self.no_feed_in = bool(disabled)
        self._apply()

    @property
    def state(self) -> int:
        """VE.Bus State: 0 off, 2 fault, 3 bulk, 8 passthru, 9 inverting, 10 power assist, 252 external control."""
        unit = self.unit
        if unit.state is InvSt.FAULT:
            return 2
        if not unit.ready:
            return 0
        if unit.forming:
            return 9
        if self.mode == EXTERNAL:
            return 252 if unit.control.enabled else 8
        return 10 if unit.w > 0 else 3

    @property
    def on_grid(self) -> bool:
        """Whether its AC input is connected."""
        return self.unit.connected and not self.unit.grid_lost and not self.unit.forming

    @property
    def in_w(self) -> float:
        """Power at the AC input, > 0 drawn."""
        return -self.unit.w if self.on_grid else 0.0

    @property
    def out_w(self) -> float:
        """Power at the AC output, > 0 given."""
        return 0.0 if self.on_grid else self.unit.w

    def own_w(self) -> float:
        """Without a setpoint: nothing under external control, else what brings the grid meter to 0 W."""
        return 0.0 if self.mode == EXTERNAL else super().own_w()

    def _apply(self) -> None:
        w = -sum(self.drawn_w)
        w = max(w, 0.0) if self.no_charge else w
        self.unit.control.setpoint_w = min(w, 0.0) if self.no_feed_in else w

    def images(self) -> dict[int, Image]:
        """Three units."""
        named = {"system": _system(self), "vebus": _vebus(self), "battery": _battery(self)}
        return {self.units.get(name) or UNITS[name]: image for name, image in named.items()}


def _system(gx: VictronGx) -> Image:
    battery = gx.unit.battery
    meter = next((m for m in gx.site.meters if m.role == "grid"), None)
    grid = (
        []
        if meter is None
        else [Register(f"820+{n}", 820 + n, "s16", get=partial(lambda of, n: of.phases_w[n], meter, n)) for n in PHASES]
    )
    return gx.image(
        [
            *grid,
            Register("826", 826, "s16", get=lambda: GRID if gx.on_grid else NOT_CONNECTED),
            Register("840", 840, per_unit=10, get=lambda: gx.pack.v),
            Register("841", 841, "s16", 10, get=lambda: -battery.dc_w / gx.pack.v),
            Register("842", 842, "s16", get=lambda: -battery.dc_w),
            Register("843", 843, get=lambda: battery.shown_soc_pct),
            Register("844", 844, get=lambda: 0 if abs(battery.dc_w) < 1 else (2 if battery.dc_w > 0 else 1)),
            Register(
                "2901", 2901, per_unit=10, get=lambda: gx.minimum_soc_pct, write=Write(gx.set_minimum_soc, 0, 100)
            ),
            Register("2902", 2902, get=lambda: gx.mode, write=Write(gx.set_mode, 1, 3)),
        ],
        [Text(800, 6, f"tw{gx.unit.id}")],
    )


def _vebus(gx: VictronGx) -> Image:
    unit, site = gx.unit, gx.site

    def input_v() -> float:
        return site.v if gx.on_grid else 0.0

    def input_hz() -> float:
        return site.hz if gx.on_grid else 0.0

    numbers = [
        Register("26", 26, per_unit=100, get=lambda: gx.pack.v),
        Register("27", 27, "s16", 10, get=lambda: -unit.battery.dc_w / gx.pack.v),
        Register("28", 28, fixed=len(PHASES)),
        Register("29", 29, get=lambda: 0 if gx.on_grid else DISCONNECTED),
        Register("30", 30, per_unit=10, get=lambda: unit.battery.shown_soc_pct),
        Register("31", 31, get=lambda: gx.state),
        Register("32", 32, fixed=0),
        Register("21", 21, "s16", 100, get=lambda: site.hz),
        Register("DisableCharge", 38, get=lambda: int(gx.no_charge), write=Write(gx.disable_charge, 0, 1)),
        Register("DisableFeedIn", 39, get=lambda: int(gx.no_feed_in), write=Write(gx.disable_feed_in, 0, 1)),
        Register("GridLost", 64, get=lambda: 0 if gx.on_grid else 2),
        Register("130", 130, "u32", fixed=max(unit.ratings.charge_w, unit.ratings.discharge_w)),
    ]
    phase: list[tuple[int, str, float, Getter]] = [  # first register of three
        (3, "u16", 10, input_v),
        (6, "s16", 10, lambda: gx.phase_a(gx.in_w)),
        (9, "s16", 100, input_hz),
        (12, "s16", 0.1, lambda: gx.in_w / 3),
        (15, "u16", 10, lambda: site.v),
        (18, "s16", 10, lambda: gx.phase_a(gx.out_w)),
        (23, "s16", 0.1, lambda: gx.out_w / 3),
    ]
    numbers += [
        Register(str(first + n), first + n, kind, per_unit, get) for first, kind, per_unit, get in phase for n in PHASES
    ]
    for n, address in enumerate(SETPOINTS):
        write = Write(partial(gx.set_drawn, n), -MOST_W - 1, MOST_W)
        numbers.append(
            Register(f"AcPowerSetpoint L{n + 1}", address, "s16", get=partial(gx.drawn_w.__getitem__, n), write=write)
        )
    return gx.image(numbers)


def _battery(gx: VictronGx) -> Image:
    battery = gx.unit.battery
    return gx.image(
        [
            Register("256", 256, "s32", get=lambda: -battery.dc_w),
            Register("259", 259, per_unit=100, get=lambda: gx.pack.v),
            Register("261", 261, "s16", 10, get=lambda: -battery.dc_w / gx.pack.v),
            Register("262", 262, "s16", 10, get=lambda: battery.temp_c),
            Register("266", 266, per_unit=10, get=lambda: battery.shown_soc_pct),
            Register("304", 304, per_unit=10, get=lambda: battery.soh_pct),
            *(Register(str(at), at, fixed=0) for at in (*ALARMS, *BMS_ALARMS)),
            Register("1282", 1282, fixed=9),
            Register("307", 307, per_unit=10, get=partial(gx.pack.limit_a, 0)),
            Register("308", 308, per_unit=10, get=partial(gx.pack.limit_a, 1)),
            Register("318", 318, "s16", 10, get=lambda: battery.temp_c),
            Register("319", 319, "s16", 10, get=lambda: battery.temp_c),
            Register("1290", 1290, per_unit=100, get=lambda: gx.pack.v / CELLS),
            Register("1291", 1291, per_unit=100, get=lambda: gx.pack.v / CELLS),
        ]
    )
