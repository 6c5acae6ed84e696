"""How many of a user's waiting jobs come: what counts as come, as gone, and as neither."""

import msgspec
import pytest

from dispatch.forecasting.job_arrivals import MOST_USERS, REMEMBERED, TAKEN_AS_COME, JobArrivals
from dispatch.forecasting.job_queue import JobModel, KnownJob

NOW = 1_758_024_000.0


def never(users: JobArrivals, user: str, jobs: int) -> None:
    """So many jobs of one user wait, and are gone at the next look."""
    users.look({f"{user}{n}": user for n in range(jobs)}, ())
    users.look({}, ())


def test_a_job_comes_if_it_begins_and_not_if_it_is_gone_before() -> None:
    users = JobArrivals()
    users.look({"1": "ada", "2": "ada", "3": "bob"}, ())
    users.look({"2": "ada"}, {"1", "3"})
    assert (users.share("ada"), users.share("bob")) == (1.0, 1.0)
    users.look({}, {"3"})
    assert users.share("ada") == pytest.approx((1 + TAKEN_AS_COME) / (2 + TAKEN_AS_COME))
    assert users.share("bob") == users.share("nobody") == users.share("") == 1.0


def test_one_that_is_held_has_not_gone_and_may_still_begin() -> None:
    users = JobArrivals()
    users.look({"1": "ada"}, ())
    users.look({}, (), there={"1"})
    users.look({}, {"1"})
    assert users.share("ada") == 1.0
    users.look({"2": "ada"}, ())
    users.forget_waiting()
    users.look({}, ())
    assert users.share("ada") == 1.0, "nothing is known of a time in which not all was seen"


def test_few_jobs_say_little_and_only_those_of_late_count() -> None:
    users = JobArrivals()
    shares = []
    for _ in range(12):
        never(users, "eve", 1)
        shares.append(users.share("eve"))
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.8
    assert shares[-1] < 0.3
    for n in range(REMEMBERED):
        users.look({f"x{n}": "eve"}, ())
        users.look({}, {f"x{n}"})
    assert users.share("eve") == 1.0


def test_no_more_users_are_remembered_than_fit() -> None:
    users = JobArrivals()
    never(users, "first", 20)
    for n in range(MOST_USERS):
        never(users, f"user{n}", 1)
    assert users.share("first") == 1.0
    assert users.share("user1") < 1.0


def test_only_power_that_waits_counts_for_less() -> None:
    model = JobModel()
    waits = KnownJob(id="1", power_w=10_000.0, submitted_utc_s=NOW, time_limit_s=7200.0, user="eve")
    runs = msgspec.structs.replace(waits, id="2", started_utc_s=NOW)
    for _ in range(5):
        model.observe(NOW, [waits])
        model.observe(NOW, [])
    power_w = 10_000 * TAKEN_AS_COME / (5 + TAKEN_AS_COME)
    assert model.load_w(NOW, [waits], [NOW + 900])[0] == pytest.approx(power_w)
    assert model.load_w(NOW, [runs], [NOW + 900])[0] == pytest.approx(10_000)
    model.observe(NOW, [waits], listed=None)
    model.observe(NOW, [])
    assert model.load_w(NOW, [waits], [NOW + 900])[0] == pytest.approx(power_w), "not all jobs were listed"
