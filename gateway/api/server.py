"""The gateway's end of the link: any number of clients on one Unix socket, none of which can delay a tick.

A client that misbehaves (garbage, silence, a stalled reader, a full queue) is dropped, alone, with one log line.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from dispatch.model.decoding import decoded
from gateway.api.consoles import Consoles
from gateway.api.frames import MAX_FRAME, FrameError, encode
from gateway.api.peer import Peer, identify
from gateway.api.protocol import ONE_RELEASE, ClientMessage, Hello, Request, Response, Welcome, common_version, spoken
from gateway.api.session import Dropped, Session
from gateway.api.socket_file import claim, release
from gateway.errors import CommandRefused, SocketInUse

__all__ = ["CommandRefused", "LinkServer", "Peer", "SocketInUse"]

log = logging.getLogger("skerry.gateway.api")

HELLO_S = 2.0  # a client that has not said hello by then is dropped
BODY_S = 5.0  # from a frame's length to its end
FAREWELL_S = 1.0  # for what is under way when the server closes
MAX_RATE_HZ = 50.0

_DECODER = msgspec.msgpack.Decoder(ClientMessage)


class LinkServer:
    """Listens from `start` to `close`. Everything runs on the event loop that called `start`."""

    def __init__(
        self,
        path: Path,
        welcome: Callable[[Peer], Welcome],
        handle: Callable[[Peer, Request], Awaitable[Any]],
        consoles: Consoles | None = None,
        *,
        write_timeout_s: float = 5.0,
    ) -> None:
        """`handle` answers requests; it may raise CommandRefused with a line for the person who asked.

        The version in what `welcome` makes is replaced by the one that both sides speak. `consoles`: where clients are
        registered; by default in a list of its own.
        """
        self.path, self.consoles = path, consoles or Consoles()
        self._welcome, self._handle, self._write_timeout_s = welcome, handle, write_timeout_s
        self._connections: set[asyncio.Task[None]] = set()
        self._requests: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._inode = 0

    async def start(self, gid: int | None = None) -> None:
        """Create the socket, mode 0660, for group `gid`. Raises SocketInUse when a gateway listens there, OSError."""
        sock, self._inode = claim(self.path, gid)
        self._server = await asyncio.start_unix_server(self._connected, sock=sock)

    async def close(self) -> None:
        """Stop listening, send the answers under way (at most 1 s), disconnect, remove the socket. Idempotent."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        release(self.path, self._inode)
        if self._requests:
            await asyncio.wait(self._requests, timeout=FAREWELL_S)
        if sessions := self.consoles.sessions:
            await asyncio.wait([asyncio.create_task(s.flushed(FAREWELL_S)) for s in sessions])
        remaining = [*self._requests, *self._connections]
        for task in remaining:
            task.cancel()
        if remaining:
            await asyncio.wait(remaining)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # asyncio runs this callback as a task
        self._connections.add(task)
        who = "a client without credentials"
        try:
            peer = await identify(writer.get_extra_info("socket"))
            who = f"{peer.user}, pid {peer.pid}"
            await self._converse(peer, reader, writer)
        except Dropped as reason:
            log.warning("console of %s dropped: %s", who, reason)
        except (asyncio.IncompleteReadError, ConnectionError):
            log.debug("console of %s is gone", who)
        except asyncio.CancelledError:
            # asyncio.streams takes a cancelled connection for an error of ours and logs a traceback (CPython 3.11).
            if self._server is not None:
                raise
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def _converse(self, peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hello, welcome, then requests until the client ends. Raises Dropped, IncompleteReadError, ConnectionError."""
        hello = await self._hello(reader, writer)
        version = common_version(*hello.versions)
        assert version is not None  # else the hello was refused
        session = Session(peer, writer, hello.rate_hz, self._write_timeout_s, version)
        session.put(encode(msgspec.structs.replace(self._welcome(peer), version=version), version))
        self.consoles.add(session)
        try:
            await session.run(self._requests_of(session, reader))
        finally:
            self.consoles.remove(session)

    async def _hello(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Hello:
        try:
            async with asyncio.timeout(HELLO_S):
                message = await _receive(reader)
        except TimeoutError:
            raise Dropped(f"no hello within {HELLO_S:g} s") from None
        if not isinstance(message, Hello):
            raise Dropped(f"expected a hello first, got a {type(message).__name__.lower()}")
        refusal, code = "", "refused"
        if common_version(*message.versions) is None:
            code = "version"
            refusal = f"this gateway speaks {spoken()}, the console {spoken(*message.versions)}; {ONE_RELEASE}"
        elif not 0 <= message.rate_hz <= MAX_RATE_HZ:  # also refuses NaN
            refusal = f"rate_hz = {message.rate_hz}: expected 0 to {MAX_RATE_HZ:g}"
        if refusal:
            writer.write(encode(Response(0, False, error=refusal, code=code)))
            writer.close()
            raise Dropped(refusal)
        return message

    async def _requests_of(self, session: Session, reader: asyncio.StreamReader) -> None:
        """Read requests; they run concurrently, at most a fixed number at a time, beyond which reading stops."""
        while True:
            message = await _receive(reader)
            if not isinstance(message, Request):
                raise Dropped("said hello twice")
            await session.slots.acquire()
            # Not tied to the session: a command once begun is finished even if the console that gave it goes away.
            task = asyncio.create_task(self._answer(session, message))
            self._requests.add(task)
            task.add_done_callback(self._requests.discard)

    async def _answer(self, session: Session, request: Request) -> None:
        try:
            response = Response(request.id, True, await self._handle(session.peer, request))
        except CommandRefused as refusal:
            response = Response(request.id, False, error=str(refusal), code="refused", reason=refusal.reason)
        except Exception as error:
            log.exception("request %r of %s failed", request.method, session.peer.user)
            response = Response(
                request.id, False, error=f"{request.method}: {error or type(error).__name__}", code="failed"
            )
        try:
            frame = encode(response, session.version)
        except (FrameError, TypeError, ValueError) as error:  # too long, or nothing msgpack knows
            log.error("answer to %r of %s cannot be sent: %s", request.method, session.peer.user, error)
            line = f"{request.method}: the answer cannot be sent: {error}"
            frame = encode(Response(request.id, False, error=line, code="failed"), session.version)
        session.put_answer(frame)


async def _receive(reader: asyncio.StreamReader) -> ClientMessage:
    """The next frame of a client. Raises Dropped on what is no frame; IncompleteReadError at the end."""
    length = int.from_bytes(await reader.readexactly(4), "big")
    if length > MAX_FRAME:
        raise Dropped(f"announced a frame of {length} bytes; at most {MAX_FRAME} are allowed")
    try:
        async with asyncio.timeout(BODY_S):
            body = await reader.readexactly(length)
    except TimeoutError:
        raise Dropped(f"a frame of {length} bytes did not arrive within {BODY_S:g} s") from None
    try:
        message: ClientMessage = decoded(_DECODER.decode, body)
    except msgspec.DecodeError as error:
        raise Dropped(f"not a message of this protocol: {error}") from None
    return message
