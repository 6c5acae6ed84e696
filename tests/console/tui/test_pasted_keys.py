"""A text that a terminal without bracketed paste sends as keys never aborts; the key pressed alone does."""

from __future__ import annotations

import itertools

import pytest

from console.tui.app import ABORT_KEY
from console.tui.commands import COMMANDS
from console.tui.driver import KeyTimes


def keys(*presses: tuple[float, str]) -> KeyTimes:
    seen = KeyTimes()
    for at_s, key in presses:
        seen.add(at_s, key)
    return seen


def pasted(text: str, start_s: float = 10.0, every_s: float = 0.0002) -> list[tuple[float, str]]:
    return [(start_s + n * every_s, ABORT_KEY if c == "!" else c) for n, c in enumerate(text)]


@pytest.mark.parametrize("text", ["hello!", "!important", "a!b", "what!!", "rm -rf ! now", "!ls"])
def test_a_paste_is_no_abort(text: str) -> None:
    assert keys(*pasted(text)).pasted(ABORT_KEY)


@pytest.mark.parametrize("before_s", [0.05, 0.2, 5.0])
def test_a_key_that_somebody_presses_is_none(before_s: float) -> None:
    assert not keys((10.0, "4"), (10.0 + before_s, ABORT_KEY)).pasted(ABORT_KEY)
    repeated = itertools.islice(((10.0 + n / 30, ABORT_KEY) for n in itertools.count()), 9)
    assert not keys(*repeated).pasted(ABORT_KEY), "held down"
    assert not keys(*pasted("a text!"), (20.0, ABORT_KEY)).pasted(ABORT_KEY), "pressed after a paste"


def test_the_abort_key_is_that_of_the_registry() -> None:
    (abort,) = [c for c in COMMANDS if c.action == "abort"]
    assert ABORT_KEY in abort.keys
