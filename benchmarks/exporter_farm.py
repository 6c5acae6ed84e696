"""Many nodes' exporters on one port of loopback: `python -m benchmarks.exporter_farm`; prints its port, ends by stdin.

GET /host/NAME is a page of node_exporter, /gpu/NAME one of dcgm-exporter with 8 GPUs. Of a hundred names five never
answer and one sends 50 MB, or what is no page, in turn.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import time
from functools import lru_cache

GPUS = 8
CPUS = 32
COLLECT_S = 30.0  # dcgm-exporter's own default, each node at another time
LARGE = 50_000_000
GARBAGE = b"x" * 300_000  # all that is sent of a large one: whoever reads it to its end waits for ever
DCGM = (
    "SM_CLOCK", "MEM_CLOCK", "MEMORY_TEMP", "GPU_TEMP", "POWER_USAGE", "TOTAL_ENERGY_CONSUMPTION",
    "PCIE_REPLAY_COUNTER", "GPU_UTIL", "MEM_COPY_UTIL", "ENC_UTIL", "DEC_UTIL", "XID_ERRORS", "FB_FREE", "FB_USED",
    "NVLINK_BANDWIDTH_TOTAL", "VGPU_LICENSE_STATUS", "UNCORRECTABLE_REMAPPED_ROWS", "CORRECTABLE_REMAPPED_ROWS",
    "ROW_REMAP_FAILURE",
)  # fmt: skip


def number_of(name: str) -> int:
    """The digits in a name, as a number."""
    return int("".join(c for c in name if c.isdigit()) or 0)


@lru_cache(2000)
def gpu_page(name: str, collected: int = 0) -> bytes:
    """As dcgm-exporter writes it, 35 kB. `collected`: how many times it has; its figures stand still in between."""
    lines = []
    for field in DCGM:
        lines += [f"# HELP DCGM_FI_DEV_{field} Of its list.", f"# TYPE DCGM_FI_DEV_{field} gauge"]
        for n in range(GPUS):
            uuid = f"GPU-{number_of(name):08d}-f55a-92a8-aa39-{n:012d}"
            labels = f'gpu="{n}",UUID="{uuid}",pci_bus_id="00000000:{n:02X}:00.0",device="nvidia{n}"'
            model = f'modelName="NVIDIA H100 80GB HBM3",Hostname="{name}",DCGM_FI_DRIVER_VERSION="580.105.08"'
            lines.append(f"DCGM_FI_DEV_{field}{{{labels},{model}}} {60 + n + collected % 7}")
    return "\n".join(lines).encode() + b"\n"


def host_page(name: str, collected: bool) -> bytes:
    """As node_exporter writes it: 6 kB of the wanted collectors; 60 kB without `collect[]`."""
    now_s = time.monotonic()
    lines = [
        f'node_uname_info{{domainname="(none)",machine="x86_64",nodename="{name}",sysname="Linux"}} 1',
        "node_memory_MemTotal_bytes 5.4e+11",
        "node_memory_MemAvailable_bytes 2.7e+11",
    ]
    for n in range(2):
        path = f"/sys/class/powercap/intel-rapl:{n}"
        lines.append(f'node_rapl_package_joules_total{{index="{n}",path="{path}"}} {now_s * 150:.3f}')
    for cpu in range(CPUS):
        for mode in ("idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user"):
            lines.append(f'node_cpu_seconds_total{{cpu="{cpu}",mode="{mode}"}} {now_s * 0.4:.2f}')
    if not collected:
        lines += [f'node_filesystem_files{{device="/dev/sd{n}",mountpoint="/srv/{n}"}} {n}' for n in range(900)]
    return "\n".join(lines).encode() + b"\n"


class Exporter(asyncio.Protocol):
    """One connection, kept open."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport, self._heard = transport, b""

    def data_received(self, data: bytes) -> None:
        self._heard += data
        while b"\r\n\r\n" in self._heard:
            head, _, self._heard = self._heard.partition(b"\r\n\r\n")
            self._answer(head.split(b" ", 2)[1].decode())

    def _answer(self, target: str) -> None:
        path, _, query = target.partition("?")
        _, kind, name = path.replace(".", "-").split("/")  # a host name is cut at a dot
        number = number_of(name) % 100
        if number < 5:
            return  # it hangs
        if number == 5:
            body = GARBAGE
        else:
            collected = int((time.monotonic() + number_of(name)) / COLLECT_S)
            body = gpu_page(name, collected) if kind == "gpu" else host_page(name, "collect" in query)
        length = LARGE if number == 5 and number_of(name) // 1000 % 2 else len(body)
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {length}\r\n\r\n"
        self._transport.write(head.encode() + body)


def address(number: int) -> str:
    """Of the node with this number, counted from 0: each has an address of its own, as on a site."""
    return f"127.0.{1 + number // 100}.{100 + number % 100}"


async def serve(nodes: int) -> None:
    """Until the end of stdin."""
    loop, port = asyncio.get_running_loop(), 0
    servers = []
    for number in range(nodes):
        servers.append(await loop.create_server(Exporter, address(number), port, backlog=16))
        port = servers[0].sockets[0].getsockname()[1]
    print(port, flush=True)
    ended = asyncio.Event()
    loop.add_reader(sys.stdin, ended.set)
    await ended.wait()
    for server in servers:
        server.close()


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    asyncio.run(serve(int(sys.argv[1])))
