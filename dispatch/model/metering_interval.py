"""Defines the running metering interval of the utility meter."""

from __future__ import annotations

import msgspec

LAST_S = 15.0  # an interval's end closer than this is not divided by: meters and clocks are not that exact


class Interval(msgspec.Struct, frozen=True):
    """The running metering interval of the utility meter."""

    start_utc_s: float
    length_s: float
    energy_wh: float  # imported so far; export earns nothing back
    unknown_s: float  # of it without a good meter reading
    limit_w: float  # the mean that must not be exceeded
    left_w: float  # import that the budget (rule 6) allows now; never above the fuse

    @property
    def energy_left_wh(self) -> float:
        """Import left in this interval before its mean exceeds the limit, Wh; negative once it has."""
        return self.limit_w * self.length_s / 3600 - self.energy_wh

    def held_w(self, utc_s: float) -> float:
        """Import that, held from `utc_s` to the end, would just meet the limit, W >= 0; the fuse may allow less."""
        left_s = self.start_utc_s + self.length_s - utc_s
        return max(self.energy_left_wh, 0.0) * 3600 / max(left_s, LAST_S)
