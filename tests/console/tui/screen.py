"""What tests of the console do over and over: read the screen, open views, type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from console.tui.app import SkerryApp

Eventually = Callable[..., Any]
NAMES = {
    " ": "space",
    ":": "colon",
    "/": "slash",
    "%": "percent_sign",
    "-": "minus",
    "!": "exclamation_mark",
    ".": "full_stop",
}


def screen_text(app: SkerryApp) -> str:
    """Every row as drawn."""
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips())


def flat(app: SkerryApp) -> str:
    """The screen as one line, each run of blanks and breaks a single blank: for sentences that wrap."""
    return " ".join(screen_text(app).split())


async def write(pilot: Any, text: str) -> None:
    """Press the keys of a text."""
    await pilot.press(*(NAMES.get(c, c) for c in text))


async def open_view(pilot: Any, key: str, name: str, eventually: Eventually) -> None:
    """Press a view's key and wait until it is there."""
    await pilot.press(key)
    await eventually(
        pilot, lambda: bool(pilot.app.query(f"#view-{name}")) and pilot.app.query_one(f"#view-{name}").display
    )
