"""What simulated PCS with registers of their own share: who decides the power, the dead-man timer, PV of a hybrid."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, NamedTuple

from dispatch.config.battery_ratings import ac_of_dc_w, dc_of_ac_w
from drivers.twin.families.stand_in import StandIn
from drivers.twin.map_registers import Register, Text, map_image
from drivers.twin.pcs import TwinPcs
from drivers.twin.physics import TwinSite
from drivers.twin.pv import TwinPv
from drivers.twin.registers import Area, Image

DEVICE = "device"  # the unit of the site file's key `unit`
KEEPS = ("no-revert", "refuses-revert")  # personalities of `[twin]` without any timer


class Behaviour(NamedTuple):
    """What a family does where devices differ, in words for the documentation."""

    silence: str
    out_of_range: str
    wrong_mode: str
    other_firmware: str


class Installed(NamedTuple):
    """One PCS of a site."""

    unit: TwinPcs
    site: TwinSite
    units: Mapping[str, int]  # unit ids by the names of the map
    silence_s: float | None = None  # after which it leaves its setpoint; None: as its sources say
    pv: TwinPv | None = None  # at the inverter itself


class Family:
    """A family's control in front of the one that the physics follow. Powers in W, > 0 discharges.

    `obeys` = False: a firmware that takes every write and goes on by itself.
    """

    behaviour: ClassVar[Behaviour]
    nominal_v: ClassVar[float]  # of the battery that its registers show

    def __init__(self, installed: Installed) -> None:
        self.unit, self.site, self.units, self._silence_s, self._pv = installed
        self.pack = StandIn(self.unit.battery, self.nominal_v)
        self.obeys = True
        self.control = control = self.unit.control
        control.in_watts, control.revert_enabled, control.revert_w, control.revert_s = True, False, 0.0, 0.0
        control.own_w, control.reverted = self.own_w, self.reverted

    def images(self) -> dict[int, Image]:
        """The registers by Modbus unit."""
        raise NotImplementedError

    def own_w(self) -> float:
        """What it does by itself: it holds the grid meter at 0 W."""
        return self.unit.w + self.site.grid_w

    def reverted(self) -> None:
        """It has left its setpoint after a silence."""

    @property
    def pv_w(self) -> float:
        """What the PV at the inverter itself gives."""
        return 0.0 if self._pv is None else self._pv.w

    @property
    def ac_w(self) -> float:
        """What the inverter gives: PV and battery, without losses of the PV."""
        return self.unit.w + self.pv_w

    @property
    def battery_w(self) -> float:
        """Power at the battery's terminals: the efficiency of the site file lies between them and the AC side."""
        return dc_of_ac_w(self.unit.battery.config, self.unit.w)

    def command(self, w: float) -> None:
        """Have the battery give this AC power from now on."""
        self.control.setpoint_w = w
        self.control.enable(self.obeys)

    def command_dc(self, w: float) -> None:
        """Have the battery give this power at its own terminals from now on."""
        self.command(ac_of_dc_w(self.unit.battery.config, w))

    def let_go(self) -> None:
        """Let it go on by itself."""
        self.control.enable(False)

    def watch(self, silence_s: float) -> None:
        """Revert after this silence, from now on; 0: never. What `[twin]` says of it comes first."""
        given = silence_s if self._silence_s is None or not silence_s else self._silence_s
        self.control.revert_s = 0.0 if self.control.personality in KEEPS else given
        self.renew()

    def renew(self) -> None:
        """Let the silence begin anew."""
        if self.control.enabled:
            self.control.start_timer()

    def phase_a(self, w: float) -> float:
        """Current of each of three phases for a power, A, with its sign."""
        return w / 3 / self.site.v if self.site.v > 0 else 0.0

    def image(
        self,
        numbers: Iterable[Register],
        texts: Iterable[Text] = (),
        *,
        every_s: float = 1.0,
        areas: Sequence[Area] = (),
        functions: tuple[int, ...] = (3, 4),
    ) -> Image:
        """One unit of it. `every_s`: how often the device renews what is read."""
        image = map_image(numbers, texts)
        image.locked = lambda: self.unit.local
        image.every_s, image.areas, image.functions = every_s, tuple(areas), functions
        return image
