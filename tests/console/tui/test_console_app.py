"""The console as a whole, driven by keys, on a recorded gateway."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
import scenes
from recorded_client import RecordedClient
from screen import Eventually, flat, open_view, screen_text
from textual.events import Key

from console.display.viewmodel import Link
from console.tui import gateway_feed as feed_module
from console.tui.app import SkerryApp
from console.tui.energy_flows import GridFlow
from console.tui.order_form import Stage
from console.tui.status_bars import LinkLine
from dispatch.alarms.priorities import Priority
from dispatch.alarms.shelving import SHELVED, Suppression
from dispatch.alarms.states import AlarmState, ShelvedAlarm
from dispatch.model.events import Event
from dispatch.wording.catalogue import alarm_text
from gateway.api.protocol import EventMessage
from gateway.errors import LinkLost


class Gateways:
    """Hands out one recorded client after the other; between them there is no gateway."""

    def __init__(self, *scene_names: str, absent: int = 0) -> None:
        self.clients = [RecordedClient(scenes.read(name)) for name in scene_names]
        self.absent, self.attempts = absent, 0
        self.hang = False  # a further attempt to connect gets no answer
        self.now_s = 100.0

    async def connect(self) -> RecordedClient:
        self.attempts += 1
        if self.hang:
            await asyncio.Event().wait()
        free = [c for c in self.clients if c.lost is None]
        if self.attempts <= self.absent or not free:
            raise LinkLost("/run/skerry/x.sock: nobody listens")
        return free[0]

    def monotonic(self) -> float:
        return self.now_s

    def app(self, **options: Any) -> SkerryApp:
        return SkerryApp(self.connect, monotonic=self.monotonic, **options)


async def live(pilot: Any, gateways: Gateways, eventually: Eventually) -> None:
    await eventually(pilot, lambda: "decisions" in [m for m, _ in gateways.clients[0].asked])


async def test_says_that_it_waits_and_why_while_there_is_no_gateway(eventually: Eventually) -> None:
    gateways = Gateways(absent=10**6)
    async with gateways.app().run_test(size=(80, 24)) as pilot:
        await eventually(pilot, lambda: gateways.attempts > 0)
        await eventually(pilot, lambda: "nobody listens" in screen_text(pilot.app))
        assert "connecting" in screen_text(pilot.app)
        assert " 0.0" not in screen_text(pilot.app)


async def test_why_a_gateway_cannot_start_is_readable_to_its_end(eventually: Eventually) -> None:
    told = (
        "the gateway ended with exit code 6: /etc/skerry/sites/render-farm-hall-3.toml: meter grid: nothing answers "
        "on 192.168.100.17:502; check that it is powered and that no other master holds it"
    )

    async def connect() -> RecordedClient:
        raise LinkLost(told)

    async with SkerryApp(connect).run_test(size=(80, 24)) as pilot:
        await eventually(pilot, lambda: pilot.app.model.link_note == told)
        rows = screen_text(pilot.app).splitlines()[19:23]
        assert " ".join(" ".join(rows).split()) == f"Why {told}"


async def test_what_comes_while_the_console_closes_is_let_go(eventually: Eventually) -> None:
    gateways = Gateways("calm")
    app = gateways.app()
    async with app.run_test(size=(80, 24)) as pilot:
        await live(pilot, gateways, eventually)
    app.store.update(notice="late")  # its screens are gone
    assert app.model.notice == "late"


async def test_what_a_lost_gateway_leaves_is_readable_too(eventually: Eventually) -> None:
    gateways = Gateways("calm")
    async with gateways.app().run_test(size=(80, 24)) as pilot:
        await live(pilot, gateways, eventually)
        gateways.hang = True
        gateways.clients[0].break_link(told := "/run/skerry/render-farm-hall-3.sock: the gateway closed the connection")
        await eventually(pilot, lambda: pilot.app.model.link is Link.LOST)
        await eventually(pilot, lambda: "last values shown" in screen_text(pilot.app))
        assert told in " ".join(" ".join(screen_text(pilot.app).splitlines()[19:21]).split())


async def test_a_view_shown_again_shows_what_is_so_now(eventually: Eventually) -> None:
    """Found: "none: every condition that is watched is normal" for a second, beside alarms in the line below."""
    gateways = Gateways("alarms")
    client = gateways.clients[0]
    raised = client.scene.published
    calm = msgspec.structs.replace(raised, alarms=())
    async with gateways.app().run_test(size=(80, 24)) as pilot:
        await live(pilot, gateways, eventually)
        client.push(calm)
        await open_view(pilot, "5", "alarms", eventually)
        await eventually(pilot, lambda: "none: every condition" in screen_text(pilot.app))
        await open_view(pilot, "1", "overview", eventually)
        client.push(raised)
        await eventually(pilot, lambda: pilot.app.model.published.alarms == raised.alarms)
        await open_view(pilot, "5", "alarms", eventually)
        await eventually(pilot, lambda: "none: every condition" not in screen_text(pilot.app))
        assert alarm_text(raised.alarms[0].id).title in "\n".join(screen_text(pilot.app).splitlines()[2:12])


async def test_before_the_first_snapshot_no_list_says_none(eventually: Eventually) -> None:
    gateways = Gateways(absent=10**6)
    async with gateways.app().run_test(size=(80, 24)) as pilot:
        await open_view(pilot, "5", "alarms", eventually)
        await eventually(pilot, lambda: "Alarm  " in screen_text(pilot.app))
        assert "none" not in screen_text(pilot.app)


async def test_an_event_heard_live_and_from_the_records_is_one_line(eventually: Eventually) -> None:
    gateways = Gateways("alarms")
    client = gateways.clients[0]
    heard = msgspec.structs.replace(client.scene.events[-1], utc_s=client.scene.events[-1].utc_s + 0.0004)
    client.push(EventMessage(heard))
    async with gateways.app().run_test(size=(80, 24)) as pilot:
        await live(pilot, gateways, eventually)
        client.push(EventMessage(heard))
        await eventually(pilot, lambda: client._queue.empty())
        known = [e for e in pilot.app.model.events if (e.subject, e.text) == (heard.subject, heard.text)]
        before = [e for e in client.scene.events if (e.subject, e.text) == (heard.subject, heard.text)]
        assert len(known) == len(before)


async def test_a_lost_gateway_is_said_and_the_console_attaches_again(
    eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "FIRST_RETRY_S", 0.05)
    gateways = Gateways("calm", "pulse")
    gateways.attempts = 0
    async with gateways.app().run_test(size=(80, 24)) as pilot:
        await live(pilot, gateways, eventually)
        assert "live tech1 (op)" in screen_text(pilot.app)
        first = gateways.clients.pop()  # the second is not there yet
        gateways.clients[0].break_link("the gateway was killed")
        await eventually(pilot, lambda: pilot.app.model.link is Link.LOST)
        gateways.now_s += 12
        await eventually(pilot, lambda: "NO GATEWAY 12s, retrying" in screen_text(pilot.app))
        assert "STALE 12s" in "\n".join(pilot.app.query_one(GridFlow)._canvas.lines())
        gateways.clients.append(first)
        await eventually(pilot, lambda: pilot.app.model.link is Link.LIVE)
        await eventually(
            pilot, lambda: "PULSE since" in screen_text(pilot.app) and "STALE" not in screen_text(pilot.app)
        )


async def test_a_gateway_that_hangs_looks_stale_and_its_age_counts(eventually: Eventually) -> None:
    gateways = Gateways("calm")
    async with gateways.app().run_test(size=(80, 24)) as pilot:
        await live(pilot, gateways, eventually)
        for age in (3, 4):
            gateways.now_s = 100.0 + age
            await eventually(pilot, lambda: f"STALE {age}s" in screen_text(pilot.app))  # noqa: B023
        assert "STALE 4s" in "\n".join(pilot.app.query_one(LinkLine)._canvas.lines())
        gateways.clients[0].push(gateways.clients[0].scene.published)
        await eventually(pilot, lambda: "STALE" not in screen_text(pilot.app))


async def test_acknowledging_the_selected_alarm(eventually: Eventually) -> None:
    gateways = Gateways("alarms")
    client = gateways.clients[0]
    async with gateways.app().run_test(size=(80, 24)) as pilot:
        await live(pilot, gateways, eventually)
        await open_view(pilot, "5", "alarms", eventually)
        await pilot.press("down")
        second = pilot.app.query_one("#view-alarms").selected
        await pilot.press("a")
        await eventually(pilot, lambda: client.asked[-1] == ("alarm.acknowledge", {"id": second.id}))
        await eventually(pilot, lambda: f"acknowledged: {alarm_text(second.id).title}" in screen_text(pilot.app))
        await pilot.press("A")
        await eventually(pilot, lambda: client.asked[-1] == ("alarm.acknowledge", {"id": "*"}))


async def test_a_group_is_acknowledged_and_an_alarm_shelved_by_keys(eventually: Eventually) -> None:
    gateways = Gateways("alarms")
    client = gateways.clients[0]
    published = client.scene.published
    suppression = Suppression("price-feed", SHELVED, "kim", "feed is down", 0.0, published.snapshot.utc_s + 3600)
    off = ShelvedAlarm(suppression, AlarmState.ACKNOWLEDGED, Priority.LOW, "plan")
    alarms = tuple(msgspec.structs.replace(alarm, group="compute") for alarm in published.alarms)
    async with gateways.app().run_test(size=(80, 24)) as pilot:
        await live(pilot, gateways, eventually)
        client.push(msgspec.structs.replace(published, alarms=alarms, shelved=(off,)))
        await open_view(pilot, "5", "alarms", eventually)
        await eventually(pilot, lambda: "shelved until" in screen_text(pilot.app))
        await pilot.press("p")
        expected = ("alarm.acknowledge", {"id": "*", "group": "compute"})
        await eventually(pilot, lambda: client.asked[-1] == expected)
        await pilot.press("s")
        await eventually(pilot, lambda: "sorted by group" in screen_text(pilot.app))
        await pilot.press("z")
        await eventually(pilot, lambda: "Shelve an alarm" in screen_text(pilot.app))
        await pilot.press("escape", "w")
        await eventually(pilot, lambda: "alarm.history" in {method for method, _ in client.asked})


async def test_a_refusal_is_shown_in_the_gateways_words(eventually: Eventually) -> None:
    gateways = Gateways("alarms")
    async with gateways.app().run_test(size=(80, 24)) as pilot:
        await live(pilot, gateways, eventually)
        gateways.clients[0].refuse = "the gateway is stopping; no command is taken any more"
        await pilot.press("a")
        await eventually(pilot, lambda: "no command is taken" in screen_text(pilot.app))
        gateways.now_s += 10
        gateways.clients[0].push(gateways.clients[0].scene.published)
        await eventually(pilot, lambda: "1 Overview" in screen_text(pilot.app))


async def test_the_selection_stays_on_its_alarm_while_the_list_is_re_ranked(eventually: Eventually) -> None:
    gateways = Gateways("alarms")
    client = gateways.clients[0]
    async with gateways.app().run_test(size=(80, 24)) as pilot:
        await live(pilot, gateways, eventually)
        await open_view(pilot, "5", "alarms", eventually)
        await pilot.press("down")
        chosen = pilot.app.query_one("#view-alarms").selected.id
        published = client.scene.published
        acknowledged = tuple(
            msgspec.structs.replace(a, state=AlarmState.ACKNOWLEDGED) if a.id == chosen else a for a in published.alarms
        )
        client.push(msgspec.structs.replace(published, alarms=acknowledged))
        await eventually(pilot, lambda: pilot.app.model.published.alarms == acknowledged)
        assert pilot.app.query_one("#view-alarms").selected.id == chosen


async def test_the_log_filters_as_one_types_and_takes_new_events(eventually: Eventually) -> None:
    gateways = Gateways("alarms")
    async with gateways.app().run_test(size=(80, 24)) as pilot:
        await live(pilot, gateways, eventually)
        await open_view(pilot, "6", "log", eventually)
        await pilot.press("slash", *"pv1")
        log = pilot.app.query_one("#view-log")
        await eventually(pilot, lambda: log.filter_text == "pv1")
        assert all("pv1" in e.text + e.subject for e in log.items(pilot.app.model))
        now = pilot.app.model.published.snapshot.utc_s
        gateways.clients[0].push(EventMessage(Event(now + 1, "device", "info", "pv1", "pv1 answers again")))
        await eventually(pilot, lambda: "pv1 answers again" in screen_text(pilot.app))
        await pilot.press("enter", "escape")
        await eventually(pilot, lambda: log.filter_text == "")
        await pilot.press("end")
        await eventually(pilot, lambda: "before_utc_s" in gateways.clients[0].asked[-1][1])


async def test_keys_that_come_together_leave_no_hidden_prompt_with_the_focus(eventually: Eventually) -> None:
    """A slow link delivers several at once: the view changes before the prompt has had its turn."""
    gateways = Gateways("alarms")
    async with gateways.app().run_test(size=(80, 24)) as pilot:
        await live(pilot, gateways, eventually)
        await open_view(pilot, "6", "log", eventually)
        for key, character in (("slash", "/"), ("2", "2")):
            pilot.app.post_message(Key(key, character))
        await pilot.pause()
        assert pilot.app.focused is None or pilot.app.focused.display
        await pilot.press("escape", "7")
        assert pilot.app._shown_view == "devices"


async def test_the_palette_runs_what_it_finds(eventually: Eventually) -> None:
    gateways = Gateways("calm")
    async with gateways.app().run_test(size=(80, 24)) as pilot:
        await live(pilot, gateways, eventually)
        await pilot.press("colon", *"compu", "enter")
        await eventually(pilot, lambda: pilot.app._shown_view == "compute")
        assert not pilot.app.query_one("#prompt").display
        await pilot.press("ctrl+p", *"zzz", "enter")
        assert "no such command" in screen_text(pilot.app)
        await pilot.press("escape", "escape")
        await eventually(pilot, lambda: pilot.app._shown_view == "overview")


async def test_state_and_why_are_on_every_view(eventually: Eventually) -> None:
    gateways = Gateways("calm")
    async with gateways.app().run_test(size=(80, 24)) as pilot:
        await live(pilot, gateways, eventually)
        for key, name in (
            ("2", "compute"),
            ("5", "alarms"),
            ("6", "log"),
            ("question_mark", "help"),
            ("1", "overview"),
        ):
            await open_view(pilot, key, name, eventually)
            lines = screen_text(pilot.app).splitlines()
            assert "GRID-TIED" in lines[0]
            assert lines[19].startswith(" Why")


TERMINALS = [*((columns, 24) for columns in (20, 40, 59, 60, 79)), (80, 23), (80, 24)]


@pytest.mark.parametrize("size", TERMINALS, ids=str)
async def test_a_terminal_too_small_is_told_what_is_needed(size: tuple[int, int], eventually: Eventually) -> None:
    fits = size == (80, 24)
    gateways = Gateways("calm")
    async with gateways.app().run_test(size=size) as pilot:
        await live(pilot, gateways, eventually)
        assert (f"needs 80x24; here {size[0]}x{size[1]}" in flat(pilot.app)) is not fits
        assert ("GRID-TIED" in screen_text(pilot.app)) is fits


async def test_a_larger_terminal_adds_and_nothing_moves(eventually: Eventually) -> None:
    texts = []
    for size in ((80, 24), (120, 40)):
        gateways = Gateways("calm")
        async with gateways.app().run_test(size=size) as pilot:
            await live(pilot, gateways, eventually)
            texts.append(screen_text(pilot.app).splitlines())
    small, large = texts
    assert [line[:80].rstrip() for line in large[2:8]] == [line.rstrip() for line in small[2:8]]
    assert any("peak so far" in line for line in large)
    assert any("SoC %" in line for line in large)


async def test_a_terminal_that_does_not_keep_up_is_not_given_more(eventually: Eventually) -> None:
    gateways = Gateways("calm")
    async with gateways.app().run_test(size=(80, 24)) as pilot:
        await live(pilot, gateways, eventually)
        driver: Any = pilot.app._driver
        driver.backlog = 5
        scene = gateways.clients[0].scene
        later = msgspec.structs.replace(scene.published.snapshot, utc_s=scene.published.snapshot.utc_s + 1)
        drawn = pilot.app.query_one(LinkLine)._canvas.lines()
        gateways.clients[0].push(msgspec.structs.replace(scene.published, snapshot=later))
        await eventually(pilot, lambda: pilot.app.model.published.snapshot == later)
        assert pilot.app.query_one(LinkLine)._canvas.lines() == drawn
        driver.backlog = 0
        await eventually(pilot, lambda: pilot.app.query_one(LinkLine)._canvas.lines() != drawn)


async def test_leaving_a_site_off_the_grid_with_its_gateway_takes_the_key_twice(eventually: Eventually) -> None:
    gateways, stopped = Gateways("drill"), []

    async def stop() -> None:
        stopped.append(True)

    async with gateways.app(stop=stop).run_test(size=(80, 24)) as pilot:
        await live(pilot, gateways, eventually)
        await pilot.press("q")
        await eventually(pilot, lambda: "q again leaves, ! aborts" in screen_text(pilot.app))
        assert stopped == []
        await pilot.press("q")
        await eventually(pilot, lambda: pilot.app._exit)
    assert stopped == [True]


async def test_what_the_gateway_refuses_at_the_last_step_is_shown_and_so_is_a_lost_link(eventually: Eventually) -> None:
    gateways = Gateways("order")
    client = gateways.clients[0]
    async with gateways.app().run_test(size=(80, 24)) as pilot:
        await live(pilot, gateways, eventually)
        await pilot.press("i", *"10kW", "tab", "tab", *"meter", "enter")
        await eventually(pilot, lambda: pilot.app.order_form.stage is Stage.CONFIRM)
        client.refuse = "ordering an import takes an operator; vera is a viewer (no group of [roles])"
        await pilot.press(*"yes", "enter")
        await eventually(pilot, lambda: "refused: ordering an import takes an operator" in flat(pilot.app))
        assert client.asked[-1][0] == "order.set"
        assert client.asked[-1][1]["replace"] == client.scene.published.orders[0].id
        assert "[10kW " in screen_text(pilot.app)
        client.break_link("the gateway was killed")
        await eventually(pilot, lambda: pilot.app.model.link is Link.LOST)
        await pilot.press("enter")
        await eventually(pilot, lambda: "refused: no gateway: nothing was sent" in flat(pilot.app))


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
async def test_leaving_stops_a_gateway_the_console_started(key: str, eventually: Eventually) -> None:
    gateways, stopped = Gateways("calm"), []

    async def stop() -> None:
        stopped.append(gateways.clients[0].lost)

    async with gateways.app(stop=stop).run_test(size=(80, 24)) as pilot:
        await live(pilot, gateways, eventually)
        await pilot.press(key)
        await eventually(pilot, lambda: pilot.app._exit)
    assert len(stopped) == 1
