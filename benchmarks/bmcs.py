"""What reading BMCs by Redfish costs: `python -m benchmarks.bmcs`.

The drivers of so many nodes are asked every 10 s, as the gateway asks them, and read their BMCs every 30 s over TLS.
The BMCs (benchmarks/bmc_farm.py) are a process of their own and close each connection: every request is a handshake.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.figures import Figure, main
from drivers.config import IoConfig
from drivers.devices import Driver, make_drivers
from drivers.node_config import NodeDevice
from drivers.redfish.config import BmcDefaults

ASKED_S = 10.0


def measure(bmcs: int = 64, seconds: float = 60.0) -> list[Figure]:
    """`seconds`: measured, after each BMC was read once."""
    command = (sys.executable, "-m", "benchmarks.bmc_farm", str(bmcs))
    with (
        tempfile.TemporaryDirectory() as directory,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as farm,
    ):
        assert farm.stdout is not None
        assert farm.stdin is not None
        port, fingerprint = farm.stdout.readline().split()
        password = Path(directory, "password")
        password.touch(0o600)
        password.write_text("secret\n", encoding="ascii")
        nodes = [
            NodeDevice(id=f"n{n}", source="redfish", bmc=f"https://127.0.0.{n}:{port}", bmc_fingerprint=fingerprint)
            for n in range(1, bmcs + 1)
        ]
        figures = asyncio.run(_costs(nodes, Path(directory), seconds))
        farm.stdin.close()
    return figures


async def _costs(nodes: list[NodeDevice], directory: Path, seconds: float) -> list[Figure]:
    account = BmcDefaults(id="b", user="reader", password_file="password")
    drivers = make_drivers(
        [], [], [], [], nodes, IoConfig(), lambda *_: ("", 0, 0), beside=directory / "site.toml", bmcs=[account]
    )
    began_s = time.process_time()
    await asyncio.gather(*(driver.read() for driver in drivers))
    first_s = time.process_time() - began_s
    used_s, began_s = time.process_time(), time.monotonic()
    while (passed_s := time.monotonic() - began_s) < seconds:
        await asyncio.gather(*(_asked(driver) for driver in drivers))
        await asyncio.sleep(min(ASKED_S, max(seconds - passed_s, 0.01)))
    cpu_pct = 100 * (time.process_time() - used_s) / (time.monotonic() - began_s)
    for driver in drivers:
        await driver.close()
    return [
        Figure(f"CPU of {len(nodes)} BMCs every 30 s", cpu_pct, "% of a core"),
        Figure("CPU of the first reading of one: login, discovery, 7 requests", 1000 * first_s / len(nodes), "ms"),
    ]


async def _asked(driver: Driver) -> None:
    await driver.read()


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bmcs", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60.0)


if __name__ == "__main__":
    main(__doc__, _options, measure)
