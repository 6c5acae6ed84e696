"""A site on the wire for tests: a twin process and a gateway process, real sockets, real files."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import warm_start
from waiting import LIMIT_S

from gateway.api.client import GatewayClient
from gateway.api.protocol import Published
from gateway.errors import LinkLost
from gateway.site import paths

STALE_AFTER_S = 1.5  # a busy machine answers late; the next answer is in time


def site_text(peak_w: float = 30_000, extra: str = "", revert_s: float = 60, twin: str = "") -> str:
    """A small twin site: battery 100 kWh / 60 kW, meter, load meter, PV, switch, two nodes. Flat load unless told."""
    return f"""
[site]
name = "Wire test"
[gateway]
rate_hz = 5
[grid]
fuse_a = 160
contracted_peak_w = {peak_w}
export_limit_w = 50000
meter_delay_max_s = 0.6
[io]
deadline_s = 0.09
stale_after_s = {STALE_AFTER_S}
[[battery]]
id = "bat1"
energy_kwh = 100
[[pcs]]
id = "pcs1"
battery = "bat1"
charge_w = 60000
discharge_w = 60000
revert_s = {revert_s}
url = "twin"
[[meter]]
id = "grid"
url = "twin"
[[meter]]
id = "load"
role = "load"
url = "twin"
[[pv]]
id = "pv1"
peak_w = 20000
url = "twin"
[[switch]]
id = "pcc"
url = "twin"
[[node]]
id = "gpu-01"
source = "modbus"
unit = 1
[twin]
host_node = false
{twin}
{extra}
"""


@dataclass
class Site:
    """Where a test's site lives, and the processes that run it."""

    directory: Path
    path: Path
    environment: dict[str, str]
    processes: list[asyncio.subprocess.Process] = field(default_factory=list)
    clients: list[GatewayClient] = field(default_factory=list)

    @property
    def state_dir(self) -> Path:
        return self.directory / "state"

    @property
    def announce(self) -> Path:
        return self.directory / "twin.json"

    async def run(self, *arguments: str, **options: Any) -> asyncio.subprocess.Process:
        """Start `skerry ARGUMENTS` in a session of its own."""
        pipe = asyncio.subprocess.PIPE
        settings: dict[str, Any] = {"stdin": pipe, "stdout": pipe, "stderr": pipe, "start_new_session": True} | options
        process = await warm_start.start(arguments, self.environment, **settings)
        self.processes.append(process)
        return process

    async def twin(self) -> dict[str, Any]:
        """Start the twin alone; its announcement."""
        process = await self.run("twin", str(self.path), "--announce", str(self.announce))
        assert process.stdout is not None
        return json.loads(await asyncio.wait_for(process.stdout.readline(), LIMIT_S))

    async def gateway(self, *options: str) -> asyncio.subprocess.Process:
        """Start a gateway on the twin that runs."""
        return await self.run(
            "serve", str(self.path), "--twin", str(self.announce), "--state-dir", str(self.state_dir), *options
        )

    async def client(self, rate_hz: float = 10.0) -> GatewayClient:
        """Connect to the gateway as soon as it listens."""
        socket = paths.socket_path(self.path)
        async with asyncio.timeout(LIMIT_S):
            while True:
                with contextlib.suppress(LinkLost):
                    self.clients.append(await GatewayClient.connect(socket, rate_hz))
                    return self.clients[-1]
                await asyncio.sleep(0.05)

    async def twin_says(self, request: dict[str, Any]) -> dict[str, Any]:
        """One request to the twin's control socket."""
        control = json.loads(self.announce.read_text())["control"]
        reader, writer = await asyncio.open_unix_connection(control)
        writer.write(json.dumps(request).encode() + b"\n")
        answer = json.loads(await asyncio.wait_for(reader.readline(), LIMIT_S))
        writer.close()
        await writer.wait_closed()
        assert answer.get("ok"), answer
        return answer

    async def close(self) -> None:
        """Hang up and end every process this test started."""
        for client in self.clients:
            await client.close()
        for process in reversed(self.processes):
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGTERM)
                try:
                    await asyncio.wait_for(process.wait(), LIMIT_S)
                except TimeoutError:
                    process.kill()
                    await process.wait()
            transport = getattr(process, "_transport", None)
            if transport is not None:
                transport.close()


@contextlib.asynccontextmanager
async def a_site(directory: Path, text: str) -> AsyncIterator[Site]:
    """A site file in a directory of its own."""
    path = directory / "site.toml"
    path.write_text(text)
    site = Site(directory, path, dict(os.environ))
    try:
        yield site
    finally:
        await site.close()


async def until(client: GatewayClient, wanted: Callable[[Published], bool]) -> Published:
    """The first published state that is as wanted."""
    last: Published | None = None
    try:
        async with asyncio.timeout(LIMIT_S):
            async for message in client.messages():
                if isinstance(message, Published):
                    last = message
                    if wanted(message):
                        return message
    except TimeoutError:
        shown = (
            None
            if last is None
            else (last.decision.mode, last.decision.reason, last.snapshot.grid.w, last.snapshot.pcs)
        )
        raise AssertionError(f"not seen within {LIMIT_S:g} s; last: {shown}") from None
    raise AssertionError("the link ended")
