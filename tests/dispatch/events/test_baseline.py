"""The baseline of grid events by similar days: the five highest of ten, adjusted to the day."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatch.events.baseline import Baseline, is_day_off, similar_days

BERLIN = "Europe/Berlin"
QUARTER_S = 900
EVENT_DAY = date(2026, 3, 18)  # a Wednesday
Quarters = dict[int, float]


def at(day: date, hour: int, minute: int = 0) -> int:
    return int(datetime(day.year, day.month, day.day, hour, minute, tzinfo=ZoneInfo(BERLIN)).timestamp())


def day_of(quarters: Quarters, day: date, w: float) -> None:
    """A local day with the same power in all its quarter hours."""
    quarters.update(dict.fromkeys(range(at(day, 0), at(day + timedelta(days=1), 0), QUARTER_S), w))


def weeks(by_weekday: float = 40_000.0, by_weekend: float = 15_000.0) -> Quarters:
    """Six weeks before the event's day."""
    quarters: Quarters = {}
    for back in range(1, 43):
        day = EVENT_DAY - timedelta(days=back)
        day_of(quarters, day, by_weekend if day.weekday() >= 5 else by_weekday)
    return quarters


def asked(quarters: Quarters, **changed: object) -> Baseline | None:
    """The baseline of 17:00 to 19:00, with the notice at 12:00 of the same day."""
    terms: dict[str, object] = {
        "start_utc_s": at(EVENT_DAY, 17), "end_utc_s": at(EVENT_DAY, 19), "notice_utc_s": at(EVENT_DAY, 12),
        "timezone": BERLIN,
    }  # fmt: skip
    return similar_days(quarters, **(terms | changed))  # type: ignore[arg-type]


def found(quarters: Quarters, **changed: object) -> Baseline:
    baseline = asked(quarters, **changed)
    assert baseline is not None
    return baseline


def test_the_five_highest_of_the_last_ten_working_days_by_quarter_hour() -> None:
    quarters = weeks()
    working = [day for back in range(1, 20) if (day := EVENT_DAY - timedelta(days=back)).weekday() < 5][:12]
    for n, day in enumerate(working):
        day_of(quarters, day, 30_000.0 + 1000 * n)  # the older the higher
    baseline = found(quarters)
    assert baseline.days == tuple(sorted(day.isoformat() for day in working[5:10]))  # not the eleventh and twelfth
    assert baseline.means_w == (37_000.0,) * 8
    quarters |= {at(day, 18, 15): 77_000.0 for day in working[5:10]}
    assert found(quarters).means_w == (*[37_000.0] * 5, 77_000.0, *[37_000.0] * 2)


def test_days_off_are_compared_with_days_off() -> None:
    saturday = date(2026, 3, 14)
    quarters = weeks()
    baseline = similar_days(quarters, at(saturday, 17), at(saturday, 19), at(saturday, 12), timezone=BERLIN)
    assert baseline is not None
    assert set(baseline.means_w) == {15_000.0}
    assert {date.fromisoformat(day).weekday() for day in baseline.days} == {5, 6}


def test_a_public_holiday_is_a_day_off() -> None:
    assert is_day_off(date(2026, 4, 3), "DE-BE")
    assert not is_day_off(date(2026, 4, 3), "")
    assert not is_day_off(date(2026, 4, 2), "DE-BE")


def test_other_events_days_and_gaps_are_left_out() -> None:
    yesterday, before = EVENT_DAY - timedelta(days=1), EVENT_DAY - timedelta(days=2)
    quarters = weeks()
    day_of(quarters, yesterday, 90_000.0)
    day_of(quarters, before, 80_000.0)
    assert yesterday.isoformat() not in found(quarters, left_out={yesterday}).days
    del quarters[at(before, 18, 30)]
    baseline = found(quarters, left_out={yesterday})
    assert before.isoformat() not in baseline.days
    assert set(baseline.means_w) == {40_000.0}


def test_what_came_after_the_notice_is_in_no_baseline() -> None:
    """With a notice on the day before, that day's evening is not over: it may hold the preparation."""
    yesterday = EVENT_DAY - timedelta(days=1)
    quarters = weeks()
    day_of(quarters, yesterday, 90_000.0)
    baseline = found(quarters, notice_utc_s=at(yesterday, 18))
    assert yesterday.isoformat() not in baseline.days
    assert (baseline.factor, baseline.found_factor) == (1.0, None)  # nothing of the event's day was known


def test_days_of_low_usage_are_left_out() -> None:
    quarters = weeks()
    working = [day for back in range(1, 20) if (day := EVENT_DAY - timedelta(days=back)).weekday() < 5][:10]
    for day in working[:6]:
        day_of(quarters, day, 9_999.0)
    assert asked(quarters) is None  # four are left
    day_of(quarters, working[0], 10_001.0)
    assert working[0].isoformat() in found(quarters).days


@pytest.mark.parametrize(("today_w", "factor"), [(44_000.0, 1.1), (36_000.0, 0.9), (80_000.0, 1.2), (4_000.0, 0.8)])
def test_the_baseline_is_adjusted_to_the_day_within_a_fifth(today_w: float, factor: float) -> None:
    quarters = weeks()
    quarters |= dict.fromkeys(range(at(EVENT_DAY, 10), at(EVENT_DAY, 12), QUARTER_S), today_w)
    quarters |= dict.fromkeys(range(at(EVENT_DAY, 12), at(EVENT_DAY, 17), QUARTER_S), 500_000.0)  # preparing
    baseline = found(quarters)
    assert baseline.factor == pytest.approx(factor)
    assert baseline.found_factor == pytest.approx(today_w / 40_000)
    assert baseline.means_w == pytest.approx([40_000.0 * factor] * 8)


def test_without_notice_the_two_hours_end_two_hours_before_the_event() -> None:
    quarters = weeks()
    quarters |= dict.fromkeys(range(at(EVENT_DAY, 13), at(EVENT_DAY, 15), QUARTER_S), 44_000.0)
    quarters |= dict.fromkeys(range(at(EVENT_DAY, 15), at(EVENT_DAY, 17), QUARTER_S), 10_000.0)
    assert found(quarters, notice_utc_s=at(EVENT_DAY, 17)).factor == pytest.approx(1.1)


def test_the_same_local_time_is_meant_over_a_change_of_the_clock() -> None:
    monday = date(2026, 3, 30)  # the clock went forward on the 29th
    quarters: Quarters = {}
    for back in range(1, 30):
        day = monday - timedelta(days=back)
        day_of(quarters, day, 10_000.0)
        quarters |= dict.fromkeys(range(at(day, 17), at(day, 18), QUARTER_S), 50_000.0)
    baseline = similar_days(quarters, at(monday, 17), at(monday, 18), at(monday, 12), timezone=BERLIN)
    assert baseline is not None
    assert baseline.means_w == (50_000.0,) * 4


def test_an_event_over_midnight_is_compared_with_nights_that_begin_on_similar_days() -> None:
    quarters = weeks()
    monday = date(2026, 3, 16)
    baseline = similar_days(
        quarters, at(monday, 23), at(monday + timedelta(days=1), 1), at(monday, 12), timezone=BERLIN
    )
    assert baseline is not None
    assert set(baseline.days) <= {d.isoformat() for back in range(60) if (d := monday - timedelta(back)).weekday() < 5}
    assert baseline.mean_w(at(monday, 23), at(monday + timedelta(days=1), 1)) == 40_000.0


@given(st.lists(st.floats(-50_000, 200_000), min_size=30, max_size=30), st.floats(0, 400_000))
def test_the_baseline_lies_among_the_days_it_is_made_of(days_w: list[float], today_w: float) -> None:
    """The mean of the five highest, moved by a fifth at most, whatever the days were like."""
    quarters: Quarters = {}
    for back, w in enumerate(days_w, 1):
        quarters |= {at(EVENT_DAY - timedelta(days=back), h, m): w for h in (10, 11, 17) for m in (0, 15, 30, 45)}
    quarters |= {at(EVENT_DAY, h, m): today_w for h in (10, 11) for m in (0, 15, 30, 45)}
    baseline = asked(quarters, end_utc_s=at(EVENT_DAY, 18))
    if baseline is None:
        return
    chosen = [days_w[(EVENT_DAY - date.fromisoformat(day)).days - 1] for day in baseline.days]
    mean_w = sum(chosen) / len(chosen)
    assert len(chosen) == 5
    low, high = sorted((0.8 * mean_w, 1.2 * mean_w))
    assert all(low - 1e-6 <= w <= high + 1e-6 for w in baseline.means_w)


def test_the_mean_of_a_part_of_the_event_is_weighted_by_time() -> None:
    baseline = Baseline(900, (10.0, 20.0, 40.0), ("2026-03-17",), 1.0, None)
    assert baseline.mean_w(900, 1800) == 10.0
    assert baseline.mean_w(1500, 2400) == pytest.approx((300 * 10 + 600 * 20) / 900)
    assert baseline.mean_w(900, 3600) == pytest.approx(70 / 3)
    assert baseline.mean_w(0, 100) == 10.0  # outside
