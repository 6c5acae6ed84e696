"""The power limit of a node in its BMC: what Redfish documents say of it, and what is sent to change it.

Since Redfish 2020.4 EnvironmentMetrics.PowerLimitWatts, an excerpt of a Control (DMTF DSP0268, Control); before that
Power.PowerControl[0].PowerLimit, deprecated and all that many machines have. Only the older one says what the BMC does
when the limit is exceeded, LimitException. OpenBMC has both (bmcweb 7debb892, environment_metrics.hpp and power.hpp);
in the older one it refuses a limit while limiting is switched off.
"""

from __future__ import annotations

from typing import Any

import msgspec

from drivers.redfish.documents import MOST_W, Document, first_control, is_number, path_of, text

NEAR_W = 1.0  # BMCs keep whole watts
OFF = "Disabled"  # Control.ControlMode
ON = ("Automatic", "Override", "Manual")  # the last one is Lenovo's word (XCC REST API, "Update System PowerLimit")
HARMLESS = ("", "NoAction", "LogEventOnly")  # Power.PowerLimit.LimitException; empty: it does not say
CONTROL, POWER = "PowerLimitWatts", "PowerControl"


class PowerLimit(msgspec.Struct, frozen=True):
    """A limit as the BMC has it, W.

    `set_w`: None: none is set. `mode`: Control.ControlMode, empty where there is none. `low_w`, `high_w`: what may be
    set; None: it does not say. `exception`: what the BMC does when the limit is exceeded; empty: it does not say.
    """

    kind: str  # which resource it is in: PowerLimitWatts, or PowerControl
    set_w: float | None
    mode: str = ""
    low_w: float | None = None
    high_w: float | None = None
    default_w: float | None = None
    exception: str = ""
    serial: str = ""  # of the machine that it is of; empty: it has none

    @property
    def on(self) -> bool:
        """Whether the BMC limits the power."""
        return self.set_w is not None and self.mode != OFF

    @property
    def in_force_w(self) -> float | None:
        """The limit that the BMC follows; None: it limits nothing."""
        return self.set_w if self.on else None

    @property
    def refused(self) -> str:
        """Why it must not be set; empty: it may be."""
        if self.exception in HARMLESS:
            return ""
        what = "switches the node off" if self.exception == "HardPowerOff" else "does something else than limiting"
        return f"its BMC {what} when the limit is exceeded (LimitException {self.exception})"

    def near(self, *limits_w: float | None) -> bool:
        """Whether the limit in force is one of these."""
        held_w = self.in_force_w
        return held_w is not None and any(w is not None and abs(held_w - w) <= NEAR_W for w in limits_w)

    def allowed(self, w: float) -> float:
        """The limit nearest to `w` that may be set."""
        raised = w if self.low_w is None else max(w, self.low_w)
        return raised if self.high_w is None else min(raised, self.high_w)


def of_environment(metrics: Document) -> PowerLimit | None:
    """In EnvironmentMetrics; None: there is none. OpenBMC leaves it out where the platform has no power cap."""
    found = metrics.get(CONTROL)
    return _of_control(found) if isinstance(found, dict) and "SetPoint" in found else None


def source_of(metrics: Document) -> str:
    """The path of the Control that the limit is an excerpt of, which is the one to change; empty: there is none."""
    found = metrics.get(CONTROL)
    return path_of(found.get("DataSourceUri")) if isinstance(found, dict) else ""


def of_control(control: Document) -> PowerLimit | None:
    """A Control; None: it does not set a single power in W."""
    if control.get("ControlType", "Power") != "Power" or control.get("SetPointUnits", "W") not in ("W", "Watt"):
        return None
    return _of_control(control) if "SetPoint" in control else None


def of_power(power: Document) -> PowerLimit | None:
    """In Power; None: there is none. The further members of PowerControl are parts of the first."""
    first = first_control(power) or {}
    limit = first.get("PowerLimit")
    if not isinstance(limit, dict):
        return None
    high_w = _watts(first.get("PowerCapacityWatts"))
    return PowerLimit(POWER, _watts(limit.get("LimitInWatts")), high_w=high_w, exception=exception_of(power))


def exception_of(power: Document) -> str:
    """What the BMC does when the limit is exceeded, by Power.PowerControl[0].PowerLimit.LimitException."""
    return text(first_control(power), "PowerLimit", "LimitException")


def change(limit: PowerLimit, w: float | None, mode: str, wrapped: bool) -> dict[str, Any]:
    """What a PATCH sends to have this limit. `wrapped`: to EnvironmentMetrics, not to a Control of its own."""
    whole = None if w is None else round(w)
    if limit.kind == POWER:
        return {POWER: [{"PowerLimit": {"LimitInWatts": whole}}]}
    asked: dict[str, Any] = {"SetPoint": whole}
    if mode and mode != limit.mode:
        asked["ControlMode"] = mode
    return {CONTROL: asked} if wrapped else asked


def _of_control(control: Document) -> PowerLimit:
    return PowerLimit(
        CONTROL,
        _watts(control.get("SetPoint")),
        text(control, "ControlMode"),
        _watts(control.get("AllowableMin")),
        _watts(control.get("AllowableMax")),
        _watts(control.get("DefaultSetPoint")),
    )


def _watts(value: Any) -> float | None:
    """A power; 0 and what no server can draw are none: OpenBMC and others give them where nothing was set."""
    return float(value) if is_number(value) and 0 < value <= MOST_W else None
