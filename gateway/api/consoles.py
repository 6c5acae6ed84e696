"""The clients that are connected now, and what is sent to all of them: snapshots, plans, events.

Called from the tick, so nothing here waits: a frame is put into each client's mailbox, O(clients).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from dispatch.model.events import Event
from dispatch.model.plan import Plan
from gateway.api.frames import FrameError, encode
from gateway.api.job_names import shown_queues, shown_reservations
from gateway.api.protocol import EventMessage, PlanMessage, Published
from gateway.api.session import Session

log = logging.getLogger("skerry.gateway.api")


class Consoles:
    """Every connected client. One that asked for 0 snapshots per second only makes requests and is sent nothing."""

    def __init__(self) -> None:
        self._sessions: set[Session] = set()
        self._last: Published | Callable[[], Published] | None = None
        self._plan: Plan | None = None

    @property
    def sessions(self) -> frozenset[Session]:
        """All clients, those that only make requests too."""
        return frozenset(self._sessions)

    @property
    def count(self) -> int:
        """Clients that want snapshots; short commands do not count."""
        return len(self._watching())

    def add(self, session: Session) -> None:
        """A client has connected. It gets the plan and the newest snapshot at once, without waiting for a tick."""
        if session.rate_hz > 0:
            for _, frame in _frames(PlanMessage(self._plan), [session]):
                session.put_plan(frame)
            if self._last is not None and session.take_turn(asyncio.get_running_loop().time()):
                self._put_snapshot([session], self._last)
        self._sessions.add(session)

    def remove(self, session: Session) -> None:
        """A client is gone."""
        self._sessions.discard(session)

    def publish(self, published: Published | Callable[[], Published]) -> None:
        """Offer a snapshot. It is made once, and only if it is a client's turn."""
        self._last = published
        now_s = asyncio.get_running_loop().time()
        self._put_snapshot([s for s in self._sessions if s.take_turn(now_s)], published)

    def set_plan(self, plan: Plan | None) -> None:
        """Send the plan that is in force from now on."""
        self._plan = plan
        for session, frame in _frames(PlanMessage(plan), self._watching()):
            session.put_plan(frame)

    def announce(self, event: Event) -> None:
        """Send an event; a client whose queue is full is dropped."""
        for session, frame in _frames(EventMessage(event), self._watching()):
            session.put_event(frame)

    def _watching(self) -> list[Session]:
        return [s for s in self._sessions if s.rate_hz > 0]

    def _put_snapshot(self, sessions: list[Session], published: Published | Callable[[], Published]) -> None:
        if not sessions:
            return
        made = published if isinstance(published, Published) else published()
        for session, frame in _frames(made, sessions):
            session.put_snapshot(frame)


def _frames(
    message: Published | PlanMessage | EventMessage, sessions: list[Session]
) -> Iterator[tuple[Session, bytes]]:
    """The message as a frame for each session, encoded once for each link version and each user that sees own jobs.

    If it is too long to send, that is logged, and the tick goes on without it.
    """
    frames: dict[tuple[int, str | None], bytes] = {}
    for session in sessions:
        has_names = isinstance(message, Published) and (message.queues or message.reservations)
        named = session.named if has_names else None
        key = session.version, named
        try:
            if key not in frames:
                frames[key] = encode(_for_user(message, named), session.version)
        except FrameError as error:
            log.error("not sent to the consoles: %s", error)
            return
        yield session, frames[key]


def _for_user(message: Published | PlanMessage | EventMessage, named: str | None) -> Any:
    """The message without the names of the jobs of others than a user."""
    if named is None or not isinstance(message, Published):
        return message
    return msgspec.structs.replace(
        message,
        queues=shown_queues(message.queues, named),
        reservations=shown_reservations(message.reservations, named),
    )
