"""An MQTT 5 broker on loopback, written from the OASIS standard: it acknowledges, retains, has faults on request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

CONNACK = bytes.fromhex("20 03 00 00 00")
Packet = tuple[int, bytes]  # first byte, content


def two(value: int) -> bytes:
    return value.to_bytes(2, "big")


def text(data: bytes, at: int) -> tuple[bytes, int]:
    """A string with its length before it, and where it ends."""
    end = at + 2 + int.from_bytes(data[at : at + 2], "big")
    return data[at + 2 : end], end


class FakeBroker:
    """`retained`: by topic. A will is published when its connection is gone without a word."""

    def __init__(self) -> None:
        self.packets: list[Packet] = []
        self.retained: dict[str, bytes] = {}
        self.published: list[tuple[str, bytes]] = []
        self.connections = 0
        self.answer: Callable[[int, bytes], bytes | None] | None = None  # instead of its own; None: silence
        self.port = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> FakeBroker:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self.hang_up()
        await self._server.wait_closed()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def hang_up(self) -> None:
        """End every connection, at once."""
        for writer in self._writers:
            writer.transport.abort()

    def send(self, data: bytes) -> None:
        """To every client."""
        for writer in self._writers:
            writer.write(data)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        self.connections += 1
        will: tuple[str, bytes] | None = None
        try:
            while True:
                first, content = await self._packet(reader)
                self.packets.append((first, content))
                if first >> 4 == 1:
                    will = _will(content)
                elif first >> 4 == 14:
                    will = None
                if first >> 4 == 3:
                    self._keep(first, content)
                reply = self._reply(first, content) if self.answer is None else self.answer(first, content)
                if reply:
                    writer.write(reply)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            if will is not None:
                self.published.append(will)
                self.retained[will[0]] = will[1]
            self._tasks.discard(task)
            self._writers.discard(writer)
            writer.transport.abort()

    async def _packet(self, reader: asyncio.StreamReader) -> Packet:
        first, length, shift = (await reader.readexactly(1))[0], 0, 0
        while True:
            digit = (await reader.readexactly(1))[0]
            length += (digit & 127) << shift
            shift += 7
            if digit < 128:
                return first, await reader.readexactly(length)

    def _reply(self, first: int, content: bytes) -> bytes:
        kind = first >> 4
        if kind == 1:
            return CONNACK
        if kind == 3 and first & 2:
            _, end = text(content, 0)
            return b"\x40\x02" + content[end : end + 2]
        if kind == 8:
            return b"\x90\x04" + content[:2] + b"\x00\x01"
        return b"\xd0\x00" if kind == 12 else b""

    def _keep(self, first: int, content: bytes) -> None:
        topic, end = text(content, 0)
        payload = content[end + (2 if first & 2 else 0) + 1 :]
        self.published.append((topic.decode(), payload))
        if first & 1:
            self.retained[topic.decode()] = payload
            if not payload:
                del self.retained[topic.decode()]


def _will(content: bytes) -> tuple[str, bytes] | None:
    """The will in a CONNECT; protocol name, version, flags and keep alive take ten bytes."""
    flags, at = content[7], 10
    at += 1 + content[at]  # properties, shorter than 128 bytes here
    _, at = text(content, at)
    if not flags & 4:
        return None
    topic, at = text(content, at + 1)
    return topic.decode(), text(content, at)[0]
