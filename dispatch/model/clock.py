"""Defines the clock protocol, the only source of time for code that decides."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """The only source of time for whatever decides. The gateway's, the twin's and the tests' clocks all fit it."""

    @property
    def speed(self) -> float:
        """Site seconds per machine second."""
        ...

    def utc_s(self) -> float:
        """POSIX seconds on the site's calendar; may step when the wall clock is corrected."""
        ...

    def mono_s(self) -> float:
        """Monotonic seconds; never steps. Advances `speed` times as fast as the machine's."""
        ...
