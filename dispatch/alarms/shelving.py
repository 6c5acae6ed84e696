"""Alarms that somebody has taken off the list for a time: shelved, or out of service (ISA-18.2 terms).

A shelved one comes back by itself after at most a day. One out of service stays off until somebody takes it back; both
are listed apart, with who, why and since when, so that none is forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

SHELVED, OUT_OF_SERVICE = "shelved", "out of service"
LEAST_SHELVED_S, MOST_SHELVED_S = 60.0, 86_400.0


class Suppression(msgspec.Struct, frozen=True):
    """Why an alarm is not listed. Kept over a restart."""

    id: str  # of the alarm
    kind: str  # SHELVED, OUT_OF_SERVICE
    who: str
    reason: str
    since_utc_s: float
    until_utc_s: float | None = None  # shelved: the end; None: until somebody takes it back


def came_meanwhile(times: int) -> str:
    """How often an alarm came while it was off the list."""
    return f"came {times} times meanwhile" if times > 1 else "came once meanwhile"


class Shelf:
    """What is suppressed. Ends run on the monotonic clock: a wall clock that is set neither ends nor prolongs one."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Suppression, float]] = {}  # with its end, monotonic s

    def __contains__(self, alarm_id: str) -> bool:
        return alarm_id in self._kept

    def get(self, alarm_id: str) -> Suppression | None:
        """The suppression of an alarm."""
        found = self._kept.get(alarm_id)
        return None if found is None else found[0]

    def put(self, suppression: Suppression, utc_s: float, mono_s: float) -> None:
        """From now on; what was there of the same alarm is replaced. An end later than a day from now is a day."""
        left_s = float("inf")
        if suppression.until_utc_s is not None:
            left_s = min(max(suppression.until_utc_s - utc_s, 0.0), MOST_SHELVED_S)
        self._kept[suppression.id] = suppression, mono_s + left_s

    def adopt(self, kept: Iterable[Suppression], utc_s: float, mono_s: float) -> None:
        """Go on with what an earlier run has left; what is there already stays. Ends that are past end at once."""
        for suppression in kept:
            if suppression.id not in self._kept:
                self.put(suppression, utc_s, mono_s)

    def take(self, alarm_id: str) -> Suppression:
        """Take one back. Raises KeyError."""
        return self._kept.pop(alarm_id)[0]

    def over(self, mono_s: float) -> list[Suppression]:
        """Take those whose time is up."""
        ended = [id for id, (_, end_mono_s) in self._kept.items() if mono_s >= end_mono_s]
        return [self.take(id) for id in ended]

    def listed(self, utc_s: float, mono_s: float) -> tuple[Suppression, ...]:
        """All, those that end first before the others; ends by the wall clock as it is set now."""
        ordered = sorted(self._kept.values(), key=lambda kept: (kept[1], kept[0].id))
        return tuple(
            one if one.until_utc_s is None else msgspec.structs.replace(one, until_utc_s=utc_s + end_mono_s - mono_s)
            for one, end_mono_s in ordered
        )
