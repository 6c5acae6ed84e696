"""Ramps import towards 0 before a drill opens the switch, and back after the switch has closed.

Import may rise by `ramp_w_per_s`, export by the gradient of the grid code, from the moment in which the switch closed.
"""

from __future__ import annotations

from dispatch.config.schema import DispatchConfig

STEADY_S = 2.0  # import must stay near 0 for so long before a drill opens the switch

Window = tuple[float | None, float | None]  # import from, to, W; None: open


class ImportRamp:
    """Where import may be. `gradient_pct_per_min`: of the grid code."""

    def __init__(self, config: DispatchConfig, gradient_pct_per_min: float) -> None:
        self._config, self._island, self._gradient = config, config.island, gradient_pct_per_min
        self._from_w, self._from_s = 0.0, 0.0  # import when it began to go down
        self._near_zero_s: float | None = None
        self._closed_s: float | None = None  # since when the site has been joined again, while it comes back

    def start_down(self, import_w: float, mono_s: float) -> None:
        """From here towards 0."""
        self._from_w, self._from_s = import_w, mono_s
        self._near_zero_s = self._closed_s = None

    def start_back(self, mono_s: float) -> None:
        """The switch has closed: back from 0."""
        self._closed_s = mono_s

    def stop(self) -> None:
        """The grid has gone: there is nothing to come back to."""
        self._closed_s = None

    def update_near_zero(self, import_w: float | None, mono_s: float) -> bool:
        """Whether import has been near 0 long enough to open; call once per tick."""
        if import_w is None or abs(import_w) > self._island.prepare_w:
            self._near_zero_s = None
            return False
        if self._near_zero_s is None:
            self._near_zero_s = mono_s
        return mono_s - self._near_zero_s >= STEADY_S

    def window_down(self, mono_s: float) -> Window:
        """The limits of import while it is ramped to 0."""
        way_w, from_w = (mono_s - self._from_s) * self._island.ramp_w_per_s, self._from_w
        w = max(from_w - way_w, 0.0) if from_w >= 0 else min(from_w + way_w, 0.0)
        return w, w

    def window_back(self, mono_s: float) -> Window:
        """Import and export that the joined site may have; open once they have come back."""
        if self._closed_s is None:
            return None, None
        away_s = mono_s - self._closed_s
        high_w = away_s * self._island.ramp_w_per_s
        share = away_s * self._gradient / 6000
        return -share * self._config.discharge_w, high_w if high_w < self._config.grid.fuse_w else None

    def finish_back(self, mono_s: float) -> bool:
        """Whether import may be what it likes again. The limit on export ends by itself, with its gradient."""
        if self._closed_s is None:
            return False
        away_s = mono_s - self._closed_s
        ramped = away_s * self._island.ramp_w_per_s >= self._config.grid.fuse_w
        if ramped and away_s * self._gradient / 60 >= 100:
            self._closed_s = None
        return ramped
