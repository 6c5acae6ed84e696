"""The hooks for Slurm, run by a real slurmctld, ask a gateway for power and give it back."""

from __future__ import annotations

import asyncio
import subprocess
from typing import Any

import pytest
from slurm_cluster import Cluster
from small_gateway import Running, executable
from waiting import LIMIT_S, until

from dispatch.model.reservations import Reservation

KW_PER_GPU, KW_PER_HOST = 1.0, 0.4  # of nodes with 2 GPUs: 1.2 kW a GPU
HOUR_S = 3600.0


@pytest.fixture
def jobs(slurm: Cluster, there: Running) -> Jobs:
    """Slurm, with the settings by which its hooks find the gateway."""
    found = Jobs(slurm, there)
    found.settings()
    return found


class Jobs:
    """What a test does with jobs, and what it sees of them at the gateway."""

    def __init__(self, slurm: Cluster, there: Running) -> None:
        self.slurm, self.there = slurm, there

    def settings(self, **changed: Any) -> None:
        """Write `slurm.env`, as an administrator does."""
        usual = {
            "SLURM_CONF": self.slurm.place / "slurm.conf",
            "SKERRY": executable(self.there.directory),
            "SKERRY_SITE": self.there.socket,
            "SKERRY_KW_PER_GPU": KW_PER_GPU,
            "SKERRY_KW_PER_HOST": KW_PER_HOST,
            "SKERRY_GPUS_PER_NODE": 2,
        }
        lines = [f"{name}={value}\n" for name, value in (usual | changed).items()]
        (self.slurm.place / "hooks" / "slurm.env").write_text("# of a test\n\n" + "".join(lines))

    async def submit(self, *options: str, run: str = "") -> str:
        return await asyncio.to_thread(lambda: self.slurm.submit(*options, run=run))

    async def do(self, *command: str) -> str:
        return await asyncio.to_thread(self.slurm.call, *command)

    def of(self, job_id: str) -> list[Reservation]:
        """The reservations of a job that stand."""
        return [r for r in self.there.gateway.reservations.standing() if r.job_id == job_id]

    async def reserved(self, job_id: str, restart: int = 0) -> Reservation:
        """Once a job has its power."""
        await until(lambda: [r.restart for r in self.of(job_id)] == [restart])
        return self.of(job_id)[0]

    async def in_state(self, job_id: str, *states: str) -> None:
        """Once Slurm says so of a job."""
        async with asyncio.timeout(LIMIT_S):
            while (state := await asyncio.to_thread(self.slurm.state, job_id)) not in states:
                assert state, f"job {job_id} is gone"
                await asyncio.sleep(0.05)

    async def ended(self, job_id: str) -> None:
        """Once a job is over and its epilog, too."""
        await self.in_state(job_id, "COMPLETED", "CANCELLED", "FAILED")

    async def by_hand(self, hook: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        """Run a hook with an environment that Slurm gave to it."""
        command = [str(self.slurm.place / "hooks" / hook)]
        return await asyncio.to_thread(
            lambda: subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        )


async def test_a_job_starts_with_its_power_and_its_epilog_gives_it_back(jobs: Jobs) -> None:
    job = await jobs.submit("--gpus=3", "--time=10")
    await jobs.in_state(job, "RUNNING")
    mine = await jobs.reserved(job)
    assert (mine.cluster, mine.job_id, mine.restart, mine.name) == ("alpha", job, 0, f"slurm-{job}")
    assert mine.power_w == pytest.approx(3 * 1200.0), "3 GPUs, not 2 nodes of 2"
    assert mine.end_utc_s - mine.start_utc_s == 600.0
    jobs.slurm.release(job)
    await jobs.ended(job)
    assert jobs.of(job) == []


async def test_power_is_that_of_the_allocated_gpus_for_as_long_as_the_limit(jobs: Jobs) -> None:
    for options, power_w, hours in (
        (("--nodes=2", "--ntasks=2", "--time=1-00:00:00"), 800.0, 24.0),
        (("--gres=gpu:1", "--time=UNLIMITED"), 1200.0, 34.0),
        (("--gres=gpu", "--time=2-12"), 1200.0, 34.0),
        (("--exclusive", "--gres=gpu:1"), 2400.0, 1.0),
        (("--ntasks=3", "--gpus-per-task=1", "--time=00:30:00"), 3600.0, 0.5),
    ):
        job = await jobs.submit(*options)
        mine = await jobs.reserved(job)
        await jobs.in_state(job, "RUNNING")
        await jobs.do("scancel", job)
        assert mine.power_w == pytest.approx(power_w), options
        assert mine.end_utc_s - mine.start_utc_s == hours * HOUR_S, options
        await jobs.ended(job)
        assert jobs.of(job) == [], "the epilog of a job that is cancelled gives back, too"


async def test_what_users_write_changes_nothing(jobs: Jobs) -> None:
    """Found: a line in the name of a job passed for one of scontrol."""
    for text in (
        "größe|b,c;$(false) \x1b[31mred\x1b[0m\x07",
        "x\n   JOB_GRES=gpu:1\n   Requeue=1 Restarts=9 BatchFlag=1",
        "x\n\nJobId=1 JobName=y\n   UserId=root(0)\n   JOB_GRES=gpu:1",
        "x\n   AllocTRES=gres/gpu=64\n   StartTime=1 EndTime=2",
    ):
        written = (f"--job-name={text}", f"--comment={text}", f"--account={text}", f"--wckey={text}")
        job = await jobs.submit("--gpus=2", "--nodes=1", "--time=10", *written)
        mine = await jobs.reserved(job)
        await jobs.in_state(job, "RUNNING")
        await jobs.do("scancel", job)
        assert (mine.power_w, mine.restart) == (pytest.approx(2 * 1200.0), 0), text
        await jobs.ended(job)
        assert jobs.of(job) == [], text


# ── started again ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("again", "limit"), [("requeue", "UNLIMITED"), ("lost nodes", "30")])
async def test_a_job_that_is_started_again_renews_and_a_late_epilog_takes_nothing_newer(
    jobs: Jobs, again: str, limit: str
) -> None:
    """Found: Slurm counts a requeue before the epilog that goes with it, a lost node after."""
    job = await jobs.submit("--gpus=1", f"--time={limit}")
    first = await jobs.reserved(job)
    await jobs.in_state(job, "RUNNING")
    if again == "requeue":
        await jobs.do("scontrol", "requeue", job)
    else:
        await asyncio.to_thread(jobs.slurm.lose_nodes, job)
    await jobs.in_state(job, "PENDING")
    assert jobs.of(job) == [], "while it waits it has no power"
    await asyncio.to_thread(jobs.slurm.start_now, job)
    second = await jobs.reserved(job, restart=1)
    assert (second.power_w, second.id != first.id) == (first.power_w, True)
    await jobs.in_state(job, "RUNNING")
    (epilog,) = jobs.slurm.epilogs(job)
    late = await jobs.by_hand("slurm-epilog", epilog)
    assert late.stdout == f"{second.id} stays: the job was started again since (restart 1)\n", late.stderr
    assert jobs.of(job) == [second]
    jobs.slurm.release(job)
    await jobs.ended(job)
    assert jobs.of(job) == []


async def test_a_job_that_exits_to_be_requeued_gives_back_too(jobs: Jobs) -> None:
    job = await jobs.submit("--gpus=1", run="sleep 1; scontrol requeue $SLURM_JOB_ID; sleep 60")
    await jobs.reserved(job)
    await jobs.in_state(job, "PENDING")
    assert jobs.of(job) == []
    await jobs.do("scancel", job)


async def test_a_restart_of_slurmctld_changes_nothing(jobs: Jobs) -> None:
    job = await jobs.submit("--gpus=1")
    mine = await jobs.reserved(job)
    await jobs.in_state(job, "RUNNING")
    await asyncio.to_thread(jobs.slurm.stop_controller)
    await asyncio.to_thread(jobs.slurm.start_controller)
    assert jobs.of(job) == [mine]
    jobs.slurm.release(job)
    await jobs.ended(job)
    assert jobs.of(job) == []


# ── that do not start ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_pending_job_that_is_cancelled_never_asks(jobs: Jobs) -> None:
    job = await jobs.submit("--hold", "--gpus=1")
    array = await jobs.submit("--hold", "--array=1-99%4")
    await jobs.do("scancel", job, array)
    await jobs.in_state(job, "CANCELLED")
    assert jobs.there.gateway.reservations.kept == ()
    assert jobs.slurm.epilogs(job) == jobs.slurm.epilogs(array) == []


async def test_a_job_that_is_cancelled_while_it_waits_for_power_leaves_none(jobs: Jobs) -> None:
    """Slurm kills its prolog and, if that has begun by then, its epilog; then the next job's prolog gives back."""
    jobs.settings(SKERRY_KW_PER_GPU=9.8, SKERRY_WITHIN="6h")  # 30 kW stand free only once the battery is fuller
    job = await jobs.submit("--gpus=3", "--time=180")
    mine = await jobs.reserved(job)
    assert mine.start_utc_s > jobs.there.clock.utc_s() + 60
    await jobs.in_state(job, "CONFIGURING")
    await jobs.do("scancel", job)
    await jobs.in_state(job, "CANCELLED")
    jobs.settings()
    await jobs.in_state(await jobs.submit(run="true"), "COMPLETED")
    assert jobs.there.gateway.reservations.standing() == ()


async def test_what_an_epilog_could_not_give_back_the_next_job_does(jobs: Jobs) -> None:
    """Found: it stayed reserved until the end of the job's time limit."""
    ended, again, runs = [await jobs.submit("--gpus=1") for _ in range(3)]
    for job in (ended, again, runs):
        await jobs.in_state(job, "RUNNING")
    jobs.settings(SKERRY_SITE="/none/there.sock")
    jobs.slurm.release(ended)
    await jobs.do("scontrol", "requeue", again)
    await jobs.ended(ended)
    await jobs.in_state(again, "PENDING")
    assert {r.job_id for r in jobs.there.gateway.reservations.standing()} == {ended, again, runs}
    jobs.settings()
    await jobs.in_state(await jobs.submit("--gpus=1", run="true"), "COMPLETED")
    assert [r.job_id for r in jobs.there.gateway.reservations.standing()] == [runs]
    await jobs.do("scancel", again, runs)
    await jobs.ended(runs)


async def test_refused_a_batch_job_is_requeued_and_others_end(jobs: Jobs) -> None:
    jobs.settings(SKERRY_KW_PER_GPU=900)
    job = await jobs.submit("--gpus=1")
    fixed = await jobs.submit("--gpus=1", "--no-requeue")
    asked = await asyncio.to_thread(jobs.slurm.try_call, "srun", "--gpus=1", "true")
    assert (asked.returncode != 0, "PrologSlurmctld failed, job killed" in asked.stderr) == (True, True)
    await jobs.in_state(fixed, "CANCELLED")
    await until(lambda: jobs.slurm.epilogs(job))
    await jobs.in_state(job, "PENDING")
    assert "Restarts=1" in await jobs.do("scontrol", "show", "job", job)
    assert jobs.there.gateway.reservations.kept == ()
    jobs.settings()  # and when there is power, it starts
    await asyncio.to_thread(jobs.slurm.start_now, job)
    await jobs.reserved(job, restart=1)
    jobs.slurm.release(job)
    await jobs.ended(job)
    assert jobs.of(job) == []


async def test_whatever_else_is_wrong_the_job_starts(jobs: Jobs) -> None:
    for wrong in (
        {"SKERRY_SITE": "/none/there.sock"},
        {"SKERRY_KW_PER_GPU": "much"},
        {"no name": "x"},
    ):
        jobs.settings(**wrong)
        job = await jobs.submit("--gpus=1", run="true")
        await jobs.in_state(job, "COMPLETED")
        assert jobs.there.gateway.reservations.kept == (), wrong


# ── in parts ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_each_task_of_an_array_has_power_of_its_own(jobs: Jobs) -> None:
    """The last task has the id of the array, by which scontrol shows all of them."""
    array = await jobs.submit("--array=1-4%2", "--gpus=1", "--time=10")
    seen: dict[str, Reservation] = {}
    while len(seen) < 4:
        async with asyncio.timeout(LIMIT_S):
            standing = jobs.there.gateway.reservations.standing()
            assert len(standing) <= 2, "a task that has ended holds power no more"
            for mine in standing:
                seen[mine.job_id] = mine
                jobs.slurm.release(mine.job_id)
            await asyncio.sleep(0.02)
    assert array in seen
    assert [r.power_w for r in seen.values()] == [pytest.approx(1200.0)] * 4
    await until(lambda: jobs.there.gateway.reservations.standing() == ())


async def test_each_part_of_a_heterogeneous_job_has_power_of_its_own(jobs: Jobs) -> None:
    job = await jobs.submit("--gpus=1", "--time=10", ":", "--gpus=2", "--time=20")
    other = str(int(job) + 1)
    first, second = await jobs.reserved(job), await jobs.reserved(other)
    assert [r.power_w for r in (first, second)] == [pytest.approx(1200.0), pytest.approx(2400.0)]
    assert [r.end_utc_s - r.start_utc_s for r in (first, second)] == [600.0, 1200.0]
    jobs.slurm.release(job)
    await until(lambda: jobs.of(job) + jobs.of(other) == [])
