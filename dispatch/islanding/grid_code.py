"""Defines grid codes: voltage and frequency window, wait and ramp for the reconnection of a site.

The figures below follow the published texts as far as secondary sources quote them. They are examples: **check with
your operator**, whose conditions prevail, and override single figures in `[island]`.
"""

from __future__ import annotations

from collections.abc import Set

import msgspec

from dispatch.config.off_grid import IslandConfig
from dispatch.model.equipment import Meter, Switch
from dispatch.model.reasons import Reason
from dispatch.model.snapshot import Snapshot

FROZEN_S = 30.0  # a grid's voltage and frequency never stand still to the last digit for so long: the reading hangs


class GridCode(msgspec.Struct, frozen=True, kw_only=True):
    """When a site may be joined to the grid again. Voltages in % of nominal, phase to neutral."""

    name: str
    source: str
    v_low_pct: float
    v_high_pct: float
    hz_low: float
    hz_high: float
    wait_s: float  # inside the window without a break
    gradient_pct_per_min: float  # export afterwards rises no faster than this, % of rated discharge power
    # How far bus and grid may differ when the switch closes. IEEE 1547-2018 table 5, 0-500 kVA: 10 %, 0.3 Hz, 20 deg.
    delta_v_pct: float = 10.0
    delta_hz: float = 0.3
    delta_deg: float = 20.0


PROFILES: dict[str, GridCode] = {
    code.name: code
    for code in (
        GridCode(
            name="vde-ar-n-4105",
            source="like VDE-AR-N 4105:2018-11, 8.3; check with your operator",
            v_low_pct=85,
            v_high_pct=110,
            hz_low=47.5,
            hz_high=50.1,
            wait_s=60,
            gradient_pct_per_min=10,
        ),
        GridCode(
            name="en-50549-1",
            source="like EN 50549-1:2019, 4.10.2, default settings after a trip; check with your operator",
            v_low_pct=85,
            v_high_pct=110,
            hz_low=49.5,
            hz_high=50.2,
            wait_s=60,
            gradient_pct_per_min=10,
        ),
    )
}
OVERRIDES = ("v_low_pct", "v_high_pct", "hz_low", "hz_high", "wait_s", "gradient_pct_per_min")


def grid_code(config: IslandConfig) -> GridCode:
    """The site's profile with its own figures in place. Raises KeyError for a profile that is not in PROFILES."""
    own = {name: value for name in OVERRIDES if (value := getattr(config, name)) is not None}
    return msgspec.structs.replace(PROFILES[config.profile], **own)


class WindowResult(msgspec.Struct, frozen=True):
    """Whether the grid is within the window: None as long as it is not known."""

    ok: bool | None
    figures: Reason
    sure: bool = True  # none of the readings behind it is doubted (`Quality.SUSPECT`)


class ReconnectionWindow:
    """Looks at the grid side: by the grid meter, and by the switch's own measurement where it has one.

    Every source that speaks must agree; a source that stands still does not speak. The meter shows the grid's side
    only while the switch is open, or the grid and bus are one; one of `on_bus`, on the site's side of the switch, only
    while they are one.
    """

    def __init__(self, code: GridCode, nominal_v: float, on_bus: Set[str] = frozenset()) -> None:
        self._code, self._nominal_v, self._on_bus = code, nominal_v, on_bus
        self._same: tuple[tuple[float, ...], float] | None = None  # what the meter said, and since when

    def check(self, snapshot: Snapshot, switch: Switch | None) -> WindowResult:
        """Judge this snapshot."""
        if switch is not None and switch.grid_voltage.good == "absent":
            return WindowResult(False, Reason("window.no_voltage", {"switch": switch.id}))
        meter = self._of_meter(snapshot.grid, snapshot.mono_s)
        joined = bool(snapshot.switches) and all(s.position.good == "closed" for s in snapshot.switches)
        sources = [meter if joined or snapshot.grid.id not in self._on_bus else None]
        if switch is not None and switch.grid_v.good is not None and switch.grid_hz.good is not None:
            sources.append(([switch.grid_v.good], switch.grid_hz.good))
        known = [s for s in sources if s is not None]
        if not known:
            return WindowResult(None, Reason("window.not_measured"))
        seen = []
        ok = True
        for volts, hz in known:
            pct = [100 * v / self._nominal_v for v in (min(volts), max(volts))]
            code = self._code
            ok &= code.v_low_pct <= pct[0] and pct[1] <= code.v_high_pct and code.hz_low <= hz <= code.hz_high
            seen.append(Reason("window.source", {"lowest_v": min(volts), "hz": hz}))
        read = [snapshot.grid.hz, *snapshot.grid.v, *([] if switch is None else [switch.grid_v, switch.grid_hz])]
        sure = not any(r.doubted for r in read)
        return WindowResult(ok, Reason("window.seen", {"sources": list(seen)}), sure)

    def _of_meter(self, meter: Meter, mono_s: float) -> tuple[list[float], float] | None:
        volts = [v for v in (r.good for r in meter.v) if v is not None]
        hz = meter.hz.good
        if not volts or hz is None:
            self._same = None
            return None
        said = (*volts, hz)
        if self._same is None or self._same[0] != said:
            self._same = (said, mono_s)
        return None if mono_s - self._same[1] > FROZEN_S else (volts, hz)
