"""A hub with many sites: how fast it stores blocks, the figures of now on a new console, the catch-up of one site.

Debian's nats-server and PostgreSQL run on this machine, and share its cores with the hub: nothing is taken off for
that. Blocks have distinct content and are made before time is taken. Every block is compared by hash afterwards.
Needs root, the packages of tests/system/packages.txt and the extra [hub].
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import random
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import hub_engines
from benchmarks.figures import Figure, main
from benchmarks.hub_engines import Nats, Postgres
from dispatch.model.readings import reading
from fleet import bus_messages
from fleet.bus import Broker, Bus
from fleet.bus_messages import FORMAT, NOW, BlockSent, Sent
from fleet.hub_watch import HubWatch
from fleet.pull import Pace
from fleet.table import rows_of
from fleet.uplink import Uplink, inbox_of
from gateway.api.protocol import VERSION, Welcome
from gateway.api.site_overview import KindOfAlarm, SiteOverview
from storage.blocks import Block, Column, dictionary_hash, encode, narrowed, opened
from storage.identity import Identity
from storage.outgoing import BlockPage, OutgoingBlock, QuarterPage
from storage.signals import Signal, definition

SIGNALS, SAMPLES, QUARTER_S = 200, 900, 900
VARIANTS = 8  # of each signal; a block takes one of each
START_S = 1_758_005_100
NAMES = (
    "grid.w",
    "grid.hz",
    "site_load.w",
    "nodes.w",
    "pv.w",
    "pcs.w",
    "soc_pct",
    "decision.battery_w",
    "month.peak_w",
)
PAGE_BYTES = 512 << 10
ASKED_S = 300.0  # for all to be stored


class Blocks:
    """Makes blocks of sites that do not exist: a third of the signals is noise, the others move slowly or stand."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        names = [*NAMES, *(f"meter{n:03}.w" for n in range(SIGNALS - len(NAMES)))]
        self.signals: tuple[Signal, ...] = tuple(definition(name) for name in names)
        self.digest = dictionary_hash(self.signals)
        columns = [self._column(n % 10) for n in range(SIGNALS) for _ in range(VARIANTS)]
        times_us = [(START_S + n) * 1_000_000 for n in range(SAMPLES)]
        every = encode((uuid.UUID(int=1), uuid.UUID(int=1)), 1, 1_000_000, self.digest, times_us, columns)
        self._all = opened(every)

    def _column(self, kind: int) -> Column:
        value, raw = self._chance.randint(1_000, 30_000), []
        for _ in range(SAMPLES):
            if 3 <= kind < 7 and self._chance.random() < 0.1:
                value += self._chance.choice((-1, 1))
            raw.append(round(value + self._chance.gauss(0, 60)) if kind >= 7 else value)
        return Column(raw)

    def block(self, site: uuid.UUID, seq: int) -> bytes:
        """One that no other site has."""
        head = msgspec.structs.replace(
            self._all.head, site=site, incarnation=site, sequence=seq, t0_us=(START_S + seq * QUARTER_S) * 1_000_000
        )
        places = [n * VARIANTS + self._chance.randrange(VARIANTS) for n in range(SIGNALS)]
        return narrowed(Block(head, self._all.streams), places, self.digest)

    def outgoing(self, site: uuid.UUID, seq: int) -> OutgoingBlock:
        """The same as it leaves the site."""
        data = self.block(site, seq)
        return OutgoingBlock(seq, hashlib.sha256(data).digest(), len(data), 0, data)


def messages(blocks: Blocks, sites: int, quarters: int) -> Iterator[tuple[str, bytes, bytes]]:
    """Subject, message and hash of each block, by time."""
    before = dict.fromkeys(range(sites), bytes(32))
    for seq in range(1, quarters + 1):
        for n in range(sites):
            site = uuid.UUID(int=n + 1)
            outgoing = blocks.outgoing(site, seq)
            body = BlockSent(after_seq=seq - 1, after_sha256=before[n], block=outgoing, signals=blocks.signals)
            before[n] = outgoing.own_sha256
            sent = Sent(format=FORMAT, incarnation=str(site), name=f"Site {n}", timezone="UTC", body=body)
            yield bus_messages.subject(str(site), body), bus_messages.packed(sent), outgoing.own_sha256


class Servers:
    """Both engines and a hub as a process."""

    def __init__(self, place: Path) -> None:
        place.chmod(0o755)
        self.nats, self.postgres = Nats(place / "nats"), Postgres(place / "pg")
        self.nats.start()
        self.postgres.start()
        self.url = self.postgres.create("fleet")
        self._log = (place / "hub.log").open("wb")
        command = [sys.executable, "-P", "-m", "skerry", "hub", "--nats", self.nats.url, "--database", self.url]
        self._hub = subprocess.Popen(command, stdout=self._log, stderr=self._log)

    def stop(self) -> float:
        """End all; the CPU time of the hub, s."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        self._hub.send_signal(signal.SIGTERM)
        self._hub.wait()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.postgres.stop()
        self.nats.stop()
        self._log.close()
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def ask(self, sql: str) -> list[Any]:
        """An answer of the database."""
        import psycopg

        with psycopg.connect(self.url, options="-c search_path=skerry") as con:
            return con.execute(sql).fetchall()


async def ready(servers: Servers, bus: Bus) -> None:
    """Until the hub listens."""
    import psycopg

    while True:
        try:
            servers.ask("SELECT 1 FROM block LIMIT 1")
            await bus.prepare()
            return
        except psycopg.Error:
            await asyncio.sleep(0.2)


def wait_for(servers: Servers, count: int) -> None:
    """Until so many blocks are stored."""
    end_s = time.monotonic() + ASKED_S
    while servers.ask("SELECT count(*) FROM block") != [(count,)]:
        if time.monotonic() > end_s:
            raise SystemExit(f"FAILED: not all {count} blocks are stored within {ASKED_S:g} s")
        time.sleep(0.2)


async def throughput(servers: Servers, bus: Bus, sites: int, quarters: int) -> list[Figure]:
    """All sites send so many quarter hours as fast as the hub takes them, while somebody reads."""
    made = list(messages(Blocks(1), sites, quarters))
    begun_s = time.monotonic()
    reads_s: list[float] = []

    async def read() -> None:
        sql = "SELECT site, avg(grid_w), max(nodes_w) FROM minute GROUP BY site ORDER BY 2 DESC LIMIT 100"
        while True:
            asked_s = time.monotonic()
            await asyncio.to_thread(servers.ask, sql)
            reads_s.append(time.monotonic() - asked_s)
            await asyncio.sleep(1.0)

    reading_on = asyncio.create_task(read())
    for begin in range(0, len(made), 64):
        await asyncio.gather(*(bus.publish(subject, data) for subject, data, _ in made[begin : begin + 64]))
    await asyncio.to_thread(wait_for, servers, len(made))
    took_s = time.monotonic() - begun_s
    reading_on.cancel()
    await asyncio.wait([reading_on])
    kept = {bytes(digest) for (digest,) in servers.ask("SELECT own_sha256 FROM block")}
    if kept != {digest for _, _, digest in made}:
        raise SystemExit("FAILED: the blocks that are stored are not those that were sent")
    size = sum(len(data) for _, data, _ in made)
    return [
        Figure(f"{sites} sites, {quarters} quarter hours: real time over its time (goal: at most 0.1)",
               took_s / (quarters * QUARTER_S), "", 0.1),
        Figure("the same: blocks a second", len(made) / took_s, "1/s"),
        Figure("the same: bytes of a message", size / len(made), "bytes"),
        Figure("the same: a read over all sites meanwhile, median", statistics.median(reads_s), "s"),
    ]  # fmt: skip


async def now(servers: Servers, bus: Bus, sites: int) -> Figure:
    """From opening the connection to the rows of all sites."""
    for n in range(sites):
        site = str(uuid.UUID(int=n + 1))
        found = SiteOverview(
            utc_s=time.time(),
            site=f"Site {n}",
            timezone="Europe/Berlin",
            island="grid-tied",
            mode="plan",
            identity=Identity(site, site, "00" * 32, kept=True),
            import_w=reading(10_000.0 + n),
            soc_pct=reading(50.0),
            energy_kwh=100.0,
            load_w=12_000.0 + n,
            alarms=(KindOfAlarm("device-lost", "medium", 1, 1, 0.0),) if n % 7 == 0 else (),
        )
        await bus.put(NOW, site, bus_messages.packed(found))
    took_s = []
    for _ in range(7):
        begun_s = time.monotonic()
        watch = HubWatch(lambda: Bus.connect(Broker(url=servers.nats.url), "screen", "_INBOX"), {})
        watch.start()
        await watch.all_looked(10.0)
        rows = rows_of(watch.states, watch.monotonic())
        took_s.append(time.monotonic() - begun_s)
        await watch.stop()
        if len(rows) != sites:
            raise SystemExit(f"FAILED: {len(rows)} sites on the screen, {sites} expected")
    return Figure(f"figures of now of {sites} sites on a new console, median of 7", statistics.median(took_s), "s", 0.3)


class LongRecord:
    """A gateway whose record has so many blocks that no hub has."""

    def __init__(self, blocks: Blocks, count: int) -> None:
        site = uuid.UUID(int=99_999)
        self._blocks = [blocks.outgoing(site, seq) for seq in range(1, count + 1)]
        self._dictionaries = {blocks.digest.hex(): blocks.signals}
        identity = Identity(str(site), str(site), "", kept=True)
        self.welcome = Welcome(VERSION, "Long", "UTC", "root", 1, 0.0, 1.0, False, 5.0, identity=identity)
        self.digests = [block.own_sha256 for block in self._blocks]

    async def request(self, method: str, **params: Any) -> Any:
        """What an uplink asks."""
        if method == "fleet.blocks":
            return msgspec.to_builtins(self._page(params["after_seq"]), builtin_types=(bytes,))
        if method == "fleet.quarters":
            return msgspec.to_builtins(QuarterPage(last_seq=len(self._blocks)))
        if method == "fleet.head":
            return {"head": f"1:{'00' * 32}"}
        if method == "fleet.now":
            return msgspec.to_builtins(SiteOverview(utc_s=1.0, site="", timezone="", island="", mode=""))
        return []

    def _page(self, after_seq: int) -> BlockPage:
        found: list[OutgoingBlock] = []
        for block in self._blocks[after_seq : after_seq + 20]:
            if found and sum(len(other.data) for other in found) + len(block.data) > PAGE_BYTES:
                break
            found.append(block)
        asked = self._blocks[after_seq - 1].own_sha256 if after_seq else None
        last = len(self._blocks)
        return BlockPage(
            first_seq=1, last_seq=last, asked_sha256=asked, blocks=tuple(found), dictionaries=self._dictionaries
        )


async def catch_up(servers: Servers, days: float, mbit_s: float) -> Figure:
    """One site sends so many days at so many Mbit/s."""
    gateway = LongRecord(Blocks(2), round(days * 96))
    site = gateway.welcome.identity
    assert site is not None
    bus = await Bus.connect(Broker(url=servers.nats.url), "uplink", inbox_of(site))
    begun_s = time.monotonic()
    sending = asyncio.create_task(Uplink(gateway, bus, Pace(mbit_s * 1e6 / 8)).run())
    sql = f"SELECT own_sha256 FROM block WHERE site = '{site.site}' ORDER BY seq"
    while servers.ask(f"SELECT seq FROM source WHERE site = '{site.site}'") != [(len(gateway.digests),)]:
        if sending.done():
            sending.result()
        await asyncio.sleep(0.5)
    took_s = time.monotonic() - begun_s
    sending.cancel()
    await asyncio.wait([sending])
    await bus.close()
    if [bytes(digest) for (digest,) in servers.ask(sql)] != gateway.digests:
        raise SystemExit("FAILED: the blocks that are stored are not those of the site")
    return Figure(f"{days:g} days of one site at {mbit_s:g} Mbit/s", took_s, "s", 300.0 if days == 30 else None)


def measure(sites: int = 1000, quarters: int = 2, days: float = 0.0) -> list[Figure]:
    """All of it, on engines of its own."""
    if why := hub_engines.missing():
        raise SystemExit(why)
    with tempfile.TemporaryDirectory(prefix="sk", dir="/tmp") as name:
        servers = Servers(Path(name))
        try:
            figures = asyncio.run(_measure(servers, sites, quarters, days))
        finally:
            cpu_s = servers.stop()
    return [*figures, Figure("CPU time of the hub for all of it", cpu_s, "s")]


async def _measure(servers: Servers, sites: int, quarters: int, days: float) -> list[Figure]:
    bus = await Bus.connect(Broker(url=servers.nats.url), "benchmark", "_INBOX")
    try:
        await ready(servers, bus)
        figures = [*await throughput(servers, bus, sites, quarters), await now(servers, bus, sites)]
        return [*figures, await catch_up(servers, days, 10.0)] if days else figures
    finally:
        await bus.close()


def options(parser: argparse.ArgumentParser) -> None:
    """How much is measured."""
    parser.add_argument("--sites", type=int, default=1000)
    parser.add_argument("--quarters", type=int, default=2, help="quarter hours that each site sends")
    parser.add_argument("--days", type=float, default=0.0, help="of one site that are caught up; 30: three minutes")


if __name__ == "__main__":
    main(__doc__, options, measure)
