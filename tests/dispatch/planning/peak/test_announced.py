"""The peak that announced jobs make certain: checked by hand, and that it is a lower bound."""

from __future__ import annotations

import pytest
from plan_site import NOON, site

from dispatch.planning.peak.announced import Announced, AnnouncedJob, CertainPeak, certain_peak

MIDNIGHT = NOON - 43_200
DARK = (0.0,) * 96
DAY_S = 86_400.0
MONTH_S = 20 * DAY_S


def job(start_h: float, hours: float, kw: float, id: str = "a") -> AnnouncedJob:
    return AnnouncedJob(id, MIDNIGHT + 3600 * start_h, MIDNIGHT + 3600 * (start_h + hours), 1000 * kw)


def found(*jobs: AnnouncedJob, base_kw: float = 20.0, sun_w: tuple[float, ...] = DARK) -> CertainPeak | None:
    announced = Announced(jobs, 1000 * base_kw, sun_w)
    return certain_peak(announced, float(MIDNIGHT), MIDNIGHT + MONTH_S, site(), lambda _start_s: True)


def least_kw(*jobs: AnnouncedJob, base_kw: float = 20.0, sun_w: tuple[float, ...] = DARK) -> float:
    certain = found(*jobs, base_kw=base_kw, sun_w=sun_w)
    assert certain is not None
    return certain.least_w / 1000


def test_a_full_battery_takes_its_energy_off_a_job_of_next_week() -> None:
    # 80 kWh usable, 0.9 out: 72 kWh over 9 h are 8 kW of the 50
    assert least_kw(job(7 * 24, 9, 30.0)) == pytest.approx(42.0, abs=0.05)
    assert least_kw(job(7 * 24, 2, 30.0)) <= 20.0, "36 kW for 2 h hold all of it"


def test_two_jobs_that_leave_no_time_to_charge_between_need_more_than_each() -> None:
    one, other = job(48, 4, 40.0), job(53, 4, 40.0, "b")
    assert least_kw(one, other) > max(least_kw(one), least_kw(other)) + 2.0
    assert least_kw(one, job(120, 4, 40.0, "b")) == pytest.approx(least_kw(one), abs=0.05)


def test_less_base_and_more_sun_lower_it() -> None:
    at_noon = job(7 * 24 + 9, 6, 40.0)
    sun_w = tuple(10_000.0 if 28 <= k < 72 else 0.0 for k in range(96))
    assert least_kw(at_noon, base_kw=15.0) == pytest.approx(least_kw(at_noon) - 5.0, abs=0.05)
    assert least_kw(at_noon, sun_w=sun_w) == pytest.approx(least_kw(at_noon) - 10.0, abs=0.05)


def test_part_of_a_quarter_hour_counts_as_part() -> None:
    whole, part, more = (least_kw(job(50, hours, 30.0)) for hours in (9.0, 9.125, 9.25))
    assert whole == part < more, "half the job's power in the last quarter hour is below the peak"


def test_what_is_over_and_what_comes_after_the_period_is_left_out() -> None:
    assert found() is None
    assert found(job(-5, 4, 90.0)) is None
    assert found(job(20 * 24 + 1, 4, 90.0)) is None
    certain = found(job(30, 4, 40.0, "second"), job(-5, 4, 90.0, "over"), job(10, 1, 40.0, "first"))
    assert certain is not None
    assert (certain.jobs, certain.first.id) == (2, "first")


def test_one_that_runs_past_the_period_counts_until_its_end() -> None:
    assert least_kw(job(20 * 24 - 3, 30, 40.0)) == pytest.approx(least_kw(job(20 * 24 - 3, 3, 40.0)), abs=0.01)


def test_hours_that_do_not_count_need_no_peak() -> None:
    announced = Announced((job(50, 5, 60.0),), 20_000.0, DARK)
    certain = certain_peak(announced, float(MIDNIGHT), MIDNIGHT + MONTH_S, site(), lambda _start_s: False)
    assert certain is not None
    assert certain.least_w == 0.0
