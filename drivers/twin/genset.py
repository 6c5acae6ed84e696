"""Simulates a generator behind the transfer switch: it takes the site when the grid is gone, and gives it back.

Each transfer is a break: for a moment the site is on no source, and its PCS carry it. Its own protection stops it.
"""

from __future__ import annotations

from dispatch.config.off_grid import GensetConfig

OVERLOAD, OVERLOAD_S = 1.1, 10.0  # of its rating, ISO 8528-1: 10 % more for a while; the twin's trips sooner
REVERSE, REVERSE_S = 0.05, 2.0  # of its rating, flowing back
DROOP_HZ = 1.0  # from no load to full load


class TwinGenset:
    """A generator."""

    def __init__(self, config: GensetConfig, start_s: float, return_s: float) -> None:
        self.rated_w = config.rated_w
        self.connected = False  # it feeds the site
        self.stopped = False  # it does not run, by its protection or because somebody stopped it
        self.tripped = ""  # by what, the last time
        self._start_s, self._return_s = start_s, return_s
        self._away_s = self._back_s = self._over_s = self._reverse_s = 0.0

    def step(self, dt_s: float, fit: bool, parted: bool, w: float) -> None:
        """Follow the grid for `dt_s`. `fit`: it could feed the site; `parted`: the site is not on it; `w`: given."""
        self._away_s = 0.0 if fit else self._away_s + dt_s
        self._back_s = self._back_s + dt_s if fit else 0.0
        if self.connected:
            self._feed(dt_s, w)
            if self.stopped or self._back_s >= self._return_s:
                self.connected = False
        elif parted and not self.stopped and not fit and self._away_s >= self._start_s:
            self.connected = True
            self._over_s = self._reverse_s = 0.0

    def _feed(self, dt_s: float, w: float) -> None:
        self._over_s = self._over_s + dt_s if w > OVERLOAD * self.rated_w else 0.0
        self._reverse_s = self._reverse_s + dt_s if w < -REVERSE * self.rated_w else 0.0
        if self._over_s >= OVERLOAD_S:
            self.stopped, self.tripped = True, "overload"
        elif self._reverse_s >= REVERSE_S:
            self.stopped, self.tripped = True, "reverse power"

    def hz(self, w: float) -> float:
        """Frequency at this power, Hz."""
        return 50.0 + DROOP_HZ * (0.5 - min(max(w / self.rated_w, 0.0), 1.0))
