"""The queues are evaluated beside the loop; a plan is asked for only where the jobs are not what it was made with."""

from __future__ import annotations

import asyncio
import math
import threading
from pathlib import Path
from typing import Any

import pytest
from waiting import LIMIT_S

from dispatch.accounting.records import JobRecord
from dispatch.accounting.shares import IDLE_W_PER_GPU
from dispatch.forecasting import queue_outlook
from dispatch.forecasting.queue_outlook import TOO_OLD_S, QueueSeen
from dispatch.model.equipment import Gpu, Node
from dispatch.model.job_outlook import JobOutlook
from dispatch.model.jobs import Job
from dispatch.model.readings import reading
from drivers.schedulers.config import Scheduler
from drivers.schedulers.job_list import QueueRead
from gateway.parts_in_trouble import PartsInTrouble
from gateway.previous_run import read_previous_run
from gateway.queue_forecast import HOST_SHARE, QueueForecast, measured, seen
from gateway.queues_in_force import QueuesInForce
from storage.config import StorageConfig
from storage.recorder import Recorder

NOW = 1_758_024_000.0


class SetClock:
    """Says what it is told."""

    speed = 1.0

    def __init__(self) -> None:
        self.now_s = NOW + 60

    def utc_s(self) -> float:
        return self.now_s

    def mono_s(self) -> float:
        return self.now_s


class Site:
    """A queue that the test fills, and what came of it."""

    def __init__(self, followed: bool = True) -> None:
        self.clock, self.jobs, self.outlooks, self.plans = SetClock(), [job("1"), job("2")], list[JobOutlook](), 0
        self.followed = followed
        self.forecast = QueueForecast(
            lambda: [QueueSeen("slurm", "main", tuple(self.jobs), 0.0)],
            self.clock,
            PartsInTrouble(),
            100_000.0,
            200_000.0,
            self.take,
            self.plan,
        )

    def take(self, outlook: JobOutlook) -> bool:
        self.outlooks.append(outlook)
        return self.followed

    def plan(self) -> None:
        self.plans += 1


def job(id: str, gpus: int = 8) -> Job:
    return Job(
        scheduler="slurm",
        id=id,
        user="ada",
        name="train",
        state="running",
        submitted_utc_s=NOW - 7200,
        started_utc_s=NOW - 7200,
        time_limit_s=86_400.0,
        gpus=gpus,
    )


def run(**changes: Any) -> JobRecord:
    """An hour of 8 GPUs that draws 500 W for each above idle, as it is counted."""
    gpu_wh = 8 * (500 / HOST_SHARE + IDLE_W_PER_GPU)
    values: dict[str, Any] = {
        "scheduler": "slurm",
        "id": "9",
        "started_utc_s": NOW - 7200,
        "ended_utc_s": NOW - 3600,
        "user": "ada",
        "name": "train",
        "gpus": 8,
        "gpu_wh": gpu_wh,
        "gpu_how": "measured",
        "host_wh": 400.0,
        "host_how": "apportioned",
        "covered_pct": 99.0,
        "mean_w": gpu_wh + 400,
    }
    return JobRecord(**(values | changes))


async def test_a_job_that_ended_early_asks_for_a_plan_and_a_small_one_does_not() -> None:
    site = Site()
    await site.forecast.evaluate()
    assert site.plans == 0, "no plan was made with anything yet"
    site.forecast.planned()
    site.clock.now_s += 60
    await site.forecast.evaluate()
    assert site.plans == 0
    site.jobs.append(job("3", gpus=1))
    await site.forecast.evaluate()
    assert site.plans == 0
    del site.jobs[0]
    await site.forecast.evaluate()
    assert site.plans == 1
    site.forecast.planned()
    await site.forecast.evaluate()
    assert site.plans == 1


async def test_no_plan_for_jobs_that_the_forecast_does_not_follow() -> None:
    site = Site(followed=False)
    await site.forecast.evaluate()
    site.forecast.planned()
    site.jobs.clear()
    await site.forecast.evaluate()
    assert len(site.outlooks) == 2
    assert site.plans == 0


async def test_the_model_is_used_in_another_thread_and_learns_there(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []
    whole = queue_outlook.QueueModel.outlook

    def noted(*given: object) -> JobOutlook:
        threads.append(threading.current_thread())
        return whole(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(queue_outlook.QueueModel, "outlook", noted)
    site = Site()
    site.forecast.note_nodes((Node(id="n1", gpus=(Gpu(0, "H100", limit_w=reading(700.0)),)),))
    await site.forecast.evaluate()
    assert site.outlooks[0].counts.running_w == 16 * 0.75 * 700
    site.forecast.learn([run()] * 20)
    await site.forecast.evaluate()
    assert site.outlooks[1].counts.running_w == pytest.approx(16 * 500, rel=0.02)
    assert len(threads) == 2
    assert threading.main_thread() not in threads


async def test_it_runs_when_a_queue_was_read_and_when_a_quarter_hour_is_over() -> None:
    site = Site()
    site.clock.now_s = NOW + 899.95
    seen = asyncio.Event()
    take = site.forecast._on_outlook

    def noted(outlook: JobOutlook) -> bool:
        seen.set()
        site.clock.now_s = max(site.clock.now_s, NOW + 960)  # after the turn: the next wait is long
        return take(outlook)

    site.forecast._on_outlook = noted
    task = asyncio.create_task(site.forecast.run())
    async with asyncio.timeout(20):
        await seen.wait()
        seen.clear()
        site.forecast.evaluate_anew()
        await seen.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await site.forecast.close(1.0)
    assert site.outlooks[-1].end_utc_s == NOW + 900


async def test_a_queue_in_force_is_as_old_as_its_last_reading_whatever_the_sites_clock_says() -> None:
    real_s = [1000.0]
    queues = QueuesInForce([Scheduler(id="alpha", kind="slurm")], now_s=lambda: real_s[0])
    site = Site()
    site.forecast._queues = lambda: seen(queues)
    await site.forecast.evaluate()
    assert site.outlooks[0].stale == (("alpha", math.inf),)
    queues.take("alpha", QueueRead(jobs=(job("1"),), more_waiting=3), NOW)
    await site.forecast.evaluate()
    assert (site.outlooks[1].counts.running, site.outlooks[1].counts.unlisted) == (1, 3)
    real_s[0] += TOO_OLD_S + 1
    queues.refuse("alpha", "squeue ended with exit code 1")
    await site.forecast.evaluate()
    assert site.outlooks[2].queues == 0
    assert site.outlooks[2].stale == (("alpha", TOO_OLD_S + 1),)


def test_what_a_finished_run_teaches() -> None:
    taught = measured(run())
    assert taught is not None
    assert taught.above_idle_w == pytest.approx(8 * 500)
    capped = measured(run(withheld_wh=800.0))
    assert capped is not None
    assert capped.above_idle_w == pytest.approx(8 * 500 + HOST_SHARE * 800)
    idle = measured(run(gpu_wh=100.0, mean_w=500.0))
    assert idle is not None
    assert idle.above_idle_w == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"ended_utc_s": NOW - 7200 + 200},
        {"ended_utc_s": None},
        {"covered_pct": 20.0},
        {"mean_w": None},
        {"gpus": 0},
        {"gpu_wh": 0.0, "gpu_how": None, "node_wh": 4000.0, "node_how": "measured"},
        {"suspended_s": 1800.0},
    ],
)
def test_what_teaches_nothing(changes: dict[str, Any]) -> None:
    assert measured(run(**changes)) is None


def test_a_gateway_that_starts_finds_what_jobs_drew(place: Path) -> None:
    recorder = Recorder(place, StorageConfig(), "boot")
    for n in (1, 2):
        recorder.account(run(id=str(n), ended_utc_s=NOW - 3600 + n))
    recorder.flush().result(LIMIT_S)
    assert recorder.close()
    left = read_previous_run(place, NOW)
    assert [found.id for found in left.finished_jobs] == ["1", "2"]
    assert left.not_read == ()
    assert measured(left.finished_jobs[0]) == measured(run())
    assert read_previous_run(place, NOW + 100 * 86_400).finished_jobs == []
