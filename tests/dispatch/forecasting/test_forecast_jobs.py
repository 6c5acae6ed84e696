"""What the load forecast makes of known jobs: as much as they were worth in the past."""

import math
import random

import pytest

from dispatch.forecasting.load import PROBES, LoadForecaster

T0 = 1_750_000_500 // 900 * 900
FAR = max(PROBES) + 1


def steps(days: int, seed: int = 3) -> list[float]:
    """Levels that change every few hours, at random."""
    chance = random.Random(seed)
    loads: list[float] = []
    while len(loads) < days * 96:
        loads += [chance.choice([20_000.0, 35_000.0, 50_000.0])] * chance.randrange(6, 30)
    return loads


def fed(loads: list[float], known: bool, truth: bool = True) -> LoadForecaster:
    forecaster = LoadForecaster()
    chance = random.Random(5)
    padded = loads + [loads[-1]] * FAR
    for k, w in enumerate(loads):
        ahead = [x - 20_000 for x in padded[k : k + FAR]]
        if not truth:
            ahead = [chance.uniform(0, 30_000) for _ in ahead]
        forecaster.observe(T0 + 900 * k, w, ahead if known else None)
    return forecaster


def test_jobs_that_tell_the_truth_are_believed() -> None:
    loads = steps(8)
    past, future = loads[:-40], loads[-40:]
    start = T0 + 900 * len(past)
    known = [w - 20_000 for w in [past[-1], *future]]
    told = fed(past, known=True).predict(start, 40, known_w=known)
    held = fed(past, known=False).predict(start, 40)

    def error(forecast: tuple[float, ...]) -> float:
        return sum(abs(a - b) for a, b in zip(forecast, future, strict=True))

    assert error(told.load_w) < 0.5 * error(held.load_w)


def test_jobs_that_say_nothing_are_not_believed() -> None:
    loads = steps(8)
    start = T0 + 900 * len(loads)
    noise = fed(loads, known=True, truth=False).predict(start, 8, known_w=[30_000.0] + [0.0] * 8)
    assert all(abs(w - loads[-1]) < 0.3 * 30_000 for w in noise.load_w)


def test_with_known_jobs_the_band_of_a_quiet_load_is_not_that_of_one_that_moves() -> None:
    """Three quarters of a day nothing changes, then every quarter hour does: the jobs tell nothing of it."""
    chance, forecaster, widths, inside = random.Random(7), LoadForecaster(), dict[bool, float](), list[bool]()
    w, known = 30_000.0, [0.0] * FAR
    for k in range(14 * 96):
        busy = k % 96 >= 72
        w = chance.uniform(20_000, 60_000) if busy else w
        if k > 10 * 96 and k % 96 not in range(72, 77):
            told = forecaster.predict(T0 + 900 * k, 1, known_w=known)
            widths[busy] = told.high_w[0] - told.low_w[0]
            inside.append(told.low_w[0] <= w <= told.high_w[0])
        forecaster.observe(T0 + 900 * k, w, known)
    assert widths[False] < 0.3 * widths[True]
    assert sum(inside) / len(inside) > 0.85


def small_jobs(days: int, seed: int) -> list[tuple[int, int, float]]:
    """(first quarter, quarters, W), 12 a day."""
    chance = random.Random(seed)
    return [
        (chance.randrange(days * 96), chance.randrange(4, 60), chance.choice([200.0, 2000.0])) for _ in range(days * 12)
    ]


def test_to_know_jobs_makes_the_forecast_of_a_load_that_is_not_theirs_no_worse() -> None:
    """Days that resemble each other, and jobs that are a small part of the load."""
    days, errors_w, chance = 14, dict[bool, list[float]](), random.Random(1)
    jobs = small_jobs(days, 1)
    base_w = [
        20_000 + 15_000 * math.exp(-((((k % 96) / 4 - 13) / 3) ** 2)) + chance.gauss(0, 400) for k in range(days * 96)
    ]
    loads = [w + sum(p for begin, n, p in jobs if begin <= k < begin + n) for k, w in enumerate(base_w)]
    for known in (False, True):
        forecaster, errors_w[known] = LoadForecaster(), []
        for k, w in enumerate(loads[:-96]):
            running = [job for job in jobs if job[0] <= k < job[0] + job[1]]
            limits = [0.0] * FAR
            for begin, n, p in running:  # their users ask for twice the time
                for at in range(min(FAR, begin + 2 * n - k)):
                    limits[at] += p
            told = limits if known else None
            forecaster.observe(T0 + 900 * k, w, told)
            if k > 10 * 96 and k % 12 == 0:
                ahead = forecaster.predict(T0 + 900 * (k + 1), 48, known_w=told).load_w
                errors_w[known] += [abs(ahead[h - 1] - loads[k + h]) for h in (16, 48)]
    assert sum(errors_w[True]) <= 1.1 * sum(errors_w[False])


def machines(days: int, count: int, seed: int) -> list[list[bool]]:
    """For each of some machines whether it is busy, by quarter: jobs of hours, and gaps between them, at random."""
    chance, found = random.Random(seed), list[list[bool]]()
    for _ in range(count):
        found.append([])
        while len(found[-1]) <= days * 96:
            found[-1] += [True] * chance.randrange(6, 40) + [False] * chance.randrange(1, 20)
    return found


@pytest.mark.parametrize("reserved", [False, True])
def test_what_usually_comes_unannounced_takes_the_forecast_no_higher_than_the_load_has_been(reserved: bool) -> None:
    """Of each job that runs its end is known, of the next one nothing: on a full site there is no room for it.

    Jobs with reserved hours are not bounded so.
    """
    busy, forecaster, ahead_w = machines(12, 3, 4), LoadForecaster(), list[float]()
    loads = [20_000.0 + 10_000 * sum(one[k] for one in busy) for k in range(12 * 96)]
    for k, w in enumerate(loads):
        left = [one.index(False, k) - k for one in busy]  # quarters that each job still takes
        known = [10_000.0 * sum(h < n for n in left) for h in range(FAR)]
        forecaster.observe(T0 + 900 * k, w, known, reserved=reserved)
        if k > 10 * 96 and w == 50_000 and k % 5 == 0:
            ahead_w += forecaster.predict(T0 + 900 * (k + 1), 48, known_w=known).load_w
    assert (max(ahead_w) > max(loads)) is reserved
    more = forecaster.predict(T0 + 900 * len(loads), 8, known_w=[0.0] + [90_000.0] * FAR)
    assert max(more.load_w) > max(loads)  # what is known to come is foreseen all the same
