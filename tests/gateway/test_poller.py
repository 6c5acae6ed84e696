"""One device's conversation: age, staleness, loss and return, with a driver whose answers the test decides."""

from __future__ import annotations

import asyncio

import pytest

from dispatch.model.equipment import Meter
from dispatch.model.readings import Quality, reading
from drivers.clock import VirtualClock
from drivers.notices import Notices
from gateway.poller import Poller


class Trouble(Exception):
    """What this test's device raises."""


class ScriptedDriver:
    """Answers, fails or hangs as told."""

    id, kind = "grid", "meter"

    def __init__(self) -> None:
        self.answer: Meter | None = Meter("grid", w=reading(1000.0), a=(reading(4.0), reading(None)))
        self.release = asyncio.Event()
        self.release.set()

    async def read(self) -> Meter:
        await self.release.wait()
        if self.answer is None:
            raise Trouble("no answer from grid at 127.0.0.1:502")
        return self.answer

    async def close(self) -> None:
        pass


STALE_AFTER_S = 100.0  # longer than any machine takes for these tests


@pytest.fixture
async def bench() -> tuple[ScriptedDriver, VirtualClock, Poller, list[tuple[bool, str]]]:
    """A driver, a clock, a poller, and the changes it reported."""
    driver, clock, changes = ScriptedDriver(), VirtualClock(), []
    poller = Poller(driver, clock, STALE_AFTER_S, Trouble, lambda p, online: changes.append((online, p.error)))
    return driver, clock, poller, changes


async def test_fresh_then_older(bench) -> None:
    """A reading ages on the site's clock; what was missing stays missing."""
    _, clock, poller, changes = bench
    await poller.start()
    clock.advance(3.0)
    (meter,) = poller.parts()
    assert meter.w.value == 1000.0
    assert meter.w.age_s == pytest.approx(3.0)
    assert meter.w.quality is Quality.GOOD
    assert meter.a[1].quality is Quality.MISSING
    assert changes == [(True, "")]


async def test_no_answer_yet_is_nothing_not_zero(bench) -> None:
    """Before the first answer there are no parts at all."""
    driver, _, poller, changes = bench
    driver.answer = None
    await poller.start()
    assert poller.parts() == ()
    assert poller.health().age_s is None
    assert changes == [(False, "no answer from grid at 127.0.0.1:502")]


async def test_lost_device_keeps_its_last_value_marked_stale(bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """One failure is not yet a loss; past the limit the value stays, stale; the loss is told once."""
    driver, _, poller, changes = bench
    await poller.start()
    driver.answer = None
    await poller.start()
    assert poller.online
    loop = asyncio.get_running_loop()
    now_s = loop.time
    monkeypatch.setattr(loop, "time", lambda: now_s() + STALE_AFTER_S)
    (meter,) = poller.parts()
    assert meter.w.quality is Quality.STALE
    assert meter.w.good is None
    assert meter.w.value == 1000.0
    await poller.start()
    assert [online for online, _ in changes] == [True, False]
    assert "127.0.0.1:502" in poller.health().error


async def test_a_read_under_way_is_not_started_twice(bench) -> None:
    """A hung device has one request outstanding, however often the tick comes by."""
    driver, _, poller, _ = bench
    driver.release.clear()
    first = poller.start()
    await asyncio.sleep(0)
    assert poller.start() is first
    driver.release.set()
    await first
    assert poller.reads == 1
    assert poller.start() is not first
    await poller.start()


async def test_a_device_is_read_once_in_its_period(bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked at every tick of 0.2 s, some of them late: a read in each second, and none is made up for."""
    driver, clock, _, _ = bench
    loop, now_s = asyncio.get_running_loop(), [1000.0]
    monkeypatch.setattr(loop, "time", lambda: now_s[0])
    poller = Poller(driver, clock, STALE_AFTER_S, Trouble, lambda p, online: None, period_s=1.0)
    begun = []
    for tick in range(40):
        now_s[0] = 1000.0 + 0.2 * tick + (0.05 if tick % 3 == 0 else 0.0)
        before = poller.in_flight
        poller.start_if_due()
        if poller.in_flight is not before and poller.in_flight is not None:
            await poller.in_flight
            begun.append(now_s[0] - 1000.0)
    assert begun == pytest.approx([0.05 + n for n in range(8)], abs=0.21)
    now_s[0] += 10.0
    for _ in range(5):
        poller.start_if_due()
        if poller.in_flight is not None:
            await poller.in_flight
    assert poller.reads == len(begun) + 1


async def test_notices_of_a_driver_are_handed_on_once(bench) -> None:
    driver, clock, _, _ = bench
    driver.notices = Notices()
    said = []
    poller = Poller(
        driver, clock, STALE_AFTER_S, Trouble, lambda p, online: None, lambda device_id, n: said.append((device_id, n))
    )
    driver.notices.add("warning", "its map holds two meters")
    driver.notices.add("warning", "its map holds two meters")
    await poller.start()
    driver.notices.add("warning", "its map holds two meters")
    driver.notices.add("info", "another")
    driver.answer = None
    await poller.start()
    assert said == [("grid", ("warning", "its map holds two meters")), ("grid", ("info", "another"))]
