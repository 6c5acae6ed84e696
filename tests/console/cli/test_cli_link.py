"""`skerry link --stdio` as a process of its own, with a console's client on its pipes, as SSH would have it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import warm_start
from harness import until
from small_gateway import Running, running
from waiting import LIMIT_S

from gateway import exit_codes
from gateway.api.client import GatewayClient
from gateway.api.peer import user_name
from gateway.api.protocol import VERSION
from gateway.errors import RequestFailed

PIPE = Path("pipe")


@pytest.fixture
def place() -> Iterator[Path]:
    """A short path: sockets live in it."""
    with tempfile.TemporaryDirectory(prefix="sk", dir="/tmp") as name:
        yield Path(name)


@contextlib.asynccontextmanager
async def bridge(socket: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """`skerry link --stdio` on a gateway's socket."""
    pipe = asyncio.subprocess.PIPE
    command = ["link", "--stdio", "--site", str(socket)]
    process = await warm_start.start(command, os.environ, stdin=pipe, stdout=pipe, stderr=pipe)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        process._transport.close()  # type: ignore[attr-defined]


async def attached(process: asyncio.subprocess.Process) -> GatewayClient:
    """A console's client, on the pipes."""
    assert process.stdout is not None
    assert process.stdin is not None
    return await GatewayClient.over(process.stdout, process.stdin, PIPE, 10.0)


async def ended(process: asyncio.subprocess.Process) -> tuple[int, str]:
    """Exit code and stderr."""
    assert process.stderr is not None
    said = await asyncio.wait_for(process.stderr.read(), LIMIT_S)
    return await asyncio.wait_for(process.wait(), LIMIT_S), said.decode()


@pytest.fixture
async def there(place: Path) -> AsyncIterator[Running]:
    async with running(place, place / "s.sock") as gateway:
        yield gateway


async def test_a_console_works_over_it_as_the_user_it_runs_as(there: Running) -> None:
    async with bridge(there.socket) as process:
        client = await attached(process)
        assert (client.welcome.version, client.welcome.user) == (VERSION, user_name(os.getuid()))
        first = await until(client, lambda p: p.decision.battery_w is not None)
        later = await until(client, lambda p: p.snapshot.seq > first.snapshot.seq + 5)
        assert later.snapshot.grid.w.good is not None
        answer = await client.request("order.set", kind="hold", reason="over a pipe")
        assert (await until(client, lambda p: bool(p.orders))).orders[0].id == answer["order"]["id"]
        (row,) = [r for r in await client.request("audit") if r.get("order") == answer["order"]["id"]]
        assert (row["pid"], row["uid"]) == (process.pid, os.getuid()), "the kernel says who connected"
        await client.close()
        assert await ended(process) == (exit_codes.OK, "")
        async with asyncio.timeout(LIMIT_S):
            while there.gateway.link.consoles.count:
                await there.gateway.loop.next_tick()


async def test_many_bytes_both_ways(there: Running) -> None:
    """Frames of many sizes, more of them than any pipe holds."""
    async with bridge(there.socket) as process:
        client = await attached(process)
        texts = ["x" * size for size in (1, 1000, 60_000, 65_536, 200_000, 900_000)]
        for text in texts:
            with pytest.raises(RequestFailed, match=r"unknown: x+"):
                await client.request("order.preview", **{text: 1})
        await client.close()
        assert (await ended(process))[0] == exit_codes.OK


async def test_a_gateway_that_goes_away_ends_it(place: Path) -> None:
    async with contextlib.AsyncExitStack() as gateway:
        there = await gateway.enter_async_context(running(place, place / "s.sock"))
        async with bridge(there.socket) as process:
            client = await attached(process)
            await gateway.aclose()
            async for _ in client.messages():
                pass
            assert client.lost == f"{PIPE}: the gateway closed the connection"
            said = f"skerry: {there.socket}: the gateway closed the connection\n"
            assert await ended(process) == (exit_codes.NO_GATEWAY, said)
            await client.close()


async def test_without_a_gateway_nothing_is_written_to_stdout(place: Path) -> None:
    async with bridge(place / "none.sock") as process:
        assert process.stdout is not None
        code, said = await ended(process)
        assert (code, await process.stdout.read()) == (exit_codes.NO_GATEWAY, b"")
        assert "no gateway is running for this site" in said
