"""Finds what has changed of alarms between two looks: which came, which are gone.

An alarm that came and went between two looks is still listed until somebody acknowledges it, and its time tells.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable

import msgspec

from dispatch.alarms.priorities import Priority
from dispatch.alarms.states import Alarm, AlarmState
from dispatch.model.reasons import Reason

SETTLE_S = 900.0  # after a start: an alarm of before it may take so long to come again (longest delay: 600 s)
MOST_SEEN = 2_000
ORDER = (Priority.HIGH, Priority.MEDIUM, Priority.LOW)


class Change(msgspec.Struct, frozen=True):
    """An alarm has come, or is gone. `detail`: what was seen when it came."""

    alarm: str
    present: bool
    priority: str
    utc_s: float
    detail: Reason | None = None


class Seen(msgspec.Struct, frozen=True):
    """An alarm as last looked at. `since_utc_s`: 0: of a run before this one."""

    since_utc_s: float
    present: bool
    priority: str


class AlarmFilter(msgspec.Struct, frozen=True):
    """Which alarms a receiver is told. `names`: empty: all."""

    least: Priority
    names: Collection[str] = ()

    def passes(self, alarm: Alarm) -> bool:
        """By priority and by name without subject."""
        name = alarm.id.partition(":")[0]
        return ORDER.index(alarm.priority) <= ORDER.index(self.least) and (not self.names or name in self.names)


def changes(
    seen: dict[str, Seen], alarms: Iterable[Alarm], utc_s: float, *, settled: bool, shelved: Container[str] = ()
) -> list[Change]:
    """What has changed since the last call; `seen` is brought up to date. `settled`: the start is `SETTLE_S` ago.

    Of one that is shelved or out of service nothing is told; what has become of it is told once it is listed again.
    """
    found: list[Change] = []
    listed: set[str] = set()
    for alarm in alarms:
        listed.add(alarm.id)
        found += _of(seen, alarm, utc_s)
    for id, before in tuple(seen.items()):
        if id in listed or id in shelved or (not before.since_utc_s and not settled):
            continue
        del seen[id]
        if before.present:
            found.append(Change(id, False, before.priority, utc_s))
    return found


def _of(seen: dict[str, Seen], alarm: Alarm, utc_s: float) -> list[Change]:
    before, present = seen.get(alarm.id), alarm.state is not AlarmState.RETURNED
    if before is None and len(seen) >= MOST_SEEN:
        return []
    priority = alarm.priority.value
    seen[alarm.id] = Seen(alarm.since_utc_s, present, priority)
    gone = Change(alarm.id, False, priority, utc_s)
    known = before is not None and (
        before.since_utc_s == alarm.since_utc_s or (not before.since_utc_s and before.present)
    )
    if known:
        return [gone] if before is not None and before.present and not present else []
    came = Change(alarm.id, True, priority, alarm.since_utc_s, alarm.detail)
    return [came] if present else [came, gone]
