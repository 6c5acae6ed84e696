"""Keeps the state of each alarm: a state machine in the terms of ISA-18.2."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import msgspec

from dispatch.alarms.flood import AlarmRate, RateCounter
from dispatch.alarms.points import AlarmDefinition, Condition
from dispatch.alarms.priorities import PRIORITIES, Priority, more_urgent
from dispatch.alarms.shelving import SHELVED, Shelf, Suppression, came_meanwhile
from dispatch.model.events import Event
from dispatch.model.reasons import Reason
from dispatch.wording.catalogue import alarm_text, words


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
    since_utc_s: float  # when it came: its condition had then held for the delay
    detail: Reason | None = None  # what is seen now; None once it has gone
    first_out: bool = False
    count: int = 1  # times it came since it was last normal
    acknowledged_by: str = ""
    group: str = ""  # as in dispatch/alarms/catalogue.toml: what it belongs to
    act_within_s: float | None = None  # the time there is to act, from now on where the state tells it
    first_utc_s: float | None = None  # when it came first since it was last normal
    first_detail: Reason | None = None  # what was seen then; it stays as it was


class FirstOut(msgspec.Struct, frozen=True):
    """The first alarm of a burst, as it was when it came. It stays until the next burst, or until nothing is listed."""

    id: str
    utc_s: float
    detail: Reason | None = None


class ShelvedAlarm(msgspec.Struct, frozen=True):
    """An alarm that is shelved or out of service, and what it would be now."""

    suppression: Suppression
    state: AlarmState
    priority: Priority
    group: str
    came: int = 0  # times it came meanwhile


class UnknownAlarm(KeyError):
    """No alarm has this id; says which are listed."""

    def __init__(self, alarm_id: str, listed: Iterable[str]) -> None:
        names = ", ".join(listed) or "none"
        super().__init__(f"no alarm {alarm_id!r}: expected the id of a listed alarm ({names}) or * for all")

    def __str__(self) -> str:
        return str(self.args[0])


class NotShelved(ValueError):
    """This alarm stays on the list."""


@dataclass
class _Entry:
    """One alarm point: definition and subject."""

    definition: AlarmDefinition
    subject: str
    state: AlarmState = AlarmState.NORMAL
    detail: Reason | None = None
    since_utc_s: float = 0.0
    began_mono_s: float | None = None  # the condition holds since then
    gone_mono_s: float | None = None  # the condition does not hold since then
    count: int = 0
    acknowledged_by: str = ""
    priority: Priority = field(init=False)
    act_within_s: float | None = None
    kind: str = ""
    first_utc_s: float | None = None
    first_detail: Reason | None = None
    came_shelved: int = 0

    def __post_init__(self) -> None:
        self.priority = self.definition.priority

    @property
    def group(self) -> str:
        """That of its device where the definition leaves it to that."""
        group = self.definition.group
        return _GROUP_OF.get(self.kind, group) if group == "devices" else group

    @property
    def present(self) -> bool:
        """The alarm's condition counts as present (delays applied)."""
        return self.state in (AlarmState.UNACKNOWLEDGED, AlarmState.ACKNOWLEDGED)


_GROUP_OF = {
    "meter": "grid",
    "load_meter": "grid",
    "pcs": "battery",
    "battery": "battery",
    "pv": "pv",
    "node": "compute",
    "ups": "compute",
    "switch": "islanding",
    "contact": "contacts",
}
_PRIORITIES = PRIORITIES
_WAITING = (AlarmState.UNACKNOWLEDGED, AlarmState.RETURNED)
_STATES = [AlarmState.UNACKNOWLEDGED, AlarmState.RETURNED, AlarmState.ACKNOWLEDGED, AlarmState.NORMAL]


class AlarmBook:
    """Every alarm's state. Fed with conditions once per tick; the clock's values are handed in.

    First-out is the first alarm of a burst: it came while nothing waited to be acknowledged. It is kept as it was then,
    also when it has gone, until another comes while nothing waits, or nothing is listed any more.
    """

    def __init__(self, definitions: Iterable[AlarmDefinition]) -> None:
        self._definitions = {d.id: d for d in definitions}
        self._entries: dict[str, _Entry] = {}
        self._first_out: FirstOut | None = None
        self._shelf, self._rate = Shelf(), RateCounter()
        self._quiet: Mapping[str, Condition] = {}  # the conditions of the last update: which alarms there may be
        self.rate = AlarmRate()

    def update(self, conditions: Mapping[str, Condition], now_utc_s: float, now_mono_s: float) -> list[Event]:
        """Take what holds now; returns what changed. An id that is absent counts as a condition that does not hold.

        An id is a definition's, with ":subject" where there are several. Raises KeyError for an id without definition.
        """
        events = [self._back(one, now_utc_s, "its time is up") for one in self._shelf.over(now_mono_s)]
        coming: list[_Entry] = []
        self._meet(conditions)
        absent = Condition(False)
        for alarm_id, entry in self._entries.items():
            condition = conditions.get(alarm_id, absent)
            if condition.active is None:
                _wait(entry)
            elif condition.active or _within_deadband(entry, condition):
                events += self._seen(entry, condition, now_utc_s)
                if self._holds(entry, now_mono_s):
                    coming.append(entry)
            elif self._gone(entry, now_mono_s):
                events.append(self._return(entry, now_utc_s, condition.returned))
        coming.sort(key=lambda e: (e.began_mono_s or 0.0, _PRIORITIES.index(e.priority)))
        events += [self._come(entry, now_utc_s, now_mono_s) for entry in coming]
        self.rate, self._quiet = self._rate.now(now_mono_s), conditions
        if self._first_out is not None and not any(self._listed()):
            self._first_out = None
        return events

    def acknowledge(self, alarm_id: str, who: str, now_utc_s: float, group: str = "") -> list[Event]:
        """Acknowledge one alarm, or with "*" all but those `by_name`, of one group or of all. Raises UnknownAlarm.

        One already acknowledged gives no event.
        """
        listed = {_id(e): e for e in self._listed()}
        if alarm_id != "*" and alarm_id not in listed:
            raise UnknownAlarm(alarm_id, listed)
        chosen = [e for id, e in listed.items() if alarm_id in ("*", id) and group in ("", e.group)]
        events = []
        for entry in chosen:
            if entry.state is AlarmState.ACKNOWLEDGED or (alarm_id == "*" and entry.definition.by_name):
                continue
            gone = entry.state is AlarmState.RETURNED
            entry.state, entry.acknowledged_by = (AlarmState.NORMAL, "") if gone else (AlarmState.ACKNOWLEDGED, who)
            if gone:
                _forget(entry)
            events.append(_event(entry, now_utc_s, "info", "acknowledged", who))
        return events

    def active(self) -> tuple[Alarm, ...]:
        """All that are listed, by priority, then unacknowledged, returned, acknowledged, then newest first."""
        return self._sorted(self._listed())

    def standing(self) -> tuple[Alarm, ...]:
        """All that are not normal, those that are shelved or out of service, too: for decisions, not for a list."""
        return self._sorted(e for e in self._entries.values() if e.state is not AlarmState.NORMAL)

    def first_out(self) -> FirstOut | None:
        """The first alarm of the last burst; None where nothing is listed."""
        return self._first_out

    # ── shelved, out of service ─────────────────────────────────────────────────────────────────────────────────────

    def may_suppress(self, alarm_id: str, kind: str) -> None:
        """Raise UnknownAlarm for one that is not known, NotShelved for one that stays on the list.

        Shelved is what is listed; out of service may go what could come, before work on a device.
        """
        name = alarm_id.partition(":")[0]
        listed = [_id(e) for e in self._listed()]
        known = alarm_id in listed if kind == SHELVED else alarm_id in {*listed, *self._quiet, *self._entries}
        if name not in self._definitions or not (known or alarm_id in self._shelf):
            raise UnknownAlarm(alarm_id, listed)
        if not self._definitions[name].may_shelve:
            raise NotShelved(f"{alarm_id} cannot be {kind}: what it tells of needs somebody at once")

    def suppress(self, suppression: Suppression, now_utc_s: float, now_mono_s: float) -> list[Event]:
        """Take an alarm off the list. Whoever does has seen it: it counts as acknowledged. As `may_suppress` raises."""
        self.may_suppress(suppression.id, suppression.kind)
        entry = self._entries.setdefault(suppression.id, self._entry(suppression.id))
        if entry.state is AlarmState.UNACKNOWLEDGED:
            entry.state, entry.acknowledged_by = AlarmState.ACKNOWLEDGED, suppression.who
        elif entry.state is AlarmState.RETURNED:
            entry.state = AlarmState.NORMAL
            _forget(entry)
        entry.came_shelved = 0
        self._shelf.put(suppression, now_utc_s, now_mono_s)
        return [
            _event(entry, now_utc_s, "warning", f"{suppression.kind}: {suppression.reason}", suppression.who, "shelf")
        ]

    def take_back(self, alarm_id: str, who: str, now_utc_s: float) -> list[Event]:
        """List an alarm again that is shelved or out of service. Raises UnknownAlarm."""
        if alarm_id not in self._shelf:
            raise UnknownAlarm(alarm_id, [one.id for one in self._shelf.listed(0.0, 0.0)])
        return [self._back(self._shelf.take(alarm_id), now_utc_s, "taken back", who)]

    def suppressed(self, now_utc_s: float, now_mono_s: float) -> tuple[ShelvedAlarm, ...]:
        """What is shelved or out of service, those that come back first before the others."""
        found = ((one, self._entries.get(one.id)) for one in self._shelf.listed(now_utc_s, now_mono_s))
        return tuple(
            ShelvedAlarm(one, entry.state, entry.priority, entry.group, entry.came_shelved)
            for one, entry in found
            if entry is not None
        )

    def adopt(self, kept: Iterable[Suppression], now_utc_s: float, now_mono_s: float) -> None:
        """Go on with what an earlier run had shelved or out of service; of a definition that is gone nothing stays."""
        known = [one for one in kept if one.id.partition(":")[0] in self._definitions]
        for one in known:
            self._entries.setdefault(one.id, self._entry(one.id))
        self._shelf.adopt(known, now_utc_s, now_mono_s)

    def _back(self, one: Suppression, utc_s: float, why: str, who: str = "") -> Event:
        """It is listed again; one that stands waits to be acknowledged."""
        entry = self._entries[one.id]
        if entry.state is AlarmState.ACKNOWLEDGED:
            entry.state, entry.acknowledged_by = AlarmState.UNACKNOWLEDGED, ""
        came = f", {came_meanwhile(entry.came_shelved)}" if entry.came_shelved else ""
        now = "stands" if entry.present else "is not there"
        return _event(entry, utc_s, "info", f"no longer {one.kind}, {why}: it {now}{came}", who, "shelf")

    def _listed(self) -> Iterator[_Entry]:
        return (e for e in self._entries.values() if e.state is not AlarmState.NORMAL and _id(e) not in self._shelf)

    def _sorted(self, entries: Iterable[_Entry]) -> tuple[Alarm, ...]:
        ordered = sorted(
            entries, key=lambda e: (_PRIORITIES.index(e.priority), _STATES.index(e.state), -e.since_utc_s, _id(e))
        )
        return tuple(self._alarm(entry) for entry in ordered)

    def _meet(self, conditions: Mapping[str, Condition]) -> None:
        """Make an entry for what is active and was not before."""
        for alarm_id, condition in conditions.items():
            if condition.active and alarm_id not in self._entries:
                self._entries[alarm_id] = self._entry(alarm_id)
            elif alarm_id.partition(":")[0] not in self._definitions:
                self._entry(alarm_id)  # raises: an undefined id is a mistake even while it is quiet

    # ── the state machine ───────────────────────────────────────────────────────────────────────────────────────────

    @staticmethod
    def _holds(entry: _Entry, mono_s: float) -> bool:
        """The condition holds; True when the alarm comes now."""
        entry.gone_mono_s = None
        if entry.present:
            return False
        if entry.began_mono_s is None:
            entry.began_mono_s = mono_s
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

    def _seen(self, entry: _Entry, condition: Condition, utc_s: float) -> list[Event]:
        """What is seen now. One that stands may become more urgent, never less, and then waits for somebody again."""
        entry.detail, entry.kind = condition.detail, condition.kind
        if not condition.active and condition.detail is not None:
            entry.detail = Reason("alarm.nearly_back", {"seen": condition.detail})
        priority, entry.act_within_s = entry.definition.urgency(condition)
        if not entry.present:
            entry.priority = priority
            return []
        if not more_urgent(priority, entry.priority):
            return []
        entry.priority = priority
        text = f"now of {priority.value} priority"
        told = f"{text}; {words(entry.detail)}" if entry.detail else text
        off = self._shelf.get(_id(entry))
        if off is not None:  # it stays off the list; what happened is on record all the same
            return [_event(entry, utc_s, "warning", f"{told} (it is {off.kind})", kind="priority")]
        entry.state, entry.acknowledged_by = AlarmState.UNACKNOWLEDGED, ""
        return [_event(entry, utc_s, "alarm", told, kind="priority")]

    def _come(self, entry: _Entry, utc_s: float, mono_s: float) -> Event:
        off = self._shelf.get(_id(entry))
        if off is not None:
            entry.came_shelved += 1
        else:
            if not any(e.state in _WAITING for e in self._listed()):
                self._first_out = FirstOut(_id(entry), utc_s, entry.detail)
            self._rate.add(mono_s)
        entry.state, entry.since_utc_s, entry.acknowledged_by = AlarmState.UNACKNOWLEDGED, utc_s, ""
        if not entry.count:
            entry.first_utc_s, entry.first_detail = utc_s, entry.detail
        entry.count += 1
        entry.began_mono_s = None
        severity = "warning" if entry.priority is Priority.LOW else "alarm"
        seen = words(entry.detail)
        return _event(entry, utc_s, severity, seen if off is None else f"{seen} (it is {off.kind})".strip())

    def _return(self, entry: _Entry, utc_s: float, known: Reason | None) -> Event:
        acknowledged = entry.state is AlarmState.ACKNOWLEDGED
        entry.state = AlarmState.NORMAL if acknowledged else AlarmState.RETURNED
        entry.gone_mono_s = None
        if acknowledged:
            _forget(entry)
        return _event(entry, utc_s, "info", "returned to normal" if known is None else words(known))

    # ── entries ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _entry(self, alarm_id: str) -> _Entry:
        name, _, subject = alarm_id.partition(":")
        if name not in self._definitions:
            raise KeyError(f"alarm {alarm_id!r} has no definition {name!r}")
        return _Entry(self._definitions[name], subject)

    def _alarm(self, entry: _Entry) -> Alarm:
        return Alarm(
            id=_id(entry),
            priority=entry.priority,
            state=entry.state,
            since_utc_s=entry.since_utc_s,
            detail=entry.detail if entry.present else None,
            first_out=self._first_out is not None and self._first_out.id == _id(entry),
            count=entry.count,
            acknowledged_by=entry.acknowledged_by,
            group=entry.group,
            act_within_s=entry.act_within_s,
            first_utc_s=entry.first_utc_s,
            first_detail=entry.first_detail,
        )


def _forget(entry: _Entry) -> None:
    """It is normal: it begins anew."""
    entry.count, entry.acknowledged_by = 0, ""
    entry.first_utc_s = entry.first_detail = None


def _within_deadband(entry: _Entry, condition: Condition) -> bool:
    """One that has come stays while its figure is not clearly back inside the limit."""
    band = entry.definition.deadband
    return entry.present and band > 0 and condition.beyond is not None and condition.beyond > -band


def _wait(entry: _Entry) -> None:
    """The condition cannot be told: whatever was about to happen must be seen again from its start."""
    entry.began_mono_s = None
    entry.gone_mono_s = None


def _id(entry: _Entry) -> str:
    return f"{entry.definition.id}:{entry.subject}" if entry.subject else entry.definition.id


def _event(entry: _Entry, utc_s: float, severity: str, text: str, who: str = "", kind: str = "alarm") -> Event:
    title = alarm_text(_id(entry)).title
    return Event(utc_s, kind, severity, _id(entry), f"{title}: {text}" if text else title, who)
