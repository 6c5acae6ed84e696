"""What the brokers and servers send to which the gateway tells what it knows; and secrets by name."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from unittest import mock

import msgspec
from fuzzing import Parser, simple

from drivers.credentials import secret
from drivers.http.errors import NotTrusted
from drivers.modbus.errors import BadReply, DeviceError
from drivers.mqtt.client import Broker, Connection
from drivers.smtp import MOST_LINE_BYTES, MailServer, Session
from gateway.outputs.metrics_server import MOST_HEAD_BYTES, MetricsServer
from gateway.outputs.mqtt_publisher import kept_topics
from gateway.outputs.outbox import kept_outboxes
from gateway.outputs.trouble import OutputTrouble

BROKER = Broker(host="127.0.0.1", port=1883)
PACKETS = (
    "20 03 00 00 00", "20 0a 00 00 07 24 00 27 00 00 00 10", "30 0d 00 05 73 2f 61 2f 74 00 6f 6b 21 21 21",
    "32 0d 00 05 73 2f 61 2f 74 00 09 00 6f 6b 21", "40 02 00 01", "40 04 00 01 87 00", "90 04 00 01 00 01", "d0 00",
    "e0 02 8e 00", "e0 08 8e 06 1f 00 03 62 79 65",
)  # fmt: skip


def _read(data: bytes) -> None:
    """As a connection reads that waits for an acknowledgement and takes its messages."""

    async def read() -> None:
        connection, reader = Connection(BROKER, 65_536), asyncio.StreamReader()
        reader.feed_data(data)
        reader.feed_eof()
        connection._waiting[1] = asyncio.get_running_loop().create_future()
        taking = asyncio.create_task(_take_all(connection))
        await connection._read(reader)
        taking.cancel()
        if isinstance(ended := connection._ended.result(), BadReply):
            raise ended

    asyncio.run(read())


async def _take_all(connection: Connection) -> None:
    while True:
        await connection.message()


MQTT = Parser(
    "what an MQTT broker sends",
    (
        "drivers.mqtt.client:Connection._packet",
        "drivers.mqtt.packets:_Bytes.whole",
        "drivers.mqtt.packets:_Bytes.text",
        "drivers.mqtt.packets:_said",
        "drivers.mqtt.packets:acknowledged",
    ),
    lambda: [bytes.fromhex(one) for one in (*PACKETS, PACKETS[0] + PACKETS[3] + PACKETS[4] + PACKETS[8])],
    simple(lambda data, directory: _read(data)),
    (BadReply,),
    share=0.5,
)


def _secret(data: bytes, directory: Path) -> None:
    (directory / "mqtt-password").write_bytes(data)
    (directory / "mqtt-password").chmod(0o600)
    with mock.patch.dict(os.environ, {"CREDENTIALS_DIRECTORY": str(directory)}):
        assert secret("mqtt", "password", "mqtt-password").isprintable()


SECRET = Parser(
    "a secret by its name",
    ("drivers.credentials:secret",),
    lambda: [b"secret\n", b"pass word"],
    simple(_secret),
    (NotTrusted,),
    share=0.2,
)


class _Taken:
    """A writer that keeps what it is given."""

    def __init__(self) -> None:
        self.answer = b""

    def write(self, data: bytes) -> None:
        self.answer += data

    async def drain(self) -> None:
        """Nothing waits."""

    def write_eof(self) -> None:
        """The other side reads on."""


def _asked(data: bytes) -> None:
    """Whatever is asked gets one whole answer, or none where the head never ends."""

    async def ask() -> None:
        reader, writer = asyncio.StreamReader(limit=MOST_HEAD_BYTES), _Taken()
        reader.feed_data(data)
        reader.feed_eof()
        server = MetricsServer(("127.0.0.1", 0), lambda: "x 1\n", OutputTrouble(None))  # type: ignore[arg-type]
        with contextlib.suppress(asyncio.IncompleteReadError):
            await server._answer(reader, writer)  # type: ignore[arg-type]
            assert writer.answer.startswith(b"HTTP/1.1 ")

    asyncio.run(ask())


METRICS = Parser(
    "a request for the page of metrics",
    ("gateway.outputs.metrics_server:MetricsServer._answer",),
    lambda: [
        b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n",
        b"HEAD /metrics?x HTTP/1.0\r\n\r\n",
        b"PUT / HTTP/1.1\r\n\r\n",
    ],
    simple(lambda data, directory: _asked(data)),
)
KEPT = Parser(
    "what Home Assistant was told before a restart",
    ("gateway.outputs.mqtt_publisher:kept_topics",),
    lambda: [b'{"homeassistant/sensor/skerry_a_grid_power_w/config":"grid"}', b"null"],
    simple(lambda data, directory: kept_topics(msgspec.json.decode(data))),
    (msgspec.DecodeError, UnicodeDecodeError),
    tree="json",
    share=0.5,
)


def _mail_server(data: bytes) -> None:
    """As a mail is handed over to a server that sends these bytes, whatever it is asked."""

    async def hand_over() -> None:
        reader, writer = asyncio.StreamReader(limit=MOST_LINE_BYTES), _Taken()
        reader.feed_data(data)
        reader.feed_eof()
        session = Session(MAIL_SERVER, reader, writer)  # type: ignore[arg-type]
        said = await session.greet(None, "here", starttls=False)
        await session.log_in(said, "u", "p")
        await session.hand_over("s@example.org", ["a@example.org", "b@example.org"], b".\r\n")

    asyncio.run(hand_over())


MAIL_SERVER = MailServer(host="mail", port=25)
SMTP = Parser(
    "what a mail server answers",
    ("drivers.smtp:Session._reply",),
    lambda: [
        b"220 a\r\n250-a\r\n250 AUTH PLAIN\r\n235 a\r\n250 a\r\n250 a\r\n550 a\r\n354 a\r\n250 a\r\n",
        b"220-a\r\n220 a\r\n250-a\r\n250-AUTH LOGIN PLAIN\r\n250\r\n535 no\r\n",
    ],
    simple(lambda data, directory: _mail_server(data)),
    (DeviceError,),
    share=0.5,
)
OUTBOX = Parser(
    "what receivers of notifications are still to be told, after a restart",
    ("gateway.outputs.outbox:kept_outboxes",),
    lambda: [
        b'{"chat":{"seen":{"a":{"since_utc_s":1.5,"present":true,"priority":"high"}},"held":{"a":{"change":{"alarm":"a",'
        b'"present":true,"priority":"high","utc_s":1.5,"detail":null},"count":2}},"more":1,"told_utc_s":{"a":1.0},'
        b'"sent_utc_s":[1.0],"pending":null,"number":3}}',
        b"null",
    ],
    simple(lambda data, directory: kept_outboxes(msgspec.json.decode(data))),
    (msgspec.DecodeError, UnicodeDecodeError),
    tree="json",
    share=0.5,
)
PARSERS = (MQTT, SECRET, METRICS, KEPT, SMTP, OUTBOX)
