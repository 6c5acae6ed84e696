"""A site of SunSpec devices on one loopback server: grid meter, load meter, PCS with battery, PV inverter."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import msgspec
from sunspec_image import COMMON, image, model_words, pcs_image
from toxic import FakeDevice, ToxicServer, Units

from drivers.config import IoConfig
from gateway.site.loader import load
from gateway.site.schema import Site

BASE = 40_000
DEADLINE_S = 20.0  # longer than a busy machine takes
TEXT = """
[site]
name = "Loopback"
[grid]
fuse_a = 160
contracted_peak_w = 40000
[gateway]
rate_hz = 1
state_dir = "state"
[[battery]]
id = "bat1"
energy_kwh = 100
[[pcs]]
id = "pcs1"
battery = "bat1"
charge_w = 55000
discharge_w = 60000
url = "{url}"
[[meter]]
id = "grid"
url = "{url}"
unit = 2
[[meter]]
id = "load"
role = "load"
url = "{url}"
unit = 3
[[pv]]
id = "pv1"
peak_w = 20000
url = "{url}"
unit = 4
"""


def meter_words(w: int, **points: Any) -> list[int]:
    """A three-phase meter of 230 V and 50 Hz; currents as `w` needs them."""
    amps = round(abs(w) / 3 / 230 * 100) + 10
    values = {"W": w, "W_SF": 0, "Hz": 5001, "Hz_SF": -2, "V_SF": -1, "A_SF": -2}
    values |= {f"PhVph{p}": 2305 for p in "ABC"} | {f"Aph{p}": amps for p in "ABC"}
    return image(model_words(1, Mn="Meters", Md="M3", Vr="2.1", SN="88"), model_words(203, **{**values, **points}))


class Loopback:
    """The devices, as their registers say; the load is 25 kW: grid 16 + PCS 5 + PV 4."""

    def __init__(self, directory: Path) -> None:
        self.pcs = FakeDevice({BASE: pcs_image()}, unit=1)
        self.grid = FakeDevice({BASE: meter_words(16_000)}, unit=2)
        self.load = FakeDevice({BASE: meter_words(25_000)}, unit=3)
        inverter = image(model_words(1, **COMMON), model_words(103, W=4000, W_SF=0, St=4))
        self.pv = FakeDevice({BASE: inverter}, unit=4)
        self.units = Units(self.pcs, self.grid, self.load, self.pv)
        self.server = ToxicServer(self.units)
        self.path = directory / "site.toml"

    @property
    def site(self) -> Site:
        """The site file, written and read."""
        self.path.write_text(TEXT.format(url=f"tcp://{self.server.host}:{self.server.port}"))
        self.path.chmod(stat.S_IRUSR | stat.S_IWUSR)
        return msgspec.structs.replace(load(self.path), io=IoConfig(deadline_s=DEADLINE_S))

    def grid_reads(self, w: int, **points: Any) -> None:
        """The grid meter reads this from now on."""
        self.grid.replace(BASE, meter_words(w, **points))
