"""How each SunSpec model takes a power: which points hold it, in which requests and in which order they are written.

`drivers.setpoint.SetpointWriter` decides what is due. Powers are in W; `held` is what was read of a model's `points`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Protocol

from drivers.sunspec.model import Value, raw_scale, scaled, unscaled

Points = dict[str, float | str]  # neighbours, written in one request
Held = dict[str, Value | None]


class PowerPoints(Protocol):
    """The points of one model by which a power is set."""

    @property
    def model(self) -> int: ...

    @property
    def points(self) -> tuple[str, ...]:
        """What is read of the model."""
        ...

    @property
    def what(self) -> str:
        """What it takes in this way, for people."""
        ...

    @property
    def value_point(self) -> str:
        """The point that is named where it does not take a power."""
        ...

    @property
    def timer(self) -> str:
        """The point that holds after how many seconds of silence the device leaves what it was given."""
        ...

    @property
    def timer_before_value(self) -> bool:
        """Whether the timer is written before each value, and the value again at each renewal."""
        ...

    @property
    def refusable(self) -> Mapping[str, str]:
        """A step of these alone may be refused: the device is commanded all the same. What it is for, to tell so."""
        ...

    def nearest_w(self, held: Held, w: float) -> float | None:
        """The power nearest to `w` in the device's resolution; None: it takes none in this way."""
        ...

    def value(self, held: Held, target_w: float) -> list[Points]: ...

    def enable(self) -> list[Points]: ...

    def release(self) -> list[Points]:
        """What leaves the device to itself at once; empty: its timer does."""
        ...

    def fallback(self, held: Held, timer_s: int | None) -> list[Points]:
        """What it is to do when it hears nothing more, as far as it implements that. `timer_s`: None without timer."""
        ...

    def expected(self, held: Held, target_w: float) -> Held:
        """What reads back once value and enable were taken."""
        ...

    def scales(self, held: Held) -> dict[str, int | None]: ...

    def remark(self, held: Held, target_w: float) -> str:
        """What a person must know of what was read back, besides the points that are compared; empty: nothing."""
        ...

    def words(self, held: Held) -> str:
        """What the device holds, for people."""
        ...


class DerSetpoint:
    """704, WSet: a power in watts. The default that it reverts to and its timer come first, then value, then enable."""

    model = 704
    points = ("WSetEna", "WSetMod", "WSet", "WSetRvrt", "WSetEnaRvrt", "WSetRvrtTms", "WSetRvrtRem", "WSet_SF")
    value_point, timer, timer_before_value = "WSet", "WSetRvrtTms", False
    refusable = dict.fromkeys(("WSetRvrt", "WSetEnaRvrt", "WSetRvrtTms"), "its reversion")
    what = "setpoint in watts"

    def __init__(self, revert_w: float = 0.0) -> None:
        """`revert_w`: what the device is to hold once its timer ran out."""
        self._revert_w = revert_w

    def nearest_w(self, held: Held, w: float) -> float | None:
        scale = raw_scale(held, "WSet_SF")
        if held["WSet"] is None or held["WSetEna"] is None or scale is None:
            return None
        return scaled(unscaled(w, scale), scale)

    def value(self, held: Held, target_w: float) -> list[Points]:
        return [{"WSetMod": "watts", "WSet": target_w}]

    def enable(self) -> list[Points]:
        return [{"WSetEna": "enabled"}]

    def release(self) -> list[Points]:
        return []

    def fallback(self, held: Held, timer_s: int | None) -> list[Points]:
        after: Points = {} if held["WSetEnaRvrt"] is None else {"WSetEnaRvrt": "enabled"}
        if timer_s is not None:
            after["WSetRvrtTms"] = timer_s
        before: Points = {} if held["WSetRvrt"] is None else {"WSetRvrt": self._revert_w}
        return [step for step in (before, after) if step]

    def expected(self, held: Held, target_w: float) -> Held:
        return {"WSetMod": "watts", "WSet": target_w, "WSetEna": "enabled"}

    def scales(self, held: Held) -> dict[str, int | None]:
        scale = raw_scale(held, "WSet_SF")
        return {"WSet": scale, "WSetRvrt": scale}

    def remark(self, held: Held, target_w: float) -> str:
        return ""

    def words(self, held: Held) -> str:
        mode = "" if held["WSetMod"] == "watts" else f", mode {held['WSetMod']}"
        return f"{held['WSet']} W, {held['WSetEna']}{mode}"


BOTH = ("charge", "discharge")  # StorCtl_Mod with both limits active


class StorageRates:
    """124, OutWRte and InWRte: limits of discharging and charging in percent of WChaMax, here always as a pair.

    A limit may be negative, and then forces the other direction (github.com/callifo/fronius_modbus @78b77f9, `hub.py`;
    github.com/evcc-io/evcc pull 18386: OutWRte -100 charges from the grid). OutWRte = p with InWRte = -p leaves the
    device exactly one power. The pair lies side by side and is one request.

    InOutWRte_RvrtTms goes before every pair: one that somebody else has left would end ours (evcc issue 33037: back to
    self-consumption after 3600 s). Where the pair is not written again the timer is not taken to start anew.
    ChaGriSet must be GRID before a battery charges from the grid.
    """

    model = 124
    points = (
        "WChaMax", "StorCtl_Mod", "OutWRte", "InWRte", "InOutWRte_RvrtTms", "ChaGriSet", "InOutWRte_SF",
        "ChaState", "ChaSt", "InBatV",
    )  # fmt: skip
    value_point, timer, timer_before_value = "OutWRte", "InOutWRte_RvrtTms", True
    refusable = {"InOutWRte_RvrtTms": "its reversion", "ChaGriSet": "charging from the grid"}  # noqa: RUF012
    what = "power in percent of WChaMax"

    def nearest_w(self, held: Held, w: float) -> float | None:
        most_w = full_rate_w(held)
        if most_w is None or held["StorCtl_Mod"] is None or raw_scale(held, "InOutWRte_SF") is None:
            return None
        if held["OutWRte"] is None or held["InWRte"] is None:
            return None
        return self._rate_pct(held, w) * most_w / 100

    def _rate_pct(self, held: Held, w: float) -> float:
        most_w, scale = full_rate_w(held), raw_scale(held, "InOutWRte_SF")
        if most_w is None or scale is None:
            return 0.0
        return scaled(unscaled(min(max(100 * w / most_w, -100.0), 100.0), scale), scale)

    def value(self, held: Held, target_w: float) -> list[Points]:
        rate_pct = self._rate_pct(held, target_w)
        from_grid: list[Points] = [{"ChaGriSet": "grid"}] if target_w < 0 and held["ChaGriSet"] == "pv" else []
        return [*from_grid, {"OutWRte": rate_pct, "InWRte": -rate_pct}]

    def enable(self) -> list[Points]:
        return [{"StorCtl_Mod": 3}]

    def release(self) -> list[Points]:
        return [{"StorCtl_Mod": 0}]

    def fallback(self, held: Held, timer_s: int | None) -> list[Points]:
        return [] if timer_s is None else [{"InOutWRte_RvrtTms": timer_s}]

    def expected(self, held: Held, target_w: float) -> Held:
        rate_pct = self._rate_pct(held, target_w)
        return {"OutWRte": rate_pct, "InWRte": -rate_pct, "StorCtl_Mod": BOTH}

    def scales(self, held: Held) -> dict[str, int | None]:
        scale = raw_scale(held, "InOutWRte_SF")
        return {"OutWRte": scale, "InWRte": scale}

    def remark(self, held: Held, target_w: float) -> str:
        if target_w < 0 and held["ChaGriSet"] == "pv":
            return "ChaGriSet stays PV: the inverter's own settings do not allow charging from the grid"
        return ""

    def words(self, held: Held) -> str:
        mode = held["StorCtl_Mod"]
        active = " and ".join(mode) if isinstance(mode, tuple) and mode else "neither limit"
        return f"OutWRte {held['OutWRte']} %, InWRte {held['InWRte']} %, {active} active"


def full_rate_w(held: Held) -> float | None:
    """WChaMax, the power that OutWRte and InWRte are percentages of, W; None: not implemented, or 0."""
    most_w = held["WChaMax"]
    return float(most_w) if isinstance(most_w, (int, float)) and most_w > 0 else None


def rates_w(held: Held) -> tuple[float | None, float | None]:
    """The one power to which the pair of rates holds the device, W, and 1 if it is in force, 0 if not.

    A pair that leaves a range, as others set it, is no setpoint: (the end of its range that discharges, 0).
    """
    most_w, out, into, mode = full_rate_w(held), held["OutWRte"], held["InWRte"], held["StorCtl_Mod"]
    if most_w is None or not isinstance(out, (int, float)) or not isinstance(into, (int, float)) or mode is None:
        return None, None
    return out * most_w / 100, float(mode == BOTH and out == -into)


class Limit(ABC):
    """A limit of active power, WMaxLimPct in percent of WMax, rounded down: never more than was asked."""

    value_point, what = "WMaxLimPct", "limit in percent of WMax"
    enabled_point, timer = "", ""

    def __init__(self, full_w: float) -> None:
        """`full_w`: WMax, what 100 % is."""
        self.full_w = full_w

    def nearest_w(self, held: Held, w: float) -> float | None:
        if None in (held["WMaxLimPct"], held[self.enabled_point], raw_scale(held, "WMaxLimPct_SF")):
            return None
        return self._pct(held, w) * self.full_w / 100

    def value(self, held: Held, target_w: float) -> list[Points]:
        return [{"WMaxLimPct": self._pct(held, target_w)}]

    def enable(self) -> list[Points]:
        return [{self.enabled_point: "enabled"}]

    def release(self) -> list[Points]:
        return [{self.enabled_point: "disabled"}]

    def expected(self, held: Held, target_w: float) -> Held:
        return {"WMaxLimPct": self._pct(held, target_w), self.enabled_point: "enabled"}

    def scales(self, held: Held) -> dict[str, int | None]:
        scale = raw_scale(held, "WMaxLimPct_SF")
        return {"WMaxLimPct": scale, "WMaxLimPctRvrt": scale}

    def remark(self, held: Held, target_w: float) -> str:
        return ""

    def words(self, held: Held) -> str:
        return f"{held['WMaxLimPct']} %, {held[self.enabled_point]}"

    def in_force_w(self, held: Held) -> float | None:
        """The limit that is held, W: its full power where none is in force; None: it does not say."""
        pct, enabled = held["WMaxLimPct"], held[self.enabled_point]
        if enabled == "disabled":
            return self.full_w
        return pct * self.full_w / 100 if enabled == "enabled" and isinstance(pct, (int, float)) else None

    def ours(self, held: Held, timer_s: int) -> bool:
        """Whether a limit in force is one of ours, by what it is to do on silence; one that does not say is not."""
        after = {name: value for step in self.fallback(held, timer_s) for name, value in step.items()}
        return held[self.timer] is not None and all(held[name] == value for name, value in after.items())

    @abstractmethod
    def fallback(self, held: Held, timer_s: int | None) -> list[Points]:
        """As `PowerPoints.fallback`."""

    def _pct(self, held: Held, w: float) -> float:
        scale = raw_scale(held, "WMaxLimPct_SF") or 0
        pct = min(max(100 * w / self.full_w, 0.0), 100.0)
        return scaled(math.floor(pct / 10.0**scale + 1e-6), scale)


class DerLimit(Limit):
    """That of 704, with what it reverts to and its timer."""

    model = 704
    points = (
        "WMaxLimPctEna", "WMaxLimPct", "WMaxLimPctRvrt", "WMaxLimPctEnaRvrt", "WMaxLimPctRvrtTms",
        "WMaxLimPctRvrtRem", "WMaxLimPct_SF",
    )  # fmt: skip
    timer, timer_before_value = "WMaxLimPctRvrtTms", False
    refusable = dict.fromkeys(("WMaxLimPctRvrt", "WMaxLimPctEnaRvrt", "WMaxLimPctRvrtTms"), "its reversion")
    enabled_point = "WMaxLimPctEna"

    def __init__(self, full_w: float, fallback_w: float) -> None:
        """`fallback_w`: the limit that it is to hold once its timer ran out; `full_w` or more: none."""
        super().__init__(full_w)
        self._fallback_w = fallback_w

    def fallback(self, held: Held, timer_s: int | None) -> list[Points]:
        values: Points = {"WMaxLimPctRvrt": self._pct(held, self._fallback_w)}
        values["WMaxLimPctEnaRvrt"] = "enabled" if self._fallback_w < self.full_w else "disabled"
        there: Points = {name: value for name, value in values.items() if held[name] is not None}
        timer: Points = {} if timer_s is None else {self.timer: timer_s}
        if "WMaxLimPctEnaRvrt" not in there:  # then what is left are no neighbours
            return [step for step in (there, timer) if step]
        return [there | timer]


class ImmediateLimit(Limit):
    """That of 123. Its timer goes before each value, and ends the limit altogether."""

    model = 123
    points = ("WMaxLimPct", "WMaxLimPct_RvrtTms", "WMaxLim_Ena", "WMaxLimPct_SF")
    timer, timer_before_value = "WMaxLimPct_RvrtTms", True
    refusable = {"WMaxLimPct_RvrtTms": "its reversion"}  # noqa: RUF012
    enabled_point = "WMaxLim_Ena"

    def fallback(self, held: Held, timer_s: int | None) -> list[Points]:
        return [] if timer_s is None else [{self.timer: timer_s}]
