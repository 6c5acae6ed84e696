"""The bus as deploy/hub sets it up: certificates of fleet-ca, permissions, and the screen that reads it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import msgspec
import pytest
import warm_start
from fleet_samples import identity, site
from waiting import LIMIT_S, until

from benchmarks import hub_engines
from benchmarks.hub_engines import Nats
from fleet import bus, bus_messages
from fleet.bus import Broker, Bus, BusFailed
from fleet.bus_messages import NOW, STORED
from fleet.hub import INBOX as HUB_INBOX
from fleet.hub_watch import INBOX, HubWatch
from fleet.table import LIVE, SILENT, rows_of

pytestmark = pytest.mark.skipif(bool(hub_engines.missing()), reason=hub_engines.missing())
ONE, OTHER = (identity(number).site for number in (1, 2))
STREAM_BYTES = 1 << 20
DEPLOY = Path(__file__).resolve().parents[2] / "deploy" / "hub"


class DeployedNats(Nats):
    """nats-server with the configuration, certificates and permissions of deploy/hub."""

    def __init__(self, place: Path, certificates: Path) -> None:
        super().__init__(place)
        self.url = f"tls://localhost:{self.port}"
        text = (DEPLOY / "nats-server.conf").read_text()
        changes = {
            "host: 0.0.0.0": "host: 127.0.0.1",
            "port: 4222": f"port: {self.port}",
            "/var/lib/nats": f"{place}/js",
            "/etc/nats": str(certificates),
            '"nats/users.conf"': '"users.conf"',
        }
        for before, after in changes.items():
            assert before in text
            text = text.replace(before, after)
        (place / "nats.conf").write_text(text)
        (place / "users.conf").symlink_to(certificates / "users.conf")


class Authority:
    """The CA of a test's bus."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.run("init")
        self.run("server", "localhost", "127.0.0.1")
        for what in ("hub one", "screen me", f"site {ONE}", f"site {OTHER}"):
            self.run(*what.split())

    def run(self, *arguments: str) -> None:
        done = subprocess.run([DEPLOY / "fleet-ca", self.place, *arguments], capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()

    def broker(self, url: str, name: str) -> Broker:
        files = {"ca": "ca.pem", "certificate": f"{name}.pem", "key": f"{name}.key"}
        return Broker(url=url, **{field: self.place / file for field, file in files.items()})


@pytest.fixture
def authority(place: Path) -> Authority:
    return Authority(place / "ca")


@pytest.fixture
def deployed(place: Path, authority: Authority) -> Iterator[DeployedNats]:
    made = DeployedNats(place / "nats", authority.place)
    made.start()
    yield made
    made.stop()


@contextlib.asynccontextmanager
async def connected(broker: Broker, inbox: str) -> AsyncIterator[Bus]:
    found = await Bus.connect(broker, "test", inbox)
    try:
        yield found
    finally:
        await found.close()


def overview_of(number: int, **changes: object) -> bytes:
    return bus_messages.packed(site(number, simulated=True, **changes))


async def test_a_site_publishes_its_own_subjects_only_and_reads_what_is_stored_of_it(
    deployed: DeployedNats, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus, "ANSWER_S", 0.5)
    url = deployed.url
    async with (
        connected(authority.broker(url, "one.hub"), HUB_INBOX) as hub,
        connected(authority.broker(url, f"{ONE}.site"), f"_INBOX_{ONE}") as one,
    ):
        await hub.prepare(STREAM_BYTES)
        await one.publish(f"skerry.{ONE}.audit.head", b"own")
        await one.put(NOW, ONE, b"own")
        heard: list[bytes] = []
        await one.follow(STORED, f"{ONE}.a", heard.append)
        assert await one.value(STORED, f"{ONE}.a") is None
        await hub.put(STORED, f"{ONE}.a", b"up to 7")
        await hub.put(STORED, f"{OTHER}.a", b"up to 9")
        await until(lambda: heard)
        assert await one.value(STORED, f"{ONE}.a") == b"up to 7"
        for refused in (
            one.publish(f"skerry.{OTHER}.audit.head", b"forged"),
            one.put(NOW, OTHER, b"forged"),
            one.put(STORED, f"{ONE}.a", b"up to 99"),
            one.value(STORED, f"{OTHER}.a"),
            one.prepare(STREAM_BYTES),
        ):
            with pytest.raises(BusFailed):
                await refused
        found: list[tuple[str, bytes]] = []
        await hub.follow_all(NOW, lambda key, age_s, data: found.append((key, data)))
        assert found == [(ONE, b"own")]
        assert [(m.subject, m.data) for m in await hub.fetch(10, 0.5)] == [(f"skerry.{ONE}.audit.head", b"own")]
        assert await hub.value(STORED, f"{ONE}.a") == b"up to 7"


async def test_who_has_no_certificate_or_a_retired_one_is_not_let_in(
    deployed: DeployedNats, authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bus, "CONNECT_S", 1.0)
    broker = authority.broker(deployed.url, f"{ONE}.site")
    async with connected(broker, f"_INBOX_{ONE}"):
        pass
    stranger = Authority(tmp_path / "another")
    without = msgspec.structs.replace(broker, certificate=None, key=None)
    for wrong in (without, msgspec.structs.replace(stranger.broker(deployed.url, f"{ONE}.site"), ca=broker.ca)):
        with pytest.raises(BusFailed):
            await Bus.connect(wrong, "test", "_INBOX")
    with pytest.raises(BusFailed):
        await Bus.connect(msgspec.structs.replace(broker, ca=stranger.place / "ca.pem"), "test", "_INBOX")
    authority.run("retire", ONE)
    deployed.stop()
    deployed.start()
    with pytest.raises(BusFailed):
        await Bus.connect(broker, "test", "_INBOX")
    authority.run("site", ONE)  # a new one for the same site
    deployed.stop()
    deployed.start()
    async with connected(broker, f"_INBOX_{ONE}"):
        pass


async def test_the_screen_reads_the_figures_of_now_and_can_do_nothing_else(
    deployed: DeployedNats, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus, "ANSWER_S", 1.0)
    url, screen = deployed.url, authority.broker(deployed.url, "me.screen")
    async with connected(authority.broker(url, "one.hub"), HUB_INBOX) as hub:
        await hub.prepare(STREAM_BYTES)
        async with connected(authority.broker(url, f"{ONE}.site"), f"_INBOX_{ONE}") as one:
            await one.put(NOW, ONE, overview_of(1, site="Fjord"))
        async with connected(screen, INBOX) as reader:
            for refused in (reader.publish(f"skerry.{ONE}.audit.head", b""), reader.put(NOW, ONE, b"")):
                with pytest.raises(BusFailed):
                    await refused
    options = ("--ca", screen.ca, "--cert", screen.certificate, "--key", screen.key)
    command = ["fleet", "--json", "--hub", url, *map(str, options)]
    process = await warm_start.start(command, os.environ, stdout=asyncio.subprocess.PIPE)
    out, _ = await asyncio.wait_for(process.communicate(), LIMIT_S)
    assert [(found["name"], found["link"]) for found in json.loads(out)["sites"]] == [("Fjord", "live")]
    assert process.returncode == 0


async def test_what_is_followed_goes_on_after_a_restart_of_the_bus_and_ages(place: Path) -> None:
    nats = Nats(place / "nats")
    nats.start()
    broker, now_s = Broker(url=nats.url), 0.0
    watch = HubWatch(lambda: Bus.connect(broker, "screen", INBOX), {}, monotonic=lambda: now_s)
    try:
        async with connected(broker, HUB_INBOX) as hub:
            await hub.prepare(STREAM_BYTES)
            await hub.put(NOW, ONE, overview_of(1, site="Fjord"))
            await hub.put(NOW, OTHER, overview_of(2, site="Fjord"))
            watch.start()
            await watch.all_looked(LIMIT_S)
            rows = rows_of(watch.states, now_s)
            assert [(row.name, row.link) for row in rows] == [("Fjord", LIVE), (f"Fjord ({OTHER[:8]})", LIVE)]
            await asyncio.to_thread(nats.stop, signal.SIGKILL)
            await asyncio.to_thread(nats.start)
            await until_put(hub, ONE, overview_of(1, site="Fjord", load_w=7.0), lambda: loads(watch)[0] == 7.0)
            now_s = 60.0
            await until_put(hub, ONE, overview_of(1, site="Fjord", load_w=8.0), lambda: loads(watch)[0] == 8.0)
        rows = rows_of(watch.states, now_s)  # of two with one name each carries the begin of its UUID
        assert sorted((row.name, row.link) for row in rows) == [
            (f"Fjord ({ONE[:8]})", LIVE),
            (f"Fjord ({OTHER[:8]})", SILENT),
        ]
    finally:
        await watch.stop()
        nats.stop()


async def until_put(hub: Bus, key: str, value: bytes, heard: Callable[[], bool]) -> None:
    """Put a value again and again, as an uplink does, until it is heard."""
    async with asyncio.timeout(LIMIT_S):
        while not heard():
            with contextlib.suppress(BusFailed):
                await hub.put(NOW, key, value)
            await asyncio.sleep(0.1)


def loads(watch: HubWatch) -> list[float | None]:
    return [state.overview.load_w for state in watch.states if state.overview is not None]


def test_certificates_are_for_one_use(authority: Authority) -> None:
    for name, usage in (("server", "TLS Web Server"), (f"{ONE}.site", "TLS Web Client")):
        command = ["openssl", "x509", "-in", authority.place / f"{name}.pem", "-noout", "-ext", "extendedKeyUsage"]
        assert usage in subprocess.run(command, capture_output=True, check=True, text=True).stdout
    context = ssl.create_default_context(cafile=str(authority.place / "ca.pem"))
    context.load_cert_chain(authority.place / "server.pem", authority.place / "server.key")
    assert (authority.place / "ca.key").stat().st_mode & 0o077 == 0
