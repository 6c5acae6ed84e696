"""The record in the console: keys step through it, every view is marked as past, and nothing can be ordered in it."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import scenes
from recorded_client import RecordedClient
from screen import Eventually, flat, open_view, screen_text, write

from console.display.language import say
from console.tui.app import SkerryApp
from dispatch.model.readings import Quality
from gateway.errors import RequestFailed
from storage.moment import Moment, Value
from storage.past import Chart, Past
from storage.signals import definition, signal_values

VIEWS = {
    "1": "overview",
    "2": "compute",
    "3": "plan",
    "4": "island",
    "5": "alarms",
    "6": "log",
    "7": "devices",
}
ORDERS = ("o", "i", "t", "r", "c", "d", "e", "D", "H", "S", "x", "F", "B", "a", "A", "exclamation_mark")


class Recorded(RecordedClient):
    """A gateway with a record of two hours, in all of which the site was as in the scene; before that there is none."""

    def __init__(self, name: str = "calm") -> None:
        super().__init__(scenes.read(name))
        self.now_s = self.scene.published.snapshot.utc_s
        self.asked_past: list[float] = []
        self.knows_past = True
        self.answers = asyncio.Event()
        self.answers.set()

    async def request(self, method: str, **params: Any) -> Any:
        """The past, too."""
        if method != "past":
            return await super().request(method, **params)
        if not self.knows_past:
            raise RequestFailed("unknown method 'past'; known: at", "refused")
        self.asked_past.append(params["utc_s"])
        await self.answers.wait()
        return msgspec.to_builtins(self.past(params["utc_s"]))

    def past(self, utc_s: float) -> Past:
        """What is on record of a time."""
        none = Chart(1.0, (), {})
        if utc_s < self.now_s - 7200:
            moment = Moment(utc_s, "", {}, (), None, (), None, self.now_s - 7200)
            return Past(moment, none, none, none, (), (), ())
        published = self.scene.published
        more = {"interval.limit_w": 30_000.0, "interval.left_w": 33_000.0, "month.peak_w": 25_000.0}
        figures = signal_values(published.snapshot, published.decision, more)
        values = {
            name: Value(value, definition(name).unit, Quality.MISSING if value is None else Quality.GOOD, 0.1)
            for name, value in figures.items()
        }
        decision = msgspec.structs.replace(published.decision, utc_s=utc_s)
        events = tuple(e for e in self.scene.events if e.utc_s <= utc_s)
        return Past(Moment(utc_s, "raw", values, (), decision), none, none, none, events, (), ())


def app_of(client: Recorded) -> SkerryApp:
    async def connect() -> Recorded:
        return client

    return SkerryApp(connect, monotonic=lambda: 100.0)


async def attached(pilot: Any, client: Recorded, eventually: Eventually) -> None:
    await eventually(pilot, lambda: "decisions" in [method for method, _ in client.asked])


async def test_keys_step_through_the_record_and_end_returns(eventually: Eventually) -> None:
    client = Recorded()
    async with app_of(client).run_test(size=(80, 24)) as pilot:
        await attached(pilot, client, eventually)
        await pilot.press("right_square_bracket")  # nothing is later than now
        assert pilot.app.shown.past is None
        for key, back_s in (
            ("left_square_bracket", 60),
            ("left_square_bracket", 120),
            ("left_curly_bracket", 3720),
            ("right_square_bracket", 3660),
        ):
            await pilot.press(key)
            at_s = -(-client.now_s // 60) * 60 - back_s
            await eventually(pilot, lambda at_s=at_s: pilot.app.shown.now_utc_s == at_s)
            assert client.asked_past[-1] == at_s
        first = screen_text(pilot.app).splitlines()[0]
        assert "PAST" in first
        assert "ago" in first
        assert first.rstrip().endswith("End: live")
        await pilot.press("end")
        await eventually(pilot, lambda: "PAST" not in screen_text(pilot.app))
        assert pilot.app.shown == pilot.app.model


async def test_every_view_is_marked_and_no_key_orders_anything(eventually: Eventually) -> None:
    client = Recorded("alarms")
    async with app_of(client).run_test(size=(80, 24)) as pilot:
        await attached(pilot, client, eventually)
        await pilot.press("left_square_bracket")
        await eventually(pilot, lambda: pilot.app.shown.past is not None)
        for key, name in reversed(VIEWS.items()):
            await open_view(pilot, key, name, eventually)
            await eventually(pilot, lambda: "PAST" in screen_text(pilot.app).splitlines()[0])
            said = flat(pilot.app)
            assert "Now GRID-TIED · ▲" in said  # how the site stands while something else is shown
            assert "nothing has arrived" not in said
            assert "STALE" not in said, name
            assert "no pulse" not in said
            for key in ORDERS if name == "alarms" else ORDERS[-1:]:
                pilot.app.store.update(notice="")
                await pilot.press(key)
                assert pilot.app.model.notice == say("record.no_order"), (name, key)
        asked = {method for method, _ in client.asked}
        assert not {method for method in asked if method.startswith(("order.", "alarm.", "drill.abort", "stop"))}
        await pilot.press("end", "a")
        await eventually(pilot, lambda: "alarm.acknowledge" in [method for method, _ in client.asked])


async def test_a_time_is_typed_and_a_wrong_one_is_explained(eventually: Eventually) -> None:
    client = Recorded()
    async with app_of(client).run_test(size=(80, 24)) as pilot:
        await attached(pilot, client, eventually)
        for text, said in (
            ("25:99", "expected a time such as"),
            ("2031-01-01", "has not come yet"),
        ):
            await pilot.press("g")
            await write(pilot, text)
            await pilot.press("enter")
            assert said in pilot.app.model.notice, text
            assert pilot.app.shown.past is None
            await pilot.press("escape")
        for text, back_s in (("-30m", 1800.0), ("11:00", 23 * 3600 + 280.0)):
            await pilot.press("g")
            await write(pilot, text)
            await pilot.press("enter")
            await eventually(pilot, lambda: bool(client.asked_past))
            at_s = client.asked_past.pop()
            assert abs(at_s - (client.now_s - back_s)) < 2, text
            await eventually(pilot, lambda at_s=at_s: pilot.app.shown.now_utc_s == at_s)
        assert "nothing is on record of then: nothing is kept before 2025-09-16 08:04:4" in flat(pilot.app)
        assert "missing" not in screen_text(pilot.app)
        assert " 0.0" not in screen_text(pilot.app)


async def test_a_key_that_is_held_down_asks_once_at_a_time(eventually: Eventually) -> None:
    client = Recorded()
    async with app_of(client).run_test(size=(80, 24)) as pilot:
        await attached(pilot, client, eventually)
        client.answers.clear()
        await pilot.press(*["left_square_bracket"] * 9)
        assert len(client.asked_past) == 1
        assert pilot.app.shown.past is None
        client.answers.set()
        last_s = -(-client.now_s // 60) * 60 - 9 * 60
        await eventually(pilot, lambda: pilot.app.shown.now_utc_s == last_s)
        assert len(client.asked_past) == 2
        client.answers.clear()
        await pilot.press("left_square_bracket", "end")  # what comes after the return is not shown
        client.answers.set()
        await pilot.pause()
        assert pilot.app.shown.past is None


async def test_an_earlier_gateway_is_named_and_the_present_stays(eventually: Eventually) -> None:
    client = Recorded()
    client.knows_past = False
    async with app_of(client).run_test(size=(80, 24)) as pilot:
        await attached(pilot, client, eventually)
        await pilot.press("left_square_bracket")
        await eventually(pilot, lambda: pilot.app.model.notice == say("record.earlier_gateway"))
        assert pilot.app.shown.past is None
        await pilot.press("H")  # and orders are given as ever
        await eventually(pilot, lambda: pilot.app.order_form.display)
