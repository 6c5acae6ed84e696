"""Takes signed signals from an MQTT broker: subscribes to one topic, and publishes nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

from dispatch.orders.refusal import OrderRefused
from dispatch.wording.formatting import one_line
from drivers.back_off import BackOff
from drivers.modbus.errors import DeviceError
from drivers.mqtt.client import Broker, subscribe
from drivers.signals.cloud_event import LONGEST, SignalNotRead
from drivers.signals.config import SignalBrokerConfig
from gateway.event_sink import EventSink
from gateway.signal_refusals import SignalRefusals
from gateway.signals_in_force import SignalsInForce
from gateway.supervised_calls import PartHangs

LEAST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0


class SignalBroker:
    """Hands each message of the topic in; connects again, with longer pauses, for as long as it fails."""

    def __init__(self, config: SignalBrokerConfig, beside: Path, signals: SignalsInForce, events: EventSink) -> None:
        """`beside`: the directory to which a relative `ca` belongs."""
        self._broker = Broker(
            host=config.host,
            port=config.port,
            tls=config.tls,
            ca=beside / config.ca if config.ca else None,
            username=config.username,
            password=config.password_credential,
        )
        self._topic, self._signals, self._events = config.topic, signals, events
        self._back_off = BackOff(LONGEST_PAUSE_S, least_s=LEAST_PAUSE_S)
        self._refusals = SignalRefusals(events)

    async def run(self) -> None:
        """Listen until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                async for _, payload in subscribe(self._broker, self._topic, most_bytes=LONGEST):
                    self._back_off.answered()
                    await self.take(payload)
            except DeviceError as error:
                if not self._back_off.failing:
                    text = f"no signals from {self._broker.where}: {error}"
                    self._events.event("command", "warning", "signal", text)
                self._back_off.failed(str(error), loop.time())
            await asyncio.sleep(max(self._back_off.wait_s(loop.time()), 0.0))

    async def take(self, payload: bytes) -> None:
        """Hand one message in."""
        try:
            await self._signals.receive(payload, self._broker.where)
        except (SignalNotRead, OrderRefused, PartHangs) as error:
            self._refusals.tell(f"a message from {self._broker.where} is refused: {one_line(str(error))}")
