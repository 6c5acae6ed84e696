"""How punctual the tick is: 10 Hz with ten consoles attached, one of which never reads.

Beside it, how late a bare timer wakes on the same machine in the same minutes: what no program there can better.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figures import Figure, main, quantile
from benchmarks.plant import running
from gateway.api.client import GatewayClient
from gateway.api.frames import encode
from gateway.api.protocol import Hello, LoopStats, Published

RATE_HZ = 10
READING = 9
BARE = f"""
import select, sys, time
due, late = time.monotonic(), []
while not select.select([sys.stdin], [], [], max(0.0, due - time.monotonic()))[0]:
    late.append(1000 * (time.monotonic() - due))
    due += 1 / {RATE_HZ}
print(*late)
"""
GONE = select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0)


def measure(ticks: int = 10_000) -> list[Figure]:
    """Lateness over the last 10 000 ticks as the gateway records it: decision begun minus meter poll due."""
    with running({"gateway": {"rate_hz": RATE_HZ}, "io": {"deadline_s": 0.04}}) as plant:
        priority = plant.gateway.nice()
        with _bare_timer(priority) as bare_ms:
            stats = asyncio.run(_watch(plant.socket_path(), ticks))
    return [
        Figure("a bare timer at 10 Hz at the same time, late p99.9", quantile(bare_ms, 0.999), "ms"),
        Figure("a bare timer, worst", max(bare_ms), "ms"),
        Figure(f"tick lateness p50, {stats.ticks} ticks at 10 Hz, 10 consoles", stats.lateness_p50_ms, "ms"),
        Figure(f"tick lateness p99.9, one console not reading, nice {priority}", stats.lateness_p999_ms, "ms", goal=10),
        Figure("tick lateness, worst", stats.lateness_max_ms, "ms"),
        Figure("ticks left out (overruns)", stats.overruns, "ticks"),
    ]


@contextlib.contextmanager
def _bare_timer(priority: int) -> Iterator[list[float]]:
    """A process that only sleeps from one due time to the next; its lateness, ms, is in the list at the end."""
    late_ms: list[float] = []
    timer = subprocess.Popen(
        ["nice", "-n", str(priority), sys.executable, "-c", BARE], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        yield late_ms
    finally:
        late_ms += map(float, timer.communicate()[0].split())


async def _watch(path: Path, ticks: int) -> LoopStats:
    """Attach everyone, stay until the gateway has made `ticks` ticks since, and return what it recorded last."""
    clients = [await GatewayClient.connect(path, rate_hz=1.0) for _ in range(READING)]
    over = threading.Event()
    stalled = asyncio.create_task(asyncio.to_thread(never_read, path, over))
    readers = [asyncio.create_task(_follow(client, ticks)) for client in clients]
    try:
        return (await asyncio.gather(*readers))[0]
    finally:
        over.set()
        await stalled
        for client in clients:
            await client.close()


async def _follow(client: GatewayClient, ticks: int) -> LoopStats:
    async for message in client.messages():
        if isinstance(message, Published) and message.loop.ticks >= ticks:
            return message.loop
    raise RuntimeError(f"the link was lost before {ticks} ticks: {client.lost}")


def never_read(path: Path, over: threading.Event) -> None:
    """A console that says hello and then hangs; the gateway may throw it out, then the next one comes."""
    while not over.is_set():
        with socket.socket(socket.AF_UNIX) as link:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            link.connect(str(path))
            link.sendall(encode(Hello(rate_hz=10.0)))
            poll = select.poll()
            poll.register(link, GONE)
            while not over.wait(0.2):
                if poll.poll(0):
                    print("the console that does not read was dropped; another one takes its place", file=sys.stderr)
                    break


def options(parser: argparse.ArgumentParser) -> None:
    """Command line of this benchmark."""
    parser.add_argument("--ticks", type=int, default=10_000, help="10 000 take 17 minutes")


if __name__ == "__main__":
    main(__doc__ or "", options, measure)
