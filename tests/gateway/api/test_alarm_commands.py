"""Acknowledging a latched contact lets the battery go on: by its id, once on record, never with all others."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import pytest

from dispatch.alarms.definitions import DEFINITIONS
from dispatch.alarms.states import AlarmBook, AlarmState, Condition
from dispatch.model.events import Event
from drivers.clock import SystemClock
from gateway.api.alarm_commands import AlarmCommands
from gateway.errors import CommandRefused

LATCH = "contact-latched:epo"


class Peer:
    who = "ada"


class Log:
    """Records commands, unless the disk does not answer."""

    intent: int | None = 7

    async def record_intent(self, command: Any) -> int | None:
        return self.intent

    async def record_result(self, *result: Any) -> str:
        return ""


class Events:
    def note(self, event: Event, durable: bool = False) -> Future[None]:
        done: Future[None] = Future()
        done.set_result(None)
        return done


@pytest.fixture
def alarms() -> AlarmBook:
    book = AlarmBook(DEFINITIONS)
    book.update({LATCH: Condition(True), "price-file": Condition(True)}, 0.0, 0.0)
    return book


def commands(alarms: AlarmBook, log: Log) -> tuple[Any, list[str]]:
    released: list[str] = []
    made = AlarmCommands(log, SystemClock(), Events(), alarms, released.append)  # type: ignore[arg-type]
    return made.handlers["alarm.acknowledge"], released


async def test_by_its_id_it_is_released(alarms: AlarmBook) -> None:
    acknowledge, released = commands(alarms, Log())
    assert await acknowledge(Peer(), {"id": LATCH}) == {"acknowledged": 1, "not_durable": ""}
    assert released == ["epo"]


async def test_with_all_others_it_is_not(alarms: AlarmBook) -> None:
    acknowledge, released = commands(alarms, Log())
    assert (await acknowledge(Peer(), {"id": "*"}))["acknowledged"] == 1
    assert released == []
    states = {alarm.id: alarm.state for alarm in alarms.active()}
    assert states == {LATCH: AlarmState.UNACKNOWLEDGED, "price-file": AlarmState.ACKNOWLEDGED}


async def test_not_before_it_is_on_record(alarms: AlarmBook) -> None:
    log = Log()
    log.intent = None
    acknowledge, released = commands(alarms, log)
    with pytest.raises(CommandRefused, match="not on record yet, so the contact is not released"):
        await acknowledge(Peer(), {"id": LATCH})
    assert released == []
    assert (await acknowledge(Peer(), {"id": "price-file"}))["acknowledged"] == 1, "others need no record"


async def test_it_can_be_acknowledged_again_once_it_was_latched_again(alarms: AlarmBook) -> None:
    acknowledge, released = commands(alarms, Log())
    await acknowledge(Peer(), {"id": LATCH})
    alarms.update({LATCH: Condition(False)}, 1.0, 1.0)
    alarms.update({LATCH: Condition(True)}, 1.2, 1.2)
    await acknowledge(Peer(), {"id": LATCH})
    assert released == ["epo", "epo"]
