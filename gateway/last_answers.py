"""Keeps what one device last said: its parts with age and quality, what went wrong, whether it is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from dispatch.model.clock import Clock
from dispatch.model.equipment import Battery, DeviceHealth, DeviceIdentity, LinkHealth, Part, aged
from dispatch.model.readings import Quality

SILENT = "nothing has come of its reads"  # they hang, or whoever reads it does


class LastAnswers:
    """The latest parts of one device, and how many reads were answered and failed.

    Ages are in site seconds; whether a reading is stale is judged in unscaled seconds.
    """

    def __init__(
        self,
        id: str,
        kind: str,
        clock: Clock,
        stale_after_s: float,
        on_change: Callable[[Any, bool], None],
    ) -> None:
        """`on_change`: is told when the device is lost, and when it answers again."""
        self.id, self.kind, self.clock, self.stale_after_s = id, kind, clock, stale_after_s
        self.reads = self.failures = 0
        self.error = ""  # what went wrong since its last good answer
        self.online: bool | None = None  # None: no answer and no failure yet
        self.identity: DeviceIdentity | None = None
        self._on_change = on_change
        self._parts: tuple[Part, ...] = ()
        self._site_s = self._io_s = 0.0

    def describe(self, stale_after_s: float, identity: DeviceIdentity | None) -> None:
        """How old its answers may get, and what it says it is."""
        self.stale_after_s, self.identity = stale_after_s, identity

    def answered(self, parts: tuple[Part, ...], ago_s: float = 0.0) -> None:
        """It gave these parts, so many unscaled seconds ago."""
        self.reads, self.error = self.reads + 1, ""
        self._site_s = self.clock.mono_s() - ago_s * self.clock.speed
        self._io_s = asyncio.get_running_loop().time() - ago_s
        self._parts = parts
        self._report_change()

    def failed(self, error: str) -> None:
        """It did not answer, or not with what could be used."""
        self.failures += 1
        self.error = error
        self._report_change()

    def _report_change(self) -> None:
        """Report when the device is lost or answers again. One lost answer is not yet a lost device."""
        age_io_s = self.age_io_s
        online = age_io_s is not None and age_io_s <= self.stale_after_s
        if online != self.online:
            if age_io_s is not None and not online:
                self.error = self.error or SILENT
            self.online = online
            self._on_change(self, online)

    @property
    def age_io_s(self) -> float | None:
        """Unscaled seconds since the last good answer."""
        return asyncio.get_running_loop().time() - self._io_s if self._parts else None

    @property
    def latest(self) -> tuple[Part, ...]:
        """The latest parts as they were given."""
        return self._parts

    @property
    def _age_s(self) -> float:
        return max(0.0, self.clock.mono_s() - self._site_s)

    def parts(self) -> tuple[Part, ...]:
        """The latest parts as they stand now: aged, stale ones marked."""
        age_io_s = self.age_io_s
        if age_io_s is None:
            return ()
        if age_io_s > self.stale_after_s and self.online:
            self._report_change()
        quality = Quality.STALE if age_io_s > self.stale_after_s else Quality.GOOD
        age_s = self._age_s
        return tuple(aged(part, age_s, quality) for part in self._parts)

    def health(self, writes: int = 0) -> DeviceHealth:
        """How communication stands. `writes`: setpoints written to the device so far."""
        link, identity, map_name = self._described()
        return DeviceHealth(
            id=self.id,
            kind=self.kind,
            online=bool(self.online),
            age_s=self._age_s if self._parts else None,
            reads=self.reads,
            failures=self.failures,
            writes=writes,
            error=self.error if not self.online else "",
            link=link,
            identity=identity,
            battery=next((part.id for part in self._parts if isinstance(part, Battery)), ""),
            map=map_name,
        )

    def _described(self) -> tuple[LinkHealth | None, DeviceIdentity | None, str]:
        """How its link goes, what it says it is, and its device map."""
        return None, self.identity, ""
