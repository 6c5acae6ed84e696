"""A gateway reads a queue while it ticks, and publishes it."""

from __future__ import annotations

import json
import time
from pathlib import Path

from small_gateway import running
from waiting import until


def write(directory: Path, *jobs: dict[str, object]) -> None:
    header = {"format": "skerry-jobs/1", "jobs": len(jobs), "utc_s": time.time()}
    written = directory / "jobs.new"
    written.write_text("".join(json.dumps(line) + "\n" for line in (header, *jobs)))
    written.rename(directory / "jobs.jsonl")


async def test_a_queue_is_read_and_published(tmp_path: Path) -> None:
    job = {"id": "7", "state": "running", "submitted_utc_s": 1.0, "started_utc_s": 2.0, "gpus": 4, "nodes": ["gpu-01"]}
    write(tmp_path, job, job | {"id": "8", "state": "pending", "nodes": []})
    scheduler = {"id": "farm", "kind": "file", "file": "jobs.jsonl", "period_s": 10, "deadline_s": 5}
    async with running(tmp_path, tmp_path / "s.sock", scheduler=[scheduler]) as there:
        loop = there.gateway.loop
        await until(lambda: loop.published is not None and bool(loop.published.queues[0].running))
        assert loop.published is not None
        (queue,) = loop.published.queues
        assert (queue.scheduler, queue.running, queue.waiting, queue.error) == ("farm", 1, 1, "")
        assert queue.jobs[0].nodes == ("gpu-01",)
        assert queue.age_s is not None
