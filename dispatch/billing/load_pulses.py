"""Detects load pulses: steps of the site's load when a compute job starts."""

from __future__ import annotations

import math

RISE_W = 3_000.0  # the least rise that is called a pulse ...
RISE_OF_PEAK = 0.10  # ... and the least share of the contracted peak
BASE_UP_S = 60.0  # the baseline follows a slowly rising load with this time constant,
BASE_DOWN_S = 10.0  # a falling one with this,
BASE_IN_PULSE_S = 900.0  # and within a pulse with this: what lasts for long is the new normal


class LoadPulses:
    """Counts rises of the load above a slow baseline; a pulse ends at half the rise that began it."""

    def __init__(self, contracted_peak_w: float) -> None:
        self.rise_w = max(RISE_W, RISE_OF_PEAK * contracted_peak_w)
        self.base_w: float | None = None
        self.since_utc_s: float | None = None  # start of the running pulse, None between pulses
        self.seen = 0
        self._mono_s = 0.0

    def update(self, utc_s: float, mono_s: float, load_w: float) -> None:
        """Take in the load, W, at `mono_s`."""
        if self.base_w is None:
            self.base_w, self._mono_s = load_w, mono_s
            return
        dt_s = max(mono_s - self._mono_s, 0.0)
        self._mono_s = mono_s
        if self.since_utc_s is None and load_w > self.base_w + self.rise_w:
            self.since_utc_s = utc_s
            self.seen += 1
        elif self.since_utc_s is not None and load_w < self.base_w + self.rise_w / 2:
            self.since_utc_s = None
        if load_w < self.base_w:
            constant_s = BASE_DOWN_S
        else:
            constant_s = BASE_UP_S if self.since_utc_s is None else BASE_IN_PULSE_S
        self.base_w += (load_w - self.base_w) * (1 - math.exp(-dt_s / constant_s))
