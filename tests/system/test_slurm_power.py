"""job_submit.lua, run by a real slurmctld: each job asks for the power that it takes, and for no more than that."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest
from slurm_cluster import LICENSE, POWER, Cluster


@pytest.fixture
def held(slurm: Cluster) -> Iterator[Cluster]:
    """A Slurm with the settings of these tests; what was submitted is cancelled."""
    (slurm.place / "hooks" / "slurm.env").write_text("SKERRY=/bin/true\n")
    (slurm.place / "skerry_power.conf").write_text(POWER)
    (slurm.place / "skerry_learnt.conf").unlink(missing_ok=True)
    yield slurm
    for user in ("root", "nobody"):
        slurm.try_call("scancel", f"--user={user}")
    slurm.wait(lambda: slurm.call("squeue", "-h") == "")


def of(number: int, besides: str = "") -> str:
    return f"{besides},{LICENSE}:{number}" if besides else f"{LICENSE}:{number}"


@pytest.mark.parametrize(
    ("options", "licences"),
    [
        ((), of(1)),  # a CPU of a node of 8: 50 W
        (("--ntasks=8",), of(4)),
        (("--cpus-per-task=4",), of(2)),
        (("--nodes=2", "--ntasks=2"), of(1)),
        (("--gpus=3",), of(36)),  # 3 GPUs with their share of the node
        (("--gres=gpu",), of(12)),
        (("--gres=gpu:2",), of(24)),
        (("--gpus=big:1",), of(22)),
        (("--gpus-per-node=2", "--nodes=2"), of(48)),
        (("--gpus-per-node=1", "--nodes=1-2"), of(24)),  # it may get both
        (("--gpus-per-task=1", "--ntasks=3"), of(36)),
        (("--gpus-per-socket=1", "--sockets-per-node=1", "--ntasks=1"), of(12)),
        (("--ntasks-per-gpu=2", "--ntasks=4"), of(24)),
        (("--gpus=1", "--cpus-per-task=8"), of(14)),  # all CPUs of a node: all of its other power
        (("--gpus=1", "--cpus-per-gpu=8"), of(14)),
        (("--gpus=1", "--mincpus=8"), of(14)),
        (("--gpus-per-node=1", "--ntasks=16"), of(28)),  # which takes both nodes
        (("--gpus-per-node=1", "--nodelist=a,b"), of(24)),
        (("--exclusive", "--gres=gpu:1"), of(24)),
        (("--exclusive", "--ntasks=9"), of(48)),
        (("--partition=whole",), of(25)),
        (("--partition=all,whole", "--gpus=1"), of(25)),  # where it draws most
        (("--array=1-99%4", "--gpus=1"), of(12)),  # each task
        (("--licenses=matlab:2", "--gpus=1"), of(12, "matlab:2")),
        # by hand: more, fewer, none, nonsense
        ((f"--licenses={LICENSE}:90,matlab", "--gpus=1"), of(12, "matlab")),
        ((f"--licenses={LICENSE}:1", "--gpus=1"), of(12)),
        ((f"--licenses={LICENSE}:0", "--gpus=1"), of(12)),
        ((f"--licenses={LICENSE}:-5;{LICENSE}", "--gpus=1"), of(12)),
    ],
)
def test_a_job_asks_for_its_power(held: Cluster, options: tuple[str, ...], licences: str) -> None:
    assert held.licences(held.submit("--hold", *options)) == licences


def test_each_part_of_a_heterogeneous_job_asks_for_its_own(held: Cluster) -> None:
    job = held.submit("--hold", "--gpus=1", ":", "--gpus=2")
    assert sorted(held.licences(job).split()) == [of(12), of(24)]


def test_no_job_asks_for_more_than_there_is(held: Cluster) -> None:
    """Slurm would refuse it for good."""
    (held.place / "skerry_power.conf").write_text(POWER.replace("gpu_w=1000", "gpu_w=90000"))
    assert held.licences(held.submit("--hold", "--gpus=1")) == of(100)


def test_what_was_learnt_of_a_job_comes_first(held: Cluster) -> None:
    lines = ("root 1 700 train a|b", "root 2 900 train", "nobody 1 300 train", "root 0 100 train")
    (held.place / "skerry_learnt.conf").write_text("\n".join(lines) + "\n")
    assert held.licences(held.submit("--hold", "--ntasks=16", "--job-name=train")) == of(8), "its CPUs count"
    for name, gpus, number in (("train a|b", 1, 7), ("train", 2, 9), ("train", 1, 12), ("a|b", 1, 12)):
        job = held.submit("--hold", f"--gpus={gpus}", f"--job-name={name}")
        assert held.licences(job) == of(number), (name, gpus)


def test_a_change_never_takes_a_jobs_power_from_it(held: Cluster) -> None:
    job = held.as_nobody("sbatch", "--parsable", "--hold", "--output=/dev/null", "--gpus=1", "--wrap=true")
    assert job.returncode == 0, job.stderr
    id = job.stdout.strip()
    for change, licences in (
        ((f"Licenses={LICENSE}:1",), of(12)),
        (("Licenses=",), of(12)),
        (("Licenses=matlab:2",), of(12, "matlab:2")),
        (("NumCPUs=8-8",), of(14, "matlab:2")),
        (("NumCPUs=1",), of(14, "matlab:2")),
        (("TimeLimit=5",), of(14, "matlab:2")),
    ):
        done = held.as_nobody("scontrol", "update", f"JobId={id}", *change)
        assert (done.returncode, held.licences(id)) == (0, licences), (change, done.stderr)
    held.call("scontrol", "update", f"JobId={id}", f"Licenses={LICENSE}:3")
    assert held.licences(id) == of(3), "root may"


def test_a_change_to_more_nodes_asks_for_their_power(held: Cluster) -> None:
    for nodes, licences in (("a", of(12)), ("a,b", of(24)), ("", of(24))):
        job = held.as_nobody("sbatch", "--parsable", "--hold", "--output=/dev/null", "--gres=gpu:1", "--wrap=true")
        id = job.stdout.strip()
        held.as_nobody("scontrol", "update", f"JobId={id}", f"ReqNodeList={nodes or 'a,b'}")
        if not nodes:
            held.as_nobody("scontrol", "update", f"JobId={id}", "ReqNodeList=a")
        assert held.licences(id) == licences, nodes


def test_a_running_job_keeps_its_power(held: Cluster) -> None:
    """Slurm lets users give back all licences of a job that runs on."""
    job = held.as_nobody("sbatch", "--parsable", "--output=/dev/null", "--gpus=1", "--wrap=sleep 60").stdout.strip()
    held.wait(lambda: held.state(job) == "RUNNING")
    for change in ("Licenses=", f"Licenses={LICENSE}:0", "Licenses=matlab"):
        held.as_nobody("scontrol", "update", f"JobId={job}", change)
        assert held.licences(job) == of(12), change


def test_whatever_is_wrong_the_job_is_taken_as_it_is(held: Cluster) -> None:
    log = held.place / "log" / "slurmctld"
    settings = held.place / "skerry_power.conf"
    for text, said in (
        ("total=100\ngpu_w=lots\n", "skerry_power.conf:2: expected NAME=number, found: gpu_w=lots"),
        (POWER + 'license="skerry_kw10"\n', "expected license=NAME, without quotes, found: license="),
        ("total=100\ngpu_w=500\nhost_w=1\n", "gpus_per_node= is missing"),
        ("", "total= is missing"),
        (None, "No such file or directory"),
    ):
        settings.unlink(missing_ok=True)
        if text is not None:
            settings.write_text(text)
        before = len(log.read_text())
        job = held.submit("--hold", "--gpus=1", "--licenses=matlab")
        assert held.licences(job) == "matlab", text
        held.wait(lambda before=before, said=said: said in log.read_text()[before:])  # type: ignore[misc]
    settings.write_text(POWER)
    script, whole = held.place / "skerry_power.lua", (held.place / "skerry_power.lua").read_text()
    newer_s = time.time()
    try:
        for text, licences in (("this is no Lua", "(null)"), (whole, of(12))):
            newer_s += 10
            script.write_text(text)
            os.utime(held.place / "job_submit.lua", (newer_s, newer_s))  # Slurm loads it again by its time
            assert held.licences(held.submit("--hold", "--gpus=1")) == licences
    finally:
        script.write_text(whole)
