"""Notes in which schedulers power cannot be kept back from jobs that start, for alarms."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType


class StartsInTrouble:
    """By scheduler, why. Used on the event loop only."""

    def __init__(self) -> None:
        self._failed, self._changed = dict[str, str](), dict[str, str]()
        self.failures: Mapping[str, str] = MappingProxyType(self._failed)  # empty text: it works
        self.changes: Mapping[str, str] = MappingProxyType(self._changed)  # empty text: it is as we set it

    def failed(self, scheduler: str, why: str) -> None:
        """Its last call failed; empty: it did not."""
        self._failed[scheduler] = why

    def changed(self, scheduler: str, what: str) -> None:
        """Another has changed what we had set, and it stays; empty: nobody has."""
        self._changed[scheduler] = what
