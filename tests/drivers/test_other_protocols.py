"""What answers at a device's address and is no Modbus device is named, with what to do."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator

import pytest

from drivers.modbus.address import Address
from drivers.modbus.connection import Connection
from drivers.modbus.errors import DeviceError, NotModbus, Timeout
from drivers.modbus.other_protocols import other_protocol
from drivers.modbus.transport import ModbusLink

DEADLINE_S = 20.0  # longer than a busy machine takes
HTTP = b"HTTP/1.1 400 Bad Request\r\nServer: nginx\r\n\r\n<html>"
SSH = b"SSH-2.0-OpenSSH_9.2\r\n"
ALERT = bytes.fromhex("15030300020246")  # of a TLS server that got a Modbus frame


@pytest.mark.parametrize(
    ("reply", "named"),
    [
        (HTTP, "HTTP: a web server"),
        (SSH, "SSH"),
        (ALERT, "TLS"),
        (b"<!DOCTYPE html>", "a web page"),
        (b"220 mail ESMTP\r\n", "FTP or SMTP"),
        (b"\xff\xfb\x01", "Telnet"),
        (b"login: ", "'login: '"),
        (b"-ERR unknown command\r\nmore", "'-ERR unknown command'"),
    ],
)
def test_other_protocols_are_named(reply: bytes, named: str) -> None:
    found = other_protocol(reply)
    assert named in found
    assert "not Modbus" in found
    assert "502" in found


@pytest.mark.parametrize(
    "reply", [b"", b"H", bytes.fromhex("000200000005010302ABCD"), b"\x01\x83\x02", b"\x00\x01\x00\x00AAAA"]
)
def test_what_may_be_a_frame_is_not(reply: bytes) -> None:
    assert other_protocol(reply) == ""


@contextlib.asynccontextmanager
async def _server(banner: bytes, answer: bytes) -> AsyncIterator[int]:
    """Sends `banner` at once, and `answer` to whatever it is asked; nothing where they are empty."""

    served: list[asyncio.Task[None] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(asyncio.current_task())
        writer.write(banner)
        with contextlib.suppress(OSError):
            while await reader.read(100):
                writer.write(answer)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await asyncio.gather(*(task for task in served if task is not None))


async def _failure(port: int, deadline_s: float = DEADLINE_S) -> DeviceError:
    link = ModbusLink("127.0.0.1", port, deadline_s=deadline_s, backoff_max_s=0.0, device="pcs1")
    try:
        for _ in range(50):
            try:
                await link.read(1, 40000, 2)
            except DeviceError as error:
                if "next try" not in str(error):
                    return error
            await asyncio.sleep(0.02)
    finally:
        await link.close()
    raise AssertionError("it was read")


@pytest.mark.parametrize(("banner", "answer", "named"), [(b"", HTTP, "HTTP"), (SSH, b"", "SSH"), (b"", ALERT, "TLS")])
async def test_a_link_names_what_answers_in_its_place(banner: bytes, answer: bytes, named: str) -> None:
    async with _server(banner, answer) as port:
        error = await _failure(port)
    assert isinstance(error, NotModbus)
    assert f"answers {named}" in str(error)
    assert "give host and port of the device's Modbus server" in str(error)
    assert "bad reply" not in str(error)


async def test_who_connects_and_stays_silent_may_not_speak_modbus_there() -> None:
    async with _server(b"", b"") as port:
        error = await _failure(port, deadline_s=0.1)
    assert isinstance(error, Timeout)
    assert "it connects, so check that Modbus is switched on at this port, and the unit id" in str(error)


async def test_a_server_without_tls_is_told_from_a_wrong_certificate() -> None:
    async with _server(b"", HTTP) as port:
        connection = Connection(Address("tls", "127.0.0.1", port), DEADLINE_S, ssl.create_default_context())
        assert not await connection.connect()
    assert "does not speak TLS" in connection.lost
    assert "tcp://" in connection.lost
