"""The gateway's end of the link: any number of clients on one Unix socket, none of which can delay a tick.

A client that misbehaves (garbage, silence, a stalled reader, a full queue) is dropped, alone, with one log line; more
of the same are counted (`log_limit.py`). What a user may take is limited (`admission.py`), and refusals are answered.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Hashable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from dispatch.model.decoding import decoded, depth_within
from gateway.api.admission import Admission, Admitted, Busy, LinkLimits
from gateway.api.consoles import Consoles
from gateway.api.frames import MAX_FRAME, FrameError, encode
from gateway.api.peer import Peer, credentials, identify
from gateway.api.protocol import ONE_RELEASE, ClientMessage, Hello, Request, Response, Welcome, common_version, spoken
from gateway.api.session import Dropped, Session
from gateway.api.socket_file import claim, hand_over, release
from gateway.errors import CommandRefused, SocketInUse
from gateway.log_limit import WINDOW_S, LogLimit
from gateway.task_supervisor import Watcher, end_tasks, keep_running

__all__ = ["CommandRefused", "LinkServer", "Peer", "SocketInUse"]

log = logging.getLogger("skerry.gateway.api")

HELLO_S = 2.0  # a client that has not said hello by then is dropped
BODY_S = 5.0  # from a frame's length to its end
FAREWELL_S = 1.0  # for what is under way when the server closes
MAX_RATE_HZ = 50.0
MAX_DEPTH = 16  # of lists and maps in a request; those of this version need 3
LOOK_UP_S = 60.0  # between two looks into the user database for a console
CONNECT_GAP_S = 0.005  # after a connection beyond its user's rate: what a flood costs the event loop is bounded
REFUSAL_GAP_S = 0.5  # a client that was told to wait is refused so long; its urgent commands are answered at once
NO_FILE_GAP_S = 0.1  # before accepting again when the process has no file descriptor left

_DECODER = msgspec.msgpack.Decoder(ClientMessage)


async def own_jobs(peer: Peer) -> str | None:
    """Nobody sees more than the own jobs by name."""
    return peer.user


class _Logged:
    """Where nobody is told that clients cannot be accepted for a while: the log has it."""

    def failed(self, name: str, error: str, again_s: float) -> None:
        log.warning("%s failed, begun again in %g s: %s", name, again_s, error)

    def works(self, name: str) -> None:
        log.info("%s works again", name)


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
        urgent: Callable[[Request], str | None] = lambda request: None,
        limits: LinkLimits | None = None,
        watcher: Watcher | None = None,
        clock: Callable[[], float] = time.monotonic,
        named: Callable[[Peer], Awaitable[str | None]] = own_jobs,
    ) -> None:
        """`handle` answers requests; it may raise CommandRefused with a line for the person who asked.

        `watcher` is told when accepting clients fails. `named`: the user whose jobs a client gets by name; None:
        everybody's. It is asked once a minute, and until it has answered the client gets those of its own user.

        `urgent` names the command of a request that has a reserve beyond its user's limits; None: it has none.

        The version in what `welcome` makes is replaced by the one that both sides speak. `consoles`: where clients are
        registered; by default in a list of its own.
        """
        self.path, self.consoles = path, consoles or Consoles()
        self._welcome, self._handle, self._write_timeout_s = welcome, handle, write_timeout_s
        self._connections: set[asyncio.Task[None]] = set()
        self._requests: set[asyncio.Task[None]] = set()
        self._urgent, self._admission = urgent, Admission(limits or LinkLimits(), clock)
        self._log_limit, self._named = LogLimit(clock), named
        self._watcher = watcher or _Logged()
        self._counting: asyncio.TimerHandle | None = None
        self._socket: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._inode = 0

    async def start(self, gid: int | None = None) -> None:
        """Create the socket, mode 0660, for group `gid`. Raises SocketInUse when a gateway listens there, OSError."""
        self._socket, self._inode = claim(self.path, gid)
        self._socket.setblocking(False)
        accept = partial(self._accept, self._socket)
        self._accepting = asyncio.create_task(keep_running("link", accept, self._watcher))

    @property
    def listening(self) -> bool:
        """Whether its socket is open."""
        return self._socket is not None

    def hand_over(self, gid: int) -> None:
        """Give the socket to another group. Raises OSError."""
        hand_over(self.path, gid)

    async def close(self) -> None:
        """Stop listening, send the answers under way (at most 1 s), disconnect, remove the socket. Idempotent."""
        if self._socket is None or self._accepting is None:
            return
        await end_tasks([self._accepting])
        self._socket.close()
        self._socket = None
        release(self.path, self._inode)
        if self._requests:
            await asyncio.wait(self._requests, timeout=FAREWELL_S)
        if sessions := self.consoles.sessions:
            await asyncio.wait([asyncio.create_task(s.flushed(FAREWELL_S)) for s in sessions])
        remaining = [*self._requests, *self._connections]
        await end_tasks(remaining)
        self._log_counts(everything=True)

    async def _accept(self, listening: socket.socket) -> None:
        """Accept clients one at a time, with a turn of the event loop between two: a tick never waits for a crowd."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, _ = await loop.sock_accept(listening)
            except OSError as error:  # no descriptor left, or the client has gone again
                self._warn("accept", f"a client cannot be accepted: {error.strerror or error}")
                await asyncio.sleep(NO_FILE_GAP_S)
                continue
            try:
                uid = credentials(sock)[1]
            except OSError:
                sock.close()
                continue
            try:
                entry = self._take_in(sock, uid)
            except BaseException:
                sock.close()
                raise
            await asyncio.sleep(CONNECT_GAP_S if entry.hurried or entry.urgent_only else 0)

    def _take_in(self, sock: socket.socket, uid: int) -> Admitted:
        """Start a task that talks to a new client."""
        task: asyncio.Task[None]
        entry = self._admission.connect(uid, lambda: self._evict(task, uid))
        task = asyncio.create_task(self._connected(sock, entry))
        self._connections.add(task)
        task.add_done_callback(lambda _: self._gone(task, entry, sock))
        return entry

    def _gone(self, task: asyncio.Task[None], entry: Admitted, sock: socket.socket) -> None:
        self._connections.discard(task)
        self._admission.disconnect(entry)
        sock.close()
        error = None if task.cancelled() else task.exception()
        if error is not None and self._first((entry.uid, "connection"), f"a connection of uid {entry.uid} failed"):
            log.error("a connection of uid %d failed", entry.uid, exc_info=error)

    def _evict(self, task: asyncio.Task[None], uid: int) -> None:
        self._warn((uid, "crowd"), f"too many connections of uid {uid}: the one that waited longest is dropped")
        task.cancel()

    async def _connected(self, sock: socket.socket, entry: Admitted) -> None:
        reader, writer = await asyncio.open_unix_connection(sock=sock)
        who = f"uid {entry.uid}"
        try:
            peer = await identify(sock)
            who = f"{peer.user}, pid {peer.pid}"
            await self._converse(peer, entry, reader, writer)
        except Dropped as reason:
            self._warn((entry.uid, reason.kind), f"console of {who} dropped: {reason}")
        except (asyncio.IncompleteReadError, ConnectionError):
            log.debug("console of %s is gone", who)
        finally:
            writer.transport.abort()

    async def _converse(
        self, peer: Peer, entry: Admitted, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Hello, welcome, then requests until the client ends. Raises Dropped, IncompleteReadError, ConnectionError."""
        hello = await self._hello(entry, reader, writer)
        version = common_version(*hello.versions)
        assert version is not None  # else the hello was refused
        session = Session(peer, writer, hello.rate_hz, self._write_timeout_s, version)
        session.put(encode(msgspec.structs.replace(self._welcome(peer), version=version), version))
        self.consoles.add(session)
        looking = asyncio.create_task(self._look_up(session))
        try:
            await session.run(self._requests_of(session, entry, reader))
        finally:
            self.consoles.remove(session)
            looking.cancel()

    async def _look_up(self, session: Session) -> None:
        """Keep up to date whose jobs a console gets by name: who is put into a group or out of it is told later."""
        while session.rate_hz > 0:
            session.name_jobs_of(await self._named(session.peer))
            await asyncio.sleep(LOOK_UP_S)

    async def _hello(self, entry: Admitted, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Hello:
        try:
            async with asyncio.timeout(HELLO_S):
                message = await _receive(reader)
        except TimeoutError:
            raise Dropped(f"no hello within {HELLO_S:g} s", "silent") from None
        if not isinstance(message, Hello):
            raise Dropped(f"expected a hello first, got a {type(message).__name__.lower()}")
        refusal, code = "", "refused"
        if common_version(*message.versions) is None:
            code = "version"
            refusal = f"this gateway speaks {spoken()}, the console {spoken(*message.versions)}; {ONE_RELEASE}"
        elif not 0 <= message.rate_hz <= MAX_RATE_HZ:  # also refuses NaN
            refusal = f"rate_hz = {message.rate_hz}: expected 0 to {MAX_RATE_HZ:g}"
        elif message.rate_hz > 0 and (busy := self._admission.console(entry)) is not None:
            refusal, code = busy.line, "busy"
        if refusal:
            writer.write(encode(Response(0, False, error=refusal, code=code)))
            writer.close()
            raise Dropped(refusal, code)
        return message

    async def _requests_of(self, session: Session, entry: Admitted, reader: asyncio.StreamReader) -> None:
        """Read requests; they run concurrently, at most a fixed number at a time, beyond which reading stops.

        What follows a refused request is refused, too, for a while, and never held back: an urgent command overtakes
        nothing that is done after it.
        """
        loop, waits, resumes_s = asyncio.get_running_loop(), Busy("", 0.0), 0.0
        while True:
            message = await _receive(reader)
            if not isinstance(message, Request):
                raise Dropped("said hello twice")
            await session.slots.acquire()
            urgent = self._urgent(message)
            told_to_wait = urgent is None and loop.time() < resumes_s
            busy = waits if told_to_wait else self._admission.request(entry, urgent)
            if busy is not None:
                self._refuse(session, message, busy)
                if not told_to_wait and urgent is None:
                    waits, resumes_s = busy, loop.time() + REFUSAL_GAP_S
                if not self._admission.refusal(entry):
                    await asyncio.sleep(REFUSAL_GAP_S)
                continue
            # Not tied to the session: a command once begun is finished even if the console that gave it goes away.
            task = asyncio.create_task(self._answer(session, message))
            self._requests.add(task)
            task.add_done_callback(lambda done: self._answered(done, entry))

    def _refuse(self, session: Session, request: Request, busy: Busy) -> None:
        line = f"{request.method}: {busy.line}; ask again in {max(busy.wait_s, REFUSAL_GAP_S):.1f} s"
        self._warn((session.peer.uid, "busy"), f"refused to {session.peer.user}, pid {session.peer.pid}: {line}")
        session.put_answer(encode(Response(request.id, False, error=line, code="busy"), session.version))

    def _answered(self, task: asyncio.Task[None], entry: Admitted) -> None:
        self._requests.discard(task)
        self._admission.done(entry)

    async def _answer(self, session: Session, request: Request) -> None:
        uid, user = session.peer.uid, session.peer.user
        try:
            response = Response(request.id, True, await self._handle(session.peer, request))
        except CommandRefused as refusal:
            response = Response(request.id, False, error=str(refusal), code="refused", reason=refusal.reason)
        except Exception as error:
            if self._first((uid, "failed", type(error)), line := f"request {request.method!r} of {user} failed"):
                log.exception("%s", line)
            response = Response(
                request.id, False, error=f"{request.method}: {error or type(error).__name__}", code="failed"
            )
        try:
            frame = encode(response, session.version)
        except (FrameError, TypeError, ValueError, RecursionError) as error:  # too long, or nothing msgpack knows
            self._warn((uid, "answer"), f"answer to {request.method!r} of {user} cannot be sent: {error}")
            line = f"{request.method}: the answer cannot be sent: {error}"
            frame = encode(Response(request.id, False, error=line, code="failed"), session.version)
        session.put_answer(frame)

    def _warn(self, key: Hashable, line: str) -> None:
        if self._first(key, line):
            log.warning("%s", line)

    def _first(self, key: Hashable, line: str) -> bool:
        """Whether to log a line; more of the same key are counted for a minute."""
        if self._counting is None:
            self._counting = asyncio.get_running_loop().call_later(WINDOW_S, self._log_counts)
        return self._log_limit.passes(key, line)

    def _log_counts(self, everything: bool = False) -> None:
        if self._counting is not None:
            self._counting.cancel()
            self._counting = None
        for line in self._log_limit.counts(everything):
            log.warning("%s", line)


async def _receive(reader: asyncio.StreamReader) -> ClientMessage:
    """The next frame of a client. Raises Dropped on what is no frame; IncompleteReadError at the end."""
    length = int.from_bytes(await reader.readexactly(4), "big")
    if length > MAX_FRAME:
        raise Dropped(f"announced a frame of {length} bytes; at most {MAX_FRAME} are allowed", "length")
    try:
        async with asyncio.timeout(BODY_S):
            body = await reader.readexactly(length)
    except TimeoutError:
        raise Dropped(f"a frame of {length} bytes did not arrive within {BODY_S:g} s", "slow") from None
    try:
        message: ClientMessage = decoded(_DECODER.decode, body)
    except msgspec.DecodeError as error:
        raise Dropped(f"not a message of this protocol: {error}") from None
    if isinstance(message, Request) and not depth_within(message.params, MAX_DEPTH):
        raise Dropped(f"a request nested more than {MAX_DEPTH} deep", "depth")
    return message
