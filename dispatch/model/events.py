"""Defines one line of the event log."""

from __future__ import annotations

import msgspec


class Event(msgspec.Struct, frozen=True):
    """One line of the log."""

    utc_s: float
    kind: str  # gateway device alarm rule command plan twin island node
    severity: str  # info warning alarm
    subject: str  # device id, alarm id, rule name
    text: str
    who: str = ""
