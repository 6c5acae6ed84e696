"""The queue of a real Slurm, read as the gateway reads it: every kind of job, and a controller that is restarted."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from slurm_cluster import Cluster

from dispatch.model.jobs import ARRAY_LIMIT, Job
from drivers.node_lists.answer import Listed, ListNotRead
from drivers.node_lists.command_lists import names_in_slurm
from drivers.schedulers.config import Scheduler
from drivers.schedulers.errors import QueueNotRead
from drivers.schedulers.job_list import QueueRead
from drivers.schedulers.reader import QueueReader

NAME = "a|b,@@c\n99@@99@@N/A@@RUNNING \udce9"


@pytest.fixture
def cluster(slurm: Cluster) -> Iterator[Cluster]:
    """Slurm with hooks that ask nobody, and no job left at the end."""
    settings = f"SLURM_CONF={slurm.place / 'slurm.conf'}\nSKERRY=/bin/true\n"
    (slurm.place / "hooks" / "slurm.env").write_text(settings)
    yield slurm
    slurm.try_call("scancel", "--user=root")
    slurm.wait(lambda: slurm.call("squeue", "-h") == "")


async def turn() -> None:
    await asyncio.sleep(0)


def read(cluster: Cluster) -> QueueRead:
    conf = f"SLURM_CONF={cluster.place / 'slurm.conf'}"
    config = Scheduler(id="alpha", kind="slurm", squeue=("env", conf, "squeue"), deadline_s=30.0)
    return asyncio.run(QueueReader(config, Path("/")).read(turn))


def jobs_of(found: QueueRead) -> dict[str, Job]:
    assert len({job.id for job in found.jobs}) == len(found.jobs)
    return {job.id: job for job in found.jobs}


def test_every_kind_of_job_is_read_and_a_restart_of_the_controller_changes_none(cluster: Cluster) -> None:
    running = cluster.submit("--gpus=1", "--time=10", f"--job-name={NAME}")
    cluster.call("salloc", "--no-shell", "--gpus=1", "--time=00:30:15", "--job-name=by-hand")
    array = cluster.submit("--array=1-1000%2", "--gpus=1", "--time=1-00:00:00")
    cluster.wait(lambda: cluster.call("squeue", "-h", "-t", "R", "-o", "%A").count("\n") == 4)
    held = cluster.submit("--hold", "--gpus-per-node=2", "--nodes=2", "--time=UNLIMITED")
    after = cluster.submit(f"--dependency=afterok:{running}", "--ntasks=3", "--gpus-per-task=1", "--time=5")
    later = cluster.submit("--begin=now+1hour", "--time=2-12")
    found = read(cluster)
    jobs = jobs_of(found)
    assert found.notes == ()

    first = jobs[running]
    assert (first.state, first.gpus, first.time_limit_s, first.user) == ("running", 1, 600.0, "root")
    assert first.nodes in (("a",), ("b",))
    assert first.name == "a|b,@@c 99@@99@@N/A@@RUNNING \N{REPLACEMENT CHARACTER}"
    assert first.started_utc_s is not None
    assert first.submitted_utc_s <= first.started_utc_s
    by_hand = next(job for job in jobs.values() if job.name == "by-hand")
    assert (by_hand.state, by_hand.gpus) == ("running", 1)

    tasks = [job for id, job in jobs.items() if id.startswith(f"{array}_")]
    assert Counter(job.state for job in tasks) == {"running": 2, "pending": 998}
    assert {job.reason for job in tasks if job.state == "pending"} == {ARRAY_LIMIT}
    assert all(job.gpus == 1 for job in tasks)

    assert (jobs[held].reason, jobs[held].gpus, jobs[held].node_count) == ("JobHeldUser", 4, 2)
    assert jobs[held].time_limit_s is None
    assert (jobs[after].reason, jobs[after].gpus) == ("Dependency", 3)
    begins = jobs[later]
    assert begins.reason == "BeginTime"
    assert begins.expected_start_utc_s is not None
    assert begins.expected_start_utc_s - begins.submitted_utc_s == pytest.approx(3600, abs=120)
    assert len(jobs) == 1005

    cluster.stop_controller()
    with pytest.raises(QueueNotRead, match=r"exit code 1: .*Unable to contact slurm controller"):
        read(cluster)
    cluster.start_controller()
    again = jobs_of(read(cluster))
    assert {id: job.state for id, job in again.items()} == {id: job.state for id, job in jobs.items()}


def test_the_parts_of_a_heterogeneous_job_are_jobs(cluster: Cluster) -> None:
    first = cluster.submit("--hold", "--gpus=1", "--time=5", ":", "--gpus=2", "--time=02:30:00")
    jobs = jobs_of(read(cluster))
    assert [(job.id, job.gpus, job.time_limit_s) for _, job in sorted(jobs.items(), key=lambda item: int(item[0]))] == [
        (first, 1, 300.0),
        (str(int(first) + 1), 2, 9000.0),
    ]


def test_every_node_is_listed_and_one_that_is_drained_is_told(cluster: Cluster) -> None:
    sinfo = ("env", f"SLURM_CONF={cluster.place / 'slurm.conf'}", "sinfo")
    assert asyncio.run(names_in_slurm(sinfo, "")) == Listed(("a", "b"))
    cluster.call("scontrol", "update", "nodename=b", "state=drain", "reason=test")
    try:
        listed = asyncio.run(names_in_slurm(sinfo, ""))
        assert listed == Listed(("a", "b"), "1 drained: b")
    finally:
        cluster.call("scontrol", "update", "nodename=b", "state=resume")
    with pytest.raises(ListNotRead, match=r"exit code|expected NAME=STATE"):
        asyncio.run(names_in_slurm((*sinfo[:2], "squeue"), ""))
