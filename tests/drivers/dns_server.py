"""Answers of DNS, built by hand after RFC 1035 and RFC 2782, and a server on loopback that gives them."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Callable
from typing import Any

A, CNAME, SRV = 1, 5, 33


def name(text: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in text.split(".") if label) + b"\0"


def srv(target: bytes, port: int = 9100) -> bytes:
    """The data of an SRV record: priority, weight, port, target."""
    return struct.pack("!3H", 10, 5, port) + target


def record(kind: int, data: bytes, owner: bytes = b"\xc0\x0c") -> bytes:
    """Owned by the name of the question (a pointer to byte 12), class IN, valid for 30 s."""
    return owner + struct.pack("!HHIH", kind, 1, 30, len(data)) + data


def answer(asked: bytes, *records: bytes, flags: int = 0x8180, count: int | None = None) -> bytes:
    """To a question as it was sent: its number, its question, these records."""
    announced = len(records) if count is None else count
    return asked[:2] + struct.pack("!5H", flags, 1, announced, 0, 0) + asked[12:] + b"".join(records)


Answering = Callable[[bytes], bytes]


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, answering: Answering) -> None:
        self._answering, self.asked = answering, list[bytes]()
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.asked.append(data)
        if reply := self._answering(data):
            self._transport.sendto(reply, addr)


@contextlib.asynccontextmanager
async def dns_server(by_udp: Answering, by_tcp: Answering | None = None) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Its "address:port", and the questions that came by UDP. An empty answer is none."""

    async def tcp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert by_tcp is not None
        asked = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
        reply = by_tcp(asked)
        writer.write(len(reply).to_bytes(2, "big") + reply)
        await writer.drain()
        writer.close()

    loop = asyncio.get_running_loop()
    server = await asyncio.start_server(tcp, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    transport, protocol = await loop.create_datagram_endpoint(lambda: _Udp(by_udp), local_addr=("127.0.0.1", port))
    try:
        yield f"127.0.0.1:{port}", protocol.asked
    finally:
        transport.close()
        server.close()
        await server.wait_closed()
