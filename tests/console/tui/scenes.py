"""The recorded moments that tests and pictures of the console are drawn from."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from console.display.viewmodel import Point
from dispatch.model.events import Event
from dispatch.model.plan import Plan
from gateway.api.previous_version import from_version
from gateway.api.protocol import VERSION, Published, Welcome

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


@cache
def read(name: str) -> Scene:
    """One recorded scene. Those that name no version of the link were recorded when it was 2."""
    scene = msgspec.json.decode(SCENES.read_bytes())[name]
    if scene.pop("version", 2) == VERSION:
        return msgspec.convert(scene, Scene)
    said = {what: _of_version_2(what, scene[what]) for what in ("published", "plan")}
    answers = {method: _of_version_2("response", answer) for method, answer in scene["answers"].items()}
    return msgspec.convert(scene | said | {"answers": answers}, Scene)


def _of_version_2(kind: str, body: Any) -> Any:
    part = {"published": None, "plan": "plan", "response": "result"}[kind]
    if part is None:
        return from_version({"type": kind} | body, 2)
    return from_version({"type": kind, part: body}, 2)[part]
