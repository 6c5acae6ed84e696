"""Known jobs: limits as users set them, durations as they turn out, a queue first in, first out."""

import msgspec
import pytest

from dispatch.forecasting.job_queue import JobModel, KnownJob

NOW = 1_758_024_000.0


def job(name: str = "a", **changes: float | None) -> KnownJob:
    values = {
        "power_w": 10_000.0,
        "submitted_utc_s": NOW - 3600,
        "started_utc_s": NOW,
        "time_limit_s": 7200.0,
        "gpus": 8,
    }
    return KnownJob(id=name, **(values | changes))  # type: ignore[arg-type]


def quarters(n: int) -> list[float]:
    return [NOW + 900 * k for k in range(n)]


def still(model: JobModel, now_s: float, at_s: float) -> float:
    """Chance that the job still runs: its expected power in the quarter hour around `at_s`, as a share."""
    return model.load_w(now_s, [job()], [at_s - 450])[0] / 10_000


def test_with_nothing_learnt_a_job_runs_to_its_limit() -> None:
    assert JobModel().load_w(NOW, [job()], quarters(10)) == [10_000] * 8 + [0, 0]


def test_learnt_durations_end_jobs_before_their_limit() -> None:
    model = JobModel()
    for _ in range(9):
        model.finished(job(), 3600)  # half of the limit
    early, late = still(model, NOW, NOW + 3000), still(model, NOW, NOW + 4000)
    assert early == pytest.approx(1.0)
    assert late == pytest.approx(0.1)  # one in ten: the one that is always counted in
    assert still(model, NOW + 4000, NOW + 5000) == pytest.approx(1.0)  # it has outlived the others


def test_a_job_that_is_gone_has_ended() -> None:
    model = JobModel()
    model.observe(NOW, [job()])
    model.observe(NOW + 1800, [])
    assert still(model, NOW, NOW + 2000) == pytest.approx(0.5)


def test_the_queue_starts_when_gpus_come_free_and_announced_jobs_as_granted() -> None:
    model = JobModel(gpus_total=8)
    waiting = job("b", started_utc_s=None, power_w=5_000.0)
    granted = job("c", started_utc_s=None, announced_utc_s=NOW + 2700, power_w=1_000.0)
    load = model.load_w(NOW, [job(), waiting, granted], quarters(12))
    assert load[:3] == [10_000] * 3
    assert load[3:8] == [11_000] * 5
    assert load[8] == 6_000  # the first ended at its limit, the second began


def test_waiting_jobs_start_on_the_gpus_that_announced_ones_leave() -> None:
    """Found in a month's replay: both were given the same GPUs, and a load of 70 kW foreseen where 63 kW is all."""
    model = JobModel(gpus_total=8)
    granted = job("b", started_utc_s=None, submitted_utc_s=NOW - 1800, announced_utc_s=NOW + 7200, firm=True)
    waiting = job("c", started_utc_s=None, submitted_utc_s=NOW - 900, power_w=5_000.0)
    load = model.load_w(NOW, [job(), granted, waiting], quarters(20))
    assert load == [10_000] * 16 + [5_000] * 4
    assert max(load) == 10_000
    power_alone = msgspec.structs.replace(granted, gpus=0)
    assert model.load_w(NOW, [job(), power_alone, waiting], quarters(20)) == [10_000] * 8 + [15_000] * 8 + [0] * 4


def test_jobs_without_limit_or_past_it() -> None:
    endless = job(time_limit_s=None)
    assert JobModel().load_w(NOW, [endless], quarters(144)) == [10_000] * 144
    over = msgspec.structs.replace(job(), started_utc_s=NOW - 9000)
    assert JobModel().load_w(NOW, [over], quarters(2)) == [0, 0]
