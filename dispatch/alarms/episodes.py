"""Defines one time that an alarm was there, as the record tells it."""

from __future__ import annotations

import msgspec


class Raised(msgspec.Struct, frozen=True, array_like=True):
    """That an alarm became more urgent while it stood."""

    utc_s: float
    text: str  # to which priority, and what was seen then


class AlarmEpisode(msgspec.Struct, frozen=True):
    """One time that an alarm was there. Times are UTC s; None: not, or not as far as the record says."""

    id: str
    severity: str  # alarm, or warning while it was of low priority; the last one, as it may have become more urgent
    text: str  # title, and what was seen when it came
    came_utc_s: float
    gone_utc_s: float | None = None
    acknowledged_utc_s: float | None = None
    acknowledged_by: str = ""
    restart_utc_s: float | None = None  # the gateway was restarted while it stood: what became of it is not known
    raised: tuple[Raised, ...] = ()

    @property
    def lasted_s(self) -> float | None:
        """How long its condition stood; None while it stands, or if that is not known."""
        return None if self.gone_utc_s is None else self.gone_utc_s - self.came_utc_s
