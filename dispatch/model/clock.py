"""Defines the clock protocol, the only source of time for code that decides, and what is known of the time."""

from __future__ import annotations

from typing import Protocol

import msgspec


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


class ClockState(msgspec.Struct, frozen=True):
    """What is known of the wall clock. The defaults are those of a simulated site, whose time is the twin's."""

    known: bool = True  # False: the site's time is only a lower bound
    synchronised: bool | None = None  # by the kernel (NTP); None: it does not say
    max_error_s: float | None = None  # by the daemon that disciplines the clock
    note: str = ""  # why the kernel does not say
    machine_utc_s: float | None = None  # what the machine's own clock says; None on a simulated site
