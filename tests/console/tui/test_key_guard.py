"""The read-only lock, the question before the console is left, the strip of orders, the answer to an abort."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import scenes
from recorded_client import RecordedClient
from screen import flat

from console.display.islanding_text import abort_outlook
from console.display.language import say
from console.display.viewmodel import Model, received
from console.tui.app import SkerryApp
from console.tui.canvas import Canvas
from console.tui.commands import COMMANDS
from console.tui.key_guard import leave_warning, refused_by_lock
from console.tui.order_line import OrderLine, order_rows
from console.tui.status_bars import StateLine
from dispatch.model.islanding import IslandState, Reconnect
from dispatch.model.orders import REASON_MAX
from dispatch.model.reasons import plain

replace = msgspec.structs.replace
LONG = ("feeder two is tested by the utility " * 6)[:REASON_MAX].strip()


def shown(scene_name: str, **changes: Any) -> Model:
    scene = scenes.read(scene_name)
    model = received(Model(welcome=scene.welcome, plan=scene.plan), scene.published)
    assert model.published is not None
    return replace(model, published=replace(model.published, **changes))


def ordered(reason: str, who: str = "tech1") -> Model:
    model = shown("order")
    assert model.published is not None
    (order, *_) = model.published.orders
    return replace(model, published=replace(model.published, orders=(replace(order, reason=reason, who=who),)))


def test_the_lock_refuses_what_commands_the_site_and_nothing_else() -> None:
    free, locked = Model(), Model(locked=True)
    refused = {c.id for c in COMMANDS if refused_by_lock(locked, c.action)}
    assert {"order.setpoint", "order.end", "drill.start", "alarm.acknowledge"} <= refused
    assert {"drill.abort", "order.hold", "order.stop", "console.lock", "view.plan"}.isdisjoint(refused)
    assert not any(refused_by_lock(free, c.action) for c in COMMANDS)
    assert all(id.startswith(("alarm.", "drill.", "island.", "order.")) for id in refused)


def test_leaving_asks_while_an_order_of_this_user_is_in_force() -> None:
    assert leave_warning(ordered("a test", "somebody"), stops_gateway=False) == ""
    asked = leave_warning(ordered("a test"), stops_gateway=False)
    assert asked.startswith("order ")
    assert " by tech1 is in force until " in asked
    assert asked.endswith(": q again leaves, x ends it")
    assert len(asked) <= 78
    assert "by ada as tech1 is in force" in leave_warning(ordered("a test", "ada as tech1"), stops_gateway=False)
    assert leave_warning(replace(ordered("a test"), locked=True), stops_gateway=False).endswith(": q again leaves")
    ends = leave_warning(ordered("a test", "somebody"), stops_gateway=True)
    assert "the gateway stops, and order " in ends
    assert " by somebody ends with it" in ends, "in force until another time would be false"
    assert leave_warning(shown("drill"), stops_gateway=False) == "", "its gateway runs on"
    assert "abort" in leave_warning(shown("drill"), stops_gateway=True)


@pytest.mark.parametrize("width", [80, 120, 200])
@pytest.mark.parametrize("reason", ["feeder test", "a longer reason that takes most of a line of its own", LONG, ""])
def test_a_reason_is_never_cut(width: int, reason: str) -> None:
    model = ordered(reason)
    assert model.published is not None
    rows = order_rows(model, model.published, width)
    canvas = Canvas(width, len(rows))
    OrderLine().paint(canvas, model)
    drawn = " ".join(" ".join(canvas.lines()).replace("─", " ").replace("x end", " ").split())
    assert reason in drawn
    assert "…" not in drawn
    assert len(rows) == 1 or len(reason) > 40
    assert canvas.lines()[0].rstrip().endswith("x end ─")


def test_what_an_abort_leads_to() -> None:
    drill = shown("drill")
    assert drill.published is not None
    view = drill.published.decision.islanding
    assert view is not None

    def outlook(**changes: Any) -> str:
        decision = replace(drill.published.decision, islanding=replace(view, **changes))  # type: ignore[union-attr]
        return abort_outlook(replace(drill, published=replace(drill.published, decision=decision)))

    back = Reconnect("VDE", True, plain("50 Hz"), 300.0, 240.0)
    waits = outlook(reconnect=back)
    assert waits.startswith("closing may be permitted from 05:3")
    assert "; battery lasts until " in waits
    assert len(f"aborting: {waits}") <= 78
    outside = outlook(reconnect=replace(back, in_window=False, left_s=None))
    assert outside.startswith("closing 5:00 after the grid is inside its window")
    assert outlook(reconnect=replace(back, by_device=True)).startswith("the switch returns by itself")
    preparing = replace(drill.published.decision, island=IslandState.PREPARING)
    told = abort_outlook(replace(drill, published=replace(drill.published, decision=preparing)))
    assert told == "the switch stays closed"
    assert abort_outlook(shown("calm")) == ""


async def test_the_keys_lock_and_ask(eventually: Callable[..., Any]) -> None:
    client = RecordedClient(scenes.read("order"))

    async def connect() -> RecordedClient:
        return client

    async with SkerryApp(connect, monotonic=lambda: 100.0).run_test(size=(80, 24)) as pilot:
        app = pilot.app
        await eventually(pilot, lambda: app.model.published is not None)
        await pilot.press("R", "o")
        await eventually(pilot, lambda: "READ ONLY" in flat(app))
        assert not app.order_form.display
        await pilot.press("H")
        await eventually(pilot, lambda: app.order_form.display)
        await pilot.press("escape", "R", "o")
        await eventually(pilot, lambda: app.order_form.display and "READ ONLY" not in flat(app).split("Why")[0])
        await pilot.press("escape", "q")
        await eventually(pilot, lambda: "q again leaves" in app.model.notice)
        assert app._running
        canvas = Canvas(48, 1)
        StateLine().paint(canvas, replace(app.model, locked=True))
        assert "READ ONLY" in canvas.lines()[0]


async def test_an_answer_of_an_unknown_form_does_not_end_the_console(eventually: Callable[..., Any]) -> None:
    odd = {"order.preview": {"kind": 3}, "drill.abort": {"ok": False}}
    client = RecordedClient(replace(scenes.read("order"), answers=odd))

    async def connect() -> RecordedClient:
        return client

    async with SkerryApp(connect).run_test(size=(80, 24)) as pilot:
        app = pilot.app
        await eventually(pilot, lambda: app.model.published is not None)
        await pilot.press("exclamation_mark")
        await eventually(pilot, lambda: app.model.notice == say("answer.sent", what=say("answer.unreadable")))
        await pilot.press("o")
        await eventually(pilot, lambda: app.order_form.assessment.refusal == say("answer.unreadable"))
        assert app._running
