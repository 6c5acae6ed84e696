"""A gateway's client that plays a recorded scene: the same interface as `gateway.api.client.GatewayClient`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from scenes import Scene

from console.display.viewmodel import TREND_STEP_S
from gateway.api.protocol import EventMessage, PlanMessage, Published, Welcome
from gateway.errors import LinkLost, RequestFailed


class RecordedClient:
    """Tells the scene's plan and snapshot, then whatever is `push`ed; answers from what the scene holds."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.welcome: Welcome = scene.welcome
        self.lost: str | None = None
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.refuse: str = ""
        self.no_plan = "no plan is in force, the rules steer alone"
        self._queue: asyncio.Queue[Published | PlanMessage | EventMessage | None] = asyncio.Queue()
        self.push(PlanMessage(scene.plan))
        self.push(scene.published)

    def push(self, message: Published | PlanMessage | EventMessage) -> None:
        """Let the gateway say something."""
        self._queue.put_nowait(message)

    def break_link(self, why: str) -> None:
        """Let the gateway go away."""
        self.lost = why
        self._queue.put_nowait(None)

    async def messages(self) -> AsyncIterator[Published | PlanMessage | EventMessage]:
        """Until the link breaks."""
        while (message := await self._queue.get()) is not None:
            yield message

    async def request(self, method: str, **params: Any) -> Any:
        """As the gateway answers."""
        self.asked.append((method, params))
        if self.lost is not None:
            raise LinkLost(self.lost)
        if self.refuse:
            raise RequestFailed(self.refuse, "refused")
        if method in self.scene.answers:
            return self.scene.answers[method]
        if method == "role":
            return {"role": "operator", "why": "in group skerry-operator"}
        if method == "history":
            points = self.scene.trend if params["step_s"] == TREND_STEP_S else self.scene.day
            points = tuple(p for p in points if params["start_utc_s"] <= p.start_utc_s < params["end_utc_s"])
            names = {"site_load.w": "load_w", "grid.w": "grid_w", "soc_pct": "soc_pct", "grid.hz": "hz"}
            return {
                "t": [p.start_utc_s for p in points],
                "signals": {name: [getattr(p, names[name]) for p in points] for name in params["signals"]},
            }
        if method == "events":
            before = params.get("before_utc_s", float("inf"))
            return [msgspec.to_builtins(e) for e in self.scene.events if e.utc_s < before][-params["limit"] :]
        if method == "decisions":
            return [msgspec.to_builtins(self.scene.published.decision)]
        if method == "plan" and self.scene.plan is None:
            raise RequestFailed(self.no_plan, "refused")
        if method == "alarm.acknowledge":
            return {"acknowledged": 1, "not_durable": ""}
        raise RequestFailed(f"unknown method {method!r}", "refused")

    async def close(self) -> None:
        """Hang up."""
        self.lost = self.lost or "closed"
