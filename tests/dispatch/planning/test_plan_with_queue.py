"""What the plan makes of schedulers' queues, and what it says of them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from plan_site import promised

from dispatch.billing.market_prices import PriceSeries
from dispatch.forecasting.queue_outlook import TOO_OLD_S
from dispatch.model.job_outlook import ExpectedStart, JobCounts, JobOutlook, StartErrors
from dispatch.planning.inputs import PlanInputs
from dispatch.planning.pipeline import PlanningState, PlanSource
from dispatch.wording.catalogue import words
from gateway.site.loader import load

SITE = Path(__file__).parents[3] / "sites" / "yardstick-de.toml"
T0 = 1_751_328_000  # 2025-07-01, 2:00 in Berlin
JOB_W = 10_000.0


def outlook(end_s: int, until_next: int, after: int, late: float, **more: object) -> JobOutlook:
    """One job: `late` of it in the minutes before the end; starts in `until_next` quarters, runs for `after`."""
    ahead_w = (0.0,) * until_next + (JOB_W,) * after
    ahead_w += (0.0,) * (145 - len(ahead_w))
    waits = ahead_w if until_next else (0.0,) * 145
    values = {"utc_s": end_s - 1.0 + 900, "end_utc_s": end_s, "late_w": late, "next_late_w": late}
    return JobOutlook(**(values | {"ahead_w": ahead_w, "waiting_w": waits, "queues": 1} | more))  # type: ignore[arg-type]


def fed(quarters: int) -> tuple[PlanSource, int]:
    """A site whose load follows one job, two hours on and two off, that its queue shows in time; and when it is now."""
    source = PlanSource(load(SITE).dispatch)
    for k in range(quarters):
        start_s = T0 + 900 * k
        there = k % 16 < 8
        now_there = JOB_W if there else 0.0
        left = 8 - k % 16 if there else 16 - k % 16  # quarters until it changes, this one included
        seen = outlook(start_s, 0 if there else left, left if there else 8, now_there)
        source.take_queues(msgspec.structs.replace(seen, next_late_w=now_there))
        source.observe_load(start_s, 20_000.0 + now_there, 20_000.0 + now_there)
    return source, T0 + 900 * quarters


def asked(source: PlanSource, now_s: float) -> PlanInputs:
    prices = PriceSeries(tuple(T0 + 3600 * h for h in range(200)), (80.0,) * 200, T0 + 200 * 3600)
    return source.inputs(
        PlanningState(utc_s=now_s, load_w=20_000.0, pv_w=0.0, soc_pct=50.0, month_peak_w=0.0, interval_energy_wh=0.0),
        prices,
    )


def noted(inputs: PlanInputs) -> str:
    return "; ".join(words(note) for note in inputs.load.notes)


def test_a_queue_that_told_the_load_is_followed_and_its_waiting_jobs_named() -> None:
    source, now_s = fed(16 * 8)
    source.take_queues(None)
    blind = asked(source, now_s).load.load_w
    source.take_queues(outlook(now_s, 3, 8, 0.0, utc_s=now_s + 60.0))
    inputs = asked(source, now_s + 60)
    assert inputs.load.load_w[4] > 28_000 > blind[0]
    assert inputs.load.load_w[1] < 22_000
    assert inputs.waiting_w[4] == pytest.approx(inputs.load.load_w[4] - 20_000, abs=1500)
    assert inputs.waiting_w[1] < 500


def test_before_enough_was_seen_the_queue_is_not_used_and_the_note_says_so() -> None:
    source, now_s = fed(20)
    source.take_queues(outlook(now_s, 3, 8, 0.0, utc_s=now_s + 60.0))
    inputs = asked(source, now_s + 60)
    assert "not in the forecast yet: 15 of 48 quarter hours observed with the queue" in noted(inputs)
    assert not any(inputs.waiting_w)
    assert source.jobs_share() == 0


def test_an_old_outlook_is_not_used_and_told() -> None:
    source, now_s = fed(16 * 8)
    source.take_queues(outlook(now_s, 3, 8, 0.0, utc_s=float(now_s)))
    later_s = now_s + TOO_OLD_S + 60
    assert "the job queues were last looked at 16 min ago: their jobs are not in the forecast" in noted(
        asked(source, later_s)
    )
    assert not any(asked(source, later_s).waiting_w)
    source.take_queues(outlook(now_s, 3, 8, 0.0, utc_s=later_s, queues=0, stale=(("slurm", 1200.0),)))
    told = asked(source, later_s)
    assert noted(told).endswith("; queue of slurm was read last 20 min ago: its jobs are not in the forecast")
    assert not any(told.waiting_w)


def test_what_is_said_of_the_jobs() -> None:
    source, now_s = fed(16 * 8)
    counts = JobCounts(
        running=12,
        running_w=31_000.0,
        suspended=1,
        reserved=2,
        expected=3,
        expected_w=9_000.0,
        by_scheduler=2,
        first_start_utc_s=now_s + 2700.0,
        later=4,
        held=5,
        dependent=6,
        at_limit=7,
        unavailable=8,
        too_large=11,
        overdue=9,
        assumed=10,
    )
    starts = (ExpectedStart("4711", now_s + 2700.0, now_s + 9900.0, JOB_W, "scheduler"),)
    errors = (StartErrors("scheduler", 40, -600.0, -3600.0, 120.0), StartErrors("queue", 12, 0.0, -60.0, 900.0))
    source.take_queues(outlook(now_s, 3, 8, 0.0, utc_s=now_s + 60.0, counts=counts, starts=starts, errors=errors))
    inputs = asked(source, now_s + 60)
    said = noted(inputs)
    assert (
        "; job queue: 12 running, 31.0 kW above idle, 1 suspended, 3 expected to start (2 as their scheduler expects), "
        "9.0 kW, the first at 10:45, power of 10 assumed: the GPUs of no such job have been measured, "
        "2 with a power reservation counted by that, "
        "not counted: 4 expected after the plan, 5 held, 6 waiting for other jobs, 7 at a limit, 8 "
        "without an expected start, 11 for more than the site is known to have, "
        "9 that seemed free to start and did not, "
    ) in said
    assert " % of what they change within an hour is in the forecast" in said
    assert (
        "starts against the scheduler's first estimate: median -10 min, four of five from -60 to +2 min, 40 jobs"
        in said
    )
    assert "starts against first in, first out: median +0 min, four of five from -1 to +15 min, 12 jobs" in said
    assert inputs.expected == starts
    few = (StartErrors("scheduler", 1, -960.0, -960.0, -960.0),)
    source.take_queues(outlook(now_s, 3, 8, 0.0, utc_s=now_s + 120.0, counts=counts, errors=few))
    said = noted(asked(source, now_s + 120))
    assert "starts against the scheduler's first estimate: median -16 min, of 1 so far" in said, "no spread of one"


def test_without_queues_nothing_is_said_and_nothing_changes() -> None:
    inputs = [asked(source, now_s) for source, now_s in (fed_blind(130), fed_blind(130))]
    assert inputs[0].load == inputs[1].load
    assert "queue" not in noted(inputs[0])


def fed_blind(quarters: int) -> tuple[PlanSource, int]:
    source = PlanSource(load(SITE).dispatch)
    for k in range(quarters):
        source.observe_load(T0 + 900 * k, 30_000.0 if k % 16 < 8 else 20_000.0)
    return source, T0 + 900 * quarters


def test_all_jobs_are_announced_only_while_a_queue_shows_no_other() -> None:
    source, now_s = fed(4)
    idle = outlook(now_s, 0, 0, 0.0, utc_s=now_s + 60.0)
    jobs = {"none": JobCounts(reserved=1), "runs": JobCounts(running=1, reserved=1), "waits": JobCounts(expected=1)}
    sure = {}
    for reserved in ((promised(now_s + 86_400.0),), ()):
        source.reserve(reserved)
        for others, counts in jobs.items():
            source.take_queues(msgspec.structs.replace(idle, counts=counts))
            sure[others, bool(reserved)] = asked(source, now_s + 60).jobs_sure
    assert [way for way, yes in sure.items() if yes] == [("none", True)]
    source.take_queues(None)
    source.reserve((promised(now_s + 86_400.0),))
    assert not asked(source, now_s + 60).jobs_sure, "no queue tells of others"
