"""A gateway and Debian's own mosquitto: mosquitto_sub reads what it publishes; the broker is killed and comes back."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from small_gateway import running
from waiting import LIMIT_S, until

from drivers.mqtt.client import Broker, subscribe

PROGRAMS = ("mosquitto", "mosquitto_sub", "mosquitto_passwd")
GRID = "homeassistant/sensor/skerry_Small_grid_grid_power_w/config"


class Mosquitto:
    """One broker, with a user and what this may write, from `start` to `kill`."""

    def __init__(self, place: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._place = place
        passwords, allowed = place / "passwords", place / "allowed"
        subprocess.run(["mosquitto_passwd", "-b", "-c", passwords, "skerry", "secret"], check=True)
        subprocess.run(["mosquitto_passwd", "-b", passwords, "reader", "secret"], check=True)
        allowed.write_text(
            "user skerry\ntopic write skerry/Small/#\ntopic write homeassistant/sensor/#\nuser reader\ntopic read #\n"
        )
        allowed.chmod(0o600)
        (place / "broker.conf").write_text(
            f"listener {self.port} 127.0.0.1\nuser root\npassword_file {passwords}\nacl_file {allowed}\n"
            f"persistence true\npersistence_location {place}/\nautosave_interval 1\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        self._begin()
        await until(self._answers)

    def _begin(self) -> None:
        with (self._place / "log").open("ab") as log:
            self._process = subprocess.Popen(["mosquitto", "-c", self._place / "broker.conf"], stderr=log)

    def stop(self, sign: int = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(sign)
            self._process.wait(LIMIT_S)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    async def read(self, topic: str) -> str:
        """The next message, by an independent client; one that is retained at once."""
        command = f"mosquitto_sub -V 5 -p {self.port} -u reader -P secret -C 1 -t {topic}".split()
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        try:
            async with asyncio.timeout(LIMIT_S):
                out, _ = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise
        return out.decode().strip()


@pytest.fixture
async def mosquitto(place: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Mosquitto]:
    if absent := [name for name in PROGRAMS if shutil.which(name) is None]:
        pytest.skip(f"not installed: {', '.join(absent)}; apt-get install mosquitto mosquitto-clients")
    monkeypatch.setenv("SKERRY_SECRET_MQTT_PASSWORD", "secret")
    (place / "broker").mkdir()
    made = Mosquitto(place / "broker")
    await made.start()
    yield made
    made.stop()


def section(mosquitto: Mosquitto, **more: object) -> dict[str, object]:
    keys = {"username": "skerry", "password_credential": "mqtt-password", "period_s": 1.0}
    return {"host": "127.0.0.1", "port": mosquitto.port, **keys, **more}


async def test_an_independent_client_reads_what_a_gateway_publishes(place: Path, mosquitto: Mosquitto) -> None:
    async with running(place / "s", place / "s.sock", mqtt=section(mosquitto)) as there:
        config = json.loads(await mosquitto.read(GRID))
        assert (config["device_class"], config["unit_of_measurement"]) == ("power", "W")
        assert await mosquitto.read(config["availability_topic"]) == "online"
        state = json.loads(await mosquitto.read(config["state_topic"]))
        assert isinstance(state["grid_power_w"], float)
        ticks = there.gateway.loop.punctuality.ticks
        mosquitto.stop(signal.SIGKILL)
        await until(lambda: any(event.subject == "mqtt" and event.severity == "warning" for event in there.events))
        await until(lambda: there.gateway.loop.punctuality.ticks > ticks + 3)
        await mosquitto.start()
        await until(lambda: any(event.text == "works again" for event in there.events))
        assert await mosquitto.read("skerry/Small/status") == "online"
    assert await mosquitto.read("skerry/Small/status") == "offline"
    async with running(place / "s", place / "s.sock", mqtt=section(mosquitto, discovery=False)):
        await mosquitto.read("skerry/Small/site")
    retained = await _retained(mosquitto)
    assert retained["skerry/Small/status"] == b"offline"
    assert [topic for topic in retained if topic.startswith("homeassistant/")] == []


async def test_a_user_who_may_not_write_there_is_told(place: Path, mosquitto: Mosquitto) -> None:
    wrong = section(mosquitto, topic_prefix="elsewhere")
    async with running(place / "s", place / "s.sock", mqtt=wrong) as there:
        await until(lambda: any("elsewhere/Small/status: not authorized" in event.text for event in there.events))


async def _retained(mosquitto: Mosquitto) -> dict[str, bytes]:
    """All that the broker retains, by our own client: a broker sends it right after the subscription."""
    found: dict[str, bytes] = {}
    broker = Broker(host="127.0.0.1", port=mosquitto.port, username="reader", password="mqtt-password")
    messages = subscribe(broker, "#")
    try:
        async with asyncio.timeout(2.0):
            async for topic, payload in messages:
                found[topic] = payload
    except TimeoutError:
        pass
    await messages.aclose()
    return found
