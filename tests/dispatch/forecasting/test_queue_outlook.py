"""What is expected of the jobs in a queue: each counts once, or not at all, and for a reason."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dispatch.forecasting.queue_outlook import OVERDUE_S, RESIDENT_W_PER_GPU, TOO_OLD_S, QueueModel, QueueSeen
from dispatch.model.job_outlook import JobOutlook
from dispatch.model.jobs import Job
from dispatch.model.reservations import Reservation

NOW = 1_758_024_000.0  # a full quarter hour
HOUR = 3600.0
EACH_W = 300.0  # by default, 0.75 of 400 W


def job(id: str, **changes: Any) -> Job:
    values = {"state": "running", "submitted_utc_s": NOW - HOUR, "started_utc_s": NOW - HOUR, "gpus": 8}
    if changes.get("state") == "pending":
        values |= {"started_utc_s": None, "reason": "Priority"}
    return Job(scheduler="slurm", id=id, time_limit_s=4 * HOUR, **(values | changes))  # type: ignore[arg-type]


def looked_at(
    *jobs: Job, model: QueueModel | None = None, now_s: float = NOW, age_s: float = 0.0, **more: Any
) -> JobOutlook:
    model = QueueModel(16) if model is None else model
    return model.outlook(now_s, [QueueSeen("slurm", "main", jobs, age_s)], **more)


def reservation(**changes: Any) -> Reservation:
    values: dict[str, Any] = {
        "id": "r1",
        "name": "r1",
        "power_w": 2400.0,
        "start_utc_s": NOW - HOUR,
        "end_utc_s": NOW + HOUR,
        "latest_utc_s": NOW,
        "who": "slurm",
        "given_utc_s": NOW - HOUR,
    }
    return Reservation(**(values | changes))


def test_a_running_job_draws_until_its_limit() -> None:
    told = looked_at(job("1"))
    assert told.late_w == told.next_late_w == 8 * EACH_W
    assert told.ahead_w[:13] == (8 * EACH_W,) * 12 + (0.0,)
    assert (told.counts.running, told.counts.running_w, told.counts.assumed) == (1, 8 * EACH_W, 1)


def test_the_schedulers_start_comes_before_ours() -> None:
    """8 GPUs, all in use for three more hours: ours would be in three, its is in one."""
    waits = job("2", state="pending", expected_start_utc_s=NOW + HOUR)
    told = looked_at(job("1"), waits, gpus_total=8)
    assert told.waiting_w[3:5] == (0.0, 8 * EACH_W)
    assert told.starts[0].by == "scheduler"
    assert (told.counts.expected, told.counts.by_scheduler) == (1, 1)
    ours = looked_at(job("1"), msgspec.structs.replace(waits, expected_start_utc_s=None), gpus_total=8)
    assert ours.waiting_w[11:13] == (0.0, 8 * EACH_W)
    assert ours.starts[0].by == "queue"


def test_waiting_jobs_of_a_user_whose_jobs_seldom_come_count_for_less_and_that_is_told() -> None:
    model, waits = QueueModel(16), job("2", state="pending", user="eve", expected_start_utc_s=NOW + HOUR)
    for n in range(5):
        looked_at(job("1"), msgspec.structs.replace(waits, id=f"no{n}"), model=model)
        held = msgspec.structs.replace(waits, id="held", reason="JobHeldUser")
        looked_at(job("1"), held, model=model)
    told = looked_at(job("1"), waits, model=model)
    assert told.waiting_w[5] == pytest.approx(8 * EACH_W / 2)
    assert (told.counts.expected_w, told.counts.doubted) == (8 * EACH_W, 1)
    assert told.counts.doubted_w == pytest.approx(8 * EACH_W / 2)
    begun = looked_at(job("1"), msgspec.structs.replace(waits, state="running", started_utc_s=NOW), model=model)
    assert begun.counts.running_w == 16 * EACH_W


def test_without_a_number_of_gpus_it_is_what_jobs_ever_held() -> None:
    model = QueueModel(16)
    looked_at(job("1"), job("2"), model=model)
    told = looked_at(job("1"), job("3", state="pending"), job("4", state="pending"), model=model, now_s=NOW + 60)
    assert told.counts.expected == 2
    assert sorted(start.start_utc_s for start in told.starts)[0] == NOW + 60, "one fits beside the first"
    assert sorted(start.start_utc_s for start in told.starts)[1] > NOW + HOUR


@pytest.mark.parametrize(
    ("reason", "count"),
    [
        ("JobHeldUser", "held"),
        ("Dependency", "dependent"),
        ("QOSGrpGRES", "at_limit"),
        ("JobArrayTaskLimit", "at_limit"),
        ("Licenses", "unavailable"),
    ],
)
def test_blocked_jobs_are_counted_and_not_forecast(reason: str, count: str) -> None:
    told = looked_at(job("1", state="pending", reason=reason), gpus_total=64)
    assert not any(told.ahead_w)
    assert getattr(told.counts, count) == 1
    assert told.counts.expected == 0


@pytest.mark.parametrize(
    ("known", "changes"),
    [
        ({"gpus_total": 64}, {"gpus": 65}),
        ({"gpus_total": 64}, {"gpus": 10_000}),
        ({}, {"gpus": 10_000}),
        ({}, {"gpus": 10_000, "expected_start_utc_s": NOW + 60}),
    ],
)
def test_a_job_that_the_site_cannot_carry_is_not_forecast_and_keeps_nobody_waiting(
    known: dict[str, int], changes: dict[str, Any]
) -> None:
    huge = job("0", state="pending", **changes)
    there = (job("1"), job("2", state="pending", gpus=4))
    told = looked_at(huge, *there, model=QueueModel(16, most_w=200_000.0), **known)
    without = looked_at(*there, model=QueueModel(16, most_w=200_000.0), **known)
    assert (told.ahead_w, told.starts) == (without.ahead_w, without.starts)
    assert told.counts.too_large == 1


def test_a_job_is_counted_that_needs_as_many_gpus_as_there_are_or_as_its_scheduler_knows_of() -> None:
    assert looked_at(job("1", state="pending", gpus=64), gpus_total=64).counts.too_large == 0
    planned = job("1", state="pending", gpus=96, expected_start_utc_s=NOW + 60)
    assert looked_at(planned, gpus_total=64).counts.expected == 1
    model = QueueModel(16)
    looked_at(job("1", gpus=96), model=model, gpus_total=64)
    as_large = job("2", state="pending", gpus=96)
    assert looked_at(as_large, model=model, now_s=NOW + 60, gpus_total=64).counts.expected == 1


def test_no_job_that_runs_is_taken_for_more_than_the_site_carries() -> None:
    told = looked_at(job("1", gpus=10_000), model=QueueModel(16, most_w=200_000.0))
    assert told.late_w == told.ahead_w[0] == 200_000.0


def test_a_suspended_job_draws_what_keeps_its_memory_and_a_completing_one_nothing() -> None:
    told = looked_at(job("1", state="suspended"), job("2", state="completing"), job("3", state="configuring"))
    assert told.late_w == 8 * (RESIDENT_W_PER_GPU + EACH_W)
    assert (told.counts.suspended, told.counts.running) == (1, 2)


def test_a_reserved_job_is_counted_by_its_reservation_alone_and_keeps_its_gpus() -> None:
    told = looked_at(
        job("1"), job("2", state="pending"), reservations=[reservation(cluster="main", job_id="1")], gpus_total=8
    )
    assert told.late_w == 0
    assert told.ahead_w[0] == 0
    assert told.ahead_w[4] == 8 * EACH_W, "it runs on when its reservation is over"
    assert told.waiting_w[11:13] == (0.0, 8 * EACH_W), "the next one waits for its GPUs"
    assert (told.counts.reserved, told.counts.running) == (1, 0)
    task = looked_at(job("7_3", number="12"), reservations=[reservation(cluster="main", job_id="12")])
    assert task.counts.reserved == 1, "a task of an array, by the number that its prolog knows"
    other = looked_at(job("1"), reservations=[reservation(cluster="other", job_id="1")])
    assert other.late_w == 8 * EACH_W


def test_a_reservation_by_name_is_one_jobs() -> None:
    by_name = [reservation(name="render")]
    assert looked_at(job("1", name="render"), reservations=by_name).late_w == 0
    two = looked_at(job("1", name="render"), job("2", name="render"), reservations=by_name)
    assert two.late_w == 2 * 8 * EACH_W


def test_an_old_queue_is_told_and_not_used_and_its_jobs_have_not_ended() -> None:
    model = QueueModel(16)
    looked_at(job("1"), model=model)
    old = looked_at(job("1"), model=model, now_s=NOW + 700, age_s=TOO_OLD_S + 100)
    assert old.queues == 0
    assert old.stale == (("slurm", TOO_OLD_S + 100),)
    assert not any(old.ahead_w)
    looked_at(model=model, now_s=NOW + 720)
    again = looked_at(job("2", started_utc_s=NOW + 720), model=model, now_s=NOW + 720)
    assert again.ahead_w[15] == 8 * EACH_W, "nothing was learnt of how long jobs run"


def test_a_job_that_is_told_without_a_start_counts_from_when_it_was_first_seen() -> None:
    """Render jobs have none, as their frames come and go; each look took them for jobs that begin now."""
    model, runs = QueueModel(16), job("1", started_utc_s=None)
    assert looked_at(runs, model=model).late_w == 0.0
    assert looked_at(runs, model=model, now_s=NOW + 600.0).next_late_w == 8 * EACH_W
    assert looked_at(runs, model=model, now_s=NOW + 900.0).late_w == 8 * EACH_W


def test_a_job_that_ended_early_changes_what_comes_and_not_what_was() -> None:
    model = QueueModel(16)
    looked_at(job("1"), job("2"), model=model, now_s=NOW - 60)
    told = looked_at(job("1"), model=model, now_s=NOW + 60)
    assert told.end_utc_s == NOW
    assert told.late_w == 2 * 8 * EACH_W, "both ran at the end of the last quarter hour"
    assert told.next_late_w == told.ahead_w[0] == 8 * EACH_W
    after = looked_at(job("1"), model=model, now_s=NOW + 960)
    assert after.late_w == 8 * EACH_W


def test_what_is_learnt_of_power_is_no_change_of_the_load() -> None:
    model = QueueModel(16)
    looked_at(job("1", user="ada"), model=model, now_s=NOW - 60)
    for _ in range(50):
        model.power.learn("ada", "", 8, 8 * 600.0)
    told = looked_at(job("1", user="ada"), model=model, now_s=NOW + 60)
    assert told.late_w == told.ahead_w[0] > 8 * 500


def test_a_requeued_job_waits_again_and_teaches_nothing_of_durations() -> None:
    model = QueueModel(16)
    looked_at(job("1"), model=model)
    told = looked_at(
        job("1", state="pending", reason="BeginTime", expected_start_utc_s=NOW + 180), model=model, now_s=NOW + 60
    )
    assert told.counts.expected == 1
    assert told.ahead_w[14] == 8 * EACH_W


def test_the_error_of_both_estimates_of_a_start() -> None:
    model = QueueModel(16)
    first = job("2", state="pending", expected_start_utc_s=NOW + HOUR)
    looked_at(job("1"), first, model=model, gpus_total=8)
    later = msgspec.structs.replace(first, expected_start_utc_s=NOW + 600)
    looked_at(job("1"), later, model=model, gpus_total=8, now_s=NOW + 60)
    told = looked_at(job("2", started_utc_s=NOW + 90), model=model, gpus_total=8, now_s=NOW + 120)
    errors = {e.by: e for e in told.errors}
    assert errors["scheduler"].median_s == 90 - HOUR
    assert errors["queue"].median_s == 90 - 3 * HOUR
    assert errors["queue"].jobs == 1


def test_a_job_that_could_have_started_and_has_not_is_no_longer_expected() -> None:
    model = QueueModel(16)
    waits = job("2", state="pending", reason="Resources")
    assert looked_at(waits, model=model, gpus_total=8).counts.expected == 1
    told = looked_at(waits, model=model, gpus_total=8, now_s=NOW + 300)
    assert told.counts.expected == 1
    for minutes in range(10, 35, 5):
        told = looked_at(waits, model=model, gpus_total=8, now_s=NOW + 60 * minutes)
    assert OVERDUE_S < 60 * 30
    assert (told.counts.expected, told.counts.overdue) == (0, 1)
    assert not any(told.ahead_w)
    planned = msgspec.structs.replace(waits, expected_start_utc_s=NOW + 2 * HOUR)
    assert looked_at(planned, model=model, gpus_total=8, now_s=NOW + 1860).counts.expected == 1


def test_two_schedulers_have_jobs_of_the_same_id() -> None:
    model = QueueModel(16)
    queues = [QueueSeen("a", "", (job("1"),), 0.0), QueueSeen("b", "", (job("1"),), 0.0)]
    assert model.outlook(NOW, queues).late_w == 2 * 8 * EACH_W
    told = model.outlook(NOW + 60, [queues[0], QueueSeen("b", "", (), TOO_OLD_S + 1)])
    assert told.late_w == told.ahead_w[0] == 8 * EACH_W
