"""One connection of the reader of HTTP/1.1 in `plain.py`."""

from __future__ import annotations

import asyncio
import re
from typing import Any

MOST_HEAD_BYTES = 16 * 1024  # status line and headers, and what follows the last chunk
MOST_WAITING_BYTES = 64 * 1024  # received and not yet taken: then nothing more is received
_HEAD_END = re.compile(rb"\n\r?\n")
_SHARED = memoryview(bytearray(64 * 1024))  # what one read of a socket takes; one at a time in an event loop


class BadAnswer(ValueError):
    """What came is no answer of HTTP/1.1."""


class Link(asyncio.BufferedProtocol):
    """One connection."""

    def __init__(self) -> None:
        self.idle_since_s = 0.0
        self.ended = False
        self.broken = False  # it ended by an error, such as a reset
        self._waiting: asyncio.Future[None] | None = None
        self._received = bytearray()
        self._transport: Any = None
        self._paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: it stands."""
        self._transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        """asyncio: where to read to."""
        return _SHARED

    def buffer_updated(self, nbytes: int) -> None:
        """asyncio: so much has come."""
        self._received += _SHARED[:nbytes]
        if len(self._received) > MOST_WAITING_BYTES and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        """asyncio: nothing more will come."""
        self.ended = True
        self._wake()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: it is gone."""
        self.ended, self.broken = True, exc is not None
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    @property
    def holds(self) -> bool:
        """Something was received and not taken yet."""
        return bool(self._received)

    @property
    def usable(self) -> bool:
        """Nothing speaks against another request: it stands, and nothing came that nobody asked for."""
        return not self.ended and not self._received

    def send(self, request: bytes) -> None:
        """A request; the answer to the one before has been taken."""
        self._transport.write(request)

    def close(self) -> None:
        """Drop it, whatever is under way."""
        if self._transport is not None:
            self._transport.abort()

    async def more(self) -> None:
        """Wait for what comes next. Raises ConnectionError at the end."""
        if self.ended:
            raise ConnectionResetError("it closed the connection before the end of its answer")
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        self._waiting = asyncio.get_running_loop().create_future()
        await self._waiting

    async def until(self, mark: bytes, most_bytes: int) -> bytes:
        """What comes before a mark. Raises BadAnswer if that is too long, ConnectionError."""
        while (end := self._received.find(mark)) < 0:
            if len(self._received) > most_bytes:
                raise BadAnswer(f"its answer has a line or a head of more than {most_bytes} bytes")
            await self.more()
        if end > most_bytes:
            raise BadAnswer(f"its answer has a line or a head of more than {most_bytes} bytes")
        found = bytes(self._received[:end])
        del self._received[: end + len(mark)]
        return found

    async def head(self) -> bytes:
        """The lines before the empty one. Raises BadAnswer if they are too long, ConnectionError."""
        while (end := _HEAD_END.search(self._received, 0, MOST_HEAD_BYTES + 3)) is None:
            if len(self._received) > MOST_HEAD_BYTES:
                raise BadAnswer(f"its answer has a head of more than {MOST_HEAD_BYTES} bytes")
            await self.more()
        found = bytes(self._received[: end.start()])
        del self._received[: end.end()]
        return found

    def taken(self, size: int) -> bytes | None:
        """The next bytes, if so many are there."""
        received = self._received
        if len(received) < size:
            return None
        found = bytes(received) if len(received) == size else bytes(received[:size])
        del received[:size]
        return found

    async def some(self, most_bytes: int) -> bytes:
        """What is there, at least a byte. Raises ConnectionError."""
        while not self._received:
            await self.more()
        found = bytes(self._received[:most_bytes])
        del self._received[:most_bytes]
        return found
