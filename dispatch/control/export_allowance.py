"""What may be exported now, so that the mean export over every window stays within the limit less its margin."""

from __future__ import annotations

import math
from collections import deque

from dispatch.config.schema import GridConfig
from dispatch.model.equipment import Meter

PARTS = 60  # of a window


class ExportAllowance:
    """Fed once per tick with the export that the grid meter shows.

    Of two allowances the lower counts: one for the next 1/60 of the window, which alone keeps every window within the
    limit, and one for the next half of it, so that what earlier minutes have left is spent slowly. Import does not
    count against export. Time that was not measured counts as exported at the limit: it neither earns nor costs.
    """

    def __init__(self, grid: GridConfig) -> None:
        self.limit_w = max(grid.export_limit_w - grid.export_margin_w, 0.0)
        self._window_s = float(grid.export_window_s)
        self._part_s = self._window_s / PARTS
        self._parts: deque[tuple[int, float]] = deque()  # number of the part of time, W s above the limit
        self._last: tuple[float, float] | None = None  # when, export W

    def measure(self, mono_s: float, grid: Meter, frozen: bool) -> float:
        """`update` with what the grid meter shows, unless it stands still."""
        import_w = None if frozen else grid.w.good
        return self.update(mono_s, None if import_w is None else -import_w)

    def update(self, mono_s: float, export_w: float | None) -> float:
        """The highest export, W >= 0, that is allowed from `mono_s` on. `export_w`: None: not known."""
        if self._window_s == 0:
            return self.limit_w
        self._count(mono_s)
        self._last = None if export_w is None else (mono_s, max(export_w, 0.0))
        return max(min(self._for_next(mono_s, self._part_s), self._for_next(mono_s, self._window_s / 2)), 0.0)

    def _count(self, mono_s: float) -> None:
        if self._last is None:
            return
        since_s, export_w = self._last
        elapsed_s = min(mono_s - since_s, self._part_s)  # after a longer pause what was exported is not known
        number = math.floor(mono_s / self._part_s)
        over_ws = (export_w - self.limit_w) * elapsed_s
        if self._parts and self._parts[-1][0] == number:
            over_ws += self._parts.pop()[1]
        self._parts.append((number, over_ws))
        while self._parts[0][0] < number - PARTS:
            self._parts.popleft()

    def _for_next(self, mono_s: float, ahead_s: float) -> float:
        """The export for the next `ahead_s` with which the window that ends then has the limit as its mean.

        Of the part that lies across the window's beginning only an excess counts.
        """
        first = math.floor((mono_s + ahead_s - self._window_s) / self._part_s)
        past = [max(over_ws, 0.0) if number == first else over_ws for number, over_ws in self._parts if number >= first]
        return self.limit_w - sum(past) / ahead_s
