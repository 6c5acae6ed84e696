"""The link: frames and messages of both sides, and every request of every method to a gateway that runs."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import io
import json
import lzma
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from fuzzing import Feed, Parser, simple
from small_gateway import running

from dispatch.model.decoding import decoded
from dispatch.model.equipment import DeviceIdentity, Gpu, Node
from dispatch.model.readings import reading
from drivers.notices import Notice
from gateway.api import ask, client, server
from gateway.api.frames import encode
from gateway.api.peer import Peer
from gateway.api.permissions import METHODS
from gateway.api.protocol import Request
from gateway.api.session import Dropped
from gateway.errors import CommandRefused, LinkLost
from gateway.node_frames import MOST_BYTES, BadFrame, Batch, NodeRead, batch_in, frame, received

RECORDED = Path(__file__).parents[1] / "versions" / "v0_1_0" / "link.jsonl.xz"
GATEWAY = Path("gateway.sock")
REQUEST = msgspec.msgpack.Decoder(Request)


@functools.cache
def recorded(sender: str, version: int = 1) -> tuple[bytes, ...]:
    """Frames of a conversation of version 0.1.0; those of its gateway also as a gateway of this version says it."""
    lines = [json.loads(line) for line in lzma.decompress(RECORDED.read_bytes()).splitlines()]
    found = [base64.b64decode(line["frame"]) for line in lines if line["from"] == sender]
    return tuple(found if version == 1 else (encode(ask.decode(frame[4:], GATEWAY, 1)) for frame in found))


def bodies(sender: str, version: int) -> tuple[bytes, ...]:
    """The documents in the frames."""
    return tuple(frame[4:] for frame in recorded(sender, version))


def framed(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


async def read(receive: Callable[[asyncio.StreamReader], Any], data: bytes) -> None:
    """Let a receiver read what came before the other side hung up."""
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    await receive(reader)


class FakeSocket:
    """Gives what came before the other side hung up."""

    def __init__(self, data: bytes) -> None:
        self.recv = io.BytesIO(data).read


def receive_blocking(data: bytes) -> None:
    conversation = ask.Conversation.__new__(ask.Conversation)
    conversation._path, conversation._version, conversation._socket = GATEWAY, 2, FakeSocket(data)  # type: ignore[assignment]
    conversation._receive()


def batches() -> tuple[bytes, ...]:
    """What the process that reads nodes sends."""
    node = Node("gpu01", w=reading(900.0), gpus=(Gpu(0, "H100", w=reading(400.0), uuid="GPU-1"),))
    read = NodeRead("gpu01", 30.0, node, 12.5, "", (Notice("warning", "swapped"),), DeviceIdentity("Maker", "Model"))
    return frame(Batch((read, NodeRead("gpu02", 30.0, error="no answer")))), frame(Batch())


async def receive_batch(reader: asyncio.StreamReader) -> None:
    while (body := await received(reader, MOST_BYTES)) is not None:
        batch_in(body)


@contextlib.contextmanager
def requests(directory: Path) -> Iterator[Feed]:
    """A gateway that ticks, asked by its own user, who may do everything."""
    del directory  # too long for a socket
    me = Peer(1, 0, 0, "root")
    with tempfile.TemporaryDirectory(prefix="sk", dir="/tmp") as name, asyncio.Runner() as runner:
        gateway = running(Path(name), Path(name) / "s.sock")
        there = runner.run(gateway.__aenter__())
        try:

            def feed(data: bytes) -> None:
                try:
                    request = decoded(REQUEST.decode, data)
                except msgspec.DecodeError:
                    return
                if request.method in METHODS:
                    runner.run(there.gateway.link._handle(me, request))

            yield feed
        finally:
            runner.run(gateway.__aexit__(None, None, None))


ENTERED = Request(
    9,
    "signal.send",
    {"sender": "dso", "quantity": "export", "limit_w": 0.0, "end_utc_s": 1796014200.0, "seen_utc_s": 1796010600.0},
)
FLEX = Request(11, "flex", {"hours": [1.0, 0.25], "starts_utc_s": [1796014200.0]})
EVENT = Request(10, "event.start", {"limit_w": 1e4, "end_utc_s": 1796014200.0, "ramp_s": 60.0, "reason": "x"})
PARSERS = (
    Parser(
        "frames of the process that reads nodes",
        ("gateway.node_frames:received", "gateway.node_frames:batch_in"),
        batches,
        simple(lambda data, _: asyncio.run(read(receive_batch, data))),
        (BadFrame,),
    ),
    Parser(
        "batches of the process that reads nodes",
        ("gateway.node_frames:batch_in",),
        lambda: tuple(batch[4:] for batch in batches()),
        simple(lambda data, _: batch_in(data)),
        (BadFrame,),
        tree="msgpack",
    ),
    Parser(
        "frames of clients",
        ("gateway.api.server:_receive",),
        lambda: recorded("client"),
        simple(lambda data, _: asyncio.run(read(server._receive, data))),
        (Dropped, asyncio.IncompleteReadError),
    ),
    Parser(
        "messages of clients",
        ("gateway.api.server:_receive",),
        lambda: bodies("client", 1),
        simple(lambda data, _: asyncio.run(read(server._receive, framed(data)))),
        (Dropped,),
        tree="msgpack",
    ),
    Parser(
        "frames of gateways",
        ("gateway.api.client:_frame", "gateway.api.ask:decode"),
        lambda: recorded("gateway", 2),
        simple(lambda data, _: asyncio.run(read(lambda reader: client._frame(reader, GATEWAY), data))),
        (LinkLost,),
    ),
    Parser(
        "frames of gateways, read without a loop",
        ("gateway.api.ask:Conversation._receive", "gateway.api.ask:Conversation._exactly", "gateway.api.ask:decode"),
        lambda: recorded("gateway", 2),
        simple(lambda data, _: receive_blocking(data)),
        (LinkLost,),
    ),
    *(
        Parser(
            f"messages of gateways, link version {version}",
            ("gateway.api.ask:decode",),
            functools.partial(bodies, "gateway", version),
            simple(lambda data, _, version=version: ask.decode(data, GATEWAY, version)),
            (LinkLost,),
            tree="msgpack",
        )
        for version in (1, 2)
    ),
    Parser(
        "requests",
        (
            "gateway.api.event_commands:_wanted",
            "gateway.api.order_commands:_wanted",
            "gateway.api.queries:Queries._flex",
            "gateway.api.reservation_commands:_asked",
            "gateway.api.reservation_commands:ReservationCommands._withdraw",
            "gateway.api.signal_commands:SignalCommands._send",
        ),
        lambda: [
            *(body for body in bodies("client", 1) if msgspec.msgpack.decode(body)["type"] == "request"),
            msgspec.msgpack.encode(ENTERED),
            msgspec.msgpack.encode(EVENT),
            msgspec.msgpack.encode(FLEX),
        ],
        requests,
        (CommandRefused,),
        tree="msgpack",
        share=0.3,
    ),
)
