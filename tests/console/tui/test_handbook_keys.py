"""The keys that the operator's handbook names: each is bound, and does something on a console that shows a site."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import scenes
from recorded_client import RecordedClient
from screen import Eventually, screen_text
from textual.keys import _character_to_key

from console.tui.app import SkerryApp
from console.tui.commands import COMMANDS

HANDBOOK = Path(__file__).parents[3] / "docs" / "handbook.md"
NAMES = {"esc": "escape"}
PRESSED_IN = {"1": "2", "/": "6", "f": "6"}  # the view; else the overview
ELSEWHERE = ("q", "esc", "[", "]", "{", "}", "end")  # leaving, and those of the record, in test_record_view


def named() -> list[str]:
    """Single characters and `end`, `esc` in backticks, but for the commands of a terminal in the last part."""
    text = HANDBOOK.read_text(encoding="utf-8").partition("## At a month's end")[0]
    return list(dict.fromkeys(re.findall(r"`([][A-Za-z0-9?:/!{}]|end|esc)`", text)))


def test_every_key_is_bound() -> None:
    bound = {key for command in COMMANDS for key in command.keys}
    assert len(named()) > 20
    assert [key for key in named() if _character_to_key(key) not in bound and NAMES.get(key, key) not in bound] == []


async def test_every_key_does_something(eventually: Eventually) -> None:
    client = RecordedClient(scenes.read("alarms"))

    async def connect() -> RecordedClient:
        return client

    app = SkerryApp(connect, monotonic=lambda: 100.0)
    async with app.run_test(size=(80, 24)) as pilot:
        await eventually(pilot, lambda: "decisions" in [method for method, _ in client.asked])
        for key in (key for key in named() if key not in ELSEWHERE):
            await pilot.press("escape", PRESSED_IN.get(key, "1"))
            await works(pilot, eventually, key)


async def works(pilot: Any, eventually: Eventually, key: str) -> None:
    """A key changes the screen: a view, a form, a prompt, or the line that answers. Fails after LIMIT_S."""
    before = screen_text(pilot.app)
    await pilot.press(_character_to_key(key))
    await eventually(pilot, lambda: screen_text(pilot.app) != before)
    await pilot.press("escape")
