"""Power per job: what few jobs say is drawn towards what is known of more, and one odd job moves little."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatch.forecasting.job_power import DEFAULT_LIMIT_W, KEPT_NAMES, KEPT_OF_NAME, JobPower


def taught(*jobs: tuple[str, str, int, float]) -> JobPower:
    power = JobPower()
    for job in jobs:
        power.learn(*job)
    return power


def test_before_anything_ended_it_is_a_share_of_what_gpus_may_draw() -> None:
    power = JobPower()
    assert power.estimate("ada", "train", 4).w == 4 * 0.75 * DEFAULT_LIMIT_W
    power.limit_gpus_to(700.0)
    told = power.estimate("ada", "train", 4)
    assert (told.low_w, told.w, told.high_w, told.jobs, told.basis) == (700.0, 2100.0, 2800.0, 0, "default")
    assert power.estimate("ada", "make", 0).w == 0, "nothing is known of jobs without GPUs"


def test_the_narrowest_kind_that_was_measured_counts_most() -> None:
    others = [("bob", "sim", 8, 8 * 200.0)] * 10 + [("ada", "eval", 4, 4 * 300.0)] * 10
    power = taught(*others, *[("ada", f"train-{n}", 4, 4 * 400.0) for n in range(10)])
    assert power.estimate("ada", "train-77", 4).w == pytest.approx(4 * 400, rel=0.05)
    assert power.estimate("ada", "train-77", 4).basis == "name"
    of_user = power.estimate("ada", "new", 4)
    assert of_user.basis == "user"
    assert 4 * 300 <= of_user.w <= 4 * 400
    of_gpus = power.estimate("eve", "new", 8)
    assert of_gpus.basis == "gpus"
    assert of_gpus.w == pytest.approx(8 * 200, rel=0.2)
    assert power.estimate("eve", "new", 2).basis == "site"


def test_one_trial_run_does_not_stand_for_the_name() -> None:
    usual = [("ada", f"{name}", 8, 8 * 400.0) for name in "abcdefgh" for _ in range(5)]
    trial = taught(*usual, ("ada", "new", 8, 8 * 20.0)).estimate("ada", "new", 8)
    assert 8 * 250 < trial.w < 8 * 300
    odd = taught(*[("ada", "train", 8, 8 * 400.0)] * 9, ("ada", "train", 8, 8 * 4000.0)).estimate("ada", "train", 8)
    assert odd.w == pytest.approx(8 * 400, rel=0.1)


def test_the_spread_is_that_of_jobs_of_the_kind() -> None:
    steady = taught(*[("ada", "train", 1, 400.0)] * 20).estimate("ada", "train", 1)
    mixed = taught(*[("ada", "train", 1, w) for w in (100.0, 400.0) for _ in range(10)]).estimate("ada", "train", 1)
    assert steady.high_w - steady.low_w < 60
    assert mixed.high_w - mixed.low_w > 230


def test_a_large_array_does_not_speak_for_everybody_and_a_change_is_learnt() -> None:
    power = taught(*[("bob", "sim", 1, 300.0)] * KEPT_OF_NAME, *[("ada", "array", 1, 50.0)] * 1000)
    assert power.estimate("eve", "other", 1).w == pytest.approx(175, abs=25)
    for _ in range(KEPT_OF_NAME):
        power.learn("ada", "array", 1, 350.0)
    assert power.estimate("ada", "array", 1).w == pytest.approx(350, rel=0.02)


def test_what_is_kept_is_bounded() -> None:
    power = JobPower()
    for n in range(KEPT_NAMES + 50):
        power.learn(f"user{'x' * (n % 40)}{chr(97 + n % 26)}", "abc" * (n // 26), 1, 100.0)
    assert len(power._of_name) <= KEPT_NAMES
    assert sum(map(len, power._sorted.values())) == 4 * sum(map(len, power._of_name.values()))


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.sampled_from(["x", "y7", "y8"]), st.integers(0, 2), st.floats(-10, 1000)),
        max_size=60,
    )
)
def test_quantiles_are_in_order_and_within_what_was_seen(jobs: list[tuple[str, str, int, float]]) -> None:
    power = taught(*jobs)
    most = max([DEFAULT_LIMIT_W, *[w for *_, w in jobs]])
    for user, name, gpus in [("a", "x", 1), ("c", "z", 2), ("a", "y9", 0)]:
        told = power.estimate(user, name, gpus)
        assert 0 <= told.low_w <= told.w <= told.high_w <= most * max(1, gpus) + 1e-6
