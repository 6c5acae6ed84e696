"""A console's end of the link: one asyncio connection, messages as they come, requests with answers."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from gateway.api.ask import QUEUE_FULL_S, accepted, decode, outcome, unreachable
from gateway.api.frames import MAX_FRAME, encode
from gateway.api.protocol import (
    VERSION,
    EventMessage,
    GatewayMessage,
    PlanMessage,
    Published,
    Request,
    Response,
    Welcome,
    hello,
)
from gateway.errors import LinkLost, LinkRefused, RequestFailed

__all__ = ["GatewayClient", "LinkLost", "LinkRefused", "RequestFailed"]

CONNECT_TIMEOUT_S = 5.0
REQUEST_TIMEOUT_S = 5.0
MAX_WAITING = 1024  # events and plans nobody took; then the console is beyond catching up and must attach anew


class GatewayClient:
    """A connection to the gateway. Made by `connect`; `welcome` says who is on the other end."""

    def __init__(
        self, path: Path, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, welcome: Welcome
    ) -> None:
        self.welcome = welcome
        self._path, self._reader, self._writer = path, reader, writer
        self._waiting: deque[PlanMessage | EventMessage] = deque()
        self._published: Published | None = None  # latest wins here too: a slow screen never works through old ones
        self._news = asyncio.Event()
        self._pending: dict[int, asyncio.Future[Response]] = {}
        self._last_id = 0
        self._lost: str | None = None
        self._task = asyncio.create_task(self._receive())

    @classmethod
    async def connect(cls, path: Path, rate_hz: float = 1.0) -> GatewayClient:
        """Connect, say hello, await the welcome. `rate_hz` snapshots a second at most; 0 for requests only.

        Raises LinkLost when nobody answers, LinkRefused when the gateway refuses the hello (another version).
        """
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                return await cls.over(*await _opened(path), path, rate_hz)
        except OSError as error:  # TimeoutError is one
            raise LinkLost(unreachable(path, error)) from None

    @classmethod
    async def over(
        cls, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: Path, rate_hz: float
    ) -> GatewayClient:
        """Say hello on streams that lead to a gateway, await the welcome. `path`: how errors name the other end.

        Raises LinkLost, LinkRefused, OSError; the streams are closed then.
        """
        try:
            writer.write(encode(hello(rate_hz)))
            welcome = accepted(await _frame(reader, path), path)
        except BaseException:
            _hang_up(writer)
            raise
        return cls(path, reader, writer, welcome)

    async def messages(self) -> AsyncIterator[Published | PlanMessage | EventMessage]:
        """Everything the gateway sends, in order, except that only the newest `Published` counts. For one consumer.

        Ends when the gateway is gone; `lost` then says why.
        """
        while True:
            while self._waiting:
                yield self._waiting.popleft()
            if (published := self._published) is not None:
                self._published = None
                yield published
            elif self._lost is not None:
                return
            else:
                self._news.clear()
                await self._news.wait()

    async def request(self, method: str, **params: Any) -> Any:
        """Ask or command; returns the result.

        Raises RequestFailed (the gateway's own line, or no answer within 5 s) and LinkLost.
        """
        if self._lost is not None:
            raise LinkLost(self._lost)
        self._last_id += 1
        number = self._last_id
        frame = encode(Request(number, method, params))
        answer = self._pending[number] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                self._writer.write(frame)
                return outcome(await answer)
        except TimeoutError:
            line = f"{method}: the gateway did not answer within {REQUEST_TIMEOUT_S:g} s"
            raise RequestFailed(line, "timeout") from None
        finally:
            del self._pending[number]

    @property
    def lost(self) -> str | None:
        """Why the link is gone, or None while it stands."""
        return self._lost

    async def close(self) -> None:
        """Close the connection. Idempotent; `messages` ends, pending requests fail with LinkLost."""
        self._end("closed by this console")
        self._task.cancel()
        await asyncio.wait([self._task])
        _hang_up(self._writer)

    async def _receive(self) -> None:
        """Take messages as they arrive, until the link is lost."""
        try:
            while len(self._waiting) <= MAX_WAITING:
                self._take(await _frame(self._reader, self._path, self.welcome.version))
            self._end(f"{self._path}: this console fell {MAX_WAITING} messages behind")
        except LinkLost as error:
            self._end(str(error))
        except OSError as error:
            self._end(unreachable(self._path, error))
        finally:
            self._end(f"{self._path}: the link broke")
            _hang_up(self._writer)

    def _take(self, message: GatewayMessage) -> None:
        if isinstance(message, Response):
            answer = self._pending.get(message.id)
            if answer is not None and not answer.done():
                answer.set_result(message)
            return
        if isinstance(message, Published):
            self._published = message
        elif isinstance(message, (PlanMessage, EventMessage)):
            self._waiting.append(message)
        self._news.set()

    def _end(self, why: str) -> None:
        if self._lost is not None:
            return
        self._lost = why
        for answer in self._pending.values():
            if not answer.done():
                answer.set_exception(LinkLost(why))
        self._news.set()


async def _opened(path: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Streams to a gateway, as soon as there is room in its queue. Raises OSError."""
    while True:
        try:
            return await asyncio.open_unix_connection(str(path))
        except BlockingIOError:
            await asyncio.sleep(QUEUE_FULL_S)


def _hang_up(writer: asyncio.StreamWriter) -> None:
    if not writer.transport.is_closing():  # a pipe's transport cannot be aborted twice (CPython 3.11)
        writer.transport.abort()


async def _frame(reader: asyncio.StreamReader, path: Path, version: int = VERSION) -> GatewayMessage:
    """The next message. Raises LinkLost at the end of the stream or on what is no frame."""
    try:
        length = int.from_bytes(await reader.readexactly(4), "big")
        if length > MAX_FRAME:
            raise LinkLost(f"{path}: a frame of {length} bytes is none of Skerry's; is this a gateway's socket?")
        return decode(await reader.readexactly(length), path, version)
    except asyncio.IncompleteReadError:
        raise LinkLost(f"{path}: the gateway closed the connection") from None
