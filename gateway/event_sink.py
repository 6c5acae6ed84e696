"""Where events go: onto the record, to every console, and into the log of the gateway."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol

from dispatch.model.clock import Clock
from dispatch.model.events import Event
from gateway.log_limit import LogLimit
from storage.recorder import Recorder

log = logging.getLogger("skerry.gateway")
LEVELS = {"alarm": logging.ERROR, "warning": logging.WARNING}  # of severities; all others are information


class EventSink(Protocol):
    """Takes what has happened. Never waits."""

    def event(self, kind: str, severity: str, subject: str, text: str, who: str = "") -> None:
        """Report something that has happened now."""
        ...

    def note(self, event: Event, durable: bool = False) -> Future[int]:
        """Report an event. The future ends once it is committed, with `durable` on disk, or raises NotRecorded."""
        ...


class EventLog:
    """Records events, announces them to the consoles, and logs them: of one kind and subject one line a minute."""

    def __init__(self, clock: Clock, recorder: Recorder, announce: Callable[[Event], None]) -> None:
        self._clock, self._recorder, self._announce = clock, recorder, announce
        self._log_limit = LogLimit(time.monotonic)

    def event(self, kind: str, severity: str, subject: str, text: str, who: str = "") -> None:
        """Report something that has happened now."""
        self.note(Event(self._clock.utc_s(), kind, severity, subject, text, who))

    def note(self, event: Event, durable: bool = False) -> Future[int]:
        """Report an event. The future ends once it is committed, with `durable` on disk, or raises NotRecorded."""
        recorded = self._recorder.event(event, durable)
        self._announce(event)
        self._log(event)
        return recorded

    def announce_notices(self) -> None:
        """Send the recorder's own events to the consoles; they are on record already. Called at each tick."""
        for event in self._recorder.notices():
            self._announce(event)
            self._log(event)
        for line in self._log_limit.counts():
            log.info("%s", line)

    def _log(self, event: Event) -> None:
        by = f" (by {event.who})" if event.who else ""
        line = f"{event.subject}: {event.text}{by}"
        if self._log_limit.passes((event.kind, event.severity, event.subject), line):
            level = LEVELS.get(event.severity, logging.INFO)
            log.log(level, "%s", line, extra={"severity": event.severity})
