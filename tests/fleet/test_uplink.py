"""An uplink over a bus in memory: a page at a time, from what a hub has stored, however often something is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from fleet_samples import FakeLink
from recorded_gateway import RecordedGateway, change, copied, own, record, rewritten
from storage_samples import SOURCE
from waiting import until

from fleet import bus_messages
from fleet.block_pages import Stopped
from fleet.bus import Broker, Bus, BusFailed, TooLarge, tls_context
from fleet.bus_messages import NOW, BlockSent, EventsSent, HeadSent, QuartersSent, Stored, TroubleSent
from fleet.hub_intake import Verdict, arrived, judge_block
from fleet.pull import Pace
from fleet.store import Source
from fleet.uplink import PAGES, Uplink, run_for_ever
from gateway.errors import LinkLost

SITE = str(SOURCE[0])
OTHER = UUID(int=99)


class Memory:
    """A bus with a hub behind it that stores what connects, as `fleet.hub_intake` judges."""

    def __init__(self) -> None:
        self.stored = Stored()
        self.blocks: list[tuple[int, bytes]] = []
        self.bodies: list[Any] = []
        self.now: list[bytes] = []
        self.loses = 0  # so many of the next messages
        self.most_bytes = 1 << 20
        self.deaf = False  # the hub is not there
        self.keeps_blocks = True
        self.full = False
        self._heard: Callable[[bytes], None] = lambda data: None

    async def put(self, bucket: str, key: str, data: bytes) -> None:
        assert (bucket, key) == (NOW, SITE)
        self.now.append(data)

    async def value(self, bucket: str, key: str) -> bytes | None:
        return None if self.stored == Stored() else bus_messages.packed(self.stored)

    async def follow(self, bucket: str, key: str, heard: Callable[[bytes], None]) -> None:
        self._heard = heard

    async def publish(self, subject: str, data: bytes) -> None:
        if len(data) > self.most_bytes:
            raise TooLarge("more than max_payload")
        if self.full:
            raise BusFailed("maximum bytes exceeded")
        if self.loses > 0 or self.deaf:
            self.loses -= 1
            return
        body = arrived(bus_messages.site_of(subject), data).sent.body
        self.bodies.append(body)
        await asyncio.sleep(0)
        self._store(body)

    def _store(self, body: Any) -> None:
        source, event_id = self.stored.source, self.stored.event_id
        if isinstance(body, BlockSent):
            if judge_block(source, body, ()) is not Verdict.KEEP or not self.keeps_blocks:
                return
            self.blocks.append((body.block.seq, body.block.own_sha256))
            source = msgspec.structs.replace(source, seq=body.block.seq, own_sha256=body.block.own_sha256)
        elif isinstance(body, QuartersSent) and body.after_t is not None:
            source = msgspec.structs.replace(source, quarters_t=body.page.next_t, quarters_seq=body.page.last_seq or 0)
        elif isinstance(body, QuartersSent):
            source = msgspec.structs.replace(source, quarters_seq=body.page.next_seq or 0)
        elif isinstance(body, EventsSent):
            event_id = body.events[-1].id
        self.tell(Stored(source=source, event_id=event_id))

    def tell(self, stored: Stored) -> None:
        self.stored = stored
        self._heard(bus_messages.packed(stored))


async def send(bus: Memory, gateway: RecordedGateway, enough: Callable[[], bool], wait_s: float = 0.05) -> None:
    uplink = Uplink(gateway, bus, Pace(None), period_s=0.01, wait_s=wait_s)
    running = asyncio.create_task(uplink.run())
    try:
        await until(lambda: enough() or running.done())
    finally:
        running.cancel()
        await asyncio.wait([running])
    if not running.cancelled():
        running.result()


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("record"), 4)


async def test_roll_ups_first_then_events_the_head_and_blocks_each_once(recorded: Path) -> None:
    bus, gateway = Memory(), RecordedGateway(recorded, page=4_000)
    await send(bus, gateway, lambda: bus.blocks == own(recorded) and len(bus.now) > 2)
    kinds = [type(body) for body in bus.bodies]
    assert kinds[0] is QuartersSent
    assert kinds.index(BlockSent) > max(n for n, kind in enumerate(kinds) if kind in (QuartersSent, EventsSent))
    assert kinds.count(HeadSent) == 1
    assert "anna" not in repr([body for body in bus.bodies if not isinstance(body, BlockSent)])
    assert gateway.held == sorted(gateway.held)
    assert gateway.held[-1] == own(recorded)[-1][0]
    count = len(bus.bodies)
    await send(bus, again := RecordedGateway(recorded), lambda: again.asked.count("fleet.blocks") > 2)
    assert len(bus.bodies) == count + 1, "the head alone: how far it is stored is known to the hub"


async def test_what_is_lost_on_the_way_is_sent_again(recorded: Path) -> None:
    bus = Memory()
    bus.loses = 3
    await send(bus, RecordedGateway(recorded, page=4_000), lambda: bus.blocks == own(recorded))


async def test_blocks_wait_at_the_site_while_no_hub_is_there(recorded: Path) -> None:
    bus, gateway = Memory(), RecordedGateway(recorded)
    bus.deaf = True
    await send(bus, gateway, lambda: len(bus.now) > 3)
    assert (bus.bodies, gateway.held) == ([], [0])
    bus.deaf = False
    await send(bus, gateway, lambda: bus.blocks == own(recorded))


async def test_four_pages_of_blocks_at_most_are_on_their_way(tmp_path: Path) -> None:
    site = record(tmp_path / "record", 7)
    bus = Memory()
    bus.keeps_blocks = False

    def sent() -> list[int]:
        return [body.block.seq for body in bus.bodies if isinstance(body, BlockSent)]

    await send(bus, RecordedGateway(site, page=300), lambda: len(sent()) > 4)
    assert len(set(sent())) == PAGES
    assert sent()[PAGES] == sent()[0], "from what is stored again"
    bus.keeps_blocks = True
    await send(bus, RecordedGateway(site, page=300), lambda: bus.blocks == own(site))


async def test_a_bus_that_is_full_is_waited_for_while_the_figures_of_now_go_on(recorded: Path) -> None:
    bus, gateway = Memory(), RecordedGateway(recorded)
    bus.full = True
    await send(bus, gateway, lambda: len(bus.now) > 5)
    bus.full = False
    await send(bus, gateway, lambda: bus.blocks == own(recorded))


async def test_a_hub_that_was_restored_is_sent_everything_from_there(recorded: Path) -> None:
    bus = Memory()
    await send(bus, RecordedGateway(recorded), lambda: bus.blocks == own(recorded))
    (seq, digest), bus.blocks = own(recorded)[0], own(recorded)[:1]
    bus.tell(msgspec.structs.replace(bus.stored, source=Source(seq, digest, None, 0)))
    await send(bus, RecordedGateway(recorded), lambda: bus.blocks == own(recorded))


async def test_a_record_that_was_set_back_is_told_and_not_sent(recorded: Path, tmp_path: Path) -> None:
    bus, last = Memory(), own(recorded)[-1][0]
    await send(bus, RecordedGateway(recorded), lambda: bus.blocks == own(recorded))
    site = copied(recorded, tmp_path / "site")
    rewritten(site, last, OTHER)
    for _ in range(2):
        bus.bodies.clear()
        await send(bus, RecordedGateway(site), lambda: any(isinstance(body, TroubleSent) for body in bus.bodies))
        assert next(body for body in bus.bodies if isinstance(body, TroubleSent)).kind == "set-back"
        assert not any(isinstance(body, BlockSent) for body in bus.bodies)
        change(site, "DELETE FROM block WHERE seq = ?", last)


async def test_a_block_that_the_bus_never_takes_is_told(recorded: Path) -> None:
    bus = Memory()
    bus.most_bytes = 400
    await send(bus, RecordedGateway(recorded), lambda: any(isinstance(body, TroubleSent) for body in bus.bodies))
    assert bus.bodies[-1].kind == "too-large"


async def test_a_refusal_of_the_hub_stops_at_once_until_it_takes_the_site_again(recorded: Path) -> None:
    bus = Memory()
    bus.stored = Stored(refused="a copy", kind="claimed-twice")
    bus.deaf = True
    gateway = RecordedGateway(recorded)
    task = asyncio.create_task(send(bus, gateway, lambda: bus.blocks == own(recorded), wait_s=5.0))
    await until(lambda: "fleet.quarters" in gateway.asked)
    bus.tell(Stored(refused="a copy", kind="claimed-twice"))
    await asyncio.sleep(0)
    bus.deaf = False
    bus.tell(Stored())
    await task


async def test_a_gateway_without_an_identity_is_not_sent(recorded: Path) -> None:
    gateway = RecordedGateway(recorded)
    for identity, kind in ((None, "version"), (msgspec.structs.replace(gateway.identity, kept=False), "identity")):
        gateway.welcome = msgspec.structs.replace(gateway.welcome, identity=identity)
        with pytest.raises(Stopped) as stop:
            Uplink(gateway, Memory(), Pace(None))
        assert stop.value.kind == kind


async def test_a_link_that_breaks_is_opened_anew(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fleet.uplink.LEAST_PAUSE_S", 0.01)
    bus: Any = Memory()
    opened: list[FakeLink] = []

    async def close() -> None:
        """Nothing to hang up."""

    bus.close = close

    async def open_link() -> Any:
        if len(opened) == 1:
            opened.append(FakeLink(None))
            raise LinkLost("the gateway is being restarted")
        gateway = RecordedGateway(recorded, page=4_000)
        gateway.breaks_after = 5 if not opened else None
        opened.append(FakeLink(gateway))
        return opened[-1]

    async def open_bus(identity: Any) -> Any:
        return bus

    running = asyncio.create_task(run_for_ever(open_link, open_bus, Pace(None), 0.05))
    await until(lambda: bus.blocks == own(recorded))
    running.cancel()
    await asyncio.wait([running])
    assert len(opened) >= 3
    assert opened[0].closed


def test_without_tls_on_this_machine_only(tmp_path: Path) -> None:
    assert tls_context(Broker(url="nats://127.0.0.1:4222")) is None
    with pytest.raises(BusFailed, match="expected tls://HOST:4222"):
        tls_context(Broker(url="nats://hub.example:4222"))
    for url in (
        "tls://[",
        "tls://hub.example:x",
        "tls://",
        "tls://anna:secret@hub.example",
        "nats://anna:secret@localhost",
    ):
        with pytest.raises(BusFailed, match=r"^the URL of the bus: expected tls://HOST:4222, without user") as failed:
            tls_context(Broker(url=url))
        assert "secret" not in str(failed.value)
    with pytest.raises(BusFailed, match=r"none\.pem: .*expected PEM files"):
        tls_context(Broker(url="tls://hub.example:4222", ca=tmp_path / "none.pem"))


class Gone:
    """A TLS connection of nats-py that the server has ended while something was not sent."""

    is_connected = False

    def jetstream(self, timeout: float) -> None:
        """Nothing is asked of it."""

    async def close(self) -> None:
        raise AttributeError("'NoneType' object has no attribute '_write_appdata'")


async def test_a_connection_that_is_gone_is_closed_without_an_error() -> None:
    bus = Bus(Gone())
    with pytest.raises(BusFailed, match="is broken"):
        bus.check()
    await bus.close()
