"""The request for a test of notifications."""

from __future__ import annotations

from typing import Any

from gateway.api.command_log import Handler
from gateway.api.interfaces import Notifications
from gateway.api.peer import Peer


class NotifyCommands:
    """Has the receivers of `[[notify]]` told that nothing has happened."""

    def __init__(self, notifications: Notifications) -> None:
        self._notifications = notifications
        self.handlers: dict[str, Handler] = {"notify.test": self._test}

    async def _test(self, peer: Peer, params: dict[str, Any]) -> Any:
        """Send a test. Param: `id`: of one receiver; without it to all. The answer: `id`, `ok`, `text` of each."""
        del peer
        id = params.get("id")
        return await self._notifications.test(None if id is None else str(id))
