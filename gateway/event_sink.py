"""Where events go: onto the record, and to every console."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol

from dispatch.model.clock import Clock
from dispatch.model.events import Event
from storage.recorder import Recorder


class EventSink(Protocol):
    """Takes what has happened. Never waits."""

    def event(self, kind: str, severity: str, subject: str, text: str, who: str = "") -> None:
        """Report something that has happened now."""
        ...

    def note(self, event: Event, durable: bool = False) -> Future[int]:
        """Report an event. The future ends once it is committed, with `durable` on disk, or raises NotRecorded."""
        ...


class EventLog:
    """Records events and announces them to the consoles."""

    def __init__(self, clock: Clock, recorder: Recorder, announce: Callable[[Event], None]) -> None:
        self._clock, self._recorder, self._announce = clock, recorder, announce

    def event(self, kind: str, severity: str, subject: str, text: str, who: str = "") -> None:
        """Report something that has happened now."""
        self.note(Event(self._clock.utc_s(), kind, severity, subject, text, who))

    def note(self, event: Event, durable: bool = False) -> Future[int]:
        """Report an event. The future ends once it is committed, with `durable` on disk, or raises NotRecorded."""
        recorded = self._recorder.event(event, durable)
        self._announce(event)
        return recorded

    def announce_notices(self) -> None:
        """Send the recorder's own events to the consoles; they are on record already."""
        for event in self._recorder.notices():
            self._announce(event)
