"""How long a change at a compute node takes to a console: `python -m benchmarks.node_changes`.

Nodes of 8 GPUs are read every second. The power of all GPUs changes at once, again and again; what is measured is the
time until a message to a console that asks for one a second has the new power of a node.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator

from benchmarks.exporter_farm import GPUS, Exporter, address
from benchmarks.figures import Figure, main, quantile
from benchmarks.plant import Plant, running
from gateway.api.client import GatewayClient
from gateway.api.protocol import Published

EVERY_S = 5.3  # between two changes: no multiple of the periods of nodes, ticks and console
SETTLE_S = 12.0
GOAL_S = 2.0


class Power:
    """What all GPUs draw, and since when."""

    def __init__(self) -> None:
        self.w, self.since_s = 300.0, time.monotonic()

    def change(self) -> None:
        """By one watt."""
        self.w, self.since_s = self.w + 1, time.monotonic()


def measure(nodes: int = 64, changes: int = 20) -> list[Figure]:
    """Of so many changes, each seen at every node."""
    power = Power()
    with _served(power, nodes) as port:
        group = {
            "names": [address(number) for number in range(nodes)],
            "source": "exporters",
            "exporters": [f"http://{{name}}:{port}/gpu/{{name}}"],
            "period_s": 1,
        }
        with running({"gateway": {"rate_hz": 5}, "plan": {"enabled": False}, "nodes": [group]}) as plant:
            took_s = asyncio.run(_watch(plant, power, nodes, changes))
    return [
        Figure(f"change at a node to a console's message, {len(took_s)} of them: p50", quantile(took_s, 0.5), "s"),
        Figure("p99", quantile(took_s, 0.99), "s"),
        Figure("longest", max(took_s), "s", GOAL_S),
        Figure("changes not seen before the next", nodes * changes - len(took_s), ""),
    ]


async def _watch(plant: Plant, power: Power, nodes: int, changes: int) -> list[float]:
    client = await GatewayClient.connect(plant.socket_path())
    took_s: list[float] = []
    waiting: set[str] = set()
    over_s = time.monotonic() + SETTLE_S
    async for message in client.messages():
        now_s = time.monotonic()
        if not isinstance(message, Published):
            continue
        seen = {node.id for node in message.snapshot.nodes if any(gpu.w.value == power.w for gpu in node.gpus)}
        took_s += [now_s - power.since_s] * len(waiting & seen)
        waiting -= seen
        if now_s < over_s:
            continue
        if changes == 0:
            break
        over_s, changes = now_s + EVERY_S, changes - 1
        waiting = {node.id for node in message.snapshot.nodes if node.gpus}
        asyncio.get_running_loop().call_later(EVERY_S * changes % 1, power.change)  # at any time between two messages
    await client.close()
    return took_s


@contextlib.contextmanager
def _served(power: Power, nodes: int) -> Iterator[int]:
    """The pages, by a thread of their own; the port."""

    class Page(Exporter):
        def _answer(self, target: str) -> None:
            name = target.rpartition("/")[2]
            lines = [f'DCGM_FI_DEV_POWER_USAGE{{gpu="{n}",UUID="GPU-{name}-{n}"}} {power.w}' for n in range(GPUS)]
            body = "\n".join(lines) + "\n"
            head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {len(body)}\r\n\r\n"
            self._transport.write((head + body).encode())

    loop, ports = asyncio.new_event_loop(), list[int]()

    async def begin() -> None:
        for number in range(nodes):
            server = await loop.create_server(Page, address(number), ports[0] if ports else 0)
            ports.append(server.sockets[0].getsockname()[1])

    loop.run_until_complete(begin())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--nodes", type=int, default=64)
    parser.add_argument("--changes", type=int, default=20)


if __name__ == "__main__":
    main(__doc__, _options, measure)
