"""One client of the gateway: its mailboxes, its snapshot rate, and the task that writes to it."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Coroutine
from typing import Any

from gateway.api.peer import Peer

MAX_EVENTS = 256  # waiting for one client
MAX_REQUESTS = 8  # of one client under way, until their answers are written


class Dropped(Exception):
    """The client is to be disconnected, for this reason. `kind`: what else is the same trouble, for the log."""

    def __init__(self, reason: str, kind: str = "protocol") -> None:
        super().__init__(reason)
        self.kind = kind


class Session:
    """A mailbox each for snapshot and plan (latest wins), a bounded queue for events and answers. `put` never waits."""

    def __init__(
        self, peer: Peer, writer: asyncio.StreamWriter, rate_hz: float, write_timeout_s: float, version: int
    ) -> None:
        self.peer, self.rate_hz, self.version = peer, rate_hz, version  # the link version that both sides speak
        self._named: str | None = peer.user
        self.slots = asyncio.Semaphore(MAX_REQUESTS)
        self._writer, self._write_timeout_s = writer, write_timeout_s
        # No buffering beyond the kernel's: a drain that returns means the bytes are in the socket.
        writer.transport.set_write_buffer_limits(high=0)
        self._queue: deque[tuple[bytes, bool]] = deque()  # frame, whether a request's slot is freed once it is written
        self._snapshot: bytes | None = None
        self._plan: bytes | None = None
        self._news, self._idle = asyncio.Event(), asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._doom: str | None = None
        self._due_s: float | None = None

    @property
    def named(self) -> str | None:
        """The user whose jobs it gets by name, its own until more is known; None: everybody's."""
        return self._named

    def name_jobs_of(self, user: str | None) -> None:
        """From now on it gets the jobs of this user by name; None: of everybody."""
        self._named = user

    def take_turn(self, now_s: float) -> bool:
        """Take a snapshot offered now (loop time) if it is this client's turn; its next turn is then a period later.

        The grid of turns is kept, and a tick a little early counts, so that 1 Hz out of a jittery 5 Hz stays 1 Hz.
        """
        if self.rate_hz <= 0:
            return False
        period_s = 1 / self.rate_hz
        due_s = now_s if self._due_s is None else self._due_s
        early_s = 0.2 * period_s
        if now_s < due_s - early_s:
            return False
        self._due_s = max(due_s, now_s - early_s) + period_s
        return True

    def put(self, frame: bytes) -> None:
        """Queue a frame that must arrive."""
        self._queue.append((frame, False))
        self._wake()

    def put_answer(self, frame: bytes) -> None:
        """Queue the answer to a request; its slot is free again once it is written."""
        self._queue.append((frame, True))
        self._wake()

    def put_event(self, frame: bytes) -> None:
        """Queue an event, or drop a client that has too many waiting."""
        if len(self._queue) >= MAX_EVENTS:
            self.drop(f"{MAX_EVENTS} events waiting; it does not read")
        else:
            self.put(frame)

    def put_plan(self, frame: bytes) -> None:
        """Replace the plan that waits."""
        self._plan = frame
        self._wake()

    def put_snapshot(self, frame: bytes) -> None:
        """Put a snapshot into the mailbox; one that was not sent yet is replaced."""
        self._snapshot = frame
        self._wake()

    def drop(self, reason: str) -> None:
        """Have `run` end with Dropped(reason). Returns at once."""
        if self._doom is None:
            self._doom = reason
            if self._task is not None:
                self._task.cancel()

    async def flushed(self, timeout_s: float) -> None:
        """Wait until nothing is left to write, at most `timeout_s`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()

    async def run(self, reading: Coroutine[Any, Any, None]) -> None:
        """Write what is put here while `reading` runs; ends when either does, with its exception, or Dropped."""
        self._task = asyncio.current_task()
        tasks = {asyncio.create_task(reading), asyncio.create_task(self._write())}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            if self._doom is None:
                raise
            raise Dropped(self._doom, "events") from None
        finally:
            for task in tasks:
                task.cancel()
            self._writer.transport.abort()
            await asyncio.wait(tasks)
        errors = [error for task in tasks if not task.cancelled() and (error := task.exception()) is not None]
        if errors:
            raise errors[0]

    async def _write(self) -> None:
        while True:
            self._idle.set()
            await self._news.wait()
            self._news.clear()
            while (taken := self._next()) is not None:
                frame, answer = taken
                self._writer.write(frame)
                try:
                    async with asyncio.timeout(self._write_timeout_s):
                        await self._writer.drain()
                except TimeoutError:
                    raise Dropped(f"did not read for {self._write_timeout_s:g} s", "unread") from None
                if answer:
                    self.slots.release()

    def _next(self) -> tuple[bytes, bool] | None:
        """What to write next: what is queued, then the plan, then the snapshot."""
        if self._queue:
            return self._queue.popleft()
        if self._plan is not None:
            frame, self._plan = self._plan, None
            return frame, False
        if self._snapshot is not None:
            frame, self._snapshot = self._snapshot, None
            return frame, False
        return None

    def _wake(self) -> None:
        self._idle.clear()
        self._news.set()
