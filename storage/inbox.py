"""What callers hand to the recorder. It waits in memory for the thread: nothing here waits for a disk or raises."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

import msgspec

from dispatch.model.clock import Clock
from dispatch.model.decision import Decision
from dispatch.model.events import Event
from dispatch.model.snapshot import Snapshot
from storage.context import Told
from storage.drills import DrillRecord
from storage.jobs import JOBS_WAITING, Accounted
from storage.rows import to_us

# what waits in memory at most, besides what the intake holds: an hour of samples and decisions, a day of minutes
QUEUE = 1024  # ticks between caller and writer: 100 s at 10 Hz
EVENTS_WAITING = 2000
FLUSHES_WAITING = 1000
HOLDS_WAITING = 64  # not noted yet
DRILLS_WAITING = 100
LATE_S = 0.2  # a flush waits this much longer for the row that completes it
POLL_S = 1.0  # the writer looks at the queue this often

Tick = tuple[Snapshot, Decision | None, Mapping[str, float | None] | None, Told | None]


class NotRecorded(Exception):
    """An event or flush is not on disk. An event stays in memory until the file can be written again."""


class Waiting:
    """An event waiting to be written to the file."""

    __slots__ = ("durable", "event", "future", "mono_ns")

    def __init__(self, event: Event, mono_ns: int, durable: bool) -> None:
        self.event, self.mono_ns, self.durable = event, mono_ns, durable
        self.future: Future[int] = Future()
        self.future.set_running_or_notify_cancel()  # a caller who stops waiting does not take the event back


class Inbox:
    """Queues between callers, of any thread, and the thread of the recorder that inherits them."""

    def __init__(self, clock: Clock, flush_s: float) -> None:
        """`flush_s`: between two writes, machine seconds."""
        self._clock = clock
        self._flush_s = flush_s
        self._flush_at = time.monotonic() + flush_s + LATE_S
        self._poll_s = min(POLL_S, flush_s / 2)
        self._ticks: deque[Tick] = deque()
        self._events: deque[Waiting] = deque()
        self._states: dict[str, tuple[str, int]] = {}  # the newest of each key
        self._drills: deque[DrillRecord] = deque(maxlen=DRILLS_WAITING)
        self._jobs: deque[Accounted] = deque(maxlen=JOBS_WAITING)
        self._holds: dict[str, int] = {}
        self._flushes: deque[Future[None]] = deque()
        self._overflow = 0  # ticks the queue had no room for
        self._wake = threading.Event()
        self._closing = threading.Event()

    def put(
        self,
        snapshot: Snapshot,
        decision: Decision | None,
        extras: Mapping[str, float | None] | None = None,
        told: Told | None = None,
    ) -> None:
        """Hand one tick over; `told`: what stands besides, of which None keeps nothing.

        A tick that finds the queue full, or the recorder closed, is counted in `dropped`.
        """
        if len(self._ticks) >= QUEUE or self._closing.is_set():
            self._overflow += 1
            return
        self._ticks.append((snapshot, decision, extras, told))
        if len(self._ticks) == QUEUE // 2 or time.monotonic() > self._flush_at - self._poll_s:
            self._wake.set()  # in the last second before a flush: it may bring the row that completes it

    def event(self, event: Event, durable: bool = False) -> Future[int]:
        """Record an event in a commit of its own.

        The future gives its row id once it is committed, with `durable` once the disk itself has it
        (asyncio: `await asyncio.wrap_future(...)`). It raises NotRecorded when that failed; the event then waits in
        memory all the same and is written once the file can be.
        """
        waiting = Waiting(event, int(self._clock.mono_s() * 1e9), durable)
        if self._closing.is_set():
            waiting.future.set_exception(NotRecorded("the recorder is closed"))
            return waiting.future
        if len(self._events) >= 2 * EVENTS_WAITING:  # the disk does not even refuse: it hangs
            self._overflow += 1
            waiting.future.set_exception(NotRecorded(f"{len(self._events)} events wait for the disk"))
            return waiting.future
        self._events.append(waiting)
        self._wake.set()
        return waiting.future

    def save_state(self, key: str, value: Any) -> None:
        """Keep a JSON-able value (or struct) of the controller's memory; on disk with the next flush.

        Raises TypeError if the value has no JSON form.
        """
        self._states[key] = (msgspec.json.encode(value).decode(), to_us(self._clock.utc_s()))

    def drill(self, record: DrillRecord) -> Future[None]:
        """Keep a drill's report, now. The future raises NotRecorded if that failed; it then waits in memory."""
        self._drills.append(record)
        return self.flush()

    def account(self, row: Accounted) -> None:
        """Keep what a job drew, or the site in a quarter hour; on disk with the next flush."""
        self._jobs.append(row)

    def hold(self, name: str, sequence: int) -> Future[None]:
        """Keep blocks after this one for `name`, which has it and all before; they outlive age and cap up to a reserve.

        `name`: "user/hub". The future raises NotRecorded if that is not noted yet.
        """
        if name not in self._holds and len(self._holds) >= HOLDS_WAITING:
            future: Future[None] = Future()
            future.set_exception(NotRecorded("the disk does not answer"))
            return future
        self._holds[name] = sequence
        return self.flush()

    def flush(self) -> Future[None]:
        """Write what was handed over so far, now. The future raises NotRecorded if that failed.

        On a full disk whose ballast is given up that is the controller's memory, drills and events.
        """
        future: Future[None] = Future()
        future.set_running_or_notify_cancel()
        if self._closing.is_set() or len(self._flushes) >= FLUSHES_WAITING:
            why = "the recorder is closed" if self._closing.is_set() else "the disk does not answer"
            future.set_exception(NotRecorded(why))
            return future
        self._flushes.append(future)
        self._wake.set()
        return future
