"""Takes the mean of a power over each quarter hour, weighted by time."""

from __future__ import annotations

from collections.abc import Callable

from dispatch.forecasting.load import LATEST_S
from dispatch.model.forecast import QUARTER_S


class QuarterMean:
    """The mean of a power over each quarter hour of UTC, weighted by time; one less than half seen is not given.

    `observe` gets the quarter's start, its mean, and the mean of its last `LATEST_S` (None if not half of it was seen).
    """

    def __init__(self, observe: Callable[[int, float, float | None], object]) -> None:
        self._observe = observe
        self._quarter: int | None = None
        self._whole, self._end = _Mean(), _Mean()
        self._last_s: float | None = None

    def add(self, utc_s: float, w: float | None) -> None:
        """One sample; None (unknown) lets time pass without weight."""
        quarter = int(utc_s // QUARTER_S) * QUARTER_S
        if quarter != self._quarter:
            if self._quarter is not None and self._whole.seen_s > QUARTER_S / 2:
                latest_w = self._end.w if self._end.seen_s > LATEST_S / 2 else None
                self._observe(self._quarter, self._whole.w, latest_w)
            self._quarter, self._whole, self._end = quarter, _Mean(), _Mean()
        elif self._last_s is not None and w is not None and 0 < utc_s - self._last_s < 60:
            self._whole.add(w, utc_s - self._last_s)
            if utc_s > quarter + QUARTER_S - LATEST_S:
                self._end.add(w, utc_s - self._last_s)
        self._last_s = utc_s


class _Mean:
    """A mean weighted by time, W >= 0."""

    def __init__(self) -> None:
        self._energy_ws = self.seen_s = 0.0

    def add(self, w: float, for_s: float) -> None:
        """A power, and for how long it was."""
        self._energy_ws += w * for_s
        self.seen_s += for_s

    @property
    def w(self) -> float:
        """The mean; asked only once something was seen."""
        return max(0.0, self._energy_ws / self.seen_s)
