"""The link over real Unix sockets: what is sent, what a bad client gets, and that nobody else notices."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import pwd
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from waiting import LIMIT_S, until

from dispatch.model.events import Event
from dispatch.model.plan import Plan
from gateway.api.ask import Conversation, ask
from gateway.api.client import GatewayClient
from gateway.api.frames import MAX_FRAME, encode
from gateway.api.peer import Peer, user_name
from gateway.api.protocol import VERSION, EventMessage, Hello, PlanMessage, Published, Request, Response, Welcome
from gateway.api.server import LinkServer
from gateway.api.session import Session
from gateway.api.socket_file import claim, release
from gateway.errors import LinkLost, RequestFailed, SocketInUse

ROOT = Path(__file__).parents[3]
Make = Callable[[int], Published]
PLAN = Plan(0.0, 900, (), 30_000.0, 1.0, 2.0)
EVENT = Event(1.0, "device", "warning", "grid", "lost")


async def some(client: GatewayClient, count: int) -> list[Any]:
    """The next messages."""
    found: list[Any] = []
    async with asyncio.timeout(LIMIT_S):
        async for message in client.messages():
            found.append(message)
            if len(found) == count:
                break
    return found


async def raw(server: LinkServer) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_unix_connection(str(server.path))


async def ended(reader: asyncio.StreamReader) -> bytes:
    """What came until the server hung up."""
    async with asyncio.timeout(LIMIT_S):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


async def stalled(server: LinkServer, rate_hz: float = 50.0) -> socket.socket:
    """A client that said hello and then never reads; its receive buffer is as small as the kernel lets it be."""
    sock = socket.socket(socket.AF_UNIX)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    sock.connect(str(server.path))
    sock.sendall(encode(Hello(rate_hz=rate_hz)))
    before = server.consoles.count
    await until(lambda: server.consoles.count > before)
    return sock


async def test_hello_welcome_plan_snapshot_event_in_order(server: LinkServer, published: Make) -> None:
    server.consoles.set_plan(PLAN)
    server.consoles.publish(published(1))
    client = await GatewayClient.connect(server.path, rate_hz=10)
    assert client.welcome.site == "Test site"
    assert client.welcome.user == user_name(os.getuid())
    # The newest snapshot comes with the welcome: a new console does not wait for a tick.
    assert await some(client, 2) == [PlanMessage(PLAN), published(1)]
    server.consoles.announce(EVENT)
    assert await some(client, 1) == [EventMessage(EVENT)]
    assert server.consoles.count == 1
    await client.close()
    await until(lambda: server.consoles.count == 0)


async def test_requests_of_every_outcome(server: LinkServer, caplog: pytest.LogCaptureFixture) -> None:
    client = await GatewayClient.connect(server.path, rate_hz=0)
    assert await client.request("echo", a=[1, None, "ü"]) == {"a": [1, None, "ü"]}
    assert await client.request("who") == [os.getpid(), os.getuid(), os.getgid(), user_name(os.getuid())]
    with pytest.raises(RequestFailed, match="unknown method 'fly'") as refused:
        await client.request("fly")
    assert refused.value.code == "refused"
    with pytest.raises(RequestFailed, match="the shelf fell down") as failed:
        await client.request("broken")
    assert failed.value.code == "failed"
    assert "Traceback" in caplog.text
    with pytest.raises(RequestFailed, match="exceeds the frame limit"):
        await client.request("big")
    assert await client.request("echo", still="there") == {"still": "there"}
    assert server.consoles.count == 0  # requests only: not a console
    await client.close()


async def test_many_requests_at_once_are_answered_each(server: LinkServer) -> None:
    client = await GatewayClient.connect(server.path, rate_hz=0)
    answers = await asyncio.gather(*(client.request("echo", n=n) for n in range(100)))
    assert [a["n"] for a in answers] == list(range(100))
    await client.close()


async def test_peer_is_who_the_kernel_says(server: LinkServer) -> None:
    """A process of its own: pid from the kernel; what it says of itself plays no part."""
    code = "import os, sys; from pathlib import Path; from gateway.api.ask import ask\n"
    code += "print(os.getpid(), ask(Path(sys.argv[1]), 'who')[0])"
    command = [sys.executable, "-c", code, str(server.path)]
    child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, cwd=ROOT)
    out, _ = await child.communicate()
    own, seen = out.split()
    assert own == seen
    assert int(own) == child.pid


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else to try it")
async def test_other_user_is_named(welcome: Any) -> None:
    async def handle(peer: Peer, request: Request) -> str:
        return peer.user

    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        os.chmod(directory, 0o755)
        server = LinkServer(Path(directory) / "s.sock", welcome, handle)
        await server.start()
        os.chmod(server.path, 0o666)
        child = os.fork()
        if child == 0:
            try:
                os.setuid(pwd.getpwnam("nobody").pw_uid)
                os._exit(0 if ask(server.path, "who") == "nobody" else 1)
            finally:
                os._exit(2)
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        await server.close()


async def test_wanted_rate_holds(server: LinkServer) -> None:
    """200 Hz of ticks for 1.5 s, 5 Hz wanted, on a clock of the test's own."""
    _, writer = await raw(server)
    session = Session(Peer(1, 0, 0, "somebody"), writer, 5.0, 1.0, VERSION)
    wanted = [n for n in range(300) if session.take_turn(100.0 + n * 0.005)]
    assert 7 <= len(wanted) <= 9
    assert all(30 <= later - earlier <= 50 for earlier, later in pairwise(wanted))
    writer.close()


async def test_each_snapshot_that_arrives_is_the_newest(server: LinkServer, published: Make) -> None:
    """Ticks come faster than the console wants them."""
    slow = await GatewayClient.connect(server.path, rate_hz=20)
    seen: list[tuple[int, int]] = []
    last = 0

    async def read() -> None:
        async for message in slow.messages():
            if isinstance(message, Published):
                seen.append((message.snapshot.seq, last))

    task = asyncio.create_task(read())
    async with asyncio.timeout(LIMIT_S):
        while len(seen) < 6:
            last += 1
            server.consoles.publish(published(last))
            for _ in range(20):  # turns of the loop, in which what was sent arrives
                await asyncio.sleep(0)
    await slow.close()
    await task
    assert last > 2 * len(seen), "it was not sent all of them"
    assert all(newest - got <= 2 for got, newest in seen)


async def test_snapshot_is_made_once_and_only_when_wanted(server: LinkServer, published: Make) -> None:
    made = 0

    def make() -> Published:
        nonlocal made
        made += 1
        return published(made)

    asked = await GatewayClient.connect(server.path, rate_hz=0)
    server.consoles.publish(make)
    assert made == 0  # requests only: nobody wants it
    await asked.close()
    clients = [await GatewayClient.connect(server.path, rate_hz=0.001) for _ in range(3)]
    assert made == 3  # each got the newest with its welcome
    for _ in range(10):
        server.consoles.publish(make)
    assert made == 3  # none is due yet
    eager = [await GatewayClient.connect(server.path, rate_hz=50) for _ in range(3)]
    made = 0
    await asyncio.sleep(0.05)  # by then another is due, on any machine
    server.consoles.publish(make)
    assert made == 1  # encoded once for all three
    for client in (*clients, *eager):
        await client.close()


async def test_client_that_reads_late_gets_only_the_newest(server: LinkServer, published: Make) -> None:
    client = await GatewayClient.connect(server.path, rate_hz=50)
    for n in range(1, 11):
        server.consoles.publish(published(n))
        await asyncio.sleep(0.03)  # by then the next is due, on any machine
    await until(lambda: (newest := client._published) is not None and newest.snapshot.seq == 10)
    got = [m.snapshot.seq for m in await some(client, 2) if isinstance(m, Published)]
    assert got == [10]
    await client.close()


async def test_stalled_client_never_delays_publish_and_is_dropped(
    server: LinkServer, published: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """The other console sees every snapshot; were a write waited for, this one thread would stand still for good."""
    sock = await stalled(server)
    reader = await GatewayClient.connect(server.path, rate_hz=50)
    seen: list[int] = []

    async def read() -> None:
        async for message in reader.messages():
            if isinstance(message, Published):
                seen.append(message.snapshot.seq)

    task = asyncio.create_task(read())
    n = 0
    async with asyncio.timeout(LIMIT_S):
        while server.consoles.count == 2:
            n += 1
            server.consoles.publish(msgspec.structs.replace(published(n), tariff=_long_tariff()))
            await until(lambda n=n: len(seen) == n)
            await asyncio.sleep(0.02)  # by then the next is due, on any machine
    assert "did not read for 0.3 s" in caplog.text
    assert f"pid {os.getpid()} dropped" in caplog.text
    assert seen == list(range(1, n + 1))
    sock.close()
    await reader.close()
    await task


def _long_tariff() -> Any:
    from gateway.api.protocol import TariffNow

    return TariffNow(0.2, tuple((n * 900, 0.2) for n in range(2000)))


async def test_event_queue_overflow_disconnects_only_the_one(tmp_path: Path, welcome: Any, caplog: Any) -> None:
    async def handle(peer: Peer, request: Request) -> None:
        return None

    server = LinkServer(tmp_path / "s.sock", welcome, handle, write_timeout_s=60)
    await server.start()
    sock = await stalled(server)
    good = await GatewayClient.connect(server.path)
    event = msgspec.structs.replace(EVENT, text="x" * 2000)
    received = 0

    async def read() -> None:
        nonlocal received
        async for message in good.messages():
            received += isinstance(message, EventMessage)

    task = asyncio.create_task(read())
    sent = 0
    async with asyncio.timeout(LIMIT_S):
        while server.consoles.count == 2:
            server.consoles.announce(event)
            sent += 1
            await asyncio.sleep(0)
    await until(lambda: received == sent)
    assert sent > 256
    assert "256 events waiting" in caplog.text
    sock.close()
    await server.close()
    await task
    assert good.lost is not None


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "announced a frame of 1195725856 bytes"),
        ((100 << 20).to_bytes(4, "big") + b"x" * 100, "announced a frame of 104857600 bytes"),
        ((4).to_bytes(4, "big") + b"\xc1\xc1\xc1\xc1", "not a message of this protocol"),
        (encode(Request(1, "echo")), "expected a hello first, got a request"),
        (encode(Hello(rate_hz=1.0)) + encode(Hello(rate_hz=1.0)), "said hello twice"),
        (encode(Hello()) + (MAX_FRAME + 1).to_bytes(4, "big"), "announced a frame of 1048577 bytes"),
        (encode(Welcome(1, "x", "UTC", "x", 1, 0.0, 1.0, True, 5.0)), "not a message of this protocol"),
    ],
)
async def test_garbage_drops_that_client_only(
    server: LinkServer, sent: bytes, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    other = await GatewayClient.connect(server.path)
    reader, writer = await raw(server)
    writer.write(sent)
    await ended(reader)
    writer.close()
    assert said in caplog.text
    assert [r.levelno for r in caplog.records if r.name == "skerry.gateway.api"] == [logging.WARNING]
    assert await other.request("echo", a=1) == {"a": 1}
    await other.close()


async def test_unknown_request_field_is_not_ignored(server: LinkServer, caplog: pytest.LogCaptureFixture) -> None:
    reader, writer = await raw(server)
    body = msgspec.msgpack.encode({"type": "request", "id": 1, "method": "echo", "force": True})
    writer.write(encode(Hello(rate_hz=0)) + len(body).to_bytes(4, "big") + body)
    await ended(reader)
    writer.close()
    assert "unknown field `force`" in caplog.text


@pytest.mark.parametrize(
    ("hello", "said"),
    [
        (Hello(rate_hz=1e9), "rate_hz = 1000000000.0: expected 0 to 50"),
        (Hello(rate_hz=float("nan")), "rate_hz = nan"),
        (Hello(rate_hz=-1.0), "rate_hz = -1.0"),
    ],
)
async def test_refused_hello_is_answered(server: LinkServer, hello: Hello, said: str) -> None:
    reader, writer = await raw(server)
    writer.write(encode(hello))
    response = msgspec.msgpack.decode((await ended(reader))[4:], type=Response)
    writer.close()
    assert (response.id, response.ok) == (0, False)
    assert said in response.error


async def test_silence_instead_of_hello_is_dropped_in_time(
    server: LinkServer, caplog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.api.server.HELLO_S", 0.1)
    reader, writer = await raw(server)
    writer.write(encode(Hello())[:-1])  # all but the last byte
    await ended(reader)
    writer.close()
    assert "no hello within 0.1 s" in caplog.text


async def test_half_closed_client_is_let_go(server: LinkServer) -> None:
    reader, writer = await raw(server)
    writer.write(encode(Hello()))
    await until(lambda: server.consoles.count == 1)
    writer.write_eof()
    await until(lambda: server.consoles.count == 0)
    await ended(reader)
    writer.close()


async def test_gateway_gone_ends_messages_and_fails_requests(tmp_path: Path, welcome: Any) -> None:
    begun = asyncio.Event()

    async def handle(peer: Peer, request: Request) -> None:
        begun.set()
        await asyncio.Event().wait()

    server = LinkServer(tmp_path / "s.sock", welcome, handle)
    await server.start()
    client = await GatewayClient.connect(server.path)
    pending = asyncio.create_task(client.request("slow"))
    await begun.wait()
    await server.close()
    with pytest.raises(LinkLost, match="closed the connection"):
        await pending
    async with asyncio.timeout(LIMIT_S):
        assert [m async for m in client.messages() if isinstance(m, Published)] == []
    with pytest.raises(LinkLost):
        await client.request("echo")
    assert not server.path.exists()
    with pytest.raises(LinkLost, match="no gateway listens here"):
        await GatewayClient.connect(server.path)
    await client.close()
    await client.close()


async def test_closing_with_clients_in_every_state_is_quiet(
    tmp_path: Path, welcome: Any, caplog: pytest.LogCaptureFixture
) -> None:
    begun = asyncio.Event()

    async def handle(peer: Peer, request: Request) -> None:
        begun.set()
        await asyncio.Event().wait()

    server = LinkServer(tmp_path / "s.sock", welcome, handle)
    await server.start()
    console = await GatewayClient.connect(server.path)
    _, silent = await raw(server)  # has not said hello
    asking = asyncio.create_task(console.request("slow"))
    await begun.wait()
    await until(lambda: len(server._connections) == 2)
    await server.close()
    await asyncio.sleep(0)
    with pytest.raises(LinkLost):
        await asking
    await console.close()
    silent.close()
    assert [r.getMessage() for r in caplog.records if r.name == "asyncio" or r.levelno >= logging.WARNING] == []
    assert server.consoles.count == 0


async def test_a_command_begun_is_finished_though_its_console_left(tmp_path: Path, welcome: Any) -> None:
    begun, go, finished = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def handle(peer: Peer, request: Request) -> None:
        begun.set()
        await go.wait()
        finished.set()

    server = LinkServer(tmp_path / "s.sock", welcome, handle)
    await server.start()
    client = await GatewayClient.connect(server.path)
    pending = asyncio.create_task(client.request("slow"))
    await begun.wait()
    await client.close()
    with pytest.raises(LinkLost):
        await pending
    await until(lambda: server.consoles.count == 0)
    go.set()
    await asyncio.wait_for(finished.wait(), LIMIT_S)
    await server.close()


async def test_at_most_eight_requests_of_one_client_run_at_once(tmp_path: Path, welcome: Any) -> None:
    running, most, go = 0, 0, asyncio.Event()

    async def handle(peer: Peer, request: Request) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await go.wait()
        running -= 1

    server = LinkServer(tmp_path / "s.sock", welcome, handle)
    await server.start()
    greedy, modest = [await GatewayClient.connect(server.path, rate_hz=0) for _ in range(2)]
    many = [asyncio.create_task(greedy.request("x", n=n)) for n in range(30)]
    await until(lambda: running == 8)
    one = asyncio.create_task(modest.request("x"))
    await until(lambda: running == 9)  # another client's is not held up
    go.set()
    await asyncio.gather(*many, one)
    assert most == 9
    await greedy.close()
    await modest.close()
    await server.close()


async def test_socket_file(server: LinkServer, welcome: Any, tmp_path: Path) -> None:
    async def handle(peer: Peer, request: Request) -> None:
        return None

    assert stat.S_IMODE(server.path.stat().st_mode) == 0o660
    second = LinkServer(server.path, welcome, handle)
    with pytest.raises(SocketInUse, match="already running"):
        await second.start()
    await second.close()  # a server that never started removes nothing
    assert await asyncio.to_thread(ask, server.path, "echo", {"a": 1}) == {"a": 1}

    stale = tmp_path / "stale.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(stale))
    third = LinkServer(stale, welcome, handle)
    await third.start()
    link = await asyncio.to_thread(Conversation, stale)
    assert link.welcome.site == "Test site"
    link.close()
    # Somebody replaced the file: it is theirs now and stays.
    stale.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(stale))
        await third.close()
        assert stale.exists()

    plain = tmp_path / "plain.sock"
    plain.write_text("not a socket")
    with pytest.raises(FileExistsError, match="expected a socket here"):
        await LinkServer(plain, welcome, handle).start()
    assert plain.read_text() == "not a socket"
    with pytest.raises(OSError, match="must stay below 100 bytes"):
        await LinkServer(tmp_path / ("x" * 120), welcome, handle).start()


def test_whoever_locks_the_directory_of_the_socket_keeps_no_gateway_from_starting(tmp_path: Path) -> None:
    """Found: any user who may read /run/skerry could hold its lock, and no gateway started any more."""
    handle = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    listener, inode = claim(tmp_path / "s.sock")
    release(tmp_path / "s.sock", inode)
    listener.close()
    os.close(handle)
    assert not (tmp_path / "s.sock").exists()


async def test_ask_fails_in_words(server: LinkServer, tmp_path: Path) -> None:
    with pytest.raises(RequestFailed, match="unknown method"):
        await asyncio.to_thread(ask, server.path, "fly")
    with pytest.raises(LinkLost, match=r"no gateway listens here; start one with: skerry serve"):
        ask(tmp_path / "nothing.sock", "status")
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(tmp_path / "mute.sock"))
        mute.listen()
        with pytest.raises(LinkLost, match="does not answer"):
            await asyncio.to_thread(ask, tmp_path / "mute.sock", "status", None, 0.2)


def test_the_link_loads_nothing_heavy() -> None:
    """An attached console and a short command must start fast."""
    heavy = ("numpy", "highspy", "pymodbus", "sqlite_utils", "textual", "rich", "click")
    code = f"import sys, gateway.api.client, gateway.site.paths; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
    code = "import sys, gateway.api.ask, gateway.site.paths; print('asyncio' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"
