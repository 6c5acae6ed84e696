"""Publishes a site's figures to an MQTT broker, in a task of its own, and tells Home Assistant how to show them.

There is no queue: each round tells what was published last, and one that takes longer than the period is left. What
was put into the broker for Home Assistant is kept in the gateway's memory: once its device is gone, or `discovery` is
switched off, it is removed from the broker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from drivers.back_off import BackOff
from drivers.modbus.errors import DeviceError
from drivers.mqtt.client import Broker, Connection, connected
from drivers.mqtt.packets import Will
from gateway.api.protocol import Published
from gateway.outputs import home_assistant
from gateway.outputs.figures import OLD_S, words
from gateway.outputs.home_assistant import Topics, topics_of
from gateway.outputs.trouble import OutputTrouble
from gateway.site.output_sections import MqttConfig

NAME = "mqtt"
STATE = "mqtt-discovery"  # what is kept: by topic the device
LOOK_S = 1.0  # between two rounds: words that change are told so soon
LONGEST_PAUSE_S = 60.0
MOST_KEPT = 8_192  # topics
END_S = 1.0  # for the broker to take the last word

Latest = Callable[[], tuple[Published, float] | None]  # what was published last, and how long ago; None: nothing yet


def broker_of(config: MqttConfig, directory: Path, site_name: str, suffix: str = "") -> Broker:
    """How the broker is reached. `directory`: that of the site file. `suffix`: behind the client identifier."""
    return Broker(
        host=config.host,
        port=config.port,
        tls=config.tls,
        ca=directory / config.ca if config.ca else None,
        username=config.username,
        password=config.password_credential,
        client_id=f"skerry-{home_assistant.slug(site_name)}{suffix}",
    )


def kept_topics(found: Any) -> dict[str, str]:
    """What an earlier run left in the memory; empty where it cannot be used. Raises msgspec.ValidationError."""
    return {} if found is None else msgspec.convert(found, dict[str, str])


class MqttPublisher:
    """One connection after the other, later and later while they fail."""

    def __init__(
        self,
        config: MqttConfig,
        broker: Broker,
        site_name: str,
        version: str,
        *,
        latest: Latest,
        trouble: OutputTrouble,
        save: Callable[[str, Any], object],
        kept: dict[str, str],
        look_s: float = LOOK_S,
    ) -> None:
        """`kept`: topics for Home Assistant that an earlier run has filled, and their devices. `save`: keeps them."""
        self._config, self._broker, self._version = config, broker, version
        self._topics: Topics = topics_of(config.topic_prefix, config.discovery_prefix, site_name)
        self._latest, self._trouble, self._save = latest, trouble, save
        self._kept = dict(kept)
        self._look_s = look_s
        self._known: dict[str, set[str]] = {}  # by device the figures that it has had
        self._configured: set[str] = set()  # topics, on this connection
        self._sent_s: dict[str, float] = {}  # by device, on the event loop's clock
        self._words: tuple[str, ...] = ()

    async def run(self) -> None:
        """Publish until cancelled. At the end the site is told to be offline."""
        loop, pause = asyncio.get_running_loop(), BackOff(LONGEST_PAUSE_S, least_s=self._look_s)
        while True:
            try:
                await self._connection(pause)
            except DeviceError as error:
                self._trouble.failed(NAME, str(error))
                pause.failed(str(error), loop.time())
            await asyncio.sleep(max(self._look_s, pause.wait_s(loop.time())))

    async def _connection(self, pause: BackOff) -> None:
        """Raises DeviceError when it ends."""
        self._configured, self._sent_s = set(), {}
        async with connected(self._broker, will=Will(self._topics.status, b"offline")) as connection:
            await connection.publish(self._topics.status, b"online", retain=True)
            self._trouble.works(NAME)
            pause.answered()
            try:
                while True:
                    connection.check()
                    await self._round(connection)
                    await asyncio.sleep(self._look_s)
            except asyncio.CancelledError:
                await self._say_offline(connection)
                raise

    async def _say_offline(self, connection: Connection) -> None:
        """The will is for a gateway that dies; one that ends says so itself."""
        try:
            async with asyncio.timeout(END_S):
                await connection.publish(self._topics.status, b"offline", retain=True)
        except (DeviceError, TimeoutError):
            pass  # the broker finds out by its will, or keep alive

    async def _round(self, connection: Connection) -> None:
        """Tell what is due. Raises DeviceError."""
        found = self._latest()
        if found is None or found[1] > OLD_S:
            return  # what was told expires by itself
        published, loop = found[0], asyncio.get_running_loop()
        began_s = loop.time()
        told = tuple(word.value for word in words(published))
        due = {device for device, sent_s in self._sent_s.items() if began_s - sent_s >= self._config.period_s}
        due |= {""} if told != self._words else set()
        states = home_assistant.states(published, self._config.most_nodes)
        due |= states.keys() - self._sent_s.keys()
        if not due:
            return
        there = home_assistant.devices(published, self._config.most_nodes)
        await self._remove(connection, there)
        for device in sorted(due):
            if loop.time() - began_s > self._config.period_s:
                return  # the others are still due, with newer figures
            state = states.get(device, {})
            await self._configure(connection, published, device, state)
            await connection.publish(self._topics.state(device), home_assistant.payload(state, self._known[device]))
            self._sent_s[device] = loop.time()
            if not device:
                self._words = told

    async def _configure(
        self, connection: Connection, published: Published, device: str, state: home_assistant.State
    ) -> None:
        """Tell Home Assistant of figures that are new, or new on this connection."""
        known = self._known.setdefault(device, set())
        known.update(state)
        if not self._config.discovery:
            return
        options = {word.quantity: word.words for word in words(published)}
        expire_s = round(3 * self._config.period_s + 5)
        for key in sorted(known):
            topic = self._topics.config(device, key)
            if topic in self._configured:
                continue
            if topic not in self._kept and len(self._kept) < MOST_KEPT:
                self._kept[topic] = device
                self._save(STATE, self._kept)
            made = home_assistant.config(self._topics, device, key, options.get(key, ()), expire_s, self._version)
            await connection.publish(topic, made, retain=True)
            self._configured.add(topic)

    async def _remove(self, connection: Connection, there: frozenset[str]) -> None:
        """Take back what Home Assistant was told of devices that the site has no more, or of all."""
        for device in self._known.keys() - there:
            del self._known[device]
            self._sent_s.pop(device, None)
        prefix = f"{self._topics.discovery}/"
        for topic, device in tuple(self._kept.items()):
            if not (self._config.discovery and device in there and topic.startswith(prefix)):
                await connection.publish(topic, b"", retain=True)
                del self._kept[topic]
                self._configured.discard(topic)
                self._save(STATE, self._kept)
