"""Which answers of a feed are used: never a price that is not that of its hour, and every refusal says why."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatch.billing.market_prices import NO_PRICES, PriceSeries
from drivers.tariffs.feeds.answer import FeedAnswer, FeedError, PriceRow
from drivers.tariffs.feeds.checks import Checked, checked
from drivers.tariffs.feeds.market_days import (
    DAY_AHEAD,
    OCTOPUS,
    day_begin_s,
    day_end_s,
    market_day,
    next_asking_s,
    overdue_since_s,
    to_be_known_until_s,
)
from drivers.tariffs.feeds.merging import KEPT_S, merged

HOUR = 3600
MON, TUE, WED = (day_begin_s(date(2026, 11, day)) for day in (9, 10, 11))
PRICES = [60.0 + 3 * n - (n % 5) for n in range(24)]


def hours(begin_s: int, prices: list[float], ends: bool = True, step_s: int = HOUR) -> tuple[PriceRow, ...]:
    return tuple(
        PriceRow(begin_s + step_s * n, begin_s + step_s * (n + 1) if ends else None, price)
        for n, price in enumerate(prices)
    )


def check(rows: tuple[PriceRow, ...], currency: str = "EUR", known: PriceSeries = NO_PRICES, **more: bool) -> Checked:
    return checked(FeedAnswer(rows, currency), MON, WED, {"GBP": 1.15}, known, **more)


def refused(rows: tuple[PriceRow, ...], currency: str = "EUR", known: PriceSeries = NO_PRICES) -> str:
    with pytest.raises(FeedError) as found:
        check(rows, currency, known)
    return str(found.value)


def test_two_whole_days_in_any_order() -> None:
    rows = hours(MON, PRICES) + hours(TUE, [price + 1 for price in PRICES])
    found = check(rows[::-1])
    assert found == Checked(PriceSeries(tuple(r.start_s for r in rows), tuple(r.per_mwh for r in rows), WED))


def test_rows_without_an_end_last_until_the_next_and_the_resolution_may_change() -> None:
    rows = hours(MON, PRICES, ends=False) + hours(TUE, [50.0 + n % 7 for n in range(96)], ends=False, step_s=900)
    found = check(rows)
    assert found.prices.end_utc_s == WED
    assert found.prices.at(TUE - 1) == PRICES[-1]
    assert found.remarks == ()


def test_other_currencies_at_the_stated_rate_only() -> None:
    assert check(hours(MON, PRICES), "GBP").prices.eur_per_mwh[0] == round(PRICES[0] * 1.15, 6)
    assert "has prices in 'NOK': expected EUR, or a rate for it in eur_per of [tariff]" in refused(
        hours(MON, PRICES), "NOK"
    )


def test_a_price_that_comes_twice() -> None:
    rows = hours(MON, PRICES)
    assert check(rows + rows[3:5]).remarks == ("tells 2 prices twice, alike",)
    twice = (*rows, PriceRow(MON + 3 * HOUR, MON + 4 * HOUR, 999.0))
    assert "has two prices for 2026-11-09T02:00Z, 66 and 999: expected one" in refused(twice)
    assert "has two prices for" in refused((*rows, PriceRow(MON + 900, MON + 1800, 5.0)))


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ((), "has no price: expected some from 2026-11-08T23:00Z to 2026-11-10T23:00Z"),
        (
            hours(MON - 20 * 86_400, PRICES),
            "has prices from 2026-10-19T23:00Z to 2026-10-20T22:00Z: expected some from",
        ),
        (hours(1000 * MON, PRICES), "expected some from"),
        (hours(MON + 7, PRICES), "has a price that begins at 2026-11-08T23:00Z: expected a full five minutes"),
        (hours(MON, [*PRICES[:3], float("nan")]), "has a price of nan per MWh: expected within +-9999"),
        (hours(MON, [*PRICES[:3], 99_999.0]), "has a price of 99999 per MWh: expected within +-9999"),
        ((PriceRow(MON, MON, 5.0),), "has a price that ends at 2026-11-08T23:00Z, where it begins"),
        (hours(MON, [float(n) for n in range(5001)], step_s=300), "has 5001 prices: expected at most 5000"),
        (hours(MON, [0.0] * 24), "2026-11-09: every price is 0.00; the day is left out"),
    ],
)
def test_what_is_refused(rows: tuple[PriceRow, ...], why: str) -> None:
    assert why in refused(rows)


def test_tomorrow_all_zero_is_left_out_and_today_is_used() -> None:
    found = check(hours(MON, PRICES) + hours(TUE, [0.0] * 24))
    assert found.prices.end_utc_s == TUE
    assert found.remarks == ("2026-11-10: every price is 0.00; the day is left out",)
    assert check(hours(TUE, [0.0] * 24), as_declared=True).prices.end_utc_s == WED


def test_tomorrow_with_the_prices_of_today_is_left_out() -> None:
    found = check(hours(MON, PRICES) + hours(TUE, PRICES))
    assert (found.prices.end_utc_s, found.remarks) == (
        TUE,
        ("2026-11-10: every price is that of the day before; the day is left out",),
    )
    known = check(hours(MON, PRICES)).prices
    assert "every price is that of the day before" in refused(hours(TUE, PRICES), known=known)
    assert check(hours(MON, PRICES) + hours(TUE, PRICES), repeats=True).prices.end_utc_s == WED, "a tariff by the hour"
    assert check(hours(MON, [80.0] * 24) + hours(TUE, [80.0] * 24)).prices.end_utc_s == WED, "a fixed price"


def test_prices_of_another_unit_or_zone_than_those_known() -> None:
    known = check(hours(MON, PRICES)).prices
    assert "has 0.1 times the prices known for the same hours" in refused(
        hours(MON, [p / 10 for p in PRICES]), known=known
    )
    assert check(hours(MON, [p + 2 for p in PRICES]), known=known).remarks == ()


def test_a_day_that_is_cut_off_is_used_and_said() -> None:
    found = check(hours(MON, PRICES) + hours(TUE, PRICES[:20]))
    assert found.prices.end_utc_s == TUE + 20 * HOUR
    assert found.remarks == ("2026-11-10: prices of 20 h of 24 h",)
    holes = hours(MON, PRICES)[:5] + hours(MON, PRICES)[7:]
    assert check(holes).prices.at(MON + 6 * HOUR) is None
    assert check(holes).remarks == ("2026-11-09: prices of 22 h of 24 h",)


@pytest.mark.parametrize(("day", "length"), [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 5, 1), 24)])
def test_days_have_23_24_or_25_hours(day: date, length: int) -> None:
    begin_s, end_s = day_begin_s(day), day_end_s(day)
    assert end_s - begin_s == length * HOUR
    for step_s in (HOUR, 900):
        count = length * HOUR // step_s
        whole = tuple(PriceRow(begin_s + n * step_s, begin_s + (n + 1) * step_s, 50.0 + n) for n in range(count))
        found = checked(FeedAnswer(whole, "EUR"), begin_s, end_s, {})
        assert (found.remarks, found.prices.end_utc_s) == ((), end_s)
        short = checked(FeedAnswer(whole[:-1], "EUR"), begin_s, end_s, {})
        assert len(short.remarks) == 1


def test_when_prices_are_to_be_known() -> None:
    noon, asked = MON + 12 * HOUR, MON + 12 * HOUR + 45 * 60
    assert market_day(noon) == date(2026, 11, 9)
    assert to_be_known_until_s(noon, DAY_AHEAD) == TUE
    assert to_be_known_until_s(asked, DAY_AHEAD) == WED
    assert to_be_known_until_s(asked, OCTOPUS) == TUE
    assert next_asking_s(noon, DAY_AHEAD) == asked
    assert next_asking_s(asked, DAY_AHEAD) == asked + 86_400
    assert overdue_since_s(TUE, MON + 15.9 * HOUR, DAY_AHEAD) is None
    assert overdue_since_s(TUE, MON + 16 * HOUR, DAY_AHEAD) == MON + 16 * HOUR
    assert overdue_since_s(WED, MON + 23 * HOUR, DAY_AHEAD) is None
    assert overdue_since_s(None, noon, DAY_AHEAD) is not None


def test_new_prices_replace_those_known_and_leave_the_others() -> None:
    known = check(hours(MON, PRICES)).prices
    new = check(hours(MON + 20 * HOUR, [1.0, 2.0]) + hours(TUE, [5.0, 6.0])).prices
    both = merged(known, new, MON)
    assert both.at(MON) == PRICES[0]
    assert both.at(MON + 20 * HOUR) == 1.0
    assert both.at(MON + 22 * HOUR) == PRICES[22], "a hole in the new ones"
    assert both.end_utc_s == TUE + 2 * HOUR
    assert merged(NO_PRICES, new, MON).at(MON + 22 * HOUR) is None
    assert merged(known, NO_PRICES, MON) == known
    assert merged(known, new, TUE + KEPT_S).start_utc_s == (TUE, TUE + HOUR)
    assert merged(known, new, WED + KEPT_S) == NO_PRICES


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(1, 4), st.floats(-500, 4000)), max_size=12),
    st.integers(0, 44 * 4),
)
def test_a_price_that_is_used_was_told_for_its_time(drawn: list[tuple[int, int, float]], quarter: int) -> None:
    rows = tuple(PriceRow(MON + HOUR * h, MON + HOUR * (h + long), round(price, 2)) for h, long, price in drawn)
    try:
        found = check(rows)
    except FeedError:
        return
    at = MON + 900 * quarter
    price = found.prices.at(at)
    told = {row.per_mwh for row in rows if row.start_s <= at < (row.end_s or 0)}
    assert price is None or told == {price}
