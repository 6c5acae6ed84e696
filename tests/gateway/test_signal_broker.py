"""Signals from an MQTT broker: taken, refused, and taken again after the broker was away."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest
from fake_broker import FakeBroker, two
from waiting import until

from dispatch.model.reasons import Reason
from dispatch.orders.refusal import OrderRefused
from drivers.signals.config import SignalBrokerConfig
from gateway import signal_broker, signal_refusals
from gateway.signal_broker import SignalBroker

TOPIC = "grid/v1/isv/acme-energy/loadtarget/set"


class Site:
    """Takes signals and events as a gateway does."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.said: list[str] = []

    async def receive(self, raw: bytes, way: str) -> None:
        if raw.startswith(b"no"):
            raise OrderRefused(Reason("refused.signal_endless"))
        self.taken.append(raw)

    def event(self, kind: str, severity: str, subject: str, text: str, who: str = "") -> None:
        self.said.append(text)


def message(payload: bytes) -> bytes:
    """A PUBLISH of QoS 0 without properties."""
    content = two(len(TOPIC)) + TOPIC.encode() + b"\x00" + payload
    return bytes([0x30, len(content)]) + content


async def subscribed(broker: FakeBroker, times: int) -> None:
    await until(lambda: sum(first >> 4 == 8 for first, _ in broker.packets) >= times)


async def test_messages_are_taken_also_after_the_broker_was_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal_broker, "LEAST_PAUSE_S", 0.01)
    site: Any = Site()
    async with FakeBroker() as broker:
        config = SignalBrokerConfig(host="127.0.0.1", port=broker.port, topic=TOPIC)
        listening = asyncio.create_task(SignalBroker(config, Path(), site, site).run())
        await subscribed(broker, 1)
        broker.send(message(b"first") + message(b"no end"))
        await until(lambda: site.said)
        assert site.taken == [b"first"]
        broker.hang_up()
        await subscribed(broker, 2)
        broker.send(message(b"second"))
        await until(lambda: len(site.taken) == 2)
        listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await listening
    where = f"mqtt at 127.0.0.1:{config.port}"
    refused, lost = site.said
    assert refused == f"a message from {where} is refused: no end: expected end_time, nothing stands without one"
    assert lost.startswith(f"no signals from {where}: ")


async def test_a_flood_of_what_is_refused_becomes_few_events() -> None:
    site: Any = Site()
    broker = SignalBroker(SignalBrokerConfig(host="h", topic=TOPIC), Path(), site, site)
    for _ in range(100):
        await broker.take(b"no")
    assert len(site.said) == signal_refusals.REFUSALS_PER_MIN
    assert site.said[-1].endswith(" (the last of 10 told in a minute)")
