"""Notes which parts beside the control loop have died or hang, since when and why, for the alarm `part-failed`."""

from __future__ import annotations

import time
from collections.abc import Callable

from dispatch.alarms.facts import PartTrouble
from dispatch.model.reasons import Reason


class PartsInTrouble:
    """Parts are noted by name. Used on the event loop only."""

    def __init__(self, mono_s: Callable[[], float] = time.monotonic) -> None:
        """`mono_s`: machine seconds."""
        self._mono_s = mono_s
        self._noted: dict[str, tuple[float, str, str]] = {}  # since (machine seconds), code, error

    def died(self, part: str, error: str) -> None:
        """It has ended by an error; it is begun again."""
        self._note(part, "alarm.part_died", error)

    def hangs(self, part: str, error: str) -> None:
        """A call of it does not end; it is tried again."""
        self._note(part, "alarm.part_hangs", error)

    def works(self, part: str) -> None:
        """It works again."""
        self._noted.pop(part, None)

    def _note(self, part: str, code: str, error: str) -> None:
        since_s = self._noted[part][0] if part in self._noted else self._mono_s()
        self._noted[part] = since_s, code, error

    def now(self) -> tuple[PartTrouble, ...]:
        """Those in trouble now."""
        return tuple(PartTrouble(part, *self._told(*noted)) for part, noted in self._noted.items())

    def _told(self, since_s: float, code: str, error: str) -> tuple[Reason]:
        lasted_s = self._mono_s() - since_s
        if code == "alarm.part_died":
            return (Reason("alarm.part_died", {"lasted_s": lasted_s, "error": error}),)
        return (Reason("alarm.part_hangs", {"lasted_s": lasted_s, "error": error}),)
