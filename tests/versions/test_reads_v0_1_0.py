"""What version 0.1.0 wrote is read by this version. The figures are those it had when the files were made."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import lzma
import tarfile
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from harness import a_site, until
from small_gateway import running
from waiting import LIMIT_S

from console.cli.main import run
from dispatch.control.controller import ControllerMemory
from dispatch.model.decision import Decision, Setpoint
from dispatch.model.events import Event
from dispatch.model.islanding import IslandState
from dispatch.model.orders import Preview
from dispatch.model.plan import Plan
from dispatch.model.reasons import plain
from dispatch.wording.catalogue import words
from gateway import exit_codes
from gateway.api.ask import Conversation, decode
from gateway.api.client import GatewayClient
from gateway.api.protocol import ClientMessage, EventMessage, Hello, PlanMessage, Published, Request, Response, Welcome
from gateway.energy_iq_history import Report, kept_reports
from gateway.site.loader import load
from storage import audit_reader
from storage.drills import DrillRecord
from storage.reader import Archive
from storage.verify import verify

FILES = Path(__file__).parent / "v0_1_0"
HEAD = "67:9b865d1e627fd81f8f4fd35c25968918970abe107bf95e0b927aff841175f304"
KEY = "f7622b2e9cb52fc2e685272bf023e7e0de1dcdd40e4c244b44932bfc20b8f955"
FAULT = "opening is withdrawn and the contacts do not say closed: switch pcc reads 'moving': its contacts do not agree"
EVENING = (1757944800, 1757973600)  # eight hours of the record, UTC
QUARTER_S = 1757974500  # the one metering interval that was measured whole
MONTH_PEAK_W = 14732.820236464322
RENT = ("2025-09-16", 1.0666116837500117, "2025-09", 0.020670895670000015)  # day, minutes, month, EUR
QUESTIONS = {  # method -> what its answer holds
    "status": Published,
    "plan": Plan,
    "role": dict[str, str],
    "why": Decision,
    "audit": list[dict[str, Any]],
    "order.list": list[dict[str, Any]],
    "order.preview": Preview,
    "reservation.list": dict[str, Any],
    "drill.status": dict[str, Any],
    "drill.check": dict[str, Any],
    "drill.reports": list[DrillRecord],
    "history": dict[str, Any],
    "decisions": list[Decision],
    "events": list[Event],
    "iq": Report,
}


def unpacked(name: str, directory: Path) -> Path:
    """The files of an archive, in a directory of their own."""
    place = directory / name
    with tarfile.open(FILES / f"{name}.tar.xz") as tar:
        tar.extractall(place, filter="data")
    return place


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return unpacked("state", tmp_path)


@pytest.fixture
def archive(state: Path) -> Iterator[Archive]:
    opened = Archive(state)
    yield opened
    opened.close()


def frames(connection: str, sender: str) -> list[tuple[str, bytes]]:
    """(what, the frame) of one side of a conversation, in order."""
    lines = map(json.loads, lzma.decompress((FILES / "link.jsonl.xz").read_bytes()).splitlines())
    chosen = [line for line in lines if (line["connection"], line["from"]) == (connection, sender)]
    return [(line["what"], base64.b64decode(line["frame"])) for line in chosen]


# ── site files ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("file", "name", "peak_w", "energy_kwh", "nodes"),
    [
        ("sites/demo.toml", "Skerry demo", 34_000, 100, 9),
        ("sites/render-farm.toml", "Fjord One", 55_000, 180, 2),
        ("sites/training-rack.toml", "Training rack", 12_000, 100, 0),
        ("sites/yardstick-de.toml", "Yardstick DE", 99_900, 200, 0),
        ("sites/yardstick-no.toml", "Yardstick NO", 99_900, 200, 0),
        ("site.toml", "Version 0.1.0", 15_000, 100, 1),
    ],
)
def test_site_files(file: str, name: str, peak_w: float, energy_kwh: float, nodes: int) -> None:
    site = load(FILES / file)
    found = (site.site.name, site.grid.contracted_peak_w, site.dispatch.energy_kwh, len(site.node))
    assert found == (name, peak_w, energy_kwh, nodes)


# ── the record ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_record_is_read_and_left_as_it_is(state: Path, archive: Archive) -> None:
    digests = {file: hashlib.sha256(file.read_bytes()).digest() for file in state.iterdir()}
    hours = archive.history(["pcs.w", "soc_pct", "site_load.w"], *EVENING, 3600)["signals"]
    assert hours["pcs.w"] == [0, 0, 0, 8000, 8000, 0, 0, 0]
    assert hours["site_load.w"] == [20_000] * 8
    assert [round(pct, 2) for pct in hours["soc_pct"]] == [50, 50, 50, 45.67, 37.16, 32.98, 32.98, 32.98]
    quarter = archive.history(["grid.w", "pcs.w", "gpu-01.w"], QUARTER_S, QUARTER_S + 900, 900)["signals"]
    assert {name: round(values[0], 1) for name, values in quarter.items()} == {
        "grid.w": 14734.8,
        "pcs.w": 5958.6,
        "gpu-01.w": 7684.1,
    }
    events = archive.events(500)
    assert len(events) == 82
    assert (events[0].text, events[0].who) == ("Islanding fault: acknowledged", "root")
    decisions = archive.decisions(0, 2e9, 500)
    assert len(decisions) == 56
    assert (decisions[0].island, decisions[0].setpoints) == (IslandState.FAULT, (Setpoint("pcs1", None),))
    assert decisions[0].reason == plain(f"no setpoint — islanding: {FAULT}")
    assert all(words(trace.reason) for decision in decisions for trace in decision.chain)
    newest = archive.why(archive.ends_utc_s())
    assert newest is not None
    assert newest.island is IslandState.FAULT
    assert digests == {file: hashlib.sha256(file.read_bytes()).digest() for file in digests}


def test_reports_of_drills(archive: Archive) -> None:
    told = [(d.number, d.report.result, words(d.report.why), d.report.minutes) for d in archive.drills()]
    assert told == [
        (3, "failed", "the switch did not confirm open in 3 s: reads moving", 5.0),
        (2, "aborted", "by root (seen enough)", 5.0),
        (1, "passed", "held, returned, every criterion met", 0.5),
    ]
    first = archive.drills(number=1)[0]
    assert (round(first.report.islanded_s, 2), round(first.report.battery_wh, 2)) == (34.96, 203.77)
    assert first.audit_head == "49:6a6b89654459579320400165497db9fdd122158142c1ee2e71827bf4cc1e1269"


def test_memory(archive: Archive) -> None:
    memory = msgspec.convert(archive.last_state("controller"), ControllerMemory)
    assert (memory.billing.month, memory.billing.month_peak_w) == ("2025-09", MONTH_PEAK_W)
    assert round(memory.billing.month_measured_s, 1) == 938.3
    ledger = memory.caps.ledger
    assert (ledger.day, ledger.minutes, ledger.month, ledger.rent_eur) == RENT
    assert (memory.island.fault, memory.pulses_seen) == (FAULT, 1)
    assert round(memory.ride.energy.wh, 1) == 940.5
    reports = kept_reports(archive.last_state("iq"))
    assert {day: (r.iq.known_h, round(r.iq.iq_pct or 0, 3)) for day, r in reports.items()} == {
        "2025-09-15": (8.0, -1.805)
    }


# ── the audit and the export ────────────────────────────────────────────────────────────────────────────────────────


def test_the_audit_is_verified(state: Path) -> None:
    report = verify(state, (HEAD,), KEY)
    assert report.ok, report.findings
    assert (report.rows, report.checkpoints, report.head, report.public_key) == (67, 7, HEAD, KEY)
    left = [(body["order"], body["order_kind"], body["target"]) for body in audit_reader.orders_in_force(state)]
    assert left == [("o59", "node-cap", "gpu-01"), ("o61", "import-target", "")]
    (reserved,) = audit_reader.reservations(state, QUARTER_S)
    assert (reserved["id"], reserved["name"], reserved["power_w"]) == ("r36", "render", 2_000.0)


def test_the_export_is_verified(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export = unpacked("export", tmp_path)
    assert run(["verify", str(export), "--key", KEY, "--head", HEAD]) == exit_codes.OK
    assert "verified: as it was written" in capsys.readouterr().out
    (export / "events.csv").write_text("t\n")
    assert run(["verify", str(export), "--key", KEY]) == exit_codes.FAILED


# ── a gateway that goes on from it ──────────────────────────────────────────────────────────────────────────────────


async def test_a_gateway_goes_on_from_it(tmp_path: Path, state: Path) -> None:
    (tmp_path / "flat.csv").write_bytes((FILES / "flat.csv").read_bytes())
    async with a_site(tmp_path, (FILES / "site.toml").read_text()) as site:
        gateway = await site.run("serve", str(site.path), "--state-dir", str(state))
        client = await site.client()
        shown = await until(client, lambda p: FAULT in words(p.decision.reason))
        assert shown.decision.island is IslandState.FAULT
        identity = client.welcome.identity
        assert identity is not None
        assert (identity.kept, identity.public_key) == (True, KEY)
        assert (shown.orders, shown.month_peak_w) == ((), MONTH_PEAK_W)
        assert [(r.id, r.name, r.power_w) for r in shown.reservations] == [("r36", "render", 2_000.0)]
        assert shown.last_drill is not None
        assert (shown.last_drill.result, shown.last_drill.minutes) == ("failed", 5.0)
        events = {e["text"] for e in await client.request("events", limit=30)}
        for order in ("o59", "o61"):
            assert any(
                text.startswith(f"order {order} of root is dropped, the gateway was restarted") for text in events
            )
        assert any(text.startswith("reservation r36, 2.0 kW") for text in events)
        report = msgspec.convert(await client.request("iq", day="2025-09-15"), Report)
        assert report.made_utc_s < shown.snapshot.utc_s - 60, "the report was kept, not computed anew"
        gateway.terminate()
        await asyncio.wait_for(gateway.communicate(), LIMIT_S)
    archive = Archive(state)
    ledger = msgspec.convert(archive.last_state("controller"), ControllerMemory).caps.ledger
    archive.close()
    assert (ledger.day, ledger.minutes, ledger.month, ledger.rent_eur) == RENT
    report_of_audit = verify(state, (HEAD,), KEY)
    assert report_of_audit.ok, report_of_audit.findings
    assert report_of_audit.rows > 67


# ── the link ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_frames_of_the_gateway() -> None:
    stream = [(what, decode(frame[4:], FILES, 1)) for what, frame in frames("console", "gateway")]
    kinds = {"welcome": Welcome, "planmessage": PlanMessage, "published": Published, "eventmessage": EventMessage}
    assert {what for what, _ in stream} == set(kinds)
    assert all(isinstance(message, kinds[what]) for what, message in stream)
    welcome = stream[0][1]
    assert isinstance(welcome, Welcome)
    assert (welcome.version, welcome.site, welcome.rate_hz) == (1, "Version 0.1.0", 5.0)
    assert welcome.limits["contracted_peak_w"] == 15_000
    published = [message for _, message in stream if isinstance(message, Published)]
    assert [p.decision.island for p in published] == [IslandState.GRID_TIED] * 3
    assert all(p.snapshot.grid.w.good is not None for p in published)
    plans = [message.plan for _, message in stream if isinstance(message, PlanMessage)]
    assert plans[0] is not None
    assert len(plans[0].steps) == 144
    assert all(words(step.reason) for step in plans[0].steps)
    assert all(words(p.decision.reason) for p in published)


def test_answers_of_the_gateway() -> None:
    said = frames("commands", "gateway")
    assert isinstance(decode(said[0][1][4:], FILES), Welcome)
    answers = [(what, decode(frame[4:], FILES, 1)) for what, frame in said[1:]]
    refused = [what for what, answer in answers if isinstance(answer, Response) and not answer.ok]
    assert refused == ["order.set", "order.end", "no.such.method", "history"]
    for what, answer in answers:
        assert isinstance(answer, Response)
        if answer.ok and what in QUESTIONS:
            msgspec.convert(answer.result, QUESTIONS[what])
    assert {what for what, _ in answers} >= QUESTIONS.keys()


def test_frames_of_the_clients() -> None:
    decoder = msgspec.msgpack.Decoder(ClientMessage)
    (_, hello), *rest = [(what, decoder.decode(frame[4:])) for what, frame in frames("commands", "client")]
    assert isinstance(hello, Hello)
    assert (hello.version, hello.rate_hz) == (1, 0.0)
    assert all(isinstance(message, Request) and message.method == what for what, message in rest)
    assert len(rest) == 61


@pytest.fixture
def place() -> Iterator[Path]:
    """A short path: sockets live in it."""
    with tempfile.TemporaryDirectory(prefix="sk", dir="/tmp") as name:
        yield Path(name)


async def test_its_clients_are_understood(place: Path) -> None:
    """The very bytes of a 0.1.0 client, over a real socket, to a gateway of this version."""
    (_, hello), *rest = frames("commands", "client")
    questions = [(what, frame) for what, frame in rest if what in QUESTIONS]
    assert {what for what, _ in questions} == QUESTIONS.keys()
    async with running(place, place / "s.sock") as there:
        await asyncio.wrap_future(there.gateway.recorder.flush())
        reader, writer = await asyncio.open_unix_connection(str(there.socket))

        async def next_message() -> Any:
            length = int.from_bytes(await asyncio.wait_for(reader.readexactly(4), LIMIT_S), "big")
            return decode(await reader.readexactly(length), there.socket, 1)

        writer.write(hello)
        welcome = await next_message()
        assert isinstance(welcome, Welcome)
        assert welcome.version == 1
        for what, frame in questions:
            writer.write(frame)
            answer = await next_message()
            assert isinstance(answer, Response), what
            assert answer.ok or "unknown method" not in answer.error, answer.error
            if what in ("status", "role", "events", "audit"):
                assert answer.ok, answer.error
                msgspec.convert(answer.result, QUESTIONS[what])
        writer.close()
        await writer.wait_closed()


@pytest.fixture
async def old_gateway(place: Path) -> AsyncIterator[Path]:
    """Says to a console, byte by byte, what a 0.1.0 gateway said."""
    said = [frame for _, frame in frames("console", "gateway")]
    hellos: list[bytes] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length = int.from_bytes(await reader.readexactly(4), "big")
        hellos.append(await reader.readexactly(length))
        writer.write(b"".join(said))
        await writer.drain()
        await reader.read()
        writer.close()

    server = await asyncio.start_unix_server(connected, str(place / "old.sock"))
    yield place / "old.sock"
    server.close()
    await server.wait_closed()
    for hello in hellos:
        assert msgspec.msgpack.decode(hello)["version"] == 1, "0.1.0 takes no other"


async def test_its_gateway_is_understood(old_gateway: Path) -> None:
    client = await GatewayClient.connect(old_gateway, 1.0)
    assert client.welcome.site == "Version 0.1.0"
    shown = await until(client, lambda p: p.decision.island is IslandState.GRID_TIED)
    assert shown.snapshot.grid.w.good is not None
    await client.close()
    link = await asyncio.to_thread(Conversation, old_gateway)
    assert link.welcome.site == "Version 0.1.0"
    link.close()
