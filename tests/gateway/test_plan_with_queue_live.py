"""A running gateway: a queue that is read is in the plan's note."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

from small_gateway import Running, running
from waiting import LIMIT_S

from dispatch.wording.catalogue import words


def write(path: Path, *jobs: dict[str, object]) -> None:
    head = {"format": "skerry-jobs/1", "jobs": len(jobs)}
    fresh = path.with_suffix(".new")
    fresh.write_text("".join(json.dumps(line) + "\n" for line in (head, *jobs)))
    os.replace(fresh, path)


async def noted(there: Running, text: str) -> str:
    """The note of the first plan that says this; plans are asked for until one does."""
    planner = there.gateway.planner
    async with asyncio.timeout(LIMIT_S):
        while planner.plan is None or text not in words(planner.plan.note):
            planner.prices_changed()
            await there.gateway.loop.next_tick()
    return words(planner.plan.note)


async def test_the_queue_is_in_the_plans_note(place: Path) -> None:
    now_s = 1_796_010_000.0
    running_job = {"id": "1", "state": "running", "submitted_utc_s": now_s, "started_utc_s": now_s, "gpus": 8}
    held = {"id": "2", "state": "pending", "submitted_utc_s": now_s, "reason": "JobHeldUser", "gpus": 8}
    write(place / "jobs.jsonl", running_job, held)
    queue = [{"id": "alpha", "kind": "file", "file": str(place / "jobs.jsonl"), "period_s": 30}]
    sections = {"plan": {"enabled": True, "period_s": 3600}, "scheduler": queue, "twin": {"speed": 1.0}}
    async with running(place, place / "s.sock", **sections) as there:
        said = await noted(there, "job queue: ")
        assert (
            "job queue: 1 running, 2.4 kW above idle, power of 1 assumed: the GPUs of no such job have been measured, "
            "not counted: 1 held, not in the forecast yet: 0 of 48 quarter hours observed with the queue"
        ) in said
