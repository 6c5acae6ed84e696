"""The twin's compute nodes as a cluster has them: pages of node_exporter and dcgm-exporter, over HTTP on loopback.

GET /host/NAME and /gpu/NAME, where the digits in NAME are the node's number, from 1. A node's power is shared out to
its host and its GPUs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from drivers.twin.load import TwinNode

HOST_SHARE = 0.2  # of a node's power; the GPUs share the rest
REST_SHARE = 0.3  # of the power of a GPU in use that one has that is not
MOST_REQUEST_BYTES = 8192


class TwinExporters:
    """Serves the pages of all nodes. The energy counters go on by the machine's time, as those of real hosts do."""

    def __init__(self, nodes: Sequence[TwinNode], clock: Callable[[], float] = time.monotonic) -> None:
        self._nodes, self._clock = nodes, clock
        self._joules = [0.0] * len(nodes)
        self._idle_s = [0.0] * len(nodes)
        self._seen_s = [clock()] * len(nodes)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def start(self, port: int) -> int:
        """Listen on loopback; the port. 0: one that is free. Raises OSError."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, limit=MOST_REQUEST_BYTES)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """End every connection."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._open):
            writer.transport.abort()

    def page(self, target: str) -> str | None:
        """What is served there; None: nothing."""
        _, _, path = target.partition("?")[0].partition("/")
        kind, _, name = path.partition("/")
        digits = "".join(c for c in name if c in "0123456789")[:6]
        number = int(digits or 0) - 1
        if kind not in ("host", "gpu") or not 0 <= number < len(self._nodes):
            return None
        return self._host(name, number) if kind == "host" else gpu_page(name, self._nodes[number])

    def _host(self, name: str, number: int) -> str:
        node, now_s = self._nodes[number], self._clock()
        passed_s, self._seen_s[number] = now_s - self._seen_s[number], now_s
        self._joules[number] += HOST_SHARE * node.w * passed_s
        self._idle_s[number] += (1 - (node.cpu_pct or 0.0) / 100) * passed_s
        free = 1 - (node.memory_pct or 0.0) / 100
        lines = (
            f'node_uname_info{{machine="x86_64",nodename="{name}",sysname="Linux"}} 1',
            f'node_rapl_package_joules_total{{index="0",path="rapl:0"}} {self._joules[number]:.6f}',
            f'node_cpu_seconds_total{{cpu="0",mode="idle"}} {self._idle_s[number]:.4f}',
            "node_memory_MemTotal_bytes 5.4e+11",
            f"node_memory_MemAvailable_bytes {free * 5.4e11:.0f}",
        )
        return "\n".join(lines) + "\n"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                writer.write(self._answer(head))
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
            pass  # whoever asked has gone, or asks for too much
        finally:
            self._open.discard(writer)
            writer.transport.abort()

    def _answer(self, head: bytes) -> bytes:
        words = head.split(b" ", 2)
        page = self.page(words[1].decode("ascii", errors="replace")) if len(words) == 3 else None
        body = (page or "").encode()
        status = "200 OK" if page is not None else "404 Not Found"
        lines = (f"HTTP/1.1 {status}", "Content-Type: text/plain; version=0.0.4", f"Content-Length: {len(body)}")
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def gpu_page(name: str, node: TwinNode) -> str:
    """As dcgm-exporter writes it: power, use and temperature of each GPU. Those in use draw most."""
    count, busy = node.gpus_total, node.gpus_busy or 0
    shares = [1.0 if n < busy else REST_SHARE for n in range(count)]
    lines = []
    for n, share in enumerate(shares):
        w = (1 - HOST_SHARE) * node.w * share / sum(shares)
        of = f'gpu="{n}",UUID="GPU-twin-{name}-{n}",device="nvidia{n}",modelName="Twin GPU",Hostname="{name}"'
        lines += [
            f"DCGM_FI_DEV_POWER_USAGE{{{of}}} {w:.3f}",
            f"DCGM_FI_DEV_GPU_UTIL{{{of}}} {97 if n < busy else 0}",
            f"DCGM_FI_DEV_GPU_TEMP{{{of}}} {62 if n < busy else 34}",
        ]
    return "\n".join(lines) + "\n"
