"""MQTT 5: packets against bytes worked out by hand from the standard, and a client against brokers with faults."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fake_broker import CONNACK, FakeBroker
from hypothesis import given
from hypothesis import strategies as st
from waiting import until

from drivers.credentials import secret
from drivers.http.errors import NotTrusted
from drivers.modbus.errors import BadReply, ConnectionLost, DeviceError, Timeout
from drivers.mqtt import client, packets
from drivers.mqtt.client import Broker, connected, subscribe
from drivers.mqtt.packets import Malformed, Will


@pytest.fixture
async def broker() -> AsyncIterator[FakeBroker]:
    async with FakeBroker() as found:
        yield found


def at(broker: FakeBroker, **more: object) -> Broker:
    return Broker(host="127.0.0.1", port=broker.port, deadline_s=20.0, **more)  # type: ignore[arg-type]


def test_connect_is_as_the_standard_has_it() -> None:
    """3.1: name, version 5, flags, keep alive; receive maximum 16, maximum packet size 1000; client, will, user."""
    made = packets.connect(
        "ab", keep_alive_s=30, most_bytes=1000, most_unacknowledged=16, username="u", password="p",
        will=Will("t", b"off"),
    )  # fmt: skip
    assert made.hex(" ") == (
        "10 2a 00 04 4d 51 54 54 05 ee 00 1e "
        "08 21 00 10 27 00 00 03 e8 "
        "00 02 61 62 00 00 01 74 00 03 6f 66 66 00 01 75 00 01 70"
    ).replace("10 2a", f"10 {len(made) - 2:02x}")


def test_publish_and_subscribe_are_as_the_standard_has_them() -> None:
    assert packets.publish("a/b", b"10", retain=True, packet_id=10) == b"\x33\x0a\x00\x03a/b\x00\x0a\x0010"
    assert packets.publish("a/b", b"", retain=False, packet_id=None) == b"\x30\x06\x00\x03a/b\x00"
    assert packets.subscribe(10, "a/+") == b"\x82\x09\x00\x0a\x00\x00\x03a/+\x01"
    assert [packets.number(n).hex() for n in (0, 127, 128, 16_383, 2_097_152)] == [
        "00",
        "7f",
        "8001",
        "ff7f",
        "80808001",
    ]  # fmt: skip  1.5.5, table 1-1


@given(st.text(min_size=1, max_size=40).filter(lambda t: "\x00" not in t), st.binary(max_size=300), st.booleans())
def test_a_message_comes_back_as_it_was_sent(topic: str, payload: bytes, acknowledged: bool) -> None:
    id = 7 if acknowledged else None
    made = packets.publish(topic, payload, retain=False, packet_id=id)
    length_bytes = 1 if len(made) < 130 else 2
    assert packets.message(made[0] & 15, made[1 + length_bytes :]) == (topic, payload, id)


@pytest.mark.parametrize(
    ("flags", "content", "what"),
    [
        (4, b"\x00\x01a\x00\x01\x00", "QoS 2"),
        (0, b"\x00\x00\x00", "without a topic"),
        (0, b"\x00\x05ab", "ends after"),
        (2, b"\x00\x01a\x00\x00\x00", "identifier 0"),
        (0, b"\x00\x01\xff\x00", "UTF-8"),
        (0, b"\x00\x01a\x02\x7f\x00", "property 0x7F"),
    ],
)
def test_a_message_that_may_not_come_is_refused(flags: int, content: bytes, what: str) -> None:
    with pytest.raises(Malformed, match=what):
        packets.message(flags, content)


def test_an_answer_is_read_with_its_properties() -> None:
    """3.2: success; server keep alive 10 s, maximum QoS 0, maximum packet size 256, and a user property."""
    found = packets.connack(bytes.fromhex("00 00 11 13 00 0a 24 00 27 00 00 01 00 26 00 01 61 00 01 62"))
    assert (found.reason, found.keep_alive_s, found.most_qos, found.most_bytes) == (0, 10, 0, 256)


async def test_what_is_published_is_acknowledged_and_retained(broker: FakeBroker) -> None:
    async with connected(at(broker, client_id="x"), will=Will("s/status", b"offline")) as connection:
        await connection.publish("s/status", b"online", retain=True)
        await connection.publish("s/state", b"{}")
        assert broker.retained == {"s/status": b"online"}
    await until(lambda: (0xE0, b"") in broker.packets)
    assert ("s/status", b"offline") not in broker.published  # ended in order: no will


async def test_the_will_is_published_when_the_connection_is_lost(broker: FakeBroker) -> None:
    async with connected(at(broker), will=Will("s/status", b"offline")) as connection:
        broker.hang_up()
        with pytest.raises(ConnectionLost):
            await connection.message()
    await until(lambda: broker.retained.get("s/status") == b"offline")


async def test_messages_come_with_their_topic_and_are_acknowledged(broker: FakeBroker) -> None:
    messages = subscribe(at(broker), "s/+/target")
    waiting = asyncio.ensure_future(anext(messages))
    await until(lambda: any(first == 0x82 for first, _ in broker.packets))
    broker.send(b"\x32\x0d\x00\x05s/a/t\x00\x09\x00ok!")
    assert await waiting == ("s/a/t", b"ok!")
    await until(lambda: (0x40, b"\x00\x09") in broker.packets)
    await messages.aclose()


@pytest.mark.parametrize(
    ("answer", "error", "what"),
    [
        (bytes.fromhex("20 03 00 86 00"), ConnectionLost, "bad user name or password"),
        (bytes.fromhex("20 09 00 87 06 1f 00 03") + b"no\x1b", ConnectionLost, r"not authorized \(no\)"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", BadReply, "no MQTT 5: packet type 4 before"),
        (b"\xd0\x00", BadReply, "before its answer"),
        (b"\x20\xff\xff\xff\xff\x01", BadReply, "more than four bytes"),
        (b"\x20\xff\xff\xff\x7f", BadReply, "268435455 bytes"),
    ],
)
async def test_a_broker_that_refuses_or_is_none_is_told(
    broker: FakeBroker, answer: bytes, error: type[DeviceError], what: str
) -> None:
    broker.answer = lambda first, content: answer
    with pytest.raises(error, match=what):
        async with connected(at(broker)):
            pass


async def test_a_broker_that_hangs_is_given_up(broker: FakeBroker) -> None:
    broker.answer = lambda first, content: CONNACK if first == 0x10 else None
    async with connected(Broker(host="127.0.0.1", port=broker.port, deadline_s=0.2)) as connection:
        with pytest.raises(Timeout, match="no acknowledgement"):
            await connection.publish("a", b"1")
    broker.answer = lambda first, content: None
    with pytest.raises(Timeout, match="no answer"):
        async with connected(Broker(host="127.0.0.1", port=broker.port, deadline_s=0.2)):
            pass


async def test_a_topic_that_is_not_allowed_is_told(broker: FakeBroker) -> None:
    broker.answer = lambda first, content: CONNACK if first == 0x10 else b"\x40\x03" + content[3:5] + b"\x87"
    async with connected(at(broker)) as connection:
        with pytest.raises(BadReply, match="does not take a: not authorized"):
            await connection.publish("a", b"1")


async def test_a_broker_that_ends_says_why(broker: FakeBroker) -> None:
    async with connected(at(broker)) as connection:
        broker.send(b"\xe0\x02\x8e\x00")
        with pytest.raises(ConnectionLost, match="another client has connected"):
            await connection.message()
        with pytest.raises(ConnectionLost):
            await connection.publish("a", b"1")


async def test_without_qos_1_nothing_is_waited_for_and_large_packets_are_not_sent(broker: FakeBroker) -> None:
    broker.answer = lambda first, content: bytes.fromhex("20 0a 00 00 07 24 00 27 00 00 00 10")
    async with connected(at(broker)) as connection:
        await connection.publish("a", b"1")
        await until(lambda: (0x30, b"\x00\x01a\x001") in broker.packets)
        with pytest.raises(BadReply, match="16 bytes at most"):
            await connection.publish("a", bytes(20))


async def test_a_silent_connection_is_pinged_and_then_given_up(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "KEEP_ALIVE_S", 0)  # the broker's counts
    broker.answer = lambda first, content: bytes.fromhex("20 06 00 00 03 13 00 01") if first == 0x10 else None
    async with connected(at(broker)) as connection:
        with pytest.raises(Timeout, match="silent"):
            await connection.message()
    assert (0xC0, b"") in broker.packets


async def test_nobody_listens() -> None:
    broker = FakeBroker()
    await broker.start()
    await broker.stop()
    with pytest.raises(ConnectionLost, match="refused"):
        async with connected(at(broker)):
            pass


def test_a_secret_comes_from_a_credential_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(NotTrusted, match="SKERRY_SECRET_MQTT_PASSWORD"):
        secret("mqtt", "password", "mqtt-password")
    monkeypatch.setenv("SKERRY_SECRET_MQTT_PASSWORD", "from the environment")
    assert secret("mqtt", "password", "mqtt-password") == "from the environment"
    file = tmp_path / "mqtt-password"
    file.write_text("from systemd\nmore\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    file.chmod(0o644)
    with pytest.raises(NotTrusted, match="every user can read it"):
        secret("mqtt", "password", "mqtt-password")
    file.chmod(0o400)
    assert secret("mqtt", "password", "mqtt-password") == "from systemd"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "none"))
    monkeypatch.setenv("SKERRY_SECRET_MQTT_PASSWORD", "two\nlines")
    with pytest.raises(NotTrusted, match="no line of printable text"):
        secret("mqtt", "password", "mqtt-password")
