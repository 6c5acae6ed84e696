"""`skerry queue`: the jobs of all pages, as a table and as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from gateway.api.server import LinkServer

if TYPE_CHECKING:
    from tests.console.cli.conftest import Machine


async def test_jobs_that_run_and_wait_with_what_is_known_of_them(machine: Machine, gateway: LinkServer) -> None:
    ran = await machine.skerry("queue")
    assert ran.code == 0, ran.err
    counts, _, runs, waits, limited = ran.out.splitlines()
    assert counts == "alpha: 1 running on 4 GPUs, 2 waiting, 20s old"
    assert runs.split() == [
        "41",
        "running",
        "4",
        "8",
        "ann",
        "train\N{REPLACEMENT CHARACTER}[31m",
        "2",
        "h",
        "00",
        "gpu01",
        "gpu02",
    ]
    assert waits.endswith("Priority, expected in 30 min")
    assert limited.endswith("JobArrayTaskLimit")
    ran = await machine.skerry("queue", "--json", "--limit", "2", "--node", "gpu01")
    told = json.loads(ran.out)
    assert [job["id"] for job in told["jobs"]] == ["41", "50_3"]
    assert (told["of"], told["queues"][0]["waiting"]) == (3, 2)
    assert ("queue.jobs", {"skip": 0, "node": "gpu01"}) in machine.asked
