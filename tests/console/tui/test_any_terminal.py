"""On any terminal, at any size and after any keys: it shows what the console has drawn, at the cost of what changed."""

from __future__ import annotations

import random

import pytest
import scenes
from counted_terminal import CountedDriver, counted
from recorded_client import RecordedClient
from screen import Eventually, screen_text
from soak_sizes import examples

from console.tui.app import SkerryApp
from console.tui.commands import COMMANDS

SIZES = [(20, 5), (40, 12), (50, 20), (60, 20), (79, 23), (80, 24), (120, 40), (200, 50), (400, 120)]
KEYS = [key for command in COMMANDS for key in command.keys if command.id != "quit"]
TYPED = [*KEYS, "a", "1", "enter", "tab", "backspace", "escape", "escape", "y", "e", "s"]


def console(scene: str = "calm") -> SkerryApp:
    """The console on a recorded scene."""
    client = RecordedClient(scenes.read(scene))

    async def connect() -> RecordedClient:
        return client

    return SkerryApp(connect, monotonic=lambda: 100.0)


def drawn(app: SkerryApp) -> list[str]:
    """What the console has drawn, each row without the blanks at its end."""
    return [line.rstrip() for line in screen_text(app).split("\n")]


def shown(driver: CountedDriver) -> list[str]:
    """What the terminal shows."""
    return [line.rstrip() for line in driver.cells.lines]


@pytest.mark.parametrize("size", SIZES)
async def test_a_terminal_shows_what_is_drawn(size: tuple[int, int], eventually: Eventually) -> None:
    async with counted(console(), size) as (pilot, terminal):
        await eventually(pilot, lambda: shown(terminal) == drawn(pilot.app) and any(shown(terminal)))
        text = " ".join(" ".join(shown(terminal)).split())
        if size[0] < 80 or size[1] < 24:
            assert f"80x24; here {size[0]}x{size[1]}" in text
        else:
            await eventually(pilot, lambda: terminal.cells.shows("GRID-TIED"))
        assert not terminal.cells.queries


@pytest.mark.soak
async def test_any_keys_and_sizes_leave_the_terminal_as_drawn(eventually: Eventually) -> None:
    """The longer form: `make soak`."""
    chosen = random.Random(18)
    async with counted(console("alarms"), (80, 24)) as (pilot, terminal):
        for _ in range(examples(4, 500)):
            if chosen.random() < 0.6:
                terminal.resize(*chosen.choice([*SIZES, (chosen.randint(20, 400), chosen.randint(5, 120))]))
            await pilot.press(*chosen.choices(TYPED, k=chosen.randint(1, 6)))
            await eventually(pilot, lambda: shown(terminal) == drawn(pilot.app))
