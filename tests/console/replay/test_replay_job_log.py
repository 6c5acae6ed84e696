"""A job log as a scheduler shows it: causal, and with what bad logs hold."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from replay_cases import START, a_case, played

from console.replay.job_file import Job
from console.replay.job_log import JobLog
from dispatch.forecasting.job_queue import JobModel
from dispatch.wording.catalogue import words

HOUR = 3600


def a_job(start_h: float = 2.0, **changes: object) -> Job:
    base: dict[str, object] = {
        "id": "a",
        "submit_s": 1 * HOUR,
        "reference_s": int(start_h * HOUR),
        "duration_s": 3 * HOUR,
        "time_limit_s": 5 * HOUR,
        "power_w": 10_000.0,
        "gpus": 4,
    }
    return Job(**(base | changes))  # type: ignore[arg-type]


def test_a_job_is_seen_from_its_submission_and_its_duration_only_by_its_end() -> None:
    log = JobLog([a_job()])
    assert log.known_at(HOUR - 1) == []
    (waiting,) = log.known_at(HOUR)
    assert (waiting.started_utc_s, waiting.time_limit_s, waiting.firm) == (None, 5 * HOUR, False)
    (running,) = log.known_at(2 * HOUR)
    assert running.started_utc_s == 2 * HOUR
    assert running.time_limit_s == 5 * HOUR
    assert log.known_at(5 * HOUR) == []


def test_notice_announces_start_and_hours() -> None:
    log = JobLog([a_job(start_h=20, submit_s=19 * HOUR)], notice_s=12 * HOUR)
    assert log.known_at(8 * HOUR - 1) == []
    (told,) = log.known_at(8 * HOUR)
    assert (told.announced_utc_s, told.time_limit_s, told.firm) == (20 * HOUR, 3 * HOUR, True)
    power_w = JobModel().known_w(8 * HOUR, [told], 70)
    assert power_w[0] == 0
    assert [k for k, w in enumerate(power_w[1:]) if w] == list(range(48, 60))  # quarters from 20 to 23 h


def test_a_log_tells_which_jobs_were_announced_and_which_of_them_never_came() -> None:
    job = a_job(start_h=20, submit_s=19 * HOUR, announced_s=10 * HOUR)
    log = JobLog([job, msgspec.structs.replace(job, id="never", duration_s=0.0)])
    assert log.known_at(10 * HOUR - 1) == []
    told = sorted(log.known_at(10 * HOUR), key=lambda j: j.id)
    assert [(j.id, j.announced_utc_s, j.time_limit_s, j.firm) for j in told] == [
        ("a", 20 * HOUR, 5 * HOUR, False),
        ("never", 20 * HOUR, 5 * HOUR, False),
    ]
    assert [j.id for j in log.known_at(20 * HOUR)] == ["a"]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 30), st.floats(0, 10), st.floats(0.1, 20)), max_size=12), st.integers(0, 60))
def test_nothing_is_known_of_what_comes_later(jobs: list[tuple[float, float, float]], now_h: int) -> None:
    """Another future, the same present: jobs not yet submitted and ends not yet reached may be anything."""
    now_s = now_h * HOUR
    log = [
        a_job(submit_h + wait_h, id=str(n), submit_s=int(submit_h * HOUR), duration_s=hours * HOUR)
        for n, (submit_h, wait_h, hours) in enumerate(jobs)
    ]
    other = [
        msgspec.structs.replace(
            job,
            duration_s=job.duration_s if job.reference_s + job.duration_s <= now_s else 99.0 * HOUR + now_s,
            reference_s=job.reference_s if job.reference_s <= now_s else job.reference_s + 7 * HOUR,
        )
        for job in log
    ]
    coming = [a_job(now_h + 3.0, id="later", submit_s=now_s + 1)]
    assert JobLog(log).known_at(now_s) == JobLog([*other, *coming]).known_at(now_s)


@pytest.mark.parametrize("limit_s", [None, 400.0 * HOUR])
def test_jobs_without_a_limit_or_with_one_beyond_the_horizon_still_give_plans(limit_s: float | None) -> None:
    jobs = tuple(
        a_job(id=str(n), submit_s=START - HOUR, reference_s=START + n * HOUR, time_limit_s=limit_s) for n in range(3)
    )
    run = played(a_case(hours=3, jobs=jobs, gpus_total=8))
    assert (run.plan_counts.plans, run.plan_counts.failed, run.plan_counts.refused) == (12, 0, 0)
    assert run._plan is not None
    assert ("3 jobs without a time limit" in words(run._plan.note)) == (not limit_s)
