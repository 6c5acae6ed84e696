"""Keeps the state of each alarm: a state machine in the terms of ISA-18.2."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from dispatch.model.events import Event
from dispatch.model.reasons import Reason
from dispatch.wording.catalogue import alarm_text, words


class Priority(enum.Enum):
    """How soon someone must act."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class AlarmState(enum.Enum):
    """NORMAL alarms are not listed. RETURNED: the condition is gone, nobody has acknowledged it yet."""

    NORMAL = "normal"
    UNACKNOWLEDGED = "unacknowledged"
    ACKNOWLEDGED = "acknowledged"
    RETURNED = "returned"


class Alarm(msgspec.Struct, frozen=True):
    """One alarm as listed. Title, cause, consequence and action: `dispatch.wording.catalogue.alarm_text`."""

    id: str  # definition and subject: "device-lost:grid"
    priority: Priority
    state: AlarmState
    since_utc_s: float
    detail: Reason | None = None  # what is seen now; None once it has gone
    first_out: bool = False
    count: int = 1  # times it came since it was last normal
    acknowledged_by: str = ""


class AlarmDefinition(msgspec.Struct, frozen=True):
    """What an alarm is, and when its condition makes it come and go."""

    id: str  # without subject: "device-lost"
    priority: Priority
    on_delay_s: float = 0.0  # the condition must hold this long, without a break, before the alarm comes
    off_delay_s: float = 5.0  # and be gone this long before it goes
    by_name: bool = False  # acknowledging all at once leaves it: something starts again with it


class Condition(msgspec.Struct, frozen=True):
    """Whether an alarm's condition holds now. `active` None: cannot be told; the alarm stays, its delays wait."""

    active: bool | None
    detail: Reason | None = None
    returned: Reason | None = None  # not active: what is known instead, where that is less than normal


QUIET = Condition(False)  # one for all that do not hold


class Conditions(dict[str, Condition]):
    """By alarm id. One that is absent does not hold: on a site of a thousand nodes those would be thousands."""

    def __missing__(self, alarm_id: str) -> Condition:
        return QUIET


class UnknownAlarm(KeyError):
    """No alarm has this id; says which are listed."""

    def __init__(self, alarm_id: str, listed: Iterable[str]) -> None:
        names = ", ".join(listed) or "none"
        super().__init__(f"no alarm {alarm_id!r}: expected the id of a listed alarm ({names}) or * for all")

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass
class _Entry:
    """One alarm point: definition and subject."""

    definition: AlarmDefinition
    subject: str
    state: AlarmState = AlarmState.NORMAL
    detail: Reason | None = None
    since_utc_s: float = 0.0
    began_mono_s: float | None = None  # the condition holds since then
    began_utc_s: float = 0.0
    gone_mono_s: float | None = None  # the condition does not hold since then
    count: int = 0
    acknowledged_by: str = ""

    @property
    def present(self) -> bool:
        """The alarm's condition counts as present (delays applied)."""
        return self.state in (AlarmState.UNACKNOWLEDGED, AlarmState.ACKNOWLEDGED)


_PRIORITIES = list(Priority)
_STATES = [AlarmState.UNACKNOWLEDGED, AlarmState.RETURNED, AlarmState.ACKNOWLEDGED, AlarmState.NORMAL]


class AlarmBook:
    """Every alarm's state. Fed with conditions once per tick; the clock's values are handed in.

    First-out marks the first alarm of a burst: it came while nothing waited to be acknowledged. The mark stays with it
    until everything is acknowledged and another alarm comes, or until it is normal.
    """

    def __init__(self, definitions: Iterable[AlarmDefinition]) -> None:
        self._definitions = {d.id: d for d in definitions}
        self._entries: dict[str, _Entry] = {}
        self._first_out = ""

    def update(self, conditions: Mapping[str, Condition], now_utc_s: float, now_mono_s: float) -> list[Event]:
        """Take what holds now; returns what changed. An id that is absent counts as a condition that does not hold.

        An id is a definition's, with ":subject" where there are several. Raises KeyError for an id without definition.
        """
        events: list[Event] = []
        coming: list[_Entry] = []
        for alarm_id, condition in conditions.items():
            if condition.active and alarm_id not in self._entries:
                self._entries[alarm_id] = self._entry(alarm_id)
            elif alarm_id.partition(":")[0] not in self._definitions:
                self._entry(alarm_id)  # raises: an undefined id is a mistake even while it is quiet
        absent = Condition(False)
        for alarm_id, entry in self._entries.items():
            condition = conditions.get(alarm_id, absent)
            if condition.active is None:
                _wait(entry)
            elif condition.active:
                entry.detail = condition.detail
                if self._holds(entry, now_utc_s, now_mono_s):
                    coming.append(entry)
            elif self._gone(entry, now_mono_s):
                events.append(self._return(entry, now_utc_s, condition.returned))
        coming.sort(key=lambda e: (e.began_mono_s or 0.0, _PRIORITIES.index(e.definition.priority)))
        events += [self._come(entry, now_utc_s) for entry in coming]
        return events

    def acknowledge(self, alarm_id: str, who: str, now_utc_s: float) -> list[Event]:
        """Acknowledge one alarm, or all but those `by_name` with "*". Raises UnknownAlarm.

        One already acknowledged gives no event.
        """
        listed = {_id(e): e for e in self._entries.values() if e.state is not AlarmState.NORMAL}
        if alarm_id != "*" and alarm_id not in listed:
            raise UnknownAlarm(alarm_id, listed)
        events = []
        for entry in listed.values() if alarm_id == "*" else [listed[alarm_id]]:
            if entry.state is AlarmState.ACKNOWLEDGED or (alarm_id == "*" and entry.definition.by_name):
                continue
            gone = entry.state is AlarmState.RETURNED
            entry.state, entry.acknowledged_by = (AlarmState.NORMAL, "") if gone else (AlarmState.ACKNOWLEDGED, who)
            if gone:
                self._forget(entry)
            events.append(_event(entry, now_utc_s, "info", "acknowledged", who))
        return events

    def active(self) -> tuple[Alarm, ...]:
        """All that are not normal, by priority, then unacknowledged, returned, acknowledged, then newest first."""
        listed = [e for e in self._entries.values() if e.state is not AlarmState.NORMAL]
        listed.sort(
            key=lambda e: (_PRIORITIES.index(e.definition.priority), _STATES.index(e.state), -e.since_utc_s, _id(e))
        )
        return tuple(self._alarm(entry) for entry in listed)

    # ── the state machine ───────────────────────────────────────────────────────────────────────────────────────────

    @staticmethod
    def _holds(entry: _Entry, utc_s: float, mono_s: float) -> bool:
        """The condition holds; True when the alarm comes now."""
        entry.gone_mono_s = None
        if entry.present:
            return False
        if entry.began_mono_s is None:
            entry.began_mono_s, entry.began_utc_s = mono_s, utc_s
        return mono_s - entry.began_mono_s >= entry.definition.on_delay_s

    @staticmethod
    def _gone(entry: _Entry, mono_s: float) -> bool:
        """The condition does not hold; True when the alarm goes now."""
        entry.began_mono_s = None
        if not entry.present:
            return False
        if entry.gone_mono_s is None:
            entry.gone_mono_s = mono_s
        return mono_s - entry.gone_mono_s >= entry.definition.off_delay_s

    def _come(self, entry: _Entry, utc_s: float) -> Event:
        waiting = (AlarmState.UNACKNOWLEDGED, AlarmState.RETURNED)
        if not any(e.state in waiting for e in self._entries.values()):
            self._first_out = _id(entry)
        entry.state, entry.since_utc_s, entry.acknowledged_by = AlarmState.UNACKNOWLEDGED, entry.began_utc_s, ""
        entry.count += 1
        entry.began_mono_s = None
        severity = "warning" if entry.definition.priority is Priority.LOW else "alarm"
        return _event(entry, utc_s, severity, words(entry.detail))

    def _return(self, entry: _Entry, utc_s: float, known: Reason | None) -> Event:
        acknowledged = entry.state is AlarmState.ACKNOWLEDGED
        entry.state = AlarmState.NORMAL if acknowledged else AlarmState.RETURNED
        entry.gone_mono_s = None
        if acknowledged:
            self._forget(entry)
        return _event(entry, utc_s, "info", "returned to normal" if known is None else words(known))

    def _forget(self, entry: _Entry) -> None:
        entry.count, entry.acknowledged_by = 0, ""
        if self._first_out == _id(entry):
            self._first_out = ""

    # ── entries ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _entry(self, alarm_id: str) -> _Entry:
        name, _, subject = alarm_id.partition(":")
        if name not in self._definitions:
            raise KeyError(f"alarm {alarm_id!r} has no definition {name!r}")
        return _Entry(self._definitions[name], subject)

    def _alarm(self, entry: _Entry) -> Alarm:
        return Alarm(
            id=_id(entry),
            priority=entry.definition.priority,
            state=entry.state,
            since_utc_s=entry.since_utc_s,
            detail=entry.detail if entry.present else None,
            first_out=self._first_out == _id(entry),
            count=entry.count,
            acknowledged_by=entry.acknowledged_by,
        )


def _wait(entry: _Entry) -> None:
    """The condition cannot be told: whatever was about to happen must be seen again from its start."""
    entry.began_mono_s = None
    entry.gone_mono_s = None


def _id(entry: _Entry) -> str:
    return f"{entry.definition.id}:{entry.subject}" if entry.subject else entry.definition.id


def _event(entry: _Entry, utc_s: float, severity: str, text: str, who: str = "") -> Event:
    title = alarm_text(_id(entry)).title
    return Event(utc_s, "alarm", severity, _id(entry), f"{title}: {text}" if text else title, who)
