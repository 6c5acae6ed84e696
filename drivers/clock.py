"""Provides clocks: the machine's, a scaled one shared by twin and gateway, and a virtual one for lock-step."""

from __future__ import annotations

import time

import msgspec


class SystemClock:
    """The machine's own clocks."""

    speed = 1.0

    def utc_s(self) -> float:
        """POSIX seconds."""
        return time.time()

    def mono_s(self) -> float:
        """CLOCK_MONOTONIC, s."""
        return time.monotonic()


class ScaledClock(msgspec.Struct, frozen=True):
    """Site time = t0 + speed x (machine monotonic - m0). Processes on one machine that share these agree on it."""

    t0_utc_s: float
    m0_s: float  # CLOCK_MONOTONIC of this machine
    speed: float = 1.0

    def utc_s(self) -> float:
        """POSIX seconds on the simulated calendar."""
        return self.t0_utc_s + self.mono_s()

    def mono_s(self) -> float:
        """Site seconds since the clock was made."""
        return self.speed * (time.monotonic() - self.m0_s)


class VirtualClock:
    """Stands still until advanced."""

    speed = 1.0

    def __init__(self, t0_utc_s: float = 0.0) -> None:
        self._t0_utc_s, self._elapsed_s = t0_utc_s, 0.0

    def utc_s(self) -> float:
        """POSIX seconds on the simulated calendar."""
        return self._t0_utc_s + self._elapsed_s

    def mono_s(self) -> float:
        """Virtual seconds since the clock was made."""
        return self._elapsed_s

    def advance(self, dt_s: float) -> None:
        """Let `dt_s` >= 0 seconds pass."""
        if dt_s < 0:
            raise ValueError(f"time cannot run backwards: dt_s = {dt_s}")
        self._elapsed_s += dt_s
