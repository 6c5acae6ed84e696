"""The hooks for Slurm, run by a real slurmd: they report; whatever is wrong they neither hold nor drain anything."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from slurm_cluster import Cluster
from small_gateway import ROOT

LIMIT_S = 8.0  # of a job that does nothing, from its submission to its end, with two hooks that hang


@pytest.fixture
def reports(slurm: Cluster, place: Path) -> Path:
    """Where a `skerry` that says nothing notes what it is asked, a line each."""
    tell(slurm, place, f'echo "$*" >> {place}/asked')
    (place / "asked").touch()
    return place / "asked"


def tell(slurm: Cluster, place: Path, script: str) -> None:
    """Write the settings of the hooks, with such a `skerry`, as an administrator does."""
    skerry = place / "skerry"
    skerry.write_text(f"#!/bin/sh\n{script}\n")
    skerry.chmod(0o755)
    (slurm.place / "hooks" / "slurm.env").write_text(f"# of a test\n\nSKERRY={skerry}\n")


def of(reports: Path, job: str) -> list[str]:
    """What was reported of a job, without the GPUs, which this machine has none of."""
    return [line for line in reports.read_text().splitlines() if f"--job {job} " in line]


def test_a_job_is_reported_when_it_starts_and_when_it_ends_by_each_of_its_nodes(slurm: Cluster, reports: Path) -> None:
    job = slurm.submit("--nodes=2", "--gpus-per-node=1")
    slurm.wait(lambda: slurm.state(job) == "RUNNING" and len(of(reports, job)) == 2)
    both = [f"--job {job} --cluster alpha --node {node}" for node in ("a", "b")]
    assert sorted(of(reports, job)) == [f"jobs report start {what}" for what in both]
    slurm.release(job)
    slurm.wait(lambda: len(of(reports, job)) == 4)
    assert sorted(of(reports, job)[2:]) == [f"jobs report end {what}" for what in both]


def test_each_task_of_an_array_is_reported_and_a_job_that_is_cancelled_too(slurm: Cluster, reports: Path) -> None:
    array = slurm.submit("--array=1-3%1", "--gpus=1", run="true")
    slurm.wait(lambda: reports.read_text().count("jobs report end ") == 3)
    assert reports.read_text().count("jobs report start ") == 3
    assert of(reports, array), "the last task has the id of the array"
    job = slurm.submit()
    slurm.wait(lambda: slurm.state(job) == "RUNNING")
    slurm.call("scancel", job)
    slurm.wait(lambda: len(of(reports, job)) == 2)


@pytest.mark.parametrize(
    "skerry", ["trap '' TERM; sleep 600", "exit 3", "kill -9 $$", "yes"], ids=["hangs", "away", "dies", "never ends"]
)
def test_whatever_is_wrong_jobs_start_and_no_node_is_drained(slurm: Cluster, place: Path, skerry: str) -> None:
    tell(slurm, place, skerry)
    began_s = time.monotonic()
    job = slurm.submit("--gpus=1", run="true")
    slurm.wait(lambda: slurm.state(job) == "COMPLETED")
    assert time.monotonic() - began_s < LIMIT_S
    slurm.wait(lambda: slurm.call("sinfo", "-h", "-o", "%D %t") == "2 idle\n")


def test_settings_that_are_wrong_hold_nothing_up(slurm: Cluster) -> None:
    (slurm.place / "hooks" / "slurm.env").write_text("no name\n")
    job = slurm.submit(run="true")
    slurm.wait(lambda: slurm.state(job) == "COMPLETED")
    slurm.wait(lambda: slurm.call("sinfo", "-h", "-o", "%D %t") == "2 idle\n")


def test_a_node_that_somebody_else_has_drained_is_not_resumed(slurm: Cluster) -> None:
    starts = str(ROOT / "deploy" / "hooks" / "slurm-starts")

    def drained() -> str:
        shown = slurm.call("scontrol", "show", "node", "a", "--oneliner")
        return shown.partition(" Reason=")[2].partition(" [root@")[0]

    slurm.call(starts, "stop", "a", "off the grid")
    assert drained() == "skerry: off the grid"
    slurm.call(starts, "allow", "a")
    assert drained() == ""
    slurm.call("scontrol", "update", "nodename=a", "state=drain", "reason=bad GPU")
    try:
        slurm.call(starts, "stop", "a", "off the grid")
        slurm.call(starts, "allow", "a")
        assert drained() == "bad GPU"
    finally:
        slurm.call("scontrol", "update", "nodename=a", "state=resume")
    assert slurm.try_call(starts, "stop", "nowhere", "x").returncode != 0
