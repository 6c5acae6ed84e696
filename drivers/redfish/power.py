"""What a Redfish document says of a power: W, or why there is none. Properties by DMTF DSP0268."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from drivers.redfish.documents import MOST_W, Document, first_control, is_number, link, text

LEAST_W = 1.0  # a machine that runs draws more, and so does a BMC alone
MOST_GPU_W = 2_500.0  # twice the largest
CAPACITY = 2.0  # times what the supplies can give: short peaks reach about 1.5 times


class Found(msgspec.Struct, frozen=True):
    """A power, W, or None and why; `says`: which property of which resource says so."""

    w: float | None
    says: str
    why: str = ""

    @property
    def none_at_all(self) -> bool:
        """Whether it is about 0: what a machine that is off draws, and what a BMC gives that cannot measure."""
        return self.w is not None and self.w < LEAST_W


def of_environment(metrics: Document, most_w: float = MOST_W) -> Found:
    """EnvironmentMetrics.PowerWatts.Reading (since Redfish 2020.4): the whole of what the resource belongs to.

    OpenBMC has the resource without this property where no sensor is marked as the total, and before the host was
    booted for the first time (bmcweb, environment_metrics.hpp).
    """
    power = metrics.get("PowerWatts")
    value = power.get("Reading") if isinstance(power, dict) else None
    return _found(value, "PowerWatts.Reading", most_w, offered=isinstance(power, dict) and "Reading" in power)


def of_power_control(power: Document) -> Found:
    """Power.PowerControl[0].PowerConsumedWatts (deprecated in 2020.4, and all that most machines have).

    The further members are parts of the first: Lenovo has CPUs and memory there.
    """
    first = first_control(power)
    if first is None:
        return Found(None, "PowerControl", "is not there")
    found = _found(first.get("PowerConsumedWatts"), "PowerConsumedWatts", MOST_W, "PowerConsumedWatts" in first)
    capacity = first.get("PowerCapacityWatts")
    if found.w is not None and is_number(capacity) and LEAST_W < CAPACITY * capacity < found.w:
        return Found(None, found.says, f"says {found.w:g} W, its supplies can give {capacity:g} W")
    return found


def of_supplies(power: Document) -> Found:
    """Power.PowerSupplies[].PowerInputWatts: all that are there, or nothing."""
    supplies = power.get("PowerSupplies")
    there = [s for s in supplies if isinstance(s, dict) and present(s)] if isinstance(supplies, list) else []
    inputs = (_found(s.get("PowerInputWatts"), "PowerInputWatts", MOST_W, "PowerInputWatts" in s) for s in there)
    return summed(inputs, "PowerInputWatts")


def of_supply_metrics(metrics: Document) -> Found:
    """PowerSupplyMetrics.InputPowerWatts.Reading of one power supply (since 2020.4)."""
    power = metrics.get("InputPowerWatts")
    value = power.get("Reading") if isinstance(power, dict) else None
    return _found(value, "InputPowerWatts.Reading", MOST_W, offered=isinstance(power, dict) and "Reading" in power)


def summed(parts: Iterable[Found], says: str) -> Found:
    """The sum of all power supplies; nothing as soon as one is missing."""
    found = list(parts)
    lacking = next((part for part in found if part.w is None), None)
    if not found or lacking is not None:
        return Found(None, says, "of no power supply" if lacking is None else f"of a power supply {lacking.why}")
    total_w = sum(part.w for part in found if part.w is not None)
    if total_w > MOST_W:
        return Found(None, says, f"says {total_w:.4g} W in all, not believed")
    return Found(total_w, f"{says} of {len(found)} power suppl{'ies' if len(found) > 1 else 'y'}")


def present(resource: Document) -> bool:
    """Whether a power supply is in its slot (Resource.Status.State)."""
    return text(resource, "Status", "State") != "Absent"


def is_on(system: Document) -> bool | None:
    """ComputerSystem.PowerState; None: it does not say."""
    return {"On": True, "Off": False}.get(text(system, "PowerState"))


def metrics_of(resource: Document) -> str:
    """The path of a power supply's metrics; empty: it has none."""
    return link(resource, "Metrics")


def _found(value: Any, says: str, most_w: float, offered: bool) -> Found:
    if not offered:
        return Found(None, says, "is not there")
    if value is None:
        return Found(None, says, "is null")
    if not is_number(value):
        return Found(None, says, f"is no number but {str(value)[:20]!r}")
    if not 0 <= value <= most_w:
        return Found(None, says, f"says {value:.4g} W, not believed")
    return Found(float(value), says)
