"""A job of a real Slurm is accounted by a gateway that reads its queue, and again when it is requeued."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import small_gateway
from slurm_cluster import Cluster
from small_gateway import Devices, running
from waiting import until_done

from dispatch.model.equipment import Node
from dispatch.model.readings import reading
from gateway import job_accounting
from gateway.api.client import GatewayClient

NODE_W = 4_000.0
PERIOD_S = 10  # of the queue's readings


class MeteredNode(Devices):
    """The site's devices, its node being Slurm's node a."""

    def drivers(self) -> list[Any]:
        node = small_gateway._Node("a", "node", self, lambda: Node("a", w=reading(NODE_W)))
        return [*(driver for driver in super().drivers() if driver.id != "gpu-01"), node]


@pytest.fixture
def cluster(slurm: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """Slurm with hooks that ask nobody, and no job left at the end."""
    (slurm.place / "hooks" / "slurm.env").write_text("SKERRY=/bin/true\n")
    monkeypatch.setattr(job_accounting, "LOOK_S", 0.1)
    yield slurm
    slurm.try_call("scancel", "--user=root")
    slurm.wait(lambda: slurm.call("squeue", "-h") == "")


async def test_a_job_is_accounted_and_when_it_is_requeued_that_is_a_second_run(cluster: Cluster, place: Path) -> None:
    conf = f"SLURM_CONF={cluster.place / 'slurm.conf'}"
    scheduler = {"id": "alpha", "kind": "slurm", "squeue": ["env", conf, "squeue"]}
    sections = {
        "scheduler": [scheduler | {"period_s": PERIOD_S, "deadline_s": PERIOD_S}],
        "node": [{"id": "a", "source": "modbus", "unit": 1}, {"id": "here", "source": "psutil"}],
    }
    async with running(place, place / "s.sock", devices=MeteredNode(), **sections) as there:
        job = await asyncio.to_thread(cluster.submit, "--partition=whole", "--nodelist=a", "--gpus=2", "--requeue")
        client = await GatewayClient.connect(there.socket, 0)

        async def runs(number: int) -> list[Any]:
            """The runs of the job, the first first, once there are so many and the last has drawn something."""
            found = [run for run in (await client.request("jobs.list"))["jobs"] if run["id"] == job]
            found.sort(key=lambda run: run["started_utc_s"])
            if len(found) < number or found[-1]["energy_wh"] < NODE_W / 3600:
                raise ValueError(f"{len(found)} runs")
            return found

        (first,) = await until_done(lambda: runs(1), ValueError)
        assert (first["user"], first["nodes"], first["gpus"], first["ended_utc_s"]) == ("root", 1, 2, None)
        assert first["mean_w"] == pytest.approx(NODE_W, rel=0.05), "the whole node is the job's"
        await asyncio.to_thread(cluster.call, "scontrol", "requeue", job)
        await asyncio.to_thread(cluster.wait, lambda: cluster.state(job) == "PENDING")
        await asyncio.to_thread(cluster.start_now, job)
        before, again = await until_done(lambda: runs(2), ValueError)
        assert before["started_utc_s"] == first["started_utc_s"] < before["ended_utc_s"] <= again["started_utc_s"]
        assert again["ended_utc_s"] is None
        ran_h = (before["ended_utc_s"] - before["started_utc_s"]) / 3600
        assert before["energy_wh"] <= 1.05 * NODE_W * ran_h, "nothing is counted twice"
        await client.close()
