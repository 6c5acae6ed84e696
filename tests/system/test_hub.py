"""Uplink and hub with Debian's nats-server and PostgreSQL: every block of a site exactly once, whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from harness import a_site, site_text
from harness import until as until_published
from hub_bases import Base
from recorded_gateway import NODE, RecordedGateway, change, copied, own, record, rewritten
from storage_samples import SOURCE
from test_verify_against import audit, verified
from waiting import LIMIT_S, until

from benchmarks import hub_engines
from benchmarks.hub_engines import Nats, Postgres
from benchmarks.reliability import tell
from fleet import bus_messages
from fleet.bus import Broker, Bus, BusFailed
from fleet.bus_messages import STORED, BlockSent, Sent
from fleet.hub import Hub
from fleet.hub_database import DatabaseFailed, HubDatabase
from fleet.hub_schema import OVERVIEW
from fleet.pull import Pace
from fleet.uplink import Uplink, inbox_of
from storage.identity import establish
from storage.reader import Archive

pytestmark = pytest.mark.skipif(bool(hub_engines.missing()), reason=hub_engines.missing())
SITE, INCARNATION = map(str, SOURCE)
STREAM_BYTES = 100 << 20
BLOCKS = "SELECT seq, own_sha256 FROM block ORDER BY seq"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("record"), 5)


@contextlib.asynccontextmanager
async def hub_on(nats: Nats, url: str) -> AsyncIterator[Hub]:
    bus, database = await Bus.connect(Broker(url=nats.url), "hub", "_INBOX"), HubDatabase(url)
    await bus.prepare(STREAM_BYTES)  # a site that asks before gets no answer, and asks again later
    hub = Hub(bus, database, stream_bytes=STREAM_BYTES)
    running = asyncio.create_task(again_and_again(hub))
    try:
        yield hub
    finally:
        running.cancel()
        await asyncio.wait([running])
        database.close()
        await bus.close()


async def again_and_again(hub: Hub) -> None:
    """Also on a machine that is too busy to answer in time."""
    while True:
        try:
            await hub.run()
        except* BusFailed:
            await asyncio.sleep(0)


async def send(nats: Nats, gateway: RecordedGateway, enough: Callable[[], bool], wait_s: float = 5.0) -> None:
    """Run an uplink until something is so."""
    bus = await Bus.connect(Broker(url=nats.url), "uplink", inbox_of(gateway.identity))
    uplink = Uplink(gateway, bus, Pace(None), period_s=0.05, wait_s=wait_s)
    running = asyncio.create_task(uplink.run())
    try:
        async with asyncio.timeout(LIMIT_S):
            while not await asyncio.to_thread(enough):
                if running.done():
                    running.result()
                await asyncio.sleep(0.05)
    finally:
        running.cancel()
        await asyncio.wait([running])
        await bus.close()


def has(base: Base, sql: str, expected: object) -> Callable[[], bool]:
    """Whether a question has this answer by now."""

    def asked() -> bool:
        import psycopg

        try:
            return base.all(sql) == expected
        except psycopg.Error:
            return False

    return asked


async def test_a_record_comes_once_by_hash_with_minutes_and_without_nodes(
    nats: Nats, base: Base, recorded: Path
) -> None:
    gateway = RecordedGateway(recorded)
    async with hub_on(nats, base.url) as hub:
        await send(nats, gateway, has(base, BLOCKS, own(recorded)))
        await send(nats, gateway, lambda: bool(base.all("SELECT 1 FROM now") and base.all("SELECT 1 FROM event")))
        kept = hub.counts["kept"]
        await send(nats, again := RecordedGateway(recorded), lambda: len(again.asked) > 12)
        assert hub.counts["kept"] - kept <= 1, "nothing is sent twice but the head of the audit"
    assert gateway.held[-1] == own(recorded)[-1][0], "the site keeps what is not stored"
    assert gateway.asked.index("fleet.blocks") > max(
        n for n, m in enumerate(gateway.asked[:4]) if m == "fleet.quarters"
    )
    names = {signal[0] for (signals,) in base.all("SELECT signals FROM dictionary") for signal in signals}
    assert {"grid.w", NODE} & names == {"grid.w"}
    with closing(sqlite3.connect(recorded / "telemetry.db")) as con:
        (quarters,) = con.execute(
            "SELECT count(*) FROM r15 JOIN signal ON signal.id = r15.sid WHERE name != ?", (NODE,)
        ).fetchone()
        minutes = con.execute("SELECT min(t), max(t) FROM r1m").fetchone()
        events = con.execute("SELECT id, kind FROM event ORDER BY id").fetchall()
    assert base.all("SELECT count(*) FROM quarter") == [(quarters,)]
    assert base.all("SELECT id, kind FROM event ORDER BY id") == events
    archive = Archive(recorded)
    expected = archive.minutes(["grid.w", "pcs.w"], minutes[0], minutes[1] + 60)
    archive.close()
    means = base.all("SELECT t, grid_w FROM minute ORDER BY t")
    assert [t for t, _ in means] == sorted(expected["grid.w"])
    for t, grid_w in means:
        assert grid_w == pytest.approx(expected["grid.w"][t][0], abs=1.0)
    assert base.all("SELECT seq FROM head") == [(5,)]
    assert base.all("SELECT kind FROM trouble") == [("clock",)], "the figures of now are a year old"
    assert set(OVERVIEW.values()) <= {
        column
        for (column,) in base.all("SELECT column_name FROM information_schema.columns WHERE table_name = 'minute'")
    }


async def test_what_is_wrong_stays_at_the_site_and_is_noted(
    nats: Nats, base: Base, recorded: Path, tmp_path: Path
) -> None:
    """A record set back, a copy with another incarnation, the site itself after that; another name."""
    other, last = uuid.UUID(int=99), own(recorded)[-1][0]
    changed = copied(recorded, tmp_path / "changed")
    rewritten(changed, last, other)
    async with hub_on(nats, base.url):
        await send(nats, RecordedGateway(recorded), has(base, BLOCKS, own(recorded)))
        await send(nats, RecordedGateway(changed), lambda: base.kinds() == ["set-back"])
        assert base.all(BLOCKS) == own(recorded)
        both = sorted({*own(recorded), *own(changed)})
        await send(nats, RecordedGateway(changed, other), lambda: sorted(base.all(BLOCKS)) == both)
        assert base.kinds() == ["set-back", "incarnation"]
        await send(nats, RecordedGateway(recorded), lambda: base.kinds()[-1] == "claimed-twice")
        database = HubDatabase(base.url)
        assert database.set_current(SITE, INCARNATION)
        database.close()
        await send(nats, RecordedGateway(recorded, name="Renamed"), lambda: base.kinds()[-1] == "renamed")
    assert sorted(base.all(BLOCKS)) == both


async def test_an_audit_is_verified_against_the_heads_that_the_hub_has(
    nats: Nats, base: Base, recorded: Path, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    await asyncio.to_thread(site.mkdir)
    found, _ = await asyncio.to_thread(establish, site)
    gateway = RecordedGateway(recorded)
    gateway.identity = found
    gateway.welcome = msgspec.structs.replace(gateway.welcome, identity=found)
    seq, digest = await asyncio.to_thread(audit, site, "one", "two")
    gateway.rows = {seq: digest}
    async with hub_on(nats, base.url):
        await send(nats, gateway, has(base, "SELECT seq FROM head", [(seq,)]))
    assert verified(site, base.url)[0] == 0
    changed = copied(site, tmp_path / "changed")
    (changed / "audit.db").unlink()
    await asyncio.to_thread(audit, changed, "one", "another")
    assert verified(changed, base.url)[0] == 1


async def test_forged_and_damaged_messages_and_those_of_another_version(nats: Nats, base: Base, recorded: Path) -> None:
    gateway = RecordedGateway(recorded)
    page = gateway.page_of("fleet.blocks", {"after_seq": 0, "offset": 0})
    block = page.blocks[0]
    signals = next(iter(page.dictionaries.values()))

    def message(**changes: Any) -> Sent:
        body = BlockSent(after_seq=0, after_sha256=bytes(32), block=changes.pop("block", block), signals=signals)
        values = {"format": 1, "incarnation": INCARNATION, "name": "Fjord", "timezone": "UTC", "body": body}
        return Sent(**{**values, **changes})

    broken = msgspec.structs.replace(block, data=block.data[:-9] + bytes(9))
    subject = bus_messages.subject(SITE, message().body)
    foreign = subject.replace(SITE, str(uuid.UUID(int=7)))
    async with hub_on(nats, base.url) as hub:
        bus = await Bus.connect(Broker(url=nats.url), "forger", "_INBOX")
        for n, (where, sent, kind) in enumerate(
            (
                (subject, message(block=broken), "damaged"),
                (subject, message(format=2), "version"),
                (subject, message(incarnation="none"), "answer"),
                (foreign, message(), "foreign"),
            )
        ):
            await bus.publish(where, bus_messages.packed(sent))
            await until(lambda n=n: hub.counts["refused"] > n)
            assert base.kinds()[-1] == kind
        await bus.publish(subject, b"\x00")
        await bus.close()
        assert base.all(BLOCKS) == []
        await send(nats, gateway, has(base, BLOCKS, own(recorded)))


async def test_a_hub_restored_from_last_weeks_backup_gets_everything_again(
    nats: Nats, base: Base, postgres: Postgres, recorded: Path, tmp_path: Path
) -> None:
    early = copied(recorded, tmp_path / "early")
    change(early, "DELETE FROM block WHERE seq > ?", own(recorded)[1][0])
    async with hub_on(nats, base.url):
        await send(nats, RecordedGateway(early), has(base, BLOCKS, own(early)))
    backup = Base(postgres, f"b{uuid.uuid4().hex}", f"TEMPLATE {base.name}")
    async with hub_on(nats, base.url):
        await send(nats, RecordedGateway(recorded), has(base, BLOCKS, own(recorded)))
    async with hub_on(nats, backup.url):
        await send(nats, RecordedGateway(recorded), has(backup, BLOCKS, own(recorded)))
    assert backup.kinds() == []


async def test_a_gateway_an_uplink_and_a_hub_as_processes(nats: Nats, base: Base, tmp_path: Path) -> None:
    async with a_site(tmp_path, site_text()) as site:
        await site.twin()
        await site.gateway()
        client = await site.client()
        await until_published(client, lambda p: p.decision.battery_w is not None)
        await client.request("order.set", kind="hold", reason="anna's reason")
        quiet = {"stdout": asyncio.subprocess.DEVNULL, "stderr": asyncio.subprocess.DEVNULL}
        await site.run("hub", "--nats", nats.url, "--database", base.url, **quiet)
        uplink = await site.run("uplink", "--site", str(site.path), "--nats", nats.url, **quiet)
        told = "SELECT overview->>'site' FROM now"
        await asyncio.to_thread(wait_for, has(base, told, [("Wire test",)]), str)
        await asyncio.to_thread(
            wait_for, has(base, "SELECT count(*) > 0 FROM event WHERE kind = 'command'", [(True,)]), str
        )
        await asyncio.to_thread(wait_for, has(base, "SELECT count(*) FROM head", [(1,)]), str)
        assert "anna" not in str(base.all("SELECT * FROM event") + base.all("SELECT * FROM now"))
        uplink.terminate()
        assert await asyncio.wait_for(uplink.wait(), LIMIT_S) == 0


def fill(database: HubDatabase) -> None:
    """The space that the database has taken for itself already."""
    while True:
        database.note(SITE, "test", uuid.uuid4().hex * 6)


@pytest.fixture
def disk() -> Iterator[Path]:
    """A small file system of its own, where the database's user may write."""
    with tempfile.TemporaryDirectory(prefix="sk", dir="/tmp") as name:
        options = ["mount", "-t", "tmpfs", "-o", "size=14m,mode=777", "none", name]
        if subprocess.run(options, check=False).returncode:
            pytest.skip("no tmpfs can be mounted here")
        shutil.chown(name, hub_engines.USER)
        yield Path(name)
        subprocess.run(["umount", "-l", name], check=True)


async def test_disk_full_at_the_hub_nothing_acknowledged_is_missing(
    nats: Nats, postgres: Postgres, recorded: Path, disk: Path
) -> None:
    space = f"s{uuid.uuid4().hex}"
    postgres.sql(f"CREATE TABLESPACE {space} LOCATION '{disk}'")
    base = Base(postgres, space, f"TABLESPACE {space}")
    database = HubDatabase(base.url)
    database.open()
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"x" * 4096):
            pass
    with pytest.raises(DatabaseFailed, match="No space left"):
        fill(database)
    database.close()
    bus = await Bus.connect(Broker(url=nats.url), "looks", "_INBOX")
    async with hub_on(nats, base.url):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3.0):
                await send(nats, RecordedGateway(recorded), has(base, BLOCKS, own(recorded)), wait_s=1.0)
        said = await bus.value(STORED, f"{SITE}.{INCARNATION}")
        acknowledged = 0 if said is None else bus_messages.stored(said).source.seq
        assert acknowledged <= len(base.all(BLOCKS)) < len(own(recorded))
        filler.unlink()
        await send(nats, RecordedGateway(recorded), has(base, BLOCKS, own(recorded)), wait_s=1.0)
    await bus.close()
    postgres.sql(f"DROP DATABASE {base.name} WITH (FORCE)")
    postgres.sql(f"DROP TABLESPACE {space}")


class Processes:
    """A hub and an uplink as processes, which are killed and started again."""

    def __init__(self, commands: dict[str, list[str]], place: Path) -> None:
        self._commands, self._place = commands, place
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    def start(self, name: str) -> None:
        with (self._place / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(self._commands[name], stdout=log, stderr=log, env=self._environment)

    def kill(self, name: str) -> None:
        process = self._running.pop(name)
        process.kill()
        process.wait(LIMIT_S)

    def logs(self) -> str:
        return "\n".join((self._place / f"{name}.log").read_text()[-1500:] for name in self._commands)


KILLS = int(os.environ.get("SKERRY_SOAK_HUB_KILLS", "4"))


@pytest.mark.timeout(KILLS * 10 + 120)
async def test_kill_9_of_hub_broker_database_and_uplink_each_block_exactly_once(
    nats: Nats, place: Path, tmp_path: Path
) -> None:
    """At random moments, two blocks in a page; the record grows to more blocks while it is sent."""
    recorded = record(tmp_path / "record", 4 * KILLS)
    os.chmod(place, 0o755)
    postgres = Postgres(place / "pg")
    postgres.start()
    base = Base(postgres, "killed")
    python = [sys.executable, "-P"]
    hub = [*python, "-m", "skerry", "hub", "--nats", nats.url, "--database", base.url]
    uplink = [*python, str(Path(__file__).with_name("recorded_uplink.py")), nats.url, str(recorded), str(4_000)]
    processes = Processes({"hub": hub, "other hub": hub, "uplink": uplink}, place)
    chance = random.Random(17)
    for name in ("hub", "other hub", "uplink"):
        processes.start(name)
    try:
        for _ in range(KILLS):
            await asyncio.sleep(chance.uniform(0.05, 1.5))
            name = chance.choice(("hub", "other hub", "uplink", "broker", "database"))
            if name in ("broker", "database"):
                engine = nats if name == "broker" else postgres
                await asyncio.to_thread(engine.stop, signal.SIGKILL)
                await asyncio.to_thread(engine.start)
            else:
                processes.kill(name)
                processes.start(name)
        await asyncio.to_thread(wait_for, has(base, BLOCKS, own(recorded)), processes.logs)
        tell("kills", KILLS, "sum")
        tell("blocks, each stored once", len(own(recorded)), "sum")
    finally:
        for name in ("hub", "other hub", "uplink"):
            processes.kill(name)
        postgres.stop(signal.SIGQUIT)


def wait_for(condition: Callable[[], bool], said: Callable[[], str]) -> None:
    """Raises AssertionError with what was said meanwhile."""
    end_s = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end_s, said()
        time.sleep(0.1)
