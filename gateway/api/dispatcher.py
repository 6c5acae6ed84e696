"""Answers requests: looks each up in the permission table, checks the role, hands it to its handler."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from gateway.api.command_log import CommandLog, Handler
from gateway.api.peer import Peer
from gateway.api.permissions import METHODS, PERMISSIONS
from gateway.api.protocol import Request
from gateway.api.roles import Role
from gateway.errors import CommandRefused
from storage.reader import NoRecords, QueryTimeout


class Dispatcher:
    """The handlers of every request."""

    def __init__(self, log: CommandLog, *groups: Mapping[str, Handler], ready: Callable[[], Awaitable[None]]) -> None:
        """`ready` is awaited before each request: the link listens before the first tick, and nothing is known then.

        Raises ValueError unless the groups together have one handler for each method of the permission table.
        """
        self._log, self._ready = log, ready
        self._handlers: dict[str, Handler] = {}
        for group in groups:
            if twice := self._handlers.keys() & group.keys():
                raise ValueError(f"more than one handler for {', '.join(sorted(twice))}")
            self._handlers |= group
        if unlisted := self._handlers.keys() - METHODS:
            raise ValueError(f"no row in gateway/api/permissions.py for {', '.join(sorted(unlisted))}")
        if unhandled := METHODS - self._handlers.keys():
            raise ValueError(f"no handler for {', '.join(sorted(unhandled))} of gateway/api/permissions.py")

    async def handle(self, peer: Peer, request: Request) -> Any:
        """Answer one request. Raises CommandRefused with a line for a person."""
        method = request.method
        handler = self._handlers.get(method)
        if handler is None:
            raise CommandRefused(f"unknown method {method!r}; known: {', '.join(sorted(self._handlers))}")
        permission = PERMISSIONS.get(method)  # None: every case has a row of its own, which the handler finds
        if permission is not None and permission.role > Role.VIEWER:
            await self._log.permit(peer, method)
        await self._ready()
        try:
            return await handler(peer, request.params)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise CommandRefused(f"{method}: bad parameters: {error}") from None
        except (NoRecords, QueryTimeout) as error:
            raise CommandRefused(str(error)) from None
