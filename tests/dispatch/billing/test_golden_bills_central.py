"""Bills of a year by price sheets of Germany, Austria and Switzerland, worked out by hand.

Each figure of an expectation is the sheet's, or follows from the events; see `golden_year`.
"""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest
from golden_year import DAYS, HOURS, WEEKDAYS, Event, billed, cents, gross, kwh, lines, monthly, nets, with_vat, year

ONE_DAY = timedelta(days=1)
# Twelve monthly peaks by quarter hours, with a Saturday, both days of the clock change and a first of the month:
QUARTERS = (
    Event("2026-01-14 17:00", 120, 15),  # 20 kWh; billed by hours it would be 60 kW
    Event("2026-02-07 12:00", 150, 60),  # Saturday, 110 kWh: 12:00 is high tariff in Switzerland
    Event("2026-02-07 13:00", 80, 15),  # 10 kWh, no longer high
    Event("2026-03-29 03:00", 90, 60),  # Sunday, the hour after the clock went forward: 50 kWh
    Event("2026-07-15 12:00", 130, 30),  # 45 kWh
    Event("2026-10-25 02:00 again", 95, 60),  # the second of the two hours: 55 kWh
    Event("2026-11-01 00:00", 85, 15),  # still October in UTC: 11.25 kWh
    Event("2026-12-31 23:45", 70, 15),  # last quarter hour of the year: 7.5 kWh
)
EXTRA = {"jan": 20, "feb": 120, "mar": 50, "jul": 45, "oct": 55, "nov": 11.25, "dec": 7.5}
PEAKS = (120, 150, 90, 40, 40, 40, 130, 40, 40, 95, 85, 70)  # 940


def test_kaernten_bills_the_mean_of_twelve_monthly_peaks() -> None:
    bill = billed("at-kaernten-level7-2023", year("Europe/Vienna", QUARTERS))
    assert nets(bill) == {
        "power": cents(Decimal(940) / 12 * Decimal("79.80")),  # 78.33 kW: 6251.00
        "losses": monthly(kwh(EXTRA), "0.00381"),
    }
    assert nets(bill)["power"] == Decimal("6251.00")
    (line,) = [line for line in bill.lines if line.charge == "power"]
    assert (line.period, line.unit, len(line.set_by_utc_s)) == ("2026", "kW", 12)


def test_aarburg_bills_high_and_low_tariff_with_vat() -> None:
    bill = billed("ch-aarburg-business-2017", year("Europe/Zurich", QUARTERS, kvar=10))
    saturdays = (5, 4, 4, 4, 5, 4, 4, 5, 4, 5, 4, 4)
    # 13 h of weekdays, 6 h of Saturdays; Easter Monday and Christmas count as weekdays; 110 kWh of the Saturday
    high = [40 * (13 * week + 6 * sat) for week, sat in zip(WEEKDAYS, saturdays, strict=True)]
    high[0] += 20
    high[1] += 110
    high[6] += 45
    total = kwh(EXTRA)
    low = [a - b for a, b in zip(total, high, strict=True)]
    assert sum(saturdays) == 52
    amounts = {
        "basic": lines([1] * 12, "40"),
        "power": lines(PEAKS, "8"),
        "high": lines(high, "0.104"),
        "low": lines(low, "0.067"),
        "levies": lines(total, "0.019"),
        "reactive": lines([10 * h for h in HOURS], "0.038"),
    }
    assert nets(bill) == {name: sum(each) for name, each in amounts.items()}
    assert gross(bill) == with_vat([net for each in amounts.values() for net in each], "8")


@pytest.mark.parametrize(("peak_kw", "hours"), [(120, "long"), (160, "short")])
def test_malchow_bills_a_leap_year_by_full_load_hours(peak_kw: int, hours: str) -> None:
    event = Event("2024-01-15 17:00", peak_kw, 15)
    series = year("Europe/Berlin", [event], first="2024-01-01", after="2025-01-01", kvar=20)
    bill = billed("de-malchow-medium-voltage-2025", series)
    energy = 40 * 8784 + Decimal(peak_kw - 40) / 4  # 351 380 / 120 = 2928 h; 351 390 / 160 = 2196 h
    months = (744, 696, 743, 720, 744, 720, 744, 744, 720, 745, 720, 744)
    # 20 kvar; 40 % of 40 kW are 16 kvar; the event's energy frees 40 % of itself
    reactive = [Decimal(4 * h) for h in months]
    reactive[0] -= Decimal("0.4") * (peak_kw - 40) / 4
    power, work = {"long": ("119.08", "0.0109"), "short": ("21.49", "0.05")}[hours]
    assert {name: net for name, net in nets(bill).items() if net} == {
        f"power-{hours}": peak_kw * Decimal(power),
        f"energy-{hours}": cents(energy * Decimal(work)),
        "reactive": monthly(reactive, "0.011"),
    }


# Outside of Rothenburg's windows of 2026, each for another reason; all are higher than what is in them.
DECOYS = (
    Event("2026-01-02 10:00", 160, 15),  # Friday after New Year: a bridge day
    Event("2026-01-05 09:00", 170, 15),  # Monday before Epiphany: a bridge day
    Event("2026-01-06 10:00", 150, 15),  # Epiphany, a holiday in Bavaria
    Event("2026-01-14 11:45", 190, 15),  # Wednesday, between two windows
    Event("2026-01-17 12:00", 165, 15),  # Saturday
    Event("2026-03-05 10:00", 195, 15),  # spring has no window
    Event("2026-10-06 09:30", 185, 15),  # Tuesday, before 09:45
    Event("2026-12-30 12:00", 180, 15),  # between Christmas and New Year
)
# kWh above the base: (kW - 40) / 4 each
DECOYS_KWH = {"jan": 30 + 32.5 + 27.5 + 37.5 + 31.25, "mar": 38.75, "oct": 36.25, "dec": 35}


@pytest.mark.parametrize(
    ("year_kw", "window_kw", "power"),
    [
        # 200 - 80 = 120 kW, 60 %: granted, 80 x 119.08
        (200, 80, "9526.40"),
        # 200 - 110 = 90 kW are less than 100: 200 x 119.08
        (200, 110, "23816.00"),
        # 600 - 490 = 110 kW are 18.3 %, less than 20: 600 x 119.08
        (600, 490, "71448.00"),
        # 600 - 480 = 120 kW are 20 %: granted, 480 x 119.08
        (600, 480, "57158.40"),
        # 400 - 50: 50 x 119.08 = 5954.00 is less than 20 % of 400 x 119.08 = 47 632.00
        (400, 50, "9526.40"),
    ],
)
def test_rothenburg_bills_the_peak_of_high_load_windows(year_kw: int, window_kw: int, power: str) -> None:
    events = (
        *DECOYS,
        Event("2026-07-15 12:00", year_kw, 15),  # the year's peak, in summer
        Event("2026-01-14 17:00", window_kw, 15),  # Wednesday, in the last window of winter
    )
    bill = billed("de-rothenburg-high-load-2026", year("Europe/Berlin", events))
    energy = kwh(DECOYS_KWH)
    energy[6] += (year_kw - 40) / 4
    energy[0] += (window_kw - 40) / 4
    assert nets(bill) == {"power": Decimal(power), "energy": monthly(energy, "0.0109")}
    assert sum(DAYS) == 365


INSIDE = "9526.40"  # 80 kW x 119.08
OUTSIDE = "4763.20"  # the base: 40 kW x 119.08
NO_WINDOW = "23816.00"  # nothing was measured in a window, so that nothing is granted: 200 kW x 119.08


@pytest.mark.parametrize(
    ("at", "power"),
    [
        *(("2026-01-14 08:00", OUTSIDE), ("2026-01-14 08:15", INSIDE), ("2026-01-14 08:30", OUTSIDE)),
        *(("2026-01-14 08:45", OUTSIDE), ("2026-01-14 09:00", INSIDE), ("2026-01-14 11:15", INSIDE)),
        *(("2026-01-14 11:30", OUTSIDE), ("2026-01-14 12:00", INSIDE), ("2026-01-14 14:00", INSIDE)),
        *(("2026-01-14 14:15", OUTSIDE), ("2026-01-14 14:45", OUTSIDE), ("2026-01-14 15:00", INSIDE)),
        *(("2026-01-14 17:45", INSIDE), ("2026-01-14 18:00", OUTSIDE)),
        *(("2026-09-01 09:45", INSIDE), ("2026-11-30 11:00", INSIDE), ("2026-10-07 11:15", OUTSIDE)),
        *(("2026-08-31 10:00", NO_WINDOW), ("2026-11-30 12:00", OUTSIDE), ("2026-12-01 12:00", INSIDE)),
        *(("2026-02-27 12:00", INSIDE), ("2026-03-02 12:00", NO_WINDOW), ("2026-12-23 17:00", INSIDE)),
        *(("2026-12-24 12:00", NO_WINDOW), ("2026-12-31 12:00", NO_WINDOW), ("2026-10-10 10:00", NO_WINDOW)),
    ],
)
def test_rothenburg_windows_begin_and_end_on_the_quarter_hour(at: str, power: str) -> None:
    """One day is billed as its year: 200 kW at night, and 80 kW for the quarter hour that is asked about."""
    day = at[:10]
    night = Event(f"{day} 03:00", 200, 15)
    series = year("Europe/Berlin", [night, Event(at, 80, 15)], first=day, after=f"{date.fromisoformat(day) + ONE_DAY}")
    assert nets(billed("de-rothenburg-high-load-2026", series))["power"] == Decimal(power)
