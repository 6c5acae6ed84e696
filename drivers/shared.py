"""Counts who uses a connection that several devices share, and closes it with the last."""

from __future__ import annotations

from abc import ABC, abstractmethod


class Shared(ABC):
    """What several devices use. `_close` is called when the last one has left; who joins after that opens it again."""

    def __init__(self) -> None:
        self._users, self._closed = 0, False

    def join(self) -> None:
        """One more device uses it."""
        self._users, self._closed = max(self._users, 0) + 1, False

    @property
    def closed(self) -> bool:
        """Whether its last user has left."""
        return self._closed

    async def leave(self) -> None:
        """One device less; the connections are closed with the last."""
        self._users -= 1
        if self._users <= 0:
            self._closed = True
            await self._close()

    @abstractmethod
    async def _close(self) -> None: ...
