"""Defines the file in which a twin gives the addresses of its devices. Imports nothing of the twin itself."""

from __future__ import annotations

import msgspec

from drivers.clock import ScaledClock


class Announcement(msgspec.Struct, frozen=True):
    """Device id -> (host, port, unit), the control socket, and the clock that twin and gateway share.

    child: it ends with the gateway that started it, so no other may use it.
    """

    endpoints: dict[str, tuple[str, int, int]]
    control: str
    t0_utc_s: float
    m0_s: float
    speed: float
    pid: int = 0
    child: bool = False

    @property
    def clock(self) -> ScaledClock:
        """The site's clock, the same in every process of this machine that has the announcement."""
        return ScaledClock(self.t0_utc_s, self.m0_s, self.speed)
