"""What is published by MQTT and told to Home Assistant: with a broker that is gone, comes back, hangs or refuses."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fake_broker import CONNACK, FakeBroker
from published import PUBLISHED, Events
from waiting import until

from dispatch.model.decision import Mode
from dispatch.model.equipment import Meter, Node
from dispatch.model.readings import reading
from gateway.api.protocol import Published
from gateway.outputs import home_assistant
from gateway.outputs.figures import QUANTITIES
from gateway.outputs.home_assistant import slug, topics_of
from gateway.outputs.mqtt_publisher import STATE, MqttPublisher, broker_of, kept_topics
from gateway.outputs.trouble import OutputTrouble
from gateway.site.output_sections import MqttConfig

TOPICS = topics_of("skerry", "homeassistant", "Hall")
GRID = "homeassistant/sensor/skerry_Hall_grid_grid_import_wh/config"


class Site:
    """A publisher against a broker. `now`: what the last tick published."""

    def __init__(self, broker: FakeBroker, kept: dict[str, str] | None = None, **config: Any) -> None:
        self.now: Published | None = PUBLISHED
        self.age_s = 0.0
        self.events, self.saved = Events(), dict[str, Any]()
        self.trouble = OutputTrouble(self.events)
        self.config = MqttConfig(host="127.0.0.1", port=broker.port, **config)
        self.publisher = MqttPublisher(
            self.config,
            msgspec.structs.replace(broker_of(self.config, Path(), "Hall"), deadline_s=20.0),
            "Hall",
            "9.9",
            latest=lambda: None if self.now is None else (self.now, self.age_s),
            trouble=self.trouble,
            save=lambda key, value: self.saved.update({key: dict(value)}),
            kept=kept or {},
            look_s=0.01,
        )
        self.task = asyncio.create_task(self.publisher.run())

    async def end(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@pytest.fixture
async def broker() -> AsyncIterator[FakeBroker]:
    async with FakeBroker() as found:
        yield found


@pytest.fixture
async def site_at(broker: FakeBroker) -> AsyncIterator[Callable[..., Site]]:
    made: list[Site] = []

    def make(**more: Any) -> Site:
        made.append(Site(broker, **more))
        return made[-1]

    yield make
    for site in made:
        await site.end()


def all_told(broker: FakeBroker) -> bool:
    """Whether one round is over: the states of the site and of its four devices, each behind its configurations."""
    states = {topic for topic, _ in broker.published if "/device/" in topic or topic.endswith("/site")}
    return len(states) == 5


async def test_states_are_published_and_the_end_is_told(broker: FakeBroker, site_at: Callable[..., Site]) -> None:
    site = site_at()
    await until(lambda: all_told(broker))
    told = dict(broker.published)
    assert broker.retained["skerry/Hall/status"] == b"online"
    assert json.loads(told["skerry/Hall/device/grid"]) == {
        "grid_export_wh": 50.0, "grid_import_wh": 1000.0, "grid_power_w": 21_400.0,
        "grid_voltage_v_l1": 230.0, "grid_voltage_v_l2": 231.0, "grid_voltage_v_l3": 232.0,
    }  # fmt: skip
    state = json.loads(told["skerry/Hall/site"])
    assert (state["mode"], state["island_state"], state["alarms"]) == ("rules", "grid-tied", 1.0)
    assert "skerry/Hall/device/pv1" not in told  # its reading is stale
    assert "skerry/Hall/device/grid" not in broker.retained  # a figure of yesterday must not meet a new reader
    await site.end()
    await until(lambda: broker.retained["skerry/Hall/status"] == b"offline")
    assert {first >> 4 for first, _ in broker.packets} == {1, 3, 14}  # connect, publish, end: it subscribes to nothing


async def test_home_assistant_can_use_the_grid_registers_for_its_energy_dashboard(
    broker: FakeBroker, site_at: Callable[..., Site]
) -> None:
    site = site_at()
    await until(lambda: all_told(broker))
    found = json.loads(broker.retained[GRID])
    assert (found["device_class"], found["state_class"], found["unit_of_measurement"]) == (
        "energy", "total_increasing", "Wh",
    )  # fmt: skip
    assert found["state_topic"] == "skerry/Hall/device/grid"
    assert found["value_template"] == "{{ value_json.grid_import_wh }}"
    assert found["availability_topic"] == "skerry/Hall/status"
    assert found["expire_after"] == 35
    configs = [json.loads(payload) for topic, payload in broker.retained.items() if topic.endswith("/config")]
    assert len({one["unique_id"] for one in configs}) == len(configs)
    assert all(one["device"]["identifiers"] and one["origin"]["name"] == "Skerry" for one in configs)
    assert site.saved[STATE] == {
        f"homeassistant/sensor/{one['unique_id']}/config": _device(one["state_topic"]) for one in configs
    }


def _device(topic: str) -> str:
    return topic.partition("/device/")[2]


def test_every_quantity_has_a_unit_and_a_name_for_home_assistant() -> None:
    for quantity in QUANTITIES:
        made = json.loads(home_assistant.config(TOPICS, "d", quantity, (), 35, "1"))
        assert made["unit_of_measurement"]
        assert made["name"]
    assert json.loads(home_assistant.config(TOPICS, "d", "battery_soc_pct", (), 35, "1"))["name"] == "Battery SoC"
    assert json.loads(home_assistant.config(TOPICS, "d", "grid_voltage_v_l1", (), 35, "1"))["name"] == "Grid voltage L1"
    enum = json.loads(home_assistant.config(TOPICS, "", "mode", ("plan", "rules"), 35, "1"))
    assert (enum["device_class"], enum["options"]) == ("enum", ["plan", "rules"])


def test_names_that_differ_in_signs_only_have_topics_of_their_own() -> None:
    assert slug("gpu-01_a") == "gpu-01_a"
    assert len({slug("gpu.a"), slug("gpu+a"), slug("gpu/a"), slug("gpu_a")}) == 4
    assert not set("+#/ ") & set(slug("a+b#c/d e"))


async def test_a_figure_that_is_lost_is_null_and_one_that_is_new_is_configured(
    broker: FakeBroker, site_at: Callable[..., Site]
) -> None:
    site = site_at(period_s=1.0)
    await until(lambda: "skerry/Hall/device/grid" in dict(broker.published))
    lost = Meter("grid", w=reading(1.0), hz=reading(50.0))
    site.now = msgspec.structs.replace(PUBLISHED, snapshot=msgspec.structs.replace(PUBLISHED.snapshot, grid=lost))
    site.publisher._sent_s.clear()  # the period is over
    await until(lambda: json.loads(dict(broker.published)["skerry/Hall/device/grid"])["grid_power_w"] == 1.0)
    state = json.loads(dict(broker.published)["skerry/Hall/device/grid"])
    assert (state["grid_import_wh"], state["grid_frequency_hz"]) == (None, 50.0)
    assert "homeassistant/sensor/skerry_Hall_grid_grid_frequency_hz/config" in broker.retained


async def test_words_are_told_at_once_and_an_old_tick_not_at_all(
    broker: FakeBroker, site_at: Callable[..., Site]
) -> None:
    site = site_at(period_s=300.0)
    await until(lambda: "skerry/Hall/site" in dict(broker.published))
    decision = msgspec.structs.replace(PUBLISHED.decision, mode=Mode.SAFE)
    site.now = msgspec.structs.replace(PUBLISHED, decision=decision)
    await until(lambda: json.loads(dict(broker.published)["skerry/Hall/site"])["mode"] == "safe")
    site.age_s, site.now, count = 60.0, PUBLISHED, len(broker.published)
    for _ in range(5):
        await asyncio.sleep(0.01)
    assert len(broker.published) == count


async def test_a_broker_that_dies_and_is_back_gets_everything_again(
    broker: FakeBroker, site_at: Callable[..., Site]
) -> None:
    site = site_at()
    await until(lambda: GRID in broker.retained)
    await broker.stop()
    await until(lambda: site.trouble.failures.get("mqtt"))
    broker.retained.clear()
    await broker.start()
    await until(lambda: GRID in broker.retained and broker.retained["skerry/Hall/status"] == b"online")
    await until(lambda: site.trouble.failures["mqtt"] == "")
    assert [subject for subject, _ in site.events.told] == ["mqtt", "mqtt"]  # one event each way


async def test_a_broker_that_refuses_is_told_with_its_reason(broker: FakeBroker, site_at: Callable[..., Site]) -> None:
    broker.answer = lambda first, content: CONNACK if first == 0x10 else b"\x40\x03" + content[20:22] + b"\x87"
    site = site_at()
    await until(lambda: site.trouble.failures.get("mqtt"))
    assert "does not take skerry/Hall/status: not authorized" in site.trouble.failures["mqtt"]


async def test_what_home_assistant_was_told_of_a_device_that_is_gone_is_removed(
    broker: FakeBroker, site_at: Callable[..., Site]
) -> None:
    old = "homeassistant/sensor/skerry_Hall_old_node_power_w/config"
    broker.retained[old] = b"{}"
    nodes = (Node("n1", w=reading(5.0)), Node("n2", w=reading(6.0)))
    site = site_at(kept={old: "old"}, period_s=1.0)
    site.now = msgspec.structs.replace(PUBLISHED, snapshot=msgspec.structs.replace(PUBLISHED.snapshot, nodes=nodes))
    await until(lambda: TOPICS.config("n2", "node_power_w") in broker.retained)
    assert old not in broker.retained
    site.now = PUBLISHED
    site.publisher._sent_s.clear()
    await until(lambda: TOPICS.config("n1", "node_power_w") not in broker.retained)
    await until(lambda: "n1" not in site.saved[STATE].values())


async def test_without_discovery_all_of_it_is_removed(broker: FakeBroker, site_at: Callable[..., Site]) -> None:
    broker.retained[GRID] = b"{}"
    site = site_at(kept={GRID: "grid"}, discovery=False)
    await until(lambda: "skerry/Hall/device/grid" in dict(broker.published))
    assert not [topic for topic in broker.retained if topic.startswith("homeassistant/")]
    assert site.saved[STATE] == {}


def test_a_memory_that_cannot_be_used_is_refused() -> None:
    assert kept_topics(None) == {}
    with pytest.raises(msgspec.ValidationError):
        kept_topics({"topic": 3})
