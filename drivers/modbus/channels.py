"""Opens what a connection sends its bytes through: a TCP connection, plain or with TLS, or a serial port."""

from __future__ import annotations

import asyncio
import os
import select
import ssl
import termios
from collections.abc import Callable
from typing import Any, Protocol

from drivers.modbus.address import Address

READ_BYTES = 4096

Received = Callable[[bytes], None]
Closed = Callable[[str], None]  # why; empty: the other side ended it in order


class Channel(Protocol):
    """Bytes out. What comes in goes to the function `received`; the end of it to `closed`, once."""

    def write(self, data: bytes) -> None: ...

    def unread(self) -> bool:
        """Whether bytes have come in that the event loop has not read yet."""
        ...

    def close(self) -> None: ...


async def open_channel(
    address: Address, tls: ssl.SSLContext | None, received: Received, closed: Closed, longest_s: float
) -> Channel:
    """Connect within `longest_s`. Raises OSError, UnicodeError, OverflowError: what is not there, or is no address."""
    if address.scheme == "serial":
        return _Serial(address, received, closed)
    if address.scheme == "tls" and tls is None:
        raise OSError("the site file has no [tls] section")
    async with asyncio.timeout(longest_s):
        _, channel = await asyncio.get_running_loop().create_connection(
            lambda: _Tcp(received, closed), address.host, address.port, ssl=tls if address.scheme == "tls" else None
        )
    return channel


class _Tcp(asyncio.BufferedProtocol):
    """The channel over TCP. It does not outlive the other side's end.

    It reads into a buffer of its own: asyncio's other protocols map and unmap 256 KiB for each answer.
    """

    _transport: asyncio.Transport

    def __init__(self, received: Received, closed: Closed) -> None:
        self._received, self._closed = received, closed
        self._buffer = bytearray(READ_BYTES)
        self._poll = select.poll()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._received(bytes(self._buffer[:nbytes]))

    def unread(self) -> bool:
        return bool(self._poll.poll(0))

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed(str(exc) if exc else "")

    def write(self, data: bytes) -> None:
        self._transport.write(data)

    def close(self) -> None:
        """At once: nothing that is under way is wanted any more, and a silent peer would not end TLS in order."""
        self._transport.abort()


class _Serial:
    """The channel over a serial port: 8 data bits, no flow control, for this process alone."""

    def __init__(self, address: Address, received: Received, closed: Closed) -> None:
        import serial  # only here: most sites have no serial port

        self._loop = asyncio.get_running_loop()
        self._received, self._closed = received, closed
        settings = {"baudrate": address.baud, "parity": address.parity, "stopbits": address.stop}
        try:
            self._port: Any = serial.Serial(address.host, **settings, timeout=0, write_timeout=0, exclusive=True)
        except termios.error as error:
            raise OSError(f"the port does not take {settings}: {error.args[-1]}") from None
        self._loop.add_reader(self._port.fileno(), self._readable)
        self._poll = select.poll()
        self._poll.register(self._port.fileno(), select.POLLIN)

    def _readable(self) -> None:
        try:
            data = os.read(self._port.fileno(), READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:  # such as a USB adapter that was unplugged
            return self._ended(str(error))
        if data:
            self._received(data)
        else:
            self._ended("the serial port hung up")

    def write(self, data: bytes) -> None:
        """A frame is shorter than the kernel's buffer, which is empty: each request waits for its answer."""
        try:
            written = os.write(self._port.fileno(), data)
        except OSError as error:
            return self._ended(str(error))
        if written < len(data):
            self._ended(f"the serial port took {written} of {len(data)} bytes")

    def unread(self) -> bool:
        return bool(self._poll.poll(0))

    def close(self) -> None:
        if self._port.is_open:
            self._loop.remove_reader(self._port.fileno())
            self._port.close()

    def _ended(self, why: str) -> None:
        self.close()
        self._closed(why)
