"""Reads the grid meter's import register: the energy that ran through while nobody could read the meter's power.

A register counts on by itself. Its difference over a hole is the hole's energy, within one step of the register at each
end. A difference that no import could have made is not used: the meter was replaced or reset. A register that runs over
begins at 0 again; it is recognised where it stood just below its end before.
"""

from __future__ import annotations

import math
from collections import deque

REGISTER_MOST = (
    3.0  # times the fuse: no import lasts above that, so a register that went faster was replaced or misread
)
FAST_S = 5.0  # readings no further apart show the register's step
STEPS = 3  # so many steps, or they may have been long ones by chance
KEPT_S = 30.0  # how long readings are kept: no freeze is found later than this
# Where registers end: after their digits, or with their 32 bits (SunSpec acc32), in Wh or a decimal multiple of it.
DIGITS, BITS_WH = range(5, 14), 2.0**32


class ImportRegister:
    """What is known of one meter's register: the latest readings, and its step.

    most_w: import beyond which nothing is believed. step_wh: its resolution, None: learnt.
    """

    def __init__(self, most_w: float, step_wh: float | None = None) -> None:
        self._most_w, self._given_wh = most_w, step_wh
        self._readings: deque[tuple[float, float]] = deque()  # mono_s, Wh
        self._steps, self._least_wh = 0, math.inf
        self._grain = 0  # greatest common divisor of all readings, in tenths of a Wh

    @property
    def step_wh(self) -> float:
        """The register's resolution, Wh: at most this much is hidden in a reading."""
        if self._given_wh is not None:
            return self._given_wh
        return self._least_wh if self._steps >= STEPS else self._grain / 10

    def learnt(self, step_wh: float) -> None:
        """Take over a resolution that an earlier process has learnt."""
        self._steps, self._least_wh = STEPS, step_wh

    def restart(self) -> None:
        """Another register, or one that was reset: the readings before say nothing of it."""
        self._readings.clear()
        self._grain = 0

    def read(self, mono_s: float, wh: float) -> None:
        """Take in a reading."""
        self._grain = math.gcd(self._grain, round(10 * wh))
        if self._readings:
            before_s, before_wh = self._readings[-1]
            if wh - before_wh > 0 and mono_s - before_s <= FAST_S:
                self._steps, self._least_wh = self._steps + 1, min(self._least_wh, wh - before_wh)
        self._readings.append((mono_s, wh))
        while self._readings[0][0] < mono_s - KEPT_S and len(self._readings) > 1:
            self._readings.popleft()

    def at(self, mono_s: float) -> float | None:
        """The reading at a moment of the last half minute; None where there was none."""
        return next((wh for at_s, wh in reversed(self._readings) if at_s <= mono_s + 1e-6), None)

    def forget_since(self, mono_s: float) -> None:
        """The readings since then were old ones: the meter stood still."""
        while self._readings and self._readings[-1][0] > mono_s + 1e-6:
            self._readings.pop()

    def grown_wh(self, before_wh: float, now_wh: float, for_s: float) -> float | None:
        """What ran through between two readings, Wh >= 0; None where no import could have made the difference."""
        most_wh = self._most_w * for_s / 3600 + self.step_wh
        if now_wh >= before_wh:
            return now_wh - before_wh if now_wh - before_wh <= most_wh else None
        ends = [10.0**digits for digits in DIGITS] + [BITS_WH * 10.0**digits for digits in range(-1, 4)]
        over = [end - before_wh + now_wh for end in ends if end > before_wh]
        return min((wh for wh in over if 0 <= wh <= most_wh / REGISTER_MOST), default=None)
