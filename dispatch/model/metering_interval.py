"""Defines the running metering interval of the utility meter."""

from __future__ import annotations

import msgspec

from dispatch.model.reasons import Reason

TOLD_S = 1.0  # so much of an interval without a reading is said
LAST_S = 15.0  # an interval's end closer than this is not divided by: meters and clocks are not that exact


class Interval(msgspec.Struct, frozen=True):
    """The running metering interval of the utility meter."""

    start_utc_s: float
    length_s: float
    energy_wh: float  # imported so far; export earns nothing back
    unknown_s: float  # of it without a good meter reading
    limit_w: float  # the mean that is kept: contract or month's peak, or the plan's target where that is lower
    left_w: float  # import that keeps it now; never above the fuse
    guard_w: float | None = None  # contract or month's peak: what must not be exceeded; None: `limit_w`
    guard_peak: Reason | None = None  # which of them that is
    low_wh: float | None = None  # the energy is at least this: what was measured, by power or by the register
    high_wh: float | None = None  # and at most this; None: no register tells, it is "at least"
    never_read: bool = False  # no import was ever read: `energy_wh` says nothing

    @property
    def peak_limit_w(self) -> float:
        """The mean that must not be exceeded: alarms and abnormal colours speak of it, never of a plan's target."""
        return self.limit_w if self.guard_w is None else self.guard_w

    @property
    def energy_left_wh(self) -> float:
        """Import left in this interval before its mean exceeds `peak_limit_w`, Wh; negative once it has."""
        return self.peak_limit_w * self.length_s / 3600 - self.energy_wh

    @property
    def proven_over(self) -> bool:
        """Whether what was measured alone exceeds that limit."""
        low_wh = self.low_wh if self.low_wh is not None else self.energy_wh if self.unknown_s < TOLD_S else 0.0
        return low_wh * 3600 > self.peak_limit_w * self.length_s

    def held_w(self, utc_s: float) -> float:
        """Import that, held from `utc_s` to the end, would just meet that limit, W >= 0; the fuse may allow less."""
        left_s = self.start_utc_s + self.length_s - utc_s
        return max(self.energy_left_wh, 0.0) * 3600 / max(left_s, LAST_S)
