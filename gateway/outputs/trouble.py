"""Notes which outputs do not reach whom they tell, and why, for the alarm `output-failed`; each change is one event."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gateway.event_sink import EventSink


class OutputTrouble:
    """By output, why; empty: it works. Used on the event loop only."""

    def __init__(self, events: EventSink) -> None:
        self._events = events
        self._why: dict[str, str] = {}
        self.failures: Mapping[str, str] = MappingProxyType(self._why)

    def failed(self, output: str, why: str) -> None:
        """It does not reach its receivers."""
        if not self._why.get(output):
            self._events.event("gateway", "warning", output, why)
        self._why[output] = why

    def works(self, output: str) -> None:
        """It does again."""
        if self._why.get(output):
            self._events.event("gateway", "info", output, "works again")
        self._why[output] = ""
