"""Holds a site's state directory: made, locked, its identity read. Control does without it and takes it up later.

Every call to the disk runs in a thread of its own, because a disk may not answer at all.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from concurrent.futures import Future
from pathlib import Path

import msgspec

from gateway.daemon_thread import in_daemon_thread
from gateway.event_sink import EventSink
from gateway.instance_lock import AlreadyRunning, InstanceLock
from storage.identity import Identity, establish

TAKE_S = 1.0  # a gateway that starts waits for its state directory no longer than this
LOOK_S = 5.0  # of machine time, between two looks at it


class Taken(msgspec.Struct, frozen=True):
    """What came of taking the directory."""

    lock: InstanceLock | None
    identity: Identity | None
    notes: tuple[str, ...] = ()  # on the identity, for the log
    trouble: str = ""  # why the directory cannot be used


class StateDirectory:
    """The directory of one running gateway, from `take` to `release`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.identity = Identity(str(uuid.uuid4()), str(uuid.uuid4()), "", kept=False)
        self.notes: tuple[str, ...] = ()
        self.trouble = ""
        self._lock: InstanceLock | None = None
        self._identified = False  # the identity is that of the directory which is locked
        self._look: Future[Taken] | None = None  # the one under way

    @property
    def answers(self) -> bool:
        """Whether the disk has answered the last look; what it holds may still be unreadable."""
        return self._look is None

    def take(self) -> None:
        """Make, lock and read it, or note in `trouble` why that cannot be done now. Raises AlreadyRunning."""
        self._look = in_daemon_thread(self._taken)
        try:
            found = self._look.result(TAKE_S)
        except TimeoutError:
            self.trouble = f"{self.path} has not answered for {TAKE_S:g} s"
            return
        finally:
            if self._look.done():
                self._look = None
        self._keep(found)

    def release(self) -> None:
        """Let go of the lock."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    async def run(self, events: EventSink) -> None:
        """Look after the directory until cancelled: say when it is lost, and take it up when it is back."""
        while True:
            await asyncio.sleep(LOOK_S)
            await self.look(events)

    async def look(self, events: EventSink) -> None:
        """Look at it once; one look that has not ended yet is enough."""
        before, identity = self.trouble, self.identity
        if self._look is None:
            self._look = in_daemon_thread(self._taken)
        try:
            found = await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(self._look)), TAKE_S)
        except TimeoutError:
            self.trouble = f"{self.path} has not answered for {TAKE_S:g} s"
        except AlreadyRunning as error:
            self._look = None
            self.trouble = str(error)
        else:
            self._look = None
            self._keep(found)
        if self.trouble and not before:
            self.tell(events)
        elif before and not self.trouble:
            events.event("gateway", "info", "state directory", f"the state directory {self.path} is in use again")
        if self.identity != identity:
            self._tell_identity(identity, events)

    def tell(self, events: EventSink) -> None:
        """Say what is wrong with it. The log of the gateway has it where there is no record of events."""
        text = f"the state directory cannot be used, control runs without it: {self.trouble}"
        events.event("gateway", "alarm", "state directory", text)

    def _tell_identity(self, before: Identity, events: EventSink) -> None:
        text = f"the site's identity is read from {self.path}: {self.identity.site}"
        for line in self.notes or (text,):
            events.event("gateway", "info", "identity", line)
        if before.kept:
            was, now = (f"{one.site}, incarnation {one.incarnation}" for one in (before, self.identity))
            line = f"{self.path} is another directory than before: the site's identity was {was}, and is now {now}"
            events.event("gateway", "warning", "identity", line)

    def _keep(self, found: Taken) -> None:
        if found.lock is not None:
            self.release()
            self._lock, self._identified = found.lock, False
        if found.identity is not None:
            self.notes = found.notes
            if found.identity.kept:
                self.identity, self._identified = found.identity, True
        self.trouble = found.trouble

    def _taken(self) -> Taken:
        """Look at the directory; lock it unless our lock is still on the file in it. Raises AlreadyRunning."""
        lock: InstanceLock | None = None
        identity: Identity | None = None
        notes: list[str] = []
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o750)
            if not (self._lock is not None and self._lock.holds()):
                lock = InstanceLock(self.path)
            if not os.access(self.path, os.W_OK | os.X_OK):
                return Taken(lock, None, (), f"{self.path} cannot be written")
            if lock is not None or not self._identified:
                identity, notes = establish(self.path)
        except OSError as error:
            return Taken(lock, None, (), f"{error.filename or self.path}: {error.strerror}")
        return Taken(lock, identity, tuple(notes))
