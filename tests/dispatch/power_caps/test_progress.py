"""Jobs that report their progress: throughput under caps against that without, by kind of job."""

from __future__ import annotations

import msgspec
import pytest

from dispatch.power_caps.progress import MOST_OF_USER, MOST_RUNS, JobProgress, Kind, ProgressState
from dispatch.power_caps.throughput import DEFAULT, fault

RUN = ("slurm", "7", 0.0)
KIND: Kind = ("anna", "train-17", 8)


class Training:
    """A run on GPUs that draw what they may, and does so many units a second; it reports once in `every_s`."""

    def __init__(self, progress: JobProgress) -> None:
        self.progress, self.t_s, self.units = progress, 0.0, 0.0
        progress.report(RUN, KIND, 0.0, 0.0)

    def go(self, seconds: float, w: float | None, units_per_s: float, capped: bool = False) -> None:
        for _ in range(round(seconds)):
            self.t_s, self.units = self.t_s + 1.0, self.units + units_per_s
            self.progress.see([(RUN, w, capped)], self.t_s)
        self.progress.report(RUN, KIND, self.units, self.t_s)


def learnt(held: float, share: float = 0.7, spans: int = 3) -> JobProgress:
    progress = JobProgress()
    training = Training(progress)
    for _ in range(spans):
        training.go(300, 3_200.0, 10.0)
        training.go(300, share * 3_200.0, held * 10.0, capped=True)
    return progress


def test_what_a_cap_cost_is_what_such_jobs_lose() -> None:
    curve = learnt(0.945).curve(("anna", "train-18", 8))
    assert curve is not None
    assert (curve.basis, curve.jobs) == ("measured", 3)
    assert curve.slowdown(0.7, 1.0) == pytest.approx(0.055), "half of the published 11 %"
    assert curve.slowdown(0.5, 1.0) == pytest.approx(0.20), "and so at every other power"
    assert fault(curve.points) == fault(curve.low) == ""


@pytest.mark.parametrize("held", [0.01, 0.3, 1.0, 1.1])
def test_no_measurement_makes_a_curve_that_cannot_be(held: float) -> None:
    curve = learnt(held).curve(KIND)
    assert curve is not None
    assert fault(curve.points) == fault(curve.low) == ""
    assert 0 < curve.slowdown(0.7, 1.0) < 1


def test_little_is_not_enough_and_other_jobs_say_nothing() -> None:
    assert learnt(0.9, spans=2).curve(KIND) is None
    assert learnt(0.9).curve(("anna", "other", 8)) is None
    assert learnt(0.9).spans(KIND) == 3


@pytest.mark.parametrize(
    ("w", "capped_s", "span_s"),
    [
        (None, 300, 300),  # the power is not read
        (2_240.0, 150, 300),  # the cap came in between
        (3_190.0, 300, 300),  # it took nothing
        (2_240.0, 9_000, 9_000),  # too long ago
    ],
)
def test_spans_that_say_nothing(w: float | None, capped_s: int, span_s: int) -> None:
    progress = JobProgress()
    training = Training(progress)
    training.go(300, 3_200.0, 10.0)
    for n in range(span_s):
        training.t_s, training.units = training.t_s + 1.0, training.units + 9.0
        progress.see([(RUN, w, n < capped_s)], training.t_s)
    progress.report(RUN, KIND, training.units, training.t_s)
    assert progress.spans(KIND) == 0


def test_reports_that_come_often_are_one_span_and_a_count_that_begins_anew_is_none() -> None:
    progress = JobProgress()
    training = Training(progress)
    training.go(300, 3_200.0, 10.0)
    for _ in range(6):
        training.go(20, 2_240.0, 9.0, capped=True)
    assert progress.spans(KIND) == 2, "of a minute each"
    training.units = 0.0
    training.go(300, 2_240.0, 9.0, capped=True)
    assert progress.spans(KIND) == 2


def test_what_was_learnt_outlives_a_restart_and_runs_that_are_over_are_forgotten() -> None:
    progress = learnt(0.9)
    kept = msgspec.convert(msgspec.to_builtins(progress.state()), ProgressState)
    heir = JobProgress(kept)
    assert heir.known
    assert heir.curve(KIND) == progress.curve(KIND)
    assert progress.runs == [RUN]
    progress.see([], 1e6)
    assert progress.runs == []


def test_only_so_many_runs_report_and_no_user_takes_the_place_of_all() -> None:
    progress = JobProgress()

    def takes(user: int, run: int) -> bool:
        return progress.report(("slurm", f"{user}-{run}", 0.0), (f"user{user}", "train", 8), 0.0, 0.0)

    assert all(takes(0, run) for run in range(MOST_OF_USER))
    assert not takes(0, MOST_OF_USER)
    assert takes(0, 0), "those that report go on"
    users = range(1, MOST_RUNS // MOST_OF_USER)
    assert all(takes(user, run) for user in users for run in range(MOST_OF_USER))
    assert not takes(99, 0)
    assert DEFAULT.basis == "curve"
