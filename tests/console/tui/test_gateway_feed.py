"""The gateway feed and the model store on their own: no app, no terminal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import scenes
from recorded_client import RecordedClient
from waiting import LIMIT_S

from console.display.viewmodel import Link, Model
from console.tui.gateway_feed import GatewayFeed
from console.tui.model_store import NOTICE_S, ModelStore
from gateway.api.protocol import PlanMessage
from gateway.errors import RequestFailed


class Reached:
    """Wakes whoever waits for the model to become something."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.drawn = 0
        self._changed = asyncio.Event()
        self.store = ModelStore(self.changed, lambda: self.now_s)

    def changed(self) -> None:
        self.drawn += 1
        self._changed.set()

    async def until(self, condition: Callable[[Model], bool]) -> None:
        async with asyncio.timeout(LIMIT_S):
            while not condition(self.store.model):
                self._changed.clear()
                await self._changed.wait()


async def test_a_feed_needs_no_app_to_turn_messages_into_the_model() -> None:
    reached, client = Reached(), RecordedClient(scenes.read("drilled"))
    tasks: dict[str, asyncio.Task[None]] = {}

    def start(work: Callable[[], Coroutine[Any, Any, None]], name: str) -> Any:
        tasks[name] = asyncio.create_task(work())
        return tasks[name]

    async def connect() -> RecordedClient:
        return client

    feed = GatewayFeed(connect, reached.store, start, lambda: reached.now_s)
    running = asyncio.create_task(feed.run())
    try:
        await reached.until(lambda m: m.published == client.scene.published and m.role == "operator")
        await tasks["history"]
        assert reached.store.model.trend[0].start_utc_s == client.scene.trend[0].start_utc_s
        assert reached.store.model.events != ()
        client.push(PlanMessage(None))
        await reached.until(lambda m: m.plan is None and m.no_plan != "")
        reached.now_s += 12
        feed.update_age()
        assert reached.store.model.age_s == 12
        client.break_link("the gateway was killed")
        await reached.until(lambda m: m.link is Link.LOST)
        assert reached.store.model.link_note == "the gateway was killed"
        assert await feed.acknowledge(id="*") is None
        assert reached.store.model.notice == "no gateway: nothing was sent"
    finally:
        running.cancel()


async def test_a_notice_goes_after_its_time_and_an_equal_model_is_not_drawn() -> None:
    reached = Reached()
    reached.store.notify("done")
    assert (reached.store.model.notice, reached.drawn) == ("done", 1)
    reached.now_s += NOTICE_S
    reached.store.expire_notice()
    assert reached.store.model.notice == "done"
    reached.now_s += 0.1
    reached.store.expire_notice()
    assert (reached.store.model.notice, reached.drawn) == ("", 2)
    reached.store.update(notice="")
    reached.store.replace(Model(view="log"), draw=False)
    assert (reached.store.model.view, reached.drawn) == ("log", 2)


async def test_what_jobs_have_drawn_is_asked_for_now_and_then_and_a_refusal_leaves_none() -> None:
    reached, asked = Reached(), list[str]()
    answers: list[Any] = [{"jobs": [{"scheduler": "s", "id": "7", "started_utc_s": 1.0, "host_wh": 5.0, "how": "x"}]}]
    tasks: list[asyncio.Task[None]] = []

    def start(work: Callable[[], Coroutine[Any, Any, None]], name: str) -> Any:
        tasks.append(asyncio.create_task(work()))

    class Asked(GatewayFeed):
        async def request(self, method: str, **params: Any) -> Any:
            asked.append(method)
            if not answers:
                raise RequestFailed("the site file names no scheduler")
            return answers.pop()

    async def connect() -> RecordedClient:
        raise OSError

    feed = Asked(connect, reached.store, start, lambda: reached.now_s)
    for after_s, drawn in ((0, 1), (5, 1), (6, 0)):
        reached.now_s += after_s
        feed.refresh_jobs()
        await tasks[-1]
        assert len(reached.store.model.drawn) == drawn
    assert asked == ["jobs.list", "jobs.list"]


@pytest.mark.parametrize("answer", [None, 7, "no", [], [None], [[]], {}, {"jobs": None}, {"role": 1}, [{"seq": 1}]])
async def test_an_answer_of_a_form_not_known_ends_nothing(answer: object) -> None:
    """A later gateway may answer otherwise; the console goes on without it."""
    reached, asked = Reached(), set[str]()

    class Odd(GatewayFeed):
        async def request(self, method: str, **params: Any) -> Any:
            asked.add(method)
            return answer

    async def connect() -> RecordedClient:
        raise OSError

    work: list[Callable[[], Coroutine[Any, Any, None]]] = []
    feed = Odd(connect, reached.store, lambda job, name: work.append(job), lambda: reached.now_s)  # type: ignore[arg-type, func-returns-value]
    feed.refresh_jobs()
    feed.refresh_proofs()
    feed.show_registers("pcs1")
    reached.store.update(published=scenes.read("drilled").published)
    feed.refresh_alarm_history()
    for job in work:
        await job()
    await feed._load_history(1e9)
    assert asked >= {"jobs.list", "prove.list", "device.registers", "alarm.history", "role", "history", "drill.status"}
    assert asked >= {"audit", "events", "decisions"}
