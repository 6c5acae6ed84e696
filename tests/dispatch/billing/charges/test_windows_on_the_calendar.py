"""When charges hold: windows on local time, holidays, bridge days, clock changes; whose peak an interval may be."""

from __future__ import annotations

from datetime import date, datetime
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatch.billing.charges.accounts import (
    billed_w,
    free_w,
    interval_account,
    period_days,
    price_parts,
    rise_eur_per_kw,
    share_held,
)
from dispatch.billing.charges.calendar import Calendar, in_force, is_bridge_day, public_holidays, window_on
from dispatch.billing.charges.local_times import held, local_times
from dispatch.config.charges import Charge, MonthWeights, TariffWindow
from dispatch.config.tariff_terms import TariffTerms
from dispatch.config.window_times import window_faults

ZONES = ("Europe/Berlin", "Europe/Lisbon", "Asia/Beirut", "Australia/Lord_Howe", "UTC")
IN = Charge(id="c", kind="max", windows=("w",))


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/Berlin")).timestamp()


def inside(local: str, place: str = "", **window: object) -> bool:
    calendar = Calendar("Europe/Berlin", place, (TariffWindow(id="w", **window),))  # type: ignore[arg-type]
    outside = msgspec.structs.replace(IN, outside=True)
    found = in_force(IN, calendar, at(local))
    assert in_force(outside, calendar, at(local)) != found
    return found


def test_all_that_a_window_gives_must_hold() -> None:
    peak = {"months": ("nov-mar",), "days": ("mon-fri",), "times": ("06:00-22:00",)}
    assert inside("2026-01-12T06:00", **peak)
    assert inside("2026-11-30T21:45", **peak)
    assert not inside("2026-01-12T22:00", **peak)
    assert not inside("2026-01-11T12:00", **peak)
    assert not inside("2026-04-01T12:00", **peak)
    assert inside("2026-04-01T12:00")


def test_times_over_midnight_ask_for_the_day_of_the_instant() -> None:
    night = {"days": ("mon-fri",), "times": ("22:00-06:00",)}
    assert inside("2026-01-12T03:00", **night)  # a Monday
    assert inside("2026-01-16T23:00", **night)
    assert not inside("2026-01-17T03:00", **night)  # a Saturday
    assert not inside("2026-01-12T12:00", **night)


def test_holidays_count_as_the_window_says() -> None:
    """1 May 2026 is a Friday, 8 March 2026 a Sunday and a holiday of Berlin only."""
    noon = "2026-05-01T12:00"
    ways = {"as-weekday": True, "outside": False, "as-sunday": False, "inside": True}
    for way, expected in ways.items():
        assert inside(noon, "DE-BE", days=("mon-fri",), holidays=way) == expected
        assert inside(noon, "", days=("mon-fri",), holidays=way)
    assert inside(noon, "DE-BE", days=("sun",), holidays="as-sunday")
    assert inside(noon, "DE-BE", days=("sat",), holidays="inside")
    assert date(2026, 3, 8) in public_holidays("DE-BE", 2026)
    assert date(2026, 3, 8) not in public_holidays("DE-BY", 2026)
    assert public_holidays("ES", 2026)


def test_bridge_days_lie_between_days_without_work() -> None:
    """Ascension is Thursday 14 May 2026; 26 December a Saturday; 1 January 2026 a Thursday."""
    assert [d for d in range(1, 32) if is_bridge_day("DE-BE", date(2026, 5, d))] == [15]
    assert is_bridge_day("DE-BE", date(2026, 1, 2))
    assert not is_bridge_day("DE-BE", date(2026, 12, 24))
    assert not inside("2026-05-15T12:00", "DE-BE", days=("mon-fri",), bridge_days="outside")
    assert inside("2026-05-15T12:00", "DE-BE", days=("mon-fri",))
    assert not is_bridge_day("", date(2026, 5, 15))


def test_dates_of_one_year_of_every_year_and_spans() -> None:
    assert inside("2026-02-03T12:00", dates=("2026-02-03",))
    assert not inside("2027-02-03T12:00", dates=("2026-02-03",))
    for day, expected in (("12-23", False), ("12-24", True), ("12-31", True), ("01-01", True), ("01-02", False)):
        assert inside(f"2027-{day}T12:00", dates=("12-24..01-01",)) == expected
        assert inside(f"2027-{day}T12:00", except_dates=("12-24..01-01",)) != expected
    assert inside("2026-01-31T12:00", dates=("2026-01-30..2026-02-02",))


def test_an_hour_that_comes_twice_holds_twice() -> None:
    """25 October 2026 has 100 quarter hours in Berlin, 29 March 92; the hour from 02:00 comes twice, and not at all."""
    calendar = Calendar("Europe/Berlin", "", (TariffWindow(id="w", times=("02:00-03:00",)),))
    for day, quarters, found in (("2026-10-25", 100, 8), ("2026-03-29", 92, 0), ("2026-03-30", 96, 4)):
        starts = [at(f"{day}T00:00") + 900 * k for k in range(quarters)]
        assert sum(in_force(IN, calendar, t) for t in starts) == found
        by_day = msgspec.structs.replace(IN, peaks_of="day")
        assert {interval_account(by_day, calendar, t).peak for t in starts} == {day}


@given(
    zone=st.sampled_from(ZONES),
    first=st.integers(1_700_000_000, 1_900_000_000),
    step_s=st.sampled_from([300, 900, 3600, 40_000]),
    times=st.sampled_from([("22:00-06:00",), ("08:15-11:30", "23:00-24:00"), ()]),
    days=st.sampled_from([(), ("fri-mon",)]),
)
@settings(max_examples=40)
def test_many_instants_at_once_are_as_each_by_itself(
    zone: str, first: int, step_s: int, times: tuple[str, ...], days: tuple[str, ...]
) -> None:
    calendar = Calendar(zone, "DE-BE", (TariffWindow(id="w", times=times, days=days, holidays="outside"),))
    charge = msgspec.structs.replace(IN, from_date="2024-05-01", to_date="2029-12-30")
    starts = [first + step_s * k for k in range(150)]
    found = local_times(starts, zone)
    for k, start in enumerate(starts):
        local = datetime.fromtimestamp(start, ZoneInfo(zone))
        assert (found.days[found.day_of[k]], found.minute[k]) == (local.date(), 60 * local.hour + local.minute)
    assert list(held(charge, calendar, found)) == [in_force(charge, calendar, t) for t in starts]
    assert np.asarray(found.minute).max() < 1440


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("months", "foo", 'months such as "nov-mar"'),
        ("days", "mon-xyz", 'days of the week such as "mon-fri"'),
        ("times", "8-20", 'times of the day such as "08:15-11:30"'),
        ("times", "08:00-24:30", "times of the day"),
        ("times", "08:00-08:00", "not of equal begin and end"),
        ("dates", "02-30", "which are in the calendar"),
        ("dates", "2026-12-24..01-01", 'dates such as "2026-02-03"'),
        ("except_dates", "24.12.", "dates such as"),
    ],
)
def test_what_is_no_time_says_what_was_expected(key: str, text: str, expected: str) -> None:
    ((found, value, said),) = window_faults(TariffWindow(id="w", **{key: (text,)}))  # type: ignore[arg-type]
    assert (found, value) == (key, text)
    assert expected in said


def test_a_window_of_29_february_comes_in_leap_years() -> None:
    window = TariffWindow(id="w", dates=("02-29",))
    assert window_on(window, "", date(2028, 2, 29))
    assert not window_on(window, "", date(2027, 2, 28))


def test_periods_and_peaks() -> None:
    def account(local: str, **charge: object) -> tuple[str, str, float]:
        made = Charge(id="c", kind="max", **charge)  # type: ignore[arg-type]
        found = interval_account(made, Calendar("Europe/Berlin"), at(local))
        return found.period, found.peak, found.weight

    late = "2027-01-01T00:00"
    assert account(late) == ("2027-01", "2027-01", 1.0)
    assert account(late, peaks_of="week", period="rolling-12") == ("2027-01", "2026-W53", 1.0)
    assert account(late, period="year", year_from="10-01") == ("2026-10-01", "2026-10-01", 1.0)
    assert account("2026-10-01T00:00", period="year", year_from="10-01")[0] == "2026-10-01"
    assert account(late, period="year", peaks_of="month") == ("2027", "2027-01", 1.0)
    assert account(late, period="day", peaks_of="interval")[0::2] == ("2027-01-01", 1.0)
    assert account(late, month_weight_pct=MonthWeights(jan=40.0))[2] == 0.4


def test_parts_of_a_price() -> None:
    def parts(per: str | None, period: str, label: str) -> float:
        return float(price_parts(Charge(id="c", kind="fixed", price_per=per, period=period), label))  # type: ignore[arg-type]

    assert parts("year", "month", "2026-02") == pytest.approx(1 / 12)
    assert parts("month", "year", "2026") == 12
    assert parts("day", "month", "2028-02") == 29
    assert parts("month", "day", "2026-02-03") == pytest.approx(1 / 28)
    assert parts("year", "day", "2028-02-03") == pytest.approx(1 / 366)
    assert parts("year", "rolling-12", "2026-02") == pytest.approx(1 / 12)
    assert parts(None, "rolling-12", "2026-02") == 1
    half = Charge(id="c", kind="fixed", from_date="2026-04-16")
    assert [share_held(half, month) for month in ("2026-03", "2026-04", "2026-05")] == [0, 0.5, 1]
    assert period_days(Charge(id="c", kind="fixed", period="year"), "2026") == (date(2026, 1, 1), date(2027, 1, 1))


charges = st.builds(
    Charge,
    id=st.just("c"),
    kind=st.just("max"),
    top=st.integers(1, 4),
    floor_kw=st.sampled_from([0.0, 25.0]),
    price=st.just(10.0),
)
watts = st.floats(0, 80_000)


@given(charges, st.lists(watts, max_size=6), watts, watts)
def test_up_to_what_is_free_nothing_more_is_billed_and_beyond_a_kw_costs_its_share(
    charge: Charge, others: list[float], own: float, more: float
) -> None:
    free = free_w(charge, others, own)
    before = billed_w(charge, [*others, own])
    assert billed_w(charge, [*others, free]) == pytest.approx(before, abs=1e-6)
    after = billed_w(charge, [*others, free + more])
    rise_eur = rise_eur_per_kw(charge, TariffTerms()) * more / 1000
    assert (after - before) / 1000 * charge.price <= rise_eur + 1e-6


def test_what_a_kw_costs_has_vat_rate_and_time() -> None:
    tariff = TariffTerms(eur_per={"SEK": 0.1})
    yearly = Charge(id="c", kind="max", price=120, price_per="year", top=2, currency="SEK", vat_pct=25)
    assert rise_eur_per_kw(yearly, tariff) == pytest.approx(120 / 12 / 2 * 0.1 * 1.25)
    with pytest.raises(ValueError, match=r"charge c: prices in SEK: expected its rate in \[tariff\] eur_per"):
        rise_eur_per_kw(yearly, TariffTerms())
