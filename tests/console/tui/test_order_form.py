"""Orders from the console's form, key by key, on a gateway with devices in memory over the real socket."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from screen import Eventually, flat, open_view, screen_text, write
from small_gateway import Running, running

from console.display.viewmodel import Model
from console.tui.app import SkerryApp
from console.tui.form_fields import CommandForm, new_form
from console.tui.order_details import Assessment, typed_only
from console.tui.order_form import OrderForm, Stage
from dispatch.model.orders import LIMIT_EXCEEDED, OrderKind, Preview
from dispatch.model.reasons import Reason
from gateway.api.client import GatewayClient
from gateway.api.peer import user_name

ME = user_name(os.getuid())
REFUSED = (
    ("o", ("70kW", "", "too much"), "refused: beyond ratings: discharge 70.0 kW against rated 60.0 kW charge"),
    ("o", ("5kW",), "refused: reason: an order needs a reason of at least 3 characters"),
    ("o", ("5", "", "abc"), "refused: new: '5': expected a power with its unit"),
    ("t", ("80%", "2025-01-01", "abc"), "refused: in the past: the time stated was"),
    ("c", ("", "0W", "", "heat"), "refused: beyond ratings: gpu-01 at most"),
)


@pytest.fixture
async def there() -> AsyncIterator[Running]:
    with TemporaryDirectory(prefix="sk", dir="/tmp") as name:
        async with running(Path(name), Path(name) / "s.sock") as gateway:
            yield gateway


def console(there: Running) -> SkerryApp:
    return SkerryApp(lambda: GatewayClient.connect(there.socket, 10))


async def live(pilot: Any, eventually: Eventually) -> OrderForm:
    await eventually(pilot, lambda: pilot.app.model.published is not None and pilot.app.model.audit != ())
    order_form: OrderForm = pilot.app.query_one(OrderForm)
    return order_form


async def order(pilot: Any, key: str, *fields: str) -> None:
    """Open a form by its key, fill its fields in, and ask."""
    await pilot.press(key)
    for n, text in enumerate(fields):
        if n:
            await pilot.press("tab")
        await write(pilot, text)
    await pilot.press("enter")


async def test_an_order_is_written_confirmed_seen_by_all_and_ended(there: Running, eventually: Eventually) -> None:
    small, large = console(there).run_test(size=(80, 24)), console(there).run_test(size=(120, 40))
    async with small as pilot, large as other:
        order_form = await live(pilot, eventually)
        await order(pilot, "o", "20kW", "10m", "feeder test")
        await eventually(pilot, lambda: "gives 3.3 kWh, SoC " in flat(pilot.app))  # what it does until it ends
        assert order_form.stage is Stage.CONFIRM
        shown = flat(pilot.app)
        assert "→ discharge 20.0 kW, for 10 min" in shown
        assert "kWh less" in shown
        assert "month's peak does not rise" in shown
        assert "contract " in shown
        assert "type yes and enter to execute" in shown
        assert there.gateway.orders.active == (), "nothing is done before the word"
        await write(pilot, "no")
        await pilot.press("enter")
        assert order_form.stage is Stage.CONFIRM
        await eventually(pilot, lambda: "nothing sent, 'no' is not it: type yes and enter" in flat(pilot.app))
        await pilot.press("enter")
        await eventually(pilot, lambda: "nothing sent, no word yet: type yes" in flat(pilot.app))
        await pilot.press(*"yes", "enter")
        await eventually(pilot, lambda: there.devices.pcs_w == 20_000)
        await eventually(pilot, lambda: not order_form.display)
        (given,) = there.gateway.orders.active
        assert (given.kind, given.value, given.who) == (OrderKind.SETPOINT, 20_000, ME)
        for console_ in (pilot, other):
            await eventually(console_, lambda c=console_: f"Order discharge 20.0 kW by {ME} until" in flat(c.app))  # type: ignore[misc]
            assert "feeder test" in flat(console_.app)
            assert "x end" in flat(console_.app)
        await order(pilot, "i", "10kW", "", "meter check")
        await eventually(pilot, lambda: order_form.stage is Stage.CONFIRM)
        assert f"replaces discharge 20.0 kW, {given.id} by {ME}" in flat(pilot.app)
        await pilot.press(*"yes", "enter")
        await eventually(pilot, lambda: not order_form.display)
        (given,) = there.gateway.orders.active
        assert given.kind is OrderKind.IMPORT_TARGET
        await a_third_order_is_not_replaced_unseen(pilot, there, order_form, eventually)
        (given,) = there.gateway.orders.active
        await the_log_says_who_and_what(other, eventually)
        await other.press("x")
        await eventually(other, lambda: re.search(rf"{given.id} by {ME}, \d+ min left: meter check", flat(other.app)))
        await other.press("enter")
        await eventually(other, lambda: there.gateway.orders.active == ())
        await eventually(pilot, lambda: "x end" not in flat(pilot.app))


async def a_third_order_is_not_replaced_unseen(
    pilot: Any, there: Running, order_form: OrderForm, eventually: Eventually
) -> None:
    """Somebody else orders while the word is being typed: what was agreed to is not what stands any more."""
    await order(pilot, "o", "5kW", "", "third")
    await eventually(pilot, lambda: order_form.stage is Stage.CONFIRM)
    (before,) = there.gateway.orders.active
    there.gateway.orders.put(msgspec.structs.replace(before, id="o99", reason="meter check", who="somebody"))
    await pilot.press(*"yes", "enter")
    await eventually(
        pilot, lambda: "refused: one order at a time: somebody holds battery by order o99" in flat(pilot.app)
    )
    await pilot.press("escape")
    there.gateway.orders.put(before)


async def the_log_says_who_and_what(pilot: Any, eventually: Eventually) -> None:
    """One line for intent and result, found by the filter."""
    await open_view(pilot, "6", "log", eventually)
    said = f"{ME}: in force: battery at 0 kW → discharge 20.0 kW, for 10 min"
    await eventually(pilot, lambda: any(said in line for line in screen_text(pilot.app).splitlines()))
    await pilot.press("slash")
    await write(pilot, "in force: b")
    await pilot.press("enter")
    log = pilot.app.query_one("#view-log")
    await eventually(pilot, lambda: len(log.items(pilot.app.model)) == 1)
    assert log.selected.result_seq == log.selected.seq + 1


async def test_a_refusal_is_shown_with_its_rule_and_figure_and_what_was_typed_stays(
    there: Running, eventually: Eventually
) -> None:
    async with console(there).run_test(size=(80, 24)) as pilot:
        order_form = await live(pilot, eventually)
        for key, fields, line in REFUSED:
            await order(pilot, key, *fields)
            await eventually(pilot, lambda line=line: line in flat(pilot.app))  # type: ignore[misc]
            assert order_form.stage is Stage.EDIT
            assert fields[0] in screen_text(pilot.app)
            await pilot.press("escape")
            assert not order_form.display
        await pilot.press("o", "tab", "tab")  # while a form is open keys are text, and the values above it live
        await write(pilot, "q2 H:/x!")
        assert order_form.form.text("reason") == "q2 H:/x!"
        assert pilot.app.model.view == "overview"
        seq = pilot.app.model.published.snapshot.seq
        await eventually(pilot, lambda: pilot.app.model.published.snapshot.seq > seq + 3)
        assert there.gateway.orders.active == ()


async def test_hold_and_stop_take_two_keys_caps_and_disabling_a_word(there: Running, eventually: Eventually) -> None:
    async with console(there).run_test(size=(80, 24)) as pilot:
        order_form = await live(pilot, eventually)
        await pilot.press("H")
        await eventually(pilot, lambda: "→ hold at 0 kW, for 15 min" in flat(pilot.app))
        assert "the battery rests at" in flat(pilot.app)  # what it does until it ends, without another key
        assert "contract " in flat(pilot.app)
        await pilot.press("enter")
        await eventually(pilot, lambda: [o.kind for o in there.gateway.orders.active] == [OrderKind.HOLD])
        held = there.gateway.orders.active[0].id
        await eventually(pilot, lambda: not order_form.display and held in flat(pilot.app))
        await pilot.press("S")
        await eventually(pilot, lambda: f"withdraws {held}" in flat(pilot.app))
        assert "→ hold at 0 kW, for 1 h" in flat(pilot.app), "as long as the site allows"
        await pilot.press("enter")
        await eventually(pilot, lambda: [o.id != held for o in there.gateway.orders.active] == [True])
        await eventually(pilot, lambda: not order_form.display)
        for key, fields in (("c", ("", "900W", "", "heat")), ("d", ("", "works"))):
            await order(pilot, key, *fields)
            await eventually(pilot, lambda: order_form.stage is Stage.CONFIRM)
            await write(pilot, "yes")
            await pilot.press("enter")
            await eventually(pilot, lambda: not order_form.display)
        assert {o.slot for o in there.gateway.orders.active} == {"battery", "node gpu-01", "device pcs1"}
        await eventually(pilot, lambda: "+2 more" in flat(pilot.app))
        await pilot.press("e")
        await eventually(pilot, lambda: "pcs1 disabled, o" in flat(pilot.app))
        await pilot.press("enter")
        await eventually(pilot, lambda: "device pcs1" not in [o.slot for o in there.gateway.orders.active])
        await eventually(pilot, lambda: not order_form.display and "+1 more" in flat(pilot.app))  # the console knows
        await pilot.press("e")
        await eventually(pilot, lambda: "no device is disabled by an order" in flat(pilot.app))


async def test_hold_and_stop_open_from_a_form_that_waits_for_its_word(there: Running, eventually: Eventually) -> None:
    async with console(there).run_test(size=(80, 24)) as pilot:
        order_form = await live(pilot, eventually)
        await pilot.press("o")
        await eventually(pilot, lambda: "esc cancel, then H S" in flat(pilot.app))
        assert pilot.app.model.role == "engineer", "who runs the gateway"
        await write(pilot, "5kW")
        await pilot.press("tab", "tab", *"test", "enter")
        await eventually(pilot, lambda: order_form.stage is Stage.CONFIRM)
        assert "H hold · S stop" in flat(pilot.app)
        await pilot.press("Y", "E", "S")
        assert order_form.typed_word == "YES", "a word is a word, also with caps lock on"
        await pilot.press("ctrl+u", "S")
        await eventually(pilot, lambda: order_form.form.id == "order.stop")
        await pilot.press("H")
        await eventually(pilot, lambda: order_form.form.id == "order.hold")
        await pilot.press("enter")
        await eventually(pilot, lambda: [o.kind for o in there.gateway.orders.active] == [OrderKind.HOLD])


async def test_a_drill_that_may_not_begin_shows_what_would_make_it_pass(there: Running, eventually: Eventually) -> None:
    async with console(there).run_test(size=(80, 24)) as pilot:
        order_form = await live(pilot, eventually)
        await open_view(pilot, "4", "island", eventually)
        await eventually(pilot, lambda: "→ turn its key to remote" in flat(pilot.app))
        await pilot.press("D")
        await eventually(pilot, lambda: "checks fail: no drill can begin" in flat(pilot.app))
        checks = len(order_form.assessment.checks)
        await pilot.press("enter")
        await eventually(pilot, lambda: "say why in at least 3 characters" in order_form.refusal)
        assert "--" not in order_form.refusal, "an option of the command line"
        await pilot.press("left", "5")
        assert order_form.form.text("minutes") == "5", "the first digit replaces the preset"
        await pilot.press("0", "backspace", "2")
        assert order_form.form.text("minutes") == "52"
        await pilot.press("ctrl+u", "5", "tab", *"test", "enter")
        await eventually(pilot, lambda: "refused: no drill: " in flat(pilot.app))
        assert len(order_form.assessment.checks) == checks, "the site is checked for as much, whatever is typed"
        assert order_form.stage is Stage.EDIT
        await pilot.press("escape", "exclamation_mark")
        await eventually(pilot, lambda: "there is no drill and no black start to abort" in flat(pilot.app))
        for key, word, line in (
            ("F", "yes", "refused: there is no fault to reset: the site is grid-tied"),
            ("B", "nobody on the bus", "refused: black start is for a dead site"),
        ):
            await pilot.press(key)
            await write(pilot, "rehearsal")
            await pilot.press("enter")
            await eventually(pilot, lambda: order_form.stage is Stage.CONFIRM)
            await write(pilot, word)
            await pilot.press("enter")
            await eventually(pilot, lambda line=line: line in flat(pilot.app))  # type: ignore[misc]
            await pilot.press("escape")


def test_a_form_with_nothing_typed_is_not_said_to_break_a_limit() -> None:
    """Until a value is typed one that any site allows is asked for: what that would do is not what the order does."""
    kept = Reason("order.none")
    broken = (Reason(LIMIT_EXCEEDED, {"by": "e1"}),)
    preview = Preview(OrderKind.SETPOINT, kept, kept, "W", None, None, None, None, 600.0, None, (), broken)
    form = new_form("order.setpoint", Model())
    assert isinstance(form, CommandForm)
    assert Assessment(typed_only(form, preview)).breaks == ""
    form = form.with_text(0, "5kW")
    assert Assessment(typed_only(form, preview)).breaks == "▲ BREAKS A LIMIT"
    assert Assessment(preview, refusal="no unit", unreadable=True).breaks == ""
