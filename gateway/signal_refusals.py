"""Tells which messages of one way are refused, and no more of them than the record can bear."""

from __future__ import annotations

import asyncio
import logging

from gateway.event_sink import EventSink

REFUSALS_PER_MIN = 10  # that become events: whoever may hand messages in must not fill the record

log = logging.getLogger("skerry.gateway")


class SignalRefusals:
    """The refusals of one way by which signals come in."""

    def __init__(self, events: EventSink) -> None:
        self._events = events
        self._told: list[float] = []  # loop times of those told in the last minute

    def tell(self, text: str) -> None:
        """Put a refusal on record; beyond so many a minute only in the log, which the last one told says."""
        now_s = asyncio.get_running_loop().time()
        self._told = [at_s for at_s in self._told if now_s - at_s < 60]
        if len(self._told) >= REFUSALS_PER_MIN:
            log.debug("%s", text)
            return
        self._told.append(now_s)
        if len(self._told) == REFUSALS_PER_MIN:
            text += f" (the last of {REFUSALS_PER_MIN} told in a minute)"
        self._events.event("command", "warning", "signal", text)
