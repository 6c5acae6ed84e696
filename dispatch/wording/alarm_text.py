"""The four texts of an alarm."""

from __future__ import annotations

import msgspec


class AlarmText(msgspec.Struct, frozen=True):
    """What an alarm is called, what it is about, what follows from it, and what to do."""

    title: str
    cause: str
    consequence: str
    action: str
