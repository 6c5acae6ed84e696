"""Collects what a driver has to tell a person: facts about a device that are neither readings nor errors."""

from __future__ import annotations

import asyncio
from typing import Literal, NamedTuple, Protocol, runtime_checkable

REPEAT_S = 300.0  # the same sentence is said again after this long

Severity = Literal["info", "warning"]


class Notice(NamedTuple):
    """One sentence for the event log."""

    severity: Severity
    text: str


class Notices:
    """The notices of one device. Each sentence is kept at most once in `REPEAT_S`, so that none floods the log."""

    def __init__(self) -> None:
        self._new: list[Notice] = []
        self._said_s: dict[str, float] = {}  # on the event loop's clock

    def add(self, severity: Severity, text: str) -> None:
        """Say this, unless it was said lately. Call it in a running event loop."""
        now_s = asyncio.get_running_loop().time()
        self._said_s = {said: at_s for said, at_s in self._said_s.items() if now_s - at_s < REPEAT_S}
        if text not in self._said_s:
            self._said_s[text] = now_s
            self._new.append(Notice(severity, text))

    def take(self) -> list[Notice]:
        """What is new since the last call."""
        new, self._new = self._new, []
        return new


@runtime_checkable
class Noticing(Protocol):
    """A driver that has notices."""

    notices: Notices
