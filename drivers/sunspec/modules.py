"""Tells the DC powers of a hybrid inverter apart (model 160): modules of PV, and those of the storage.

Model 160 has no point for what a module is. Fronius gives its GEN24 four: two of PV, then charging and discharging
(github.com/evcc-io/evcc `templates/definition/meter/fronius-gen24.yaml`; github.com/callifo/fronius_modbus @78b77f9,
`froniusmodbusclient.py`); its register map calls the latter "StCha" and "StDisCha".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from drivers.sunspec.device import SunSpecDevice
from drivers.sunspec.model import Value

MODEL = 160
ROLES = (("stdischa", "discharge"), ("stcha", "charge"))  # how IDStr begins, without spaces, in lower case
FRONIUS = ("pv", "pv", "charge", "discharge")


class ModulePowers(NamedTuple):
    """DC powers, W. `pv_w` >= 0; `battery_w` > 0 discharges; None: not told."""

    pv_w: float | None
    battery_w: float | None


async def read_modules(device: SunSpecDevice) -> ModulePowers | None:
    """The powers by model 160, in one request; None where it is missing or does not tell PV from storage.

    Raises as `SunSpecDevice.read`.
    """
    count = device.repeats(MODEL)
    if count == 0:
        return None
    names = [f"module.{n}.{point}" for n in range(1, count + 1) for point in ("IDStr", "DCW")]
    maker = device.identity.maker if device.identity is not None else ""
    return powers_of(await device.read(MODEL, tuple(names)), count, maker)


def powers_of(values: Mapping[str, Value | None], count: int, maker: str) -> ModulePowers | None:
    """The powers of what was read of `count` modules; None if none of them is known to be the storage's."""
    roles = tuple(_role(values.get(f"module.{n}.IDStr")) for n in range(1, count + 1))
    if "charge" not in roles and "discharge" not in roles:
        if count != len(FRONIUS) or not maker.lower().startswith("fronius"):
            return None
        roles = FRONIUS
    found: dict[str, list[float]] = {"pv": [], "charge": [], "discharge": []}
    for n, role in enumerate(roles, start=1):
        w = values.get(f"module.{n}.DCW")
        if isinstance(w, (int, float)):
            found[role].append(float(w))
    storage = found["charge"] or found["discharge"]
    return ModulePowers(
        pv_w=sum(found["pv"]) if len(found["pv"]) == roles.count("pv") else None,
        battery_w=sum(found["discharge"]) - sum(found["charge"]) if storage else None,
    )


def _role(name: Value | None) -> str:
    text = str(name or "").replace(" ", "").replace("_", "").lower()
    return next((role for start, role in ROLES if text.startswith(start)), "pv")
