"""Decides what one receiver is told when: of each alarm in its time, so many messages in an hour, the rest held back.

What is held back is kept by alarm, the newest state with the number of changes, and comes with the next message. So
nothing grows while a receiver is gone, and after it is back it gets one message. All of it outlives a restart.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from dispatch.alarms.priorities import Priority
from gateway.outputs.alarm_changes import ORDER, Change, Seen

HOUR_S = 3600.0
GIVE_UP_S = 86_400.0  # a message that nobody took for so long is given up
MOST_HELD = 500  # alarms; further ones only count
MOST_TOLD = 20  # alarms in one message


class Held(msgspec.Struct, frozen=True):
    """The newest change of an alarm, and how many there were since it was last told."""

    change: Change
    count: int


class Message(msgspec.Struct, frozen=True):
    """What one receiver is told at once. `more`: changes of alarms that found no room."""

    id: str
    made_utc_s: float
    told: tuple[Held, ...]
    more: int = 0


class Outbox(msgspec.Struct):
    """What one receiver is still to be told, and what it was told. It outlives a restart as a whole."""

    seen: dict[str, Seen] = msgspec.field(default_factory=dict)  # alarms as last looked at
    held: dict[str, Held] = msgspec.field(default_factory=dict)
    more: int = 0
    told_utc_s: dict[str, float] = msgspec.field(default_factory=dict)  # by alarm, when last
    sent_utc_s: list[float] = msgspec.field(default_factory=list)  # messages of the last hour
    pending: Message | None = None
    number: int = 0

    def hold(self, found: Iterable[Change]) -> None:
        """Keep changes until they may be told."""
        for change in found:
            before = self.held.get(change.alarm)
            if before is None and len(self.held) >= MOST_HELD and not self._room_for(change):
                self.more += 1
                continue
            detail = change.detail or (before.change.detail if before is not None else None)
            newest = msgspec.structs.replace(change, detail=detail)
            self.held[change.alarm] = Held(newest, 1 if before is None else before.count + 1)

    def _room_for(self, change: Change) -> bool:
        """Make room for one by dropping one of a lower priority, which then only counts."""
        last = max(reversed(self.held), key=lambda id: _rank(self.held[id].change))
        if _rank(change) >= _rank(self.held[last].change):
            return False
        self.more += self.held.pop(last).count
        return True

    def next_message(self, utc_s: float, repeat_s: float, most_per_hour: int) -> Message | None:
        """Put what may be told now into a message; None: nothing may, or the message before was not taken yet."""
        self.sent_utc_s = [at for at in self.sent_utc_s if 0 <= utc_s - at < HOUR_S]  # a clock set back forgets
        due = [id for id in self.held if not 0 <= utc_s - self.told_utc_s.get(id, float("-inf")) < repeat_s]
        if self.pending is not None or not due or len(self.sent_utc_s) >= most_per_hour:
            return None
        due.sort(key=lambda id: _rank(self.held[id].change))  # in a storm the highest first
        told = tuple(self.held.pop(id) for id in due[:MOST_TOLD])
        self.number += 1
        self.pending = Message(f"{int(utc_s)}-{self.number}", utc_s, told, self.more)
        self.more = 0
        self.sent_utc_s.append(utc_s)
        kept_s = max(repeat_s, HOUR_S)
        self.told_utc_s = {id: at for id, at in self.told_utc_s.items() if 0 <= utc_s - at < kept_s}
        self.told_utc_s |= {one.change.alarm: utc_s for one in told}
        return self.pending

    def done(self) -> None:
        """The message was taken, or is given up."""
        self.pending = None

    def begin_anew(self) -> None:
        """The gateway has started: alarms of before are known, but not since when; they begin anew with it."""
        known = {id: seen for id, seen in self.seen.items() if seen.present}
        self.seen = {id: msgspec.structs.replace(seen, since_utc_s=0.0) for id, seen in known.items()}


def _rank(change: Change) -> tuple[int, bool]:
    """What is told first: of a high priority before others, and what has come before what is gone."""
    return ORDER.index(Priority(change.priority)), not change.present


def kept_outboxes(found: object) -> dict[str, Outbox]:
    """What an earlier run left, by receiver. Raises msgspec.ValidationError."""
    return {} if found is None else msgspec.convert(found, dict[str, Outbox])


def is_over(message: Message, utc_s: float) -> bool:
    """Whether it is too late to tell it."""
    return utc_s - message.made_utc_s >= GIVE_UP_S
