"""Floods on a real socket: what they cost the event loop, what they log, and that a stop passes through them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from waiting import LIMIT_S, until

from gateway.api import server as module
from gateway.api.admission import LinkLimits
from gateway.api.ask import Conversation, ask
from gateway.api.client import GatewayClient
from gateway.api.frames import encode
from gateway.api.permissions import urgent
from gateway.api.protocol import Hello, Request
from gateway.api.server import LinkServer
from gateway.errors import RequestFailed

ROOT = Path(__file__).parents[3]

# Connects as fast as it can and does `what` with each connection, until its input ends.
FLOOD = """
import socket, sys, threading, time
path, what, frames = sys.argv[1], sys.argv[2], bytes.fromhex(sys.argv[3])
def flood():
    while True:
        try:
            k = socket.socket(socket.AF_UNIX); k.settimeout(1); k.connect(path)
            if what != "close": k.sendall(frames)
            if what == "read": k.recv(65536)
            k.close()
        except OSError: time.sleep(0.001)
for _ in range(4): threading.Thread(target=flood, daemon=True).start()
sys.stdin.read()
"""


async def answered(peer: Any, request: Request) -> Any:
    if request.method == "broken":
        raise RuntimeError("the shelf fell down")
    return request.method


def slowly() -> float:
    """A clock of limits: a flood has passed them also where it gets a fiftieth of the machine."""
    return time.monotonic() / 50


@pytest_asyncio.fixture
async def link(tmp_path: Path, welcome: Any) -> AsyncIterator[LinkServer]:
    """A server with the limits of the gateway, whose seconds last as long as a busy machine needs to pass them."""
    server = LinkServer(tmp_path / "s.sock", welcome, answered, urgent=urgent, clock=slowly)
    await server.start()
    yield server
    await server.close()


@contextlib.asynccontextmanager
async def flooded(
    server: LinkServer, what: str, frames: bytes, uid: int | None = None, begun: Callable[[], bool] | None = None
) -> AsyncIterator[None]:
    """A process of this user or of `uid` floods the socket meanwhile, from when it has `begun`: passed a limit."""
    code = FLOOD if uid is None else FLOOD.replace("\npath", f"\nimport os; os.setuid({uid})\npath", 1)
    command = [sys.executable, "-c", code, str(server.path), what, frames.hex()]
    child = await asyncio.create_subprocess_exec(*command, stdin=subprocess.PIPE)
    try:
        await until(begun or (lambda: past_the_rate(server, os.getuid() if uid is None else uid)))
        yield
    finally:
        assert child.stdin is not None
        child.stdin.close()
        await child.wait()


def past_the_rate(server: LinkServer, uid: int) -> bool:
    account = server._admission._accounts.get(uid)
    return account is not None and account.connects.wait_s(slowly()) > 0


NESTED: Any = None
for _ in range(400):
    NESTED = {"a": NESTED}
DEEP = b"\x84\xa4type\xa7request\xa2id\x01\xa6method\xa6status\xa6params\x81\xa1x" + b"\x81\xa1a" * 100_000 + b"\xc0"
KINDS = {
    "close": b"",
    "ask": encode(Hello(rate_hz=0)) + encode(Request(1, "status")) * 300,
    "order": encode(Hello(rate_hz=0)) + encode(Request(1, "order.set", {"kind": "hold", "reason": "f"})) * 300,
    "garbage": encode(Hello(rate_hz=0)) + b"\x00\x00\x00\x04\xc1\xc1\xc1\xc1",
    "broken": encode(Hello(rate_hz=0)) + encode(Request(1, "broken")),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_stop_passes_through_a_flood_of_its_own_user(
    link: LinkServer, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Both of two stops on connections of their own, as the command line makes them; the log stays short."""
    what = "read" if kind in ("ask", "order", "broken") else kind
    async with flooded(link, what, KINDS[kind]):
        for _ in range(2):
            assert await asyncio.to_thread(ask, link.path, "stop", timeout_s=LIMIT_S) == "stop"
    lines = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert len(lines) <= 8, [r.getMessage() for r in lines]
    assert sum(r.exc_info is not None for r in lines) <= 1


async def test_five_hundred_clients_connect_in_turn(link: LinkServer) -> None:
    """All of them at once, as impatient as a socket can be; each then says hello and is welcomed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))  # both ends are in this process
    clients = []
    for _ in range(500):
        sock = socket.socket(socket.AF_UNIX)
        sock.setblocking(False)
        sock.connect(str(link.path))  # raises BlockingIOError where the queue is full
        sock.send(encode(Hello(rate_hz=0)))
        clients.append(sock)
    await until(lambda: len(link.consoles.sessions) == 500)
    assert await asyncio.to_thread(ask, link.path, "stop") == "stop"
    for sock in clients:
        sock.close()
    await until(lambda: not link.consoles.sessions)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_requests_beyond_the_rate_are_refused_by_name(
    tmp_path: Path, welcome: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A burst, three requests too many, and a stop, on one connection and within one instant of the limits' clock."""
    link = LinkServer(tmp_path / "s.sock", welcome, answered, urgent=urgent, clock=lambda: 0.0)
    await link.start()
    client = await GatewayClient.connect(link.path, rate_hz=0)
    asked = ["status"] * 203 + ["stop"]
    found = await asyncio.gather(*map(client.request, asked), return_exceptions=True)
    refused = [e for e in found if isinstance(e, RequestFailed)]
    assert found[-1] == "stop"
    assert [(e.code, str(e)) for e in refused] == [
        ("busy", "status: more than 50 requests a second of this user; ask again in 0.5 s")
    ] * 3
    assert len([r for r in caplog.records if "refused to" in r.getMessage()]) == 1
    await client.close()
    await link.close()


async def test_a_stop_does_not_wait_behind_refusals(
    tmp_path: Path, welcome: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """300 refused requests before it on the same connection; what is refused is never done after it."""
    monkeypatch.setattr(module, "REFUSAL_GAP_S", 3600.0)
    done = list[str]()

    async def note(peer: Any, request: Request) -> str:
        done.append(request.method)
        return request.method

    link = LinkServer(tmp_path / "s.sock", welcome, note, urgent=urgent, clock=lambda: 0.0)
    await link.start()
    client = await GatewayClient.connect(link.path, rate_hz=0)
    async with asyncio.timeout(LIMIT_S):
        asked = ["status"] * 500 + ["stop", "status"]
        found = await asyncio.gather(*map(client.request, asked), return_exceptions=True)
    assert (done.count("status"), done[-1]) == (200, "stop")
    assert sum(isinstance(answer, RequestFailed) and answer.code == "busy" for answer in found) == 301
    await client.close()
    await link.close()


async def test_a_console_too_many_is_told_so(link: LinkServer) -> None:
    consoles = [await GatewayClient.connect(link.path) for _ in range(32)]
    with pytest.raises(Exception, match="32 consoles open, at most 32 are allowed; close one"):
        await GatewayClient.connect(link.path)
    await consoles.pop().close()
    await until(lambda: link.consoles.count == 31)
    consoles.append(await GatewayClient.connect(link.path))
    for console in consoles:
        await console.close()


@pytest.mark.parametrize("body", [DEEP, msgspec.msgpack.encode(Request(1, "echo", NESTED)), b"\x91" * 900_000])
async def test_nesting_without_end_is_dropped_in_one_line(
    link: LinkServer, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(5):
        reader, writer = await asyncio.open_unix_connection(str(link.path))
        writer.write(encode(Hello(rate_hz=0)) + len(body).to_bytes(4, "big") + body)
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(LIMIT_S):
                await reader.read()
        writer.close()
    await until(lambda: not link._connections)
    assert [(r.levelno, r.exc_info) for r in caplog.records if r.levelno > logging.DEBUG] == [(logging.WARNING, None)]
    await link.close()
    assert "(the last of 4 more of this kind in " in caplog.records[-1].getMessage()


async def test_a_flood_leaves_the_event_loop_its_time(tmp_path: Path, welcome: Any) -> None:
    """At most 60 % of the time of the event loop's thread go to a flood, once a burst is spent.

    Processor time against elapsed time: what other programs take makes the share smaller, never larger.
    """
    peers = list[Any]()

    def counted(peer: Any) -> Any:
        peers.append(peer)
        return welcome(peer)

    limits = LinkLimits(connects_burst=20.0)
    link = LinkServer(tmp_path / "s.sock", counted, answered, urgent=urgent, limits=limits)
    await link.start()
    async with flooded(link, "read", KINDS["ask"], begun=lambda: len(peers) > 3 * limits.connects_burst):
        started_s, used_s = time.monotonic(), time.thread_time()
        await asyncio.sleep(1.0)
        share = (time.thread_time() - used_s) / (time.monotonic() - started_s)
    assert share <= 0.6
    await link.close()


async def test_no_descriptor_left_is_one_line_and_passes(link: LinkServer, caplog: pytest.LogCaptureFixture) -> None:
    taken = []
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 20, hard))
    client = socket.socket(socket.AF_UNIX)
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(client.fileno()))
        client.connect(str(link.path))
        await until(lambda: "a client cannot be accepted" in caplog.text)
    finally:
        for handle in taken:
            os.close(handle)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    await until(lambda: len(link._connections) == 1)
    client.close()
    assert caplog.text.count("a client cannot be accepted") == 1


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else to try it")
async def test_another_users_flood_takes_nothing_from_this_one(welcome: Any) -> None:
    """`nobody` floods; root's queries, not only its stops, are all answered."""
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        os.chmod(directory, 0o755)
        link = LinkServer(Path(directory) / "s.sock", welcome, answered, urgent=urgent, clock=slowly)
        await link.start()
        link.path.chmod(0o666)

        def ask_much() -> list[Any]:
            with Conversation(link.path) as conversation:
                return [conversation.request("status") for _ in range(50)]

        async with flooded(link, "read", KINDS["ask"], uid=65534):
            assert await asyncio.to_thread(ask_much) == ["status"] * 50
        await link.close()
