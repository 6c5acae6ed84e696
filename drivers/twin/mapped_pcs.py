"""Says which simulated PCS have registers of their own: the families of device maps, each in a module of its own."""

from __future__ import annotations

from drivers.twin.families.family import Family
from drivers.twin.families.foxess_h3 import FoxEssH3, FoxEssH3Pro
from drivers.twin.families.goodwe_et import GoodWeEt
from drivers.twin.families.huawei_luna2000 import HuaweiLuna2000
from drivers.twin.families.kostal_plenticore import KostalPlenticore
from drivers.twin.families.sinexcel_pws2 import SinexcelPws2
from drivers.twin.families.sma import SunnyBoyStorage, SunnyIsland
from drivers.twin.families.sungrow_sh import SungrowSh
from drivers.twin.families.victron_gx import VictronGx

FAMILIES: dict[str, type[Family]] = {  # by map
    "foxess-h3": FoxEssH3,
    "foxess-h3-pro": FoxEssH3Pro,
    "goodwe-et": GoodWeEt,
    "huawei-luna2000": HuaweiLuna2000,
    "kostal-plenticore": KostalPlenticore,
    "sinexcel-pws2": SinexcelPws2,
    "sma-sunny-boy-storage": SunnyBoyStorage,
    "sma-sunny-island": SunnyIsland,
    "sungrow-sh": SungrowSh,
    "victron-gx": VictronGx,
}
