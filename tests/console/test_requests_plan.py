"""What a gateway answers when asked for its plan."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from console.gateway import Gateway
from console.link.protocol import Request
from console.link.server import CommandRefused, Peer
from console.requests import Requests
from dispatch.model import Plan, PlanStep

PLAN = Plan(1000.0, 900, (PlanStep(900, 0.2, 1e4, 9e3, 2e4, 0.0, 5e3, 5e3, 50.0, "dear"),), 3e4, 1.5, 2.0)
PEER = Peer(1, 1000, 1000, "tech1")


async def asked(directory: Path, plan: Plan | None, enabled: bool = True, battery: bool = True, error: str = "") -> Any:
    """The answer of a gateway whose planner stands so."""
    site = SimpleNamespace(plan=SimpleNamespace(enabled=enabled), battery=("bat1",) if battery else ())
    gateway = SimpleNamespace(planner=SimpleNamespace(plan=plan, error=error), site=site)
    requests = Requests(cast("Gateway", gateway), directory)
    try:
        return await requests.handle(PEER, Request(1, "plan"))
    finally:
        requests.close()


async def test_the_plan_in_force_comes_whole(tmp_path: Path) -> None:
    assert msgspec.convert(await asked(tmp_path, PLAN, error="no plan within 5 s"), Plan) == PLAN


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"enabled": False}, "planning is switched off, [plan] enabled = false"),
        ({"battery": False}, "the site has no battery to plan for"),
        ({"error": "no plan: SoC unknown; the last one stays"}, "alone: SoC unknown"),
        ({}, "the first one waits for good readings"),
    ],
)
async def test_without_one_it_says_why(tmp_path: Path, how: dict[str, Any], why: str) -> None:
    with pytest.raises(CommandRefused, match="no plan is in force, the rules steer alone: ") as refused:
        await asked(tmp_path, None, **how)
    assert why in str(refused.value)
    assert "stays" not in str(refused.value)
