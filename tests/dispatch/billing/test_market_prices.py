"""Prices over time: look-up, changes, stand-ins for what is not published, clock changes."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatch.billing.market_prices import PriceSeries, filled, filled_means, mean_published

BERLIN = ZoneInfo("Europe/Berlin")


def local(year: int, month: int, day: int, hour: int = 0) -> int:
    return int(datetime(year, month, day, hour, tzinfo=BERLIN).timestamp())


def by_local_hour(first: int, end: int, step_s: int = 3600) -> PriceSeries:
    """A price that is its local hour, EUR/MWh."""
    starts = tuple(range(first, end, step_s))
    return PriceSeries(starts, tuple(float(datetime.fromtimestamp(t, BERLIN).hour) for t in starts), end)


def test_at_knows_gaps_and_ends() -> None:
    series = PriceSeries((0, 3600, 4500), (10.0, None, 30.0), 7200)
    assert series.at(-1) is None
    assert series.at(0) == series.at(3599.9) == 10.0
    assert series.at(3600) is None
    assert series.at(4500) == 30.0
    assert series.at(7200) is None
    assert PriceSeries((), (), 0).at(0) is None


def test_changes_over_mixed_resolution() -> None:
    series = PriceSeries((0, 3600, 4500, 5400), (10.0, 10.0, 20.0, None), 7200)
    assert list(series.changes(100, 9000)) == [(100, 10.0), (4500, 20.0), (5400, None)]
    assert list(PriceSeries((0,), (10.0,), 3600).changes(0, 7200)) == [(0, 10.0), (3600, None)]
    assert list(PriceSeries((3600,), (10.0,), 7200).changes(0, 5000)) == [(0, None), (3600, 10.0)]
    assert list(series.changes(50, 50)) == []
    assert list(PriceSeries((), (), 0).changes(5, 9)) == [(5, None)]


def test_unpublished_prices_are_the_same_local_hours_mean_across_the_clock_change() -> None:
    # published until the night the clocks go forward; asked for the 23-hour day after it
    series = by_local_hour(local(2025, 3, 25), local(2025, 3, 30))
    asked = list(range(local(2025, 3, 30), local(2025, 3, 31), 900))
    assert len(asked) == 92
    prices, missing = filled(series, asked, "Europe/Berlin")
    assert missing == 92
    assert prices == [float(datetime.fromtimestamp(t, BERLIN).hour) for t in asked]


def test_a_100_quarter_day_is_read_by_utc() -> None:
    series = by_local_hour(local(2025, 10, 26), local(2025, 10, 27), 900)
    asked = list(range(local(2025, 10, 26), local(2025, 10, 27), 900))
    assert len(asked) == 100
    prices, missing = filled(series, asked, "Europe/Berlin")
    assert missing == 0
    assert prices is not None
    assert prices.count(2.0) == 8  # the hour that comes twice


def test_hours_never_seen_take_the_overall_mean_and_nothing_known_says_so() -> None:
    first = int(datetime(2025, 6, 1, tzinfo=UTC).timestamp())
    series = PriceSeries((first, first + 3600, first + 7200), (10.0, 30.0, float("nan")), first + 10800)
    prices, missing = filled(series, [first, first + 7200, first + 50000], "UTC")
    assert prices == pytest.approx([10.0, 20.0, 20.0])
    assert missing == 2
    assert filled(PriceSeries((), (), 0), [0, 900], "UTC") == (None, 2)


@given(
    st.lists(st.one_of(st.none(), st.integers(-50, 300)), min_size=1, max_size=12),
    st.sampled_from([60, 300, 450, 900, 1800, 3600]),
    st.integers(-3, 3),
)
def test_the_mean_price_of_a_step_is_that_of_its_minutes(values: list[int | None], step_s: int, first: int) -> None:
    """Against a sum minute by minute; a step with a part that nobody published has no mean, but a stand-in."""
    series = PriceSeries(tuple(900 * k for k in range(len(values))), tuple(values), 900 * len(values))
    starts = [first * step_s + step_s * k for k in range(4)]
    means, known = filled_means(series, starts, step_s, "Europe/Berlin")
    assert known == [mean_published(series, t, t + step_s) is not None for t in starts]
    if means is None:
        assert all(value is None for value in values)
        return
    for start, mean, whole in zip(starts, means, known, strict=True):
        minutes = [series.at(t) for t in range(start, start + step_s, 30)]
        assert whole == (None not in minutes)
        stand_ins, _ = filled(series, range(start, start + step_s, 30), "Europe/Berlin")
        assert stand_ins is not None
        assert mean == pytest.approx(sum(stand_ins) / len(stand_ins))
