"""A text that a terminal without bracketed paste sends as keys sends, confirms and ends nothing; a key alone does."""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from screen import Eventually, flat
from small_gateway import Running, running

from console.tui.app import SkerryApp
from console.tui.commands import ABORT_KEY
from console.tui.driver import BURST_S, KeyTimes
from console.tui.order_form import OrderForm, Stage
from gateway.api.client import GatewayClient

NAMES = {"!": ABORT_KEY, "\n": "enter", " ": "space"}


def keys(*presses: tuple[float, str]) -> KeyTimes:
    seen = KeyTimes()
    for at_s, key in presses:
        seen.add(at_s, key)
    return seen


def pasted(text: str, start_s: float = 10.0, every_s: float = 0.0002) -> list[tuple[float, str]]:
    return [(start_s + n * every_s, NAMES.get(c, c)) for n, c in enumerate(text)]


@pytest.mark.parametrize("text", ["hello!", "!important", "a!b", "what!!", "rm -rf ! now", "!ls", "x" + "!" * 80])
@pytest.mark.parametrize("every_s", [0.0002, 0.02])
def test_each_key_of_a_paste_is_pasted(text: str, every_s: float) -> None:
    presses = pasted(text, every_s=every_s)
    assert {keys(*presses).pasted(at_s) for at_s, _ in presses} == {True}


@pytest.mark.parametrize("before_s", [0.05, 0.2, 5.0])
def test_a_key_that_somebody_presses_is_none(before_s: float) -> None:
    assert not keys((10.0, "4"), (10.0 + before_s, ABORT_KEY)).pasted(10.0 + before_s)
    repeated = list(itertools.islice(((10.0 + n / 50, ABORT_KEY) for n in itertools.count()), 9))
    assert not keys(*repeated).pasted(repeated[4][0]), "held down"
    assert not keys(*pasted("a text!"), (20.0, ABORT_KEY)).pasted(20.0), "pressed after a paste"


@pytest.mark.parametrize(
    ("text", "word", "counts"),
    [
        ("yes\n", "yes", True),  # typed quickly, and delivered together by a slow link
        ("YES\n", "yes", True),
        ("s\n", "yes", True),
        ("\n", "", True),
        ("20kW\nyes\n", "yes", False),
        ("oyes\n", "yes", False),
        ("yes\nq", "yes", False),
        ("H\n", "", False),
        ("nobody works\n", "nobody works", True),
    ],
)
def test_a_word_that_is_typed_quickly_is_no_paste(text: str, word: str, counts: bool) -> None:
    presses = pasted(text)
    last_s = [at_s for at_s, name in presses if name == "enter"][-1]
    assert keys(*presses).pasted(last_s, word) is not counts


@pytest.fixture
async def there() -> AsyncIterator[Running]:
    with TemporaryDirectory(prefix="sk", dir="/tmp") as name:
        async with running(Path(name), Path(name) / "s.sock") as gateway:
            yield gateway


async def send(pilot: Any, seen: KeyTimes, text: str, every_s: float = 0.0002) -> None:
    """The keys of a text, which came so far apart."""
    now_s = time.monotonic()
    for at_s, name in pasted(text, now_s, every_s):
        seen.add(at_s, name)
    await pilot.press(*(NAMES.get(c, c) for c in text))
    await pilot.pause(2 * BURST_S)


async def test_no_pasted_text_sends_a_command_or_leaves(there: Running, eventually: Eventually) -> None:
    app = SkerryApp(lambda: GatewayClient.connect(there.socket, 10))
    async with app.run_test(size=(80, 24)) as pilot:
        seen = app._driver.keys = KeyTimes()  # type: ignore[union-attr]
        form = app.query_one(OrderForm)
        await eventually(pilot, lambda: app.model.published is not None and app.model.audit != ())
        for text in ("H\n", "S\n"):
            await send(pilot, seen, text)
            await eventually(pilot, lambda: "a pasted text sends nothing: press enter alone" in flat(app))
            await pilot.press("escape")
        for text in ("Hallo\nthere\n", "see\nSelf\nyes\n", "a A ! x\n"):
            await send(pilot, seen, text)
            assert there.gateway.orders.active == ()
            await pilot.press("escape", "escape")
        for text in ("quit", "aq"):
            await send(pilot, seen, text)
            await eventually(pilot, lambda: "a pasted text does not leave: press q alone" in flat(app))
            await pilot.press("escape")
        assert there.gateway.orders.active == ()
        assert app.is_running
        await send(pilot, seen, "H")
        await eventually(pilot, lambda: form.display and form.form.id == "order.hold")
        await send(pilot, seen, "\n")
        await eventually(pilot, lambda: len(there.gateway.orders.active) == 1)


async def test_a_confirmation_within_a_paste_does_not_count(there: Running, eventually: Eventually) -> None:
    app = SkerryApp(lambda: GatewayClient.connect(there.socket, 10))
    async with app.run_test(size=(80, 24)) as pilot:
        seen = app._driver.keys = KeyTimes()  # type: ignore[union-attr]
        form = app.query_one(OrderForm)
        await eventually(pilot, lambda: app.model.published is not None and app.model.audit != ())
        await pilot.press("o", *"5kW", "tab", "tab", *"feeder", "enter")
        await eventually(pilot, lambda: form.stage is Stage.CONFIRM)
        await send(pilot, seen, "no\nyes\n")
        assert (form.stage, form.typed_word, there.gateway.orders.active) == (Stage.CONFIRM, "", ())
        await send(pilot, seen, "yes\n")
        await eventually(pilot, lambda: len(there.gateway.orders.active) == 1)
