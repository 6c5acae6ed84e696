"""Alarms: definitions as data, a pure state machine over them (ISA-18.2 vocabulary)."""

from __future__ import annotations

import enum

import msgspec


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
    """One alarm as listed. Every alarm says cause, consequence, action."""

    id: str  # definition and subject: "device-lost:grid"
    priority: Priority
    state: AlarmState
    title: str
    cause: str
    consequence: str
    action: str
    since_utc_s: float
    first_out: bool = False
    count: int = 1  # times it came since it was last normal
    acknowledged_by: str = ""
