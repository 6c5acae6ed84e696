"""A blocking client of the gateway, for the command line; without asyncio, so that a short command starts fast."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import msgspec

from dispatch.model.decoding import decoded
from dispatch.wording.catalogue import words
from gateway.api.frames import MAX_FRAME, encode
from gateway.api.protocol import LOWEST, ONE_RELEASE, VERSION, GatewayMessage, Request, Response, Welcome, hello, spoken
from gateway.errors import LinkLost, LinkRefused, NoAccess, RequestFailed
from gateway.site.file_access import no_access

TO_CONNECT = "use: sudo -u {owner} skerry ...; [roles] viewer in the site file names the group that may connect"
TO_JOIN = "be put into that group (usermod -aG {group} YOU) and log in anew"
QUEUE_FULL_S = 0.01  # before trying again to connect to a gateway whose queue is full
_DECODER = msgspec.msgpack.Decoder(GatewayMessage)


class Conversation:
    """Requests only: `with Conversation(path) as link: link.request("status")`. `timeout_s` holds for each step."""

    def __init__(self, path: Path, timeout_s: float = 5.0) -> None:
        """Connect and say hello. Raises LinkLost, and of its kinds NoAccess and LinkRefused."""
        self._path, self._timeout_s, self._last_id = path, timeout_s, 0
        self._version = VERSION  # until the welcome names that of the gateway
        self._socket = connected(path, timeout_s)
        try:
            self._socket.sendall(encode(hello(0.0)))
            self.welcome = accepted(self._receive(), path)
            self._version = self.welcome.version
        except OSError as error:
            self._socket.close()
            raise LinkLost(unreachable(path, error)) from None
        except LinkLost:
            self._socket.close()
            raise

    def request(self, method: str, **params: Any) -> Any:
        """One request and its result. Raises RequestFailed, LinkLost."""
        self._last_id += 1
        try:
            self._socket.sendall(encode(Request(self._last_id, method, params)))
            while True:
                message = self._receive()
                if isinstance(message, Response) and message.id == self._last_id:
                    return outcome(message)
        except TimeoutError:
            raise RequestFailed(
                f"{method}: the gateway did not answer within {self._timeout_s:g} s", "timeout"
            ) from None
        except OSError as error:
            raise LinkLost(unreachable(self._path, error)) from None

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def __enter__(self) -> Conversation:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _receive(self) -> GatewayMessage:
        length = int.from_bytes(self._exactly(4), "big")
        if length > MAX_FRAME:
            raise LinkLost(f"{self._path}: a frame of {length} bytes is none of Skerry's; is this a gateway's socket?")
        return decode(self._exactly(length), self._path, self._version)

    def _exactly(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            piece = self._socket.recv(count - len(data))
            if not piece:
                raise LinkLost(f"{self._path}: the gateway closed the connection")
            data += piece
        return bytes(data)


def connected(path: Path, timeout_s: float) -> socket.socket:
    """A connection to a gateway's socket. Raises LinkLost, and of its kinds NoAccess."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(timeout_s)
    try:
        _connect(sock, path, timeout_s)
    except OSError as error:
        sock.close()
        kind = NoAccess if isinstance(error, PermissionError) else LinkLost
        raise kind(unreachable(path, error)) from None
    return sock


def _connect(sock: socket.socket, path: Path, timeout_s: float) -> None:
    """Connect, waiting while the gateway's queue is full: with a timeout Python's own connect does not. OSError."""
    until_s = time.monotonic() + timeout_s
    while True:
        try:
            return sock.connect(str(path))
        except BlockingIOError:
            if time.monotonic() >= until_s:
                raise TimeoutError from None
            time.sleep(QUEUE_FULL_S)


def ask(path: Path, method: str, params: dict[str, Any] | None = None, timeout_s: float = 5.0) -> Any:
    """One request on a connection of its own. Raises RequestFailed, LinkLost, LinkRefused."""
    with Conversation(path, timeout_s) as link:
        return link.request(method, **(params or {}))


def decode(body: bytes, path: Path, version: int = VERSION) -> GatewayMessage:
    """A frame's body as a message of a gateway that speaks this link version. Raises LinkLost on anything else."""
    try:
        message: GatewayMessage
        if version == VERSION:
            message = decoded(_DECODER.decode, body)
        else:
            from gateway.api.previous_version import from_version  # a link of this version does without

            message = msgspec.convert(from_version(decoded(msgspec.msgpack.decode, body), version), GatewayMessage)
    except msgspec.DecodeError as error:
        raise LinkLost(f"{path}: not a message of {spoken()}: {error}") from None
    return message


def accepted(message: GatewayMessage, path: Path) -> Welcome:
    """The first message of a gateway, if it is a welcome in a version of ours. Raises LinkRefused."""
    if isinstance(message, Response):
        raise LinkRefused(f"{path}: {message.error}")
    if not isinstance(message, Welcome):
        raise LinkRefused(f"{path}: expected a welcome, got {type(message).__name__}")
    if not LOWEST <= message.version <= VERSION:
        theirs = spoken(message.version, message.version)
        raise LinkRefused(f"{path}: the gateway speaks {theirs}, this program {spoken()}; {ONE_RELEASE}")
    return message


def outcome(response: Response) -> Any:
    """The result of a response. Raises RequestFailed."""
    if not response.ok:
        line = response.error if response.reason is None else words(response.reason)
        raise RequestFailed(line, response.code or "failed")
    return response.result


def unreachable(path: Path, error: OSError) -> str:
    """An error of the socket as a line that says what to do."""
    if isinstance(error, PermissionError):
        return str(no_access(path, "a gateway's socket is there", TO_CONNECT, TO_JOIN))
    if isinstance(error, (FileNotFoundError, ConnectionRefusedError)):
        return f"{path}: no gateway listens here; start one with: skerry serve SITE.toml"
    if isinstance(error, (BrokenPipeError, ConnectionResetError)):
        return f"{path}: the gateway closed the connection"
    if isinstance(error, TimeoutError):
        return f"{path}: the gateway does not answer; is it suspended or overloaded?"
    return f"{path}: {error.strerror or error}"
