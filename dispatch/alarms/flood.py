"""Counts alarms per ten minutes.

ISA-18.2 calls more than 10 alarms in 10 minutes a flood, which ends below 5 (as quoted at prosys.com, "Eliminate alarm
floods"); EEMUA 191 asks for less than one in ten minutes in normal operation.
"""

from __future__ import annotations

from collections import deque

import msgspec

WINDOW_S = 600.0
FLOOD_ABOVE, FLOOD_ENDS_BELOW = 10, 5


class AlarmRate(msgspec.Struct, frozen=True):
    """How many alarms came in the last ten minutes, and whether that is a flood."""

    per_10_min: int = 0
    flood: bool = False


class RateCounter:
    """Fed with the alarms that are shown to people; one that is shelved is not."""

    def __init__(self) -> None:
        self._came_mono_s: deque[float] = deque()
        self._flood = False

    def add(self, mono_s: float) -> None:
        """An alarm has come."""
        self._came_mono_s.append(mono_s)

    def now(self, mono_s: float) -> AlarmRate:
        """The rate at this moment. Called at each tick: a flood begins and ends between two calls."""
        while self._came_mono_s and mono_s - self._came_mono_s[0] >= WINDOW_S:
            self._came_mono_s.popleft()
        count = len(self._came_mono_s)
        self._flood = count > FLOOD_ABOVE or (self._flood and count >= FLOOD_ENDS_BELOW)
        return AlarmRate(count, self._flood)
