"""What is said beside a replay's bill: the contract exceeded, a short stretch, prices that were missing."""

from __future__ import annotations

import msgspec
import pytest
from replay_cases import CONFIG, START, a_case, prices, utc

from console.replay.compare import compare
from console.replay.engine import Case, Schedule
from console.replay.job_file import Job
from console.replay.remarks import short_period, unpriced
from dispatch.billing.market_prices import PriceSeries
from dispatch.config.demand_terms import DemandTerms

DAY_S = 86400
MONTH = DemandTerms(eur_per_kw=10.0)


def notes(case: Case, import_w: list[float]) -> list[str]:
    """Of a schedule in which the battery makes import this in each step."""
    schedule = Schedule(case.start_s, case.step_s)
    for k, w in enumerate(import_w):
        t_s = case.start_s + k * case.step_s
        load_w, pv_w = (t.mean_w(t_s, t_s + case.step_s) for t in (case.load, case.pv))
        schedule.add(load_w - pv_w - w, load_w, pv_w, 50.0)
    return list(compare(case, schedule).notes)


def test_import_above_the_contract_is_told() -> None:
    """By metering interval: 40 kW are contracted, a mean of hours here; 15 minutes above them are not yet too much."""
    grid = msgspec.structs.replace(CONFIG.grid, metering_interval_s=3600)
    case = a_case(hours=3, config=msgspec.structs.replace(CONFIG, grid=grid))
    hours = [[44_000.0, 20_000, 20_000, 20_000], [41_000.0] * 4, [40_000.0, 50_000, 50_000, 45_840]]
    said = [note for note in notes(case, [w for hour in hours for w in hour]) if "contract" in note]
    assert said == [
        "contract: import was above the 40.0 kW of grid.contracted_peak_w in 2 of 3 metering intervals; "
        f"the highest is 46.46 kW, from {utc(START + 7200)} on"
    ]
    assert not [note for note in notes(case, [40_000.0] * 12) if "contract" in note]


@pytest.mark.parametrize(
    ("days", "per", "said"),
    [
        (0.25, "month", "6 h bears"),
        (1, "month", "1 day bears"),
        (2, "month", "2 days bear"),
        (30, "year", "30 days bear"),
        (28, "month", None),
        (365, "year", None),
    ],
)
def test_a_stretch_shorter_than_the_period_is_told(days: float, per: str, said: str | None) -> None:
    terms = msgspec.structs.replace(MONTH, per=per)
    rest = f"the demand charge of a whole {per}, and the peak may rise at once to what is expected of the {per}"
    line = f"{said} {rest}: figures over less than that are no forecast"
    assert list(short_period(terms, days * DAY_S)) == ([] if said is None else [line])
    assert not list(short_period(DemandTerms(), days * DAY_S)), "there is no demand charge"


def test_a_replay_says_so() -> None:
    assert [note for note in notes(a_case(hours=6), [20_000.0] * 24) if note.startswith("6 h bears the demand charge")]


def test_prices_that_are_missing_are_told_in_time_not_in_steps() -> None:
    market = prices()
    end_s = START + 8 * 3600
    known = [t for t in market.start_utc_s if t < end_s]
    case = a_case(hours=12, prices=PriceSeries(tuple(known), market.eur_per_mwh[: len(known)], end_s))
    first, *_ = notes(case, [20_000.0] * 48)
    assert first == (
        f"prices: the file has none for 33.3 % of the time, from {utc(end_s)} to {utc(START + 12 * 3600)}; "
        "billed there is the mean of the same hour on the last 7 days that have prices: the bills are an estimate"
    )
    assert not list(unpriced(0, 60, [True] * 10))
    assert "none for 100 % of the time" in next(unpriced(0, 60, [False] * 10))
    two = "from 1970-01-01T00:01:00Z to 1970-01-01T00:05:00Z in 2 gaps, the first to 1970-01-01T00:03:00Z;"
    assert two in next(unpriced(0, 60, [True, False, False, True, False, True]))


def test_prices_that_no_market_gives_are_told() -> None:
    known = prices()
    k = known.start_utc_s.index(START) + 1
    values = (*known.eur_per_mwh[:k], 5000.0, -5000.0, *known.eur_per_mwh[k + 2 :])
    absurd = msgspec.structs.replace(known, eur_per_mwh=values)
    said = [note for note in notes(a_case(prices=absurd), [20_000.0] * 24) if "market" in note]
    assert said == [
        "prices: 2 of 6 are beyond the market's limits of -500 and 4000 EUR/MWh (-5000 to 5000, the first at "
        f"{utc(START + 3600)}): taken as they are"
    ]
    assert not [note for note in notes(a_case(), [20_000.0] * 24) if "market" in note]


def test_jobs_that_tell_the_forecast_little_are_told() -> None:
    """Of those that are known in the stretch and draw power."""
    one = Job("a", START, START, 3600.0, None, 5_000.0, 8)
    jobs = (one, msgspec.structs.replace(one, time_limit_s=7200.0, gpus=64), msgspec.structs.replace(one, power_w=0.0))
    over = msgspec.structs.replace(one, reference_s=START - 7200)

    def said(*jobs: Job) -> list[str]:
        return [n for n in notes(a_case(jobs=jobs, gpus_total=16), [20_000.0] * 24) if n.startswith("jobs")]

    assert said(*jobs, over) == [
        "jobs: 1 of 2 have no time limit: while they run, taken to end within 7 days",
        "jobs: 1 of 2 want more than the 16 GPUs of --gpus: the queue waits in vain",
    ]
    assert said(jobs[2]) == ["jobs: none has submit_utc, duration_s and power_w: the log tells the forecast nothing"]
    assert said() == []


def test_a_perfect_foresight_that_is_beaten_says_why() -> None:
    """Here by a battery that ends as empty as the bill of a schedule does not know."""
    beaten = [note for note in notes(a_case(hours=6), [0.0] * 24) if "bound" in note]
    assert beaten == [
        "perfect foresight is no bound here: it plans in quarter hours, ends with the SoC that it began with, and "
        "keeps the reserve also where the fuse would have it used"
    ]
    assert not [note for note in notes(a_case(hours=6), [60_000.0] * 24) if "bound" in note]
