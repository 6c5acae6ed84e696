"""Made the files in this folder. Kept for the record: it runs only on the commit of version 0.1.0 (see README.md).

`python generate.py CHECKOUT OUT`: a twin, a gateway and its consoles as processes, over real sockets. The gateway is
killed at the end, so that its state directory holds what a gateway leaves that had no time to clean up.
"""

from __future__ import annotations

import asyncio
import base64
import json
import lzma
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

CHECKOUT = Path(sys.argv[1]).resolve()
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "tests" / "console")]

import msgspec  # noqa: E402
from harness import SKERRY, Site, a_site, site_text, until  # noqa: E402
from iq_days import record  # noqa: E402

import console  # noqa: E402
from console import paths  # noqa: E402
from console.link.client import GatewayClient, RequestFailed  # noqa: E402
from console.link.protocol import GatewayMessage, Hello, Published, Request, Response, encode  # noqa: E402
from dispatch.model import IslandState  # noqa: E402
from storage.reader import Archive  # noqa: E402

EVENING = (1757944800, 1757973600)  # 2025-09-15 14:00 to 22:00 UTC, the end of the local day before the twin's
TRACE = "start_utc,power_w\n2025-09-15T00:00:00Z,8000\n2025-09-16T00:00:00Z,1000\n"
TWIN = """
start_utc = "2025-09-15T22:14:00Z"
speed = 5
load_trace = "flat.csv"
pcs_lag_s = 0.2
meter_delay_s = 0.1
base_load_w = 13000
nodes = 1
cooling_fraction = 0
pv_peak_w = 0
auto_reclose = false
soc_pct = 70
"""
MORE = """
[storage]
hot_period_s = 10
[reserve]
hours = 0.5
critical_load_w = "12 kW"
[tariff]
file = "bundled:de-lu-2025"
fee_eur_per_kwh = 0.03
tax_eur_per_kwh = 0.02
vat_pct = 19
demand_eur_per_kw_month = 10
[caps]
value_eur_per_kwh = 0.3
max_share = 0.5
[orders]
max_s = "4 h"
[island]
wait_s = 3
ramp_w_per_s = "100 kW/s"
drill_floor_pct = 10
open_timeout_s = 3
close_timeout_s = 4
attempts = 1
[drills]
schedule = "monthly, first Tuesday 06:00"
minutes = 1
"""
PUBLISHED = 3  # snapshots kept of a console's stream


class Tap:
    """A client of the link that keeps every frame, as bytes, both ways."""

    def __init__(self, frames: list[dict[str, str]], name: str) -> None:
        self._frames, self._name, self._id, self._published = frames, name, 0, 0
        self._decoder = msgspec.msgpack.Decoder(GatewayMessage)

    async def connect(self, socket: Path, rate_hz: float) -> None:
        self._reader, self._writer = await asyncio.open_unix_connection(str(socket))
        await self._send("hello", Hello(rate_hz=rate_hz))
        await self.receive()

    async def _send(self, what: str, message: msgspec.Struct) -> None:
        frame = encode(message)
        self._keep("client", what, frame)
        self._writer.write(frame)
        await self._writer.drain()

    def _keep(self, sender: str, what: str, frame: bytes) -> None:
        kept = {"connection": self._name, "from": sender, "what": what, "frame": base64.b64encode(frame).decode()}
        self._frames.append(kept)

    async def receive(self, what: str = "") -> Any:
        head = await asyncio.wait_for(self._reader.readexactly(4), 20)
        body = await self._reader.readexactly(int.from_bytes(head, "big"))
        message = self._decoder.decode(body)
        kind = type(message).__name__.lower()
        self._published += kind == "published"
        if kind != "published" or self._published <= PUBLISHED:
            self._keep("gateway", what or kind, head + body)
        return message

    async def ask(self, method: str, **params: Any) -> Any:
        """One request; its result, or the line of its refusal."""
        self._id += 1
        await self._send(method, Request(self._id, method, params))
        answer = await self.receive(method)
        assert isinstance(answer, Response), answer
        print(f"{method} {params}: {'ok' if answer.ok else answer.error}", flush=True)
        return answer.result if answer.ok else answer.error

    def close(self) -> None:
        self._writer.close()


def ready(published: Published) -> bool:
    batteries = published.snapshot.batteries
    known = published.snapshot.load_w is not None and batteries[0].discharge_limit_w.good is not None
    return known and published.decision.island is IslandState.GRID_TIED


async def has_plan(client: GatewayClient) -> bool:
    try:
        await client.request("plan")
    except RequestFailed:
        return False
    return True


async def stream(frames: list[dict[str, str]], socket: Path) -> None:
    """A console that looks on for a while."""
    tap = Tap(frames, "console")
    await tap.connect(socket, 5.0)
    while True:
        await tap.receive()


async def questions(tap: Tap, now_s: float) -> None:
    for method in ("status", "plan", "role", "why", "audit", "order.list", "reservation.list", "drill.status"):
        await tap.ask(method)
    span = {"start_utc_s": now_s - 60, "end_utc_s": now_s}
    await tap.ask("history", signals=["grid.w", "soc_pct"], step_s=10, **span)
    await tap.ask("history", signals=["grid.w", "soc_pct"], step_s=900, start_utc_s=EVENING[0], end_utc_s=EVENING[1])
    await tap.ask("decisions", limit=3, **span)
    await tap.ask("why", at_utc_s=now_s - 5)
    await tap.ask("events", limit=50)
    await tap.ask("drill.check", minutes=1)
    await tap.ask("drill.reports")
    await tap.ask("iq", day="2025-09-15")
    await tap.ask("alarm.acknowledge", id="*")
    await tap.ask("no.such.method")
    await tap.ask("history", signals=["grid.w"])


async def commands(site: Site, tap: Tap, client: GatewayClient) -> None:
    async def now_s() -> float:
        return (await until(client, lambda p: True)).snapshot.utc_s

    async def order(kind: str, value: float = 0.0, target: str = "", **more: Any) -> Any:
        wanted = {"kind": kind, "value": value, "target": target, "reason": "fixture"} | more
        await tap.ask("order.preview", **wanted)
        given = await tap.ask("order.set", seen_utc_s=await now_s(), **wanted)
        return given["order"]["id"] if isinstance(given, dict) else given

    first = await order("setpoint", 5_000.0)
    await tap.ask("order.list")
    await order("import-target", 12_000.0)  # refused: one order at a time
    second = await order("setpoint", 6_000.0, replace=first)
    await tap.ask("order.end", id=second, reason="seen")
    await tap.ask("order.end", id=second)  # refused: it is over
    await order("import-target", 12_000.0)
    await tap.ask("order.end", id="*")
    await order("soc-target", 75.0, by_utc_s=await now_s() + 3600)
    await tap.ask("order.end", id="*")
    await order("hold")
    await tap.ask("order.end", id="*")
    pcs = await order("disable", target="pcs1")
    await tap.ask("order.end", id=pcs, seen_utc_s=await now_s())
    await tap.ask("stop", reason="fixture")
    await tap.ask("order.end", id="*")

    asked = {"power_w": 2_000.0, "for_s": 4 * 3600.0, "within_s": 8 * 3600.0}
    await tap.ask("reservation.ask", name="render", seen_utc_s=await now_s(), **asked)
    await tap.ask("reservation.ask", name="bake", seen_utc_s=await now_s(), **asked)
    await tap.ask("reservation.withdraw", id="bake", reason="not needed")
    await tap.ask("reservation.list")

    # a reserve above the SoC: the battery gives nothing, import exceeds the contract, and the node is capped
    await order("reserve-level", 90.0)
    await until(client, lambda p: p.decision.caps is not None and bool(p.decision.caps.nodes), 60)
    capped_s = await now_s()
    await until(client, lambda p: p.snapshot.utc_s > capped_s + 60, 60)
    await tap.ask("order.end", id="*")
    await until(client, lambda p: p.decision.caps is not None and not p.decision.caps.nodes, 60)

    await until(client, lambda p: p.decision.island is IslandState.GRID_TIED)
    await tap.ask("drill.start", minutes=0.5, reason="fixture", seen_utc_s=await now_s())
    await until(client, lambda p: p.last_drill is not None and p.last_drill.result == "passed", 120)
    await until(client, lambda p: p.decision.island is IslandState.GRID_TIED)
    await tap.ask("drill.start", minutes=5, reason="fixture", seen_utc_s=await now_s())
    await until(client, lambda p: p.decision.island is IslandState.ISLANDED, 60)
    await tap.ask("drill.abort", reason="seen enough")
    await until(client, lambda p: p.last_drill is not None and p.last_drill.result == "aborted", 120)
    await until(client, lambda p: p.decision.island is IslandState.GRID_TIED, 60)
    await tap.ask("island.reset", reason="fixture", seen_utc_s=await now_s())
    await tap.ask("island.black_start", reason="fixture", confirmed=True, seen_utc_s=await now_s())

    await until(client, lambda p: p.month_peak_w > 5_000, 300)  # a whole metering interval was measured

    # left in force by a gateway that is killed: two orders, a reservation, a fault
    await order("node-cap", 5_000.0, "gpu-01", for_s=4 * 3600.0)
    await order("import-target", 13_000.0, for_s=4 * 3600.0)
    await site.twin_says({"jam": "pcc"})
    await tap.ask("drill.start", minutes=5, reason="fixture", seen_utc_s=await now_s())
    await until(client, lambda p: p.decision.island is IslandState.FAULT, 60)
    await tap.ask("order.list")
    await tap.ask("status")


async def make(place: Path, out: Path) -> None:
    (place / "flat.csv").write_text(TRACE)
    text = site_text(15_000, MORE, twin=TWIN).replace("unit = 1\n[twin]", "unit = 1\ncap_w = 2000\n[twin]")
    frames: list[dict[str, str]] = []
    async with a_site(place, text.replace("Wire test", "Version 0.1.0")) as site:
        record(site.state_dir, *EVENING)
        await site.twin()
        gateway = await site.gateway()
        client = await site.client()
        before = await until(client, ready, 60)
        async with asyncio.timeout(60):
            while not await has_plan(client):
                await until(client, ready)
        socket = paths.socket_path(site.path)
        looking = asyncio.create_task(stream(frames, socket))
        tap = Tap(frames, "commands")
        await tap.connect(socket, 0.0)
        await until(client, lambda p: p.snapshot.utc_s > before.snapshot.utc_s + 120, 60)
        await commands(site, tap, client)
        archive = Archive(site.state_dir)
        while not (archive.last_state("controller") or {}).get("island", {}).get("fault"):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        archive.close()
        await questions(tap, (await until(client, lambda p: True)).snapshot.utc_s)
        await asyncio.sleep(4)  # machine time, for what is not flushed yet and for the audit's signature
        looking.cancel()
        tap.close()
        gateway.kill()
        await gateway.wait()
        for name in ("telemetry.db", "audit.db"):
            with closing(sqlite3.connect(site.state_dir / name)) as con:
                con.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        command = [*SKERRY, "export", str(place / "export"), "--site", str(site.path)]
        environment = site.environment | {"STATE_DIRECTORY": str(site.state_dir)}
        await asyncio.to_thread(subprocess.run, command, check=True, cwd=CHECKOUT, env=environment)
        pack(site.state_dir, out / "state.tar.xz")
        pack(place / "export", out / "export.tar.xz")
        shutil.copy(site.path, out)
        shutil.copy(place / "flat.csv", out)
    lines = "".join(json.dumps(frame) + "\n" for frame in frames)
    (out / "link.jsonl.xz").write_bytes(lzma.compress(lines.encode(), preset=9))
    (out / "sites").mkdir(exist_ok=True)
    for file in (CHECKOUT / "sites").glob("*.toml"):
        shutil.copy(file, out / "sites")


def pack(directory: Path, file: Path) -> None:
    """A directory's files as a tar, without owners and times of this machine."""

    def plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.uid = info.gid = info.mtime = 0
        info.uname = info.gname = ""
        return info

    with tarfile.open(file, "w:xz", preset=9) as tar:
        for member in sorted(directory.iterdir()):
            if not member.name.endswith(("-wal", "-shm", ".lock")):
                tar.add(member, member.name, filter=plain)


if __name__ == "__main__":
    assert console.__file__ is not None
    assert Path(console.__file__).is_relative_to(CHECKOUT), console.__file__
    with tempfile.TemporaryDirectory(prefix="sk", dir="/tmp") as name:
        asyncio.run(make(Path(name), Path(sys.argv[2]).resolve()))
