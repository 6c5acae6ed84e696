"""Which version of the link two sides agree on: the highest that both speak, or an error on both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from waiting import LIMIT_S

from gateway.api.ask import Conversation
from gateway.api.client import GatewayClient, LinkRefused
from gateway.api.frames import encode
from gateway.api.protocol import ONE_RELEASE, VERSION, Hello, Response, Welcome
from gateway.api.server import LinkServer, Peer

FUTURE = Hello(4, 0.0, 4, 5)  # a console that has given up what this gateway speaks


async def answered(path: Path, hello: Hello) -> Welcome | Response:
    """The first frame that a hello gets over the socket."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(encode(hello))
    async with asyncio.timeout(LIMIT_S):
        length = int.from_bytes(await reader.readexactly(4), "big")
        answer: Welcome | Response = msgspec.msgpack.decode(await reader.readexactly(length), type=Welcome | Response)
    writer.close()
    return answer


@pytest.mark.parametrize(
    ("hello", "agreed"),
    [
        (Hello(1), 1),  # Skerry 0.1.0
        (Hello(1, lowest=1, highest=1), 1),
        (Hello(1, lowest=1, highest=2), 2),
        (Hello(2, lowest=2, highest=2), 2),
        (Hello(1, lowest=1, highest=3), 3),
        (Hello(1, lowest=1, highest=9), VERSION),
        (Hello(1, lowest=0, highest=9), VERSION),
    ],
)
async def test_the_highest_that_both_speak(server: LinkServer, hello: Hello, agreed: int) -> None:
    welcome = await answered(server.path, hello)
    assert isinstance(welcome, Welcome)
    assert welcome.version == agreed


@pytest.mark.parametrize(
    ("hello", "theirs"),
    [
        (Hello(99), "link version 99"),
        (Hello(0), "link version 0"),
        (Hello(4, lowest=4, highest=5), "link versions 4 to 5"),
        (Hello(1, lowest=2, highest=1), "link versions 2 to 1"),
    ],
)
async def test_no_common_version_is_an_error_on_both_sides(
    server: LinkServer, hello: Hello, theirs: str, caplog: pytest.LogCaptureFixture
) -> None:
    refusal = await answered(server.path, hello)
    assert isinstance(refusal, Response)
    line = f"this gateway speaks link versions 1 to 3, the console {theirs}; {ONE_RELEASE}"
    assert (refusal.id, refusal.ok, refusal.code, refusal.error) == (0, False, "version", line)
    assert f"dropped: {line}" in caplog.text


async def test_clients_of_this_version_get_the_current_one(server: LinkServer) -> None:
    client = await GatewayClient.connect(server.path, 0.0)
    assert client.welcome.version == VERSION
    await client.close()
    link = await asyncio.to_thread(Conversation, server.path)
    assert link.welcome.version == VERSION
    link.close()


async def test_clients_tell_what_the_gateway_refused(server: LinkServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("client", "ask"):
        monkeypatch.setattr(f"gateway.api.{module}.hello", lambda rate_hz: FUTURE)
    said = f"this gateway speaks link versions 1 to 3, the console link versions 4 to 5; {ONE_RELEASE}"
    with pytest.raises(LinkRefused, match=said):
        await GatewayClient.connect(server.path)
    with pytest.raises(LinkRefused, match=said):
        await asyncio.to_thread(Conversation, server.path)


class Hello1(msgspec.Struct, frozen=True, tag="hello"):
    """The hello as a gateway of version 0.1.0 reads it."""

    version: int = 1
    rate_hz: float = 1.0


@pytest.fixture
async def old_gateway(tmp_path: Path, welcome: Callable[[Peer], Welcome]) -> AsyncIterator[Path]:
    """Greets as version 0.1.0 did: with its own version alone, and only who names just that."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length = int.from_bytes(await reader.readexactly(4), "big")
        hello = msgspec.msgpack.decode(await reader.readexactly(length), type=Hello1)
        refusal = f"this gateway speaks link version 1, the console {hello.version}; use one release of skerry for both"
        greeting: Any = welcome(Peer(1, 0, 0, "root")) if hello.version == 1 else Response(0, False, error=refusal)
        writer.write(encode(greeting))
        await reader.read()
        writer.close()

    server = await asyncio.start_unix_server(connected, str(tmp_path / "old.sock"))
    yield tmp_path / "old.sock"
    server.close()
    await server.wait_closed()


async def test_a_gateway_of_version_0_1_0_is_spoken_to_in_its_own(old_gateway: Path) -> None:
    client = await GatewayClient.connect(old_gateway, 0.0)
    assert client.welcome.version == 1
    await client.close()
    link = await asyncio.to_thread(Conversation, old_gateway)
    assert link.welcome.version == 1
    link.close()


async def test_what_a_gateway_of_version_0_1_0_refuses_is_told(
    old_gateway: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.api.client.hello", lambda rate_hz: FUTURE)
    with pytest.raises(LinkRefused, match="this gateway speaks link version 1, the console 4"):
        await GatewayClient.connect(old_gateway)


async def test_a_welcome_in_a_version_that_was_not_offered_is_refused(tmp_path: Path, welcome: Any) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(encode(msgspec.structs.replace(welcome(Peer(1, 0, 0, "root")), version=4)))
        await reader.read()
        writer.close()

    server = await asyncio.start_unix_server(connected, str(tmp_path / "new.sock"))
    for connect in (GatewayClient.connect, lambda path: asyncio.to_thread(Conversation, path)):
        with pytest.raises(LinkRefused, match="the gateway speaks link version 4, this program link versions 1 to 3"):
            await connect(tmp_path / "new.sock")
    server.close()
    await server.wait_closed()
