"""How long the forecast of a job queue takes: what the planner's thread does each time the queue was read.

    python -m benchmarks.job_queue --jobs 5000

A made-up queue of a busy site: a fifth of the jobs runs, half of the others have a start that the scheduler expects,
some are held or at a limit, a few have a power reservation. Power is known of 2000 finished jobs.
"""

from __future__ import annotations

import argparse
import random
import time

import msgspec

from benchmarks.figures import Figure, main, quantile
from dispatch.forecasting.job_queue import REMEMBERED, KnownJob
from dispatch.forecasting.load import PROBES
from dispatch.forecasting.queue_outlook import QueueModel, QueueSeen
from dispatch.model.jobs import Job
from dispatch.model.reservations import Reservation

GOAL_MS = 50.0
NOW_S = 1_764_500_000.0
USERS, NAMES = 60, 12
REASONS = ("Priority", "Priority", "Priority", "Resources", "JobHeldUser", "Dependency", "QOSMaxJobsPerUserLimit")


def queue(jobs: int, now_s: float, chance: random.Random) -> tuple[Job, ...]:
    """That many jobs as a scheduler shows them."""
    return tuple(_job(n, now_s, chance) for n in range(jobs))


def _job(n: int, now_s: float, chance: random.Random) -> Job:
    runs = n % 5 == 0
    submitted_s = now_s - chance.uniform(0, 2 * 86_400)
    return Job(
        scheduler="slurm",
        id=str(n),
        name=f"train-{chance.randrange(NAMES)}",
        user=f"user{chance.randrange(USERS)}",
        state="running" if runs else "pending",
        reason="" if runs else chance.choice(REASONS),
        submitted_utc_s=submitted_s,
        started_utc_s=chance.uniform(submitted_s, now_s) if runs else None,
        expected_start_utc_s=now_s + chance.uniform(0, 86_400) if not runs and n % 2 else None,
        time_limit_s=chance.choice((3600.0, 4 * 3600.0, 86_400.0, 2 * 86_400.0, None)),
        gpus=chance.choice((1, 1, 1, 2, 4, 8, 8, 16)),
    )


def model(chance: random.Random) -> QueueModel:
    """One that has seen many jobs end."""
    known = QueueModel(max(PROBES))
    for _ in range(2000):
        name, user = f"train-{chance.randrange(NAMES)}", f"user{chance.randrange(USERS)}"
        gpus = chance.choice((1, 2, 4, 8, 16))
        known.power.learn(user, name, gpus, gpus * chance.uniform(150, 450))
    return known


def measure(jobs: int = 5000, rounds: int = 30) -> list[Figure]:
    """Updates a minute apart; some jobs are other ones each time."""
    chance = random.Random(1)
    known, seen, now_s = model(chance), list(queue(jobs, NOW_S, random.Random(2))), NOW_S
    reserved = [
        Reservation(
            id=f"r{n}", name=f"r{n}", power_w=3000.0, start_utc_s=now_s, end_utc_s=now_s + 7200, latest_utc_s=now_s,
            who="slurm", given_utc_s=now_s, cluster="main", job_id=str(5 * n),
        )
        for n in range(20)
    ]  # fmt: skip
    taught = KnownJob(id="x", power_w=0, submitted_utc_s=now_s, time_limit_s=86_400.0)
    known.outlook(now_s, [QueueSeen("slurm", "main", tuple(seen), 0.0)], reserved, jobs)
    for _ in range(REMEMBERED):
        known._pools["slurm"].model.finished(taught, chance.uniform(60, 86_400))  # as if it had seen them end
    took_ms: list[float] = []
    cpu_ms: list[float] = []
    for _ in range(rounds):
        now_s += 60.0
        for at in chance.sample(range(jobs), jobs // 100):
            seen[at] = msgspec.structs.replace(_job(at, now_s, chance), id=f"{at}.{now_s:.0f}")
        begun, cpu_begun = time.perf_counter(), time.thread_time()
        known.outlook(now_s, [QueueSeen("slurm", "main", tuple(seen), 0.0)], reserved, jobs)
        took_ms.append(1000 * (time.perf_counter() - begun))
        cpu_ms.append(1000 * (time.thread_time() - cpu_begun))
    what = f"{jobs} jobs: update of the model"
    return [
        Figure(f"{what}, time of its thread, median of {rounds}", quantile(cpu_ms, 0.5), "ms", goal=GOAL_MS),
        Figure("... nine in ten within", quantile(cpu_ms, 0.9), "ms", goal=GOAL_MS),
        Figure("... by the clock, with what else the machine does: median", quantile(took_ms, 0.5), "ms"),
    ]


def options(parser: argparse.ArgumentParser) -> None:
    """Command line of this benchmark."""
    parser.add_argument("--jobs", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=30)


if __name__ == "__main__":
    main(__doc__ or "", options, measure)
