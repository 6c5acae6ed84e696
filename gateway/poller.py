"""Polls one device: its latest answer, how old that is, what went wrong. Reads never wait for each other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from dispatch.model.clock import Clock
from dispatch.model.equipment import DeviceIdentity, LinkHealth
from drivers.devices import Driver, Linked, Listening
from drivers.notices import Notice, Noticing
from gateway.last_answers import LastAnswers

log = logging.getLogger("skerry.gateway")

GIVE_UP_S = 30.0  # unscaled: drivers have deadlines of their own, much shorter; a read that outlives them is a mistake


class Poller(LastAnswers):
    """Reads one device, and keeps its latest parts."""

    def __init__(
        self,
        driver: Driver,
        clock: Clock,
        stale_after_s: float,
        device_error: type[Exception],
        on_change: Callable[[Poller, bool], None],
        on_notice: Callable[[str, Notice], None] = lambda device_id, notice: None,
        period_s: float = 0.0,
        first_s: float = 0.0,
    ) -> None:
        """`period_s`: least time between two reads that `start_if_due` begins, unscaled; 0: at every call.

        `first_s`: how long after the first call of `start_if_due` it begins the first read.
        """
        super().__init__(driver.id, driver.kind, clock, stale_after_s, on_change)
        self.driver = driver
        self._device_error, self._on_notice = device_error, on_notice
        self._period_s, self._due_s, self._first_s = period_s, 0.0, first_s
        self._notices = driver.notices if isinstance(driver, Noticing) else None
        self._linked = driver if isinstance(driver, Linked) else None
        self._listening = driver if isinstance(driver, Listening) else None
        self._task: asyncio.Task[None] | None = None
        self._begun_s = 0.0

    @property
    def in_flight(self) -> asyncio.Task[None] | None:
        """The read under way, if any."""
        return self._task if self._task is not None and not self._task.done() else None

    def start(self) -> asyncio.Task[None]:
        """Begin a read unless one is under way; either way return its task, which never raises."""
        loop = asyncio.get_running_loop()
        self._give_up(loop.time())
        if self.in_flight is None:
            self._task = loop.create_task(self._read(), name=f"read {self.driver.id}")
            self._begun_s = loop.time()
        assert self._task is not None
        return self._task

    def start_if_due(self) -> None:
        """Begin a read if its period has passed. A read that comes late does not move the next one."""
        now_s = asyncio.get_running_loop().time()
        self._give_up(now_s)
        if not self._due_s and self._first_s:
            self._due_s = now_s + self._first_s
        if now_s < self._due_s or self.in_flight is not None:
            return
        self._due_s += self._period_s
        if self._due_s <= now_s:
            self._due_s = now_s + self._period_s
        self.start()

    def _give_up(self, now_s: float) -> None:
        """Cancel a read that hangs in its driver: the next one may be answered."""
        if self.in_flight is not None and now_s - self._begun_s > GIVE_UP_S:
            self.in_flight.cancel()
            self._task = None
            self.failed(f"its read has not ended for {GIVE_UP_S:g} s, and is begun again")

    async def close(self, limit_s: float) -> None:
        """Finish the read under way and disconnect; what has not ended after `limit_s` is left."""
        try:
            async with asyncio.timeout(limit_s):
                if (task := self.in_flight) is not None:
                    await asyncio.wait([task])  # it may have been cancelled
                await self.driver.close()
        except TimeoutError:
            log.warning("%s does not end its read, or does not disconnect: left", self.driver.id)
        except Exception:  # the others are to be disconnected all the same
            log.exception("%s cannot be disconnected", self.driver.id)

    async def _read(self) -> None:
        await self._ask()
        for notice in self._notices.take() if self._notices else ():
            self._on_notice(self.driver.id, notice)

    async def _ask(self) -> None:
        try:
            answer = await self.driver.read()
        except self._device_error as error:
            return self.failed(str(error))
        except Exception as error:  # a mistake in a driver must cost this device, not the tick
            log.exception("driver of %s failed", self.driver.id)
            return self.failed(f"internal error in its driver: {error!r}")
        self.answered(tuple(p for p in answer if p is not None) if isinstance(answer, tuple) else (answer,))

    def _described(self) -> tuple[LinkHealth | None, DeviceIdentity | None, str]:
        identity, map_name = getattr(self.driver, "identity", None), getattr(self.driver, "map_name", "")
        return self._link_health(), identity, map_name

    def _link_health(self) -> LinkHealth | None:
        if self._linked is not None:
            return link_health(self._linked)
        return None if self._listening is None else self._listening.link_health()


def link_health(driver: Linked) -> LinkHealth:
    """How the requests of a driver go."""
    link, traffic = driver.link, driver.link.traffic
    return LinkHealth(
        at=f"{link.at} unit {driver.unit}",
        round_trip_ms=traffic.median_ms,
        round_trip_worst_ms=traffic.worst_ms,
        connect_ms=None if traffic.connect_s is None else 1000 * traffic.connect_s,
        answers=traffic.answers,
        refusals=traffic.refusals,
        failures=traffic.failures,
    )
