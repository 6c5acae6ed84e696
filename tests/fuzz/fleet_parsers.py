"""A fleet: its file, and what a gateway on another machine answers."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import uuid
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
from fleet_samples import LOST, OUTAGE, FakeClient, FakeLink, site
from fuzzing import Feed, Parser, simple

from console.cli import fleet_limit, fleet_where
from console.display.fleet_text import document, table_lines
from dispatch.model import signals
from dispatch.model.decoding import decoded
from dispatch.model.job_offer import JobOffer
from dispatch.model.reasons import Reason
from dispatch.orders.signal_book import Taken
from dispatch.wording import catalogue
from fleet import bus_messages
from fleet.block_pages import Stopped
from fleet.hub_intake import arrived
from fleet.limit import hand_in
from fleet.month_asked import ask_months
from fleet.pull import Pace, SitePull
from fleet.sites import FleetFileError, SiteAddress, parse
from fleet.store import HubFile
from fleet.table import rows_of, sums_of
from fleet.watch import SiteState, ask_overview
from fleet.where import ask_all
from storage.audit_format import head_words
from storage.blocks import Column, dictionary_hash, encode
from storage.identity import Identity
from storage.outgoing import BlockPage, OutgoingBlock, OutgoingEvent, QuarterPage, RolledRow
from storage.signals import Signal

SITE = uuid.UUID(int=5)
UNWORDED = catalogue.unworded  # how a code is shown that this version does not know; other tests take it for a mistake

FILES = (
    b'ssh = ["ssh"]\n[[site]]\nname = "a"\nhost = "ops@a"\nsite = "/etc/s.toml"\ntags = ["x"]\n',
    b'[[site]]\nname = "b"\n',
)


def overviews() -> list[bytes]:
    """What sites answer."""
    found = (site(1), site(2, alarms=(LOST, OUTAGE), load_w=None))
    return [msgspec.msgpack.encode(msgspec.to_builtins(each)) for each in found]


def shown(data: bytes, _: Path) -> None:
    """An answer up to what is printed of it."""
    answer = decoded(msgspec.msgpack.decode, data)
    found, _remark = asyncio.run(ask_overview(FakeClient("a", lambda method, params: answer)))
    rows = rows_of([SiteState(SiteAddress("a"), found, 0.0)], 1.0)
    sums = sums_of(rows)
    table_lines(rows, sums)
    document(rows, sums, 0.0)


def limits_taken() -> list[bytes]:
    """What sites answer to a limit."""
    signal = signals.Signal("s1", signals.Sort.FLEET, "fleet", signals.Quantity.IMPORT, 4e4, 1e9, 1e9 + 60, 1e9)
    found = (Taken((signal,), (), (Reason("signal.no_tighter", {"limit_w": 4e4, "own_w": 3e4}),)), Taken((), (signal,)))
    return [msgspec.msgpack.encode(msgspec.to_builtins(each)) for each in found]


def limited(data: bytes, _: Path) -> None:
    """An answer up to what is printed of it."""
    answer = decoded(msgspec.msgpack.decode, data)
    found = asyncio.run(hand_in(FakeClient("a", lambda method, params: {} if answer is None else answer), "event"))
    with mock.patch.object(catalogue, "unworded", UNWORDED):
        list(fleet_limit.lines(fleet_limit.Said("a", taken=found)))


def months() -> list[bytes]:
    """What a site answers to the questions about a month."""
    cost = {"energy_eur": 1.0, "peak_eur": 2.0, "wear_eur": 3.0}
    full = {
        "fleet.now": site(1, utc_s=1e9),
        "drill.status": {"plan": {"next_utc_s": 2e9, "due_utc_s": 1e9 - 5, "note": None, "unattended": False}},
        "alarm.history": [
            {"id": "grid-outage", "severity": "alarm", "text": "t", "came_utc_s": 9.99e8, "gone_utc_s": 9.991e8}
        ],
        "iq": {"month": {"known_h": 7.0, "iq_pct": 81.0, "none": cost, "own": cost}},
    }
    return [msgspec.msgpack.encode(msgspec.to_builtins(full))]


def month_asked(data: bytes, _: Path) -> None:
    """Its answers; none ends the command."""
    found = decoded(msgspec.msgpack.decode, data)

    async def connect(address: SiteAddress) -> FakeLink:
        def answer(method: str, params: Any) -> Any:
            said = found.get(method) if isinstance(found, dict) else found
            return {} if said is None else said  # None hangs

        return FakeLink(FakeClient(address.name, answer))

    asyncio.run(ask_months([SiteAddress("a")], connect, 2001, 9))


def offers() -> list[bytes]:
    """What sites answer to a power."""
    later = Reason("power.later", {"need_w": 5e4, "kept_w": 3e4})
    found = (
        JobOffer(utc_s=1e9, within_s=60.0, start_utc_s=1e9, level_w=3e4, energy_eur=2.0, why=later),
        JobOffer(utc_s=1e9, within_s=60.0, why=Reason("refused.above_fuse", {"power_w": 3e4, "fuse_w": 2e4})),
    )
    return [msgspec.msgpack.encode(msgspec.to_builtins(each)) for each in found]


def offered(data: bytes, _: Path) -> None:
    """An answer up to what is printed of it; none ends the command."""
    answer = decoded(msgspec.msgpack.decode, data)

    async def connect(address: SiteAddress) -> FakeLink:
        return FakeLink(FakeClient(address.name, lambda method, params: {} if answer is None else answer))

    found = asyncio.run(ask_all([SiteAddress("a")], connect, 1000.0, 60.0, 60.0))
    with mock.patch.object(catalogue, "unworded", UNWORDED):
        list(fleet_where.lines(found, 1000.0, 60.0, 60.0))
        fleet_where.document(found, 1000.0, 60.0, 60.0)


def answers() -> list[bytes]:
    """What a gateway answers to a pull: of a small block, and of nothing."""
    signals = (Signal("grid.w", "W", 1.0, "measured"),)
    digest = dictionary_hash(signals)
    times_us = [n * 1_000_000 for n in range(30)]
    data = encode((SITE, SITE), 7, 1_000_000, digest, times_us, [Column(list(range(30)))])
    block = OutgoingBlock(7, bytes(32), len(data), 0, data)
    full = {
        "fleet.head": {"head": head_words(3, bytes(32)), "row": None},
        "fleet.quarters": QuarterPage(
            last_seq=7, next_seq=7, next_t=900, signals=signals, rows=(RolledRow(900, 0, 1, 9, 5, 7, 30),)
        ),
        "fleet.blocks": BlockPage(first_seq=7, last_seq=7, blocks=(block,), dictionaries={digest.hex(): signals}),
    }
    empty = {
        "fleet.head": {"head": head_words(0, bytes(32))},
        "fleet.quarters": QuarterPage(),
        "fleet.blocks": BlockPage(),
    }
    return [msgspec.msgpack.encode(each) for each in (full, empty)]


@contextlib.contextmanager
def pulled(directory: Path) -> Iterator[Feed]:
    """A hub that is told the same whatever it asks."""
    with tempfile.TemporaryDirectory(dir=directory) as name:
        store = HubFile(Path(name))
        try:
            yield lambda data: asyncio.run(pull_of(decoded(msgspec.msgpack.decode, data), store))
        finally:
            store.close()


async def pull_of(found: Any, store: HubFile) -> None:
    client = FakeClient("a", lambda method, params: found.get(method, {}) if isinstance(found, dict) else found)
    identity = Identity(str(SITE), str(uuid.uuid4()), "", kept=True)
    client.welcome = msgspec.structs.replace(client.welcome, identity=identity)
    await SitePull("a", client, store, Pace(None), lambda: 0.0).run({}, take_current=True)


def messages() -> list[bytes]:
    """What uplinks send, and what is said between the ends of a bus."""
    signals = (Signal("grid.w", "W", 1.0, "measured"),)
    times_us = [n * 1_000_000 for n in range(30)]
    data = encode((SITE, SITE), 7, 1_000_000, dictionary_hash(signals), times_us, [Column(list(range(30)))])
    block = OutgoingBlock(7, bytes(32), len(data), 0, data)
    page = QuarterPage(last_seq=7, next_seq=7, next_t=900, signals=signals, rows=(RolledRow(900, 0, 1, 9, 5, 7, 30),))
    bodies: tuple[bus_messages.Body, ...] = (
        bus_messages.BlockSent(after_seq=6, after_sha256=bytes(32), block=block, signals=signals),
        bus_messages.QuartersSent(page=page, after_t=0),
        bus_messages.EventsSent(after_id=0, events=(OutgoingEvent(1, 2_000_000, "alarm", "warning", "grid-outage"),)),
        bus_messages.HeadSent(head=head_words(3, bytes(32))),
        bus_messages.TroubleSent(kind="set-back", text="why"),
    )
    sent = [
        bus_messages.Sent(format=1, incarnation=str(SITE), name="Fjord", timezone="UTC", body=body) for body in bodies
    ]
    return [msgspec.msgpack.encode(each) for each in (*sent, bus_messages.Stored(event_id=3), site(1))]


def taken(data: bytes, _: Path) -> None:
    """A message up to what a hub would keep, and what either end is told. Each is refused by its own error."""
    for read in (bus_messages.stored, partial(bus_messages.overview, str(SITE))):
        with contextlib.suppress(bus_messages.NotAMessage):
            read(zlib.compress(data, 1))
    with contextlib.suppress(bus_messages.NotAMessage):
        bus_messages.sent(data)
    arrived(str(SITE), zlib.compress(data, 1))


PARSERS = (
    Parser(
        "messages on a bus",
        (
            *("fleet.bus_messages:_unpacked", "fleet.bus_messages:sent", "fleet.bus_messages:stored"),
            "fleet.bus_messages:overview",
        ),
        messages,
        simple(taken),
        (Stopped,),
        "msgpack",
    ),
    Parser(
        "answers to a pull",
        ("fleet.pull:SitePull._collect_head", "fleet.pull:SitePull._ask_quarters", "fleet.pull:SitePull._ask_blocks"),
        answers,
        pulled,
        (msgspec.DecodeError,),
        "msgpack",
        share=0.1,
    ),
    Parser(
        "fleet files",
        ("fleet.sites:parse",),
        lambda: FILES,
        simple(lambda data, _: parse(data, "fleet.toml")),
        (FleetFileError,),
    ),
    Parser(
        "answers to a limit", ("fleet.limit:hand_in",), limits_taken, simple(limited), (msgspec.DecodeError,), "msgpack"
    ),
    Parser(
        "answers about a month",
        ("fleet.month_asked:ask_month",),
        months,
        simple(month_asked),
        (msgspec.DecodeError,),
        "msgpack",
    ),
    Parser(
        "answers to a power", ("fleet.where:ask_offer",), offers, simple(offered), (msgspec.DecodeError,), "msgpack"
    ),
    Parser(
        "overviews of sites", ("fleet.watch:ask_overview",), overviews, simple(shown), (msgspec.DecodeError,), "msgpack"
    ),
)
