"""Acknowledging a latched contact lets the battery go on: by its id, once on record, never with all others."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from dispatch.alarms.definitions import DEFINITIONS
from dispatch.alarms.points import Condition
from dispatch.alarms.shelving import SHELVED
from dispatch.alarms.states import AlarmBook, AlarmState
from dispatch.model.events import Event
from drivers.clock import SystemClock
from gateway.api.alarm_commands import AlarmCommands
from gateway.api.command_log import Command
from gateway.errors import CommandRefused

LATCH = "contact-latched:epo"
KEPT: dict[str, Any] = {}
HANDLERS: dict[str, Any] = {}


class Peer:
    who = "ada"


class Log:
    """Records commands, unless the disk does not answer."""

    def __init__(self, *, on_disk: bool = True) -> None:
        self.on_disk = on_disk

    def check(self, command: Command, check: Callable[[], None]) -> None:
        if command.raises_risk and command.seen_utc_s is None:
            raise CommandRefused("stale console")
        check()

    async def record_intent(self, command: Command) -> int | None:
        if command.raises_risk and not self.on_disk:
            raise CommandRefused("audit: not on record, so not done")
        return 7 if self.on_disk else None

    async def record_result(self, *result: Any) -> str:
        return ""


class Records:
    async def ask(self, ask: Callable[[Any], Any]) -> Any:
        raise AssertionError("nothing is asked of the record here")


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
    made = AlarmCommands(
        log,  # type: ignore[arg-type]
        SystemClock(),
        Events(),
        alarms,
        release=released.append,
        records=Records(),
        save=lambda key, value: KEPT.update({key: value}),
    )
    HANDLERS.update(made.handlers)
    return made.handlers["alarm.acknowledge"], released


async def test_by_its_id_it_is_released(alarms: AlarmBook) -> None:
    acknowledge, released = commands(alarms, Log())
    assert await acknowledge(Peer(), {"id": LATCH, "seen_utc_s": 1.0}) == {"acknowledged": 1, "not_durable": ""}
    assert released == ["epo"]


async def test_with_all_others_it_is_not(alarms: AlarmBook) -> None:
    acknowledge, released = commands(alarms, Log())
    assert (await acknowledge(Peer(), {"id": "*"}))["acknowledged"] == 1
    assert released == []
    states = {alarm.id: alarm.state for alarm in alarms.active()}
    assert states == {LATCH: AlarmState.UNACKNOWLEDGED, "price-file": AlarmState.ACKNOWLEDGED}


async def test_not_before_it_is_on_record(alarms: AlarmBook) -> None:
    acknowledge, released = commands(alarms, Log(on_disk=False))
    with pytest.raises(CommandRefused, match="not on record, so not done"):
        await acknowledge(Peer(), {"id": LATCH, "seen_utc_s": 1.0})
    assert released == []
    assert (await acknowledge(Peer(), {"id": "price-file"}))["acknowledged"] == 1, "others need no record"


async def test_not_by_a_console_that_has_not_seen_the_site_lately(alarms: AlarmBook) -> None:
    """A key pressed in a session that hung must not start the battery once the session is back."""
    acknowledge, released = commands(alarms, Log())
    with pytest.raises(CommandRefused, match="stale console"):
        await acknowledge(Peer(), {"id": LATCH})
    assert released == []
    assert (await acknowledge(Peer(), {"id": "price-file"}))["acknowledged"] == 1


async def test_it_can_be_acknowledged_again_once_it_was_latched_again(alarms: AlarmBook) -> None:
    acknowledge, released = commands(alarms, Log())
    await acknowledge(Peer(), {"id": LATCH, "seen_utc_s": 1.0})
    alarms.update({LATCH: Condition(False)}, 1.0, 1.0)
    alarms.update({LATCH: Condition(True)}, 1.2, 1.2)
    await acknowledge(Peer(), {"id": LATCH, "seen_utc_s": 1.0})
    assert released == ["epo", "epo"]


async def test_shelving_is_bounded_reasoned_kept_and_taken_back(alarms: AlarmBook) -> None:
    commands(alarms, Log())
    shelve, back = HANDLERS["alarm.shelve"], HANDLERS["alarm.return"]
    asked = {"id": "price-file", "for_s": 3600.0, "reason": "feed is down until noon", "seen_utc_s": 1.0}
    for wrong, said in (
        ({"for_s": 59.0}, "for_s: 59: expected 60 to 86400 s"),
        ({"for_s": float("nan")}, "for_s: nan: expected seconds"),
        ({"reason": "x"}, "reason: expected at least 3 characters"),
    ):
        with pytest.raises(ValueError, match=said):
            await shelve(Peer(), asked | wrong)
    for refused, said in (
        ({"seen_utc_s": None}, "stale console"),
        ({"id": LATCH}, "cannot be shelved"),
        ({"id": "no-plan"}, "no alarm 'no-plan'"),
    ):
        with pytest.raises(CommandRefused, match=said):
            await shelve(Peer(), asked | refused)
    assert (await shelve(Peer(), asked))["not_durable"] == ""
    (kept,) = KEPT["alarms_off"]
    assert (kept["kind"], kept["who"], kept["reason"]) == (SHELVED, "ada", "feed is down until noon")
    assert [alarm.id for alarm in alarms.active()] == [LATCH]
    assert (await back(Peer(), {"id": "price-file"}))["not_durable"] == ""
    assert KEPT["alarms_off"] == []
    with pytest.raises(CommandRefused, match="price-file is neither shelved nor out of service: those are none"):
        await back(Peer(), {"id": "price-file"})


async def test_nothing_is_shelved_that_is_not_on_record(alarms: AlarmBook) -> None:
    commands(alarms, Log(on_disk=False))
    asked = {"id": "price-file", "reason": "feed is down", "seen_utc_s": 1.0}
    for name in ("alarm.shelve", "alarm.out_of_service"):
        with pytest.raises(CommandRefused, match="not on record, so not done"):
            await HANDLERS[name](Peer(), asked | {"for_s": 60.0})
    assert len(alarms.active()) == 2


async def test_a_group_without_alarms_is_named(alarms: AlarmBook) -> None:
    acknowledge, _ = commands(alarms, Log())
    with pytest.raises(CommandRefused, match="groups with alarms: contacts, plan"):
        await acknowledge(Peer(), {"id": "*", "group": "moon"})
    assert (await acknowledge(Peer(), {"id": "*", "group": "plan"}))["acknowledged"] == 1
