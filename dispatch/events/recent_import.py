"""The import without the battery of the last minutes: the baseline of an event that drops import by so much."""

from __future__ import annotations

import math
from collections import deque

OVER_S = 300.0  # the mean is over so long
LEAST_S = 60.0  # of it must be known


class RecentImport:
    """Seconds of the last five minutes in which grid meter and every PCS were known."""

    def __init__(self) -> None:
        self._seconds: deque[tuple[int, float]] = deque()  # (second of the monotonic clock, W)

    def add(self, mono_s: float, grid_w: float | None, pcs_w: float | None) -> None:
        """Take a tick: import at the PCC and power of all PCS, W; None: not known. The first of a second counts."""
        second = math.floor(mono_s)
        while self._seconds and self._seconds[0][0] <= mono_s - OVER_S:
            self._seconds.popleft()
        if grid_w is None or pcs_w is None or (self._seconds and self._seconds[-1][0] == second):
            return
        self._seconds.append((second, grid_w + pcs_w))

    @property
    def mean_w(self) -> float | None:
        """Their mean, W, > 0 imports; None while less than `LEAST_S` of them are known."""
        if len(self._seconds) < LEAST_S:
            return None
        return sum(w for _, w in self._seconds) / len(self._seconds)
