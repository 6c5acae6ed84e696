"""The recorded moments that tests and pictures of the console are drawn from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from console.display.viewmodel import Point
from dispatch.model.events import Event
from dispatch.model.plan import Plan
from gateway.api.protocol import Published, Welcome

SCENES = Path(__file__).parent / "scenes.json"


class Scene(msgspec.Struct, frozen=True):
    """One moment, and what a console would have been told before it."""

    welcome: Welcome
    published: Published
    plan: Plan | None
    trend: tuple[Point, ...]
    day: tuple[Point, ...]
    events: tuple[Event, ...]
    answers: dict[str, Any] = {}  # by method, what the gateway says when asked


def read(name: str) -> Scene:
    """One recorded scene."""
    return msgspec.json.decode(SCENES.read_bytes(), type=dict[str, Scene])[name]
