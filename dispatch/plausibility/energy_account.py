"""Counts the energy that has moved into and out of one battery since an SoC was reported, in points of its SoC.

Energy is the power of its PCS at the AC terminals over time, with the efficiencies of the site file.
"""

from __future__ import annotations

import math

import msgspec

from dispatch.config.schema import BatteryConfig, PcsRatings

GAP_S = 5.0  # between two readings of power further apart than this the energy is not known
METER_SHARE = 0.01  # of the rating: error of the power readings (class 1), so that standby adds up to nothing
FACTOR_SHARE = 0.1  # of the energy moved: error of efficiency and rated energy
CAPACITY_FACTOR = 2.0  # an aged or cold battery loses so many times the points that its rated energy explains


class Moved(msgspec.Struct, frozen=True):
    """What a tick has moved, points of SoC. `unknown_pct`: may have moved either way while nothing was read."""

    net_pct: float = 0.0  # > 0 charges
    blur_pct: float = 0.0  # how wrong that may be
    unknown_pct: float = 0.0


class EnergyMeter:
    """Integrates the power of the PCS of one battery."""

    def __init__(self, battery: BatteryConfig, pcs: tuple[PcsRatings, ...]) -> None:
        self._charge, self._discharge = battery.charge_efficiency, battery.discharge_efficiency
        self._ws_per_pct = battery.energy_kwh * 36_000
        self._rated_w = max(sum(p.charge_w for p in pcs), sum(p.discharge_w for p in pcs))
        self._last: tuple[float, float | None] | None = None  # mono, W

    def update(self, w: float | None, mono_s: float) -> Moved:
        """Take in the power, W at the AC terminals, > 0 discharges; None: not known."""
        if w is not None and abs(w) > 2 * self._rated_w:
            w = None
        last, self._last = self._last, (mono_s, w)
        if last is None:
            return Moved()
        dt_s, before_w = mono_s - last[0], last[1]
        rated_pct = self._rated_w * dt_s / self._ws_per_pct
        if w is None or before_w is None or dt_s > GAP_S:
            return Moved(unknown_pct=rated_pct / self._discharge)
        net_pct = -self._stored_w((w + before_w) / 2) * dt_s / self._ws_per_pct
        return Moved(net_pct, METER_SHARE * rated_pct + FACTOR_SHARE * abs(net_pct))

    def _stored_w(self, w: float) -> float:
        return w / self._discharge if w > 0 else w * self._charge


class EnergyTrack:
    """An SoC that was reported, and the energy moved since."""

    def __init__(self, pct: float) -> None:
        self.pct = pct
        self.net_pct = self.blur_pct = self.unknown_pct = 0.0  # > 0: charged
        self._lowest_pct = self._highest_pct = 0.0  # of `net_pct` so far

    def add(self, moved: Moved) -> None:
        """A tick later."""
        self.net_pct += moved.net_pct
        self.blur_pct += moved.blur_pct
        self.unknown_pct += moved.unknown_pct
        self._lowest_pct = min(self._lowest_pct, self.net_pct)
        self._highest_pct = max(self._highest_pct, self.net_pct)

    @property
    def sure_pct(self) -> float:
        """Points that have surely moved since, >= 0."""
        return max(abs(self.net_pct) - self.blur_pct - self.unknown_pct, 0.0)

    @property
    def expected_pct(self) -> float:
        """The SoC now, by energy."""
        return min(max(self.pct + self.net_pct, 0.0), 100.0)

    def explains(self, pct: float, slack_pct: float) -> bool:
        """Whether an SoC reported now fits, from "has not moved yet" to twice the points of the rated energy."""
        more = slack_pct + self.unknown_pct
        low, high = CAPACITY_FACTOR * self._lowest_pct, CAPACITY_FACTOR * self._highest_pct
        return self.pct + low - more <= pct <= self.pct + high + more

    def toward_pct(self, pct: float) -> float:
        """Points that the SoC reported now has moved the way the energy went."""
        return math.copysign(1.0, self.net_pct) * (pct - self.pct)
