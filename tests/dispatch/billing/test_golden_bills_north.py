"""Bills of a year by price sheets of Sweden, Norway, Denmark and Finland, worked out by hand.

Each figure of an expectation is the sheet's, or follows from the events; see `golden_year`.
"""

from __future__ import annotations

from decimal import Decimal

from golden_year import (
    DAYS,
    HOURS,
    WEEKDAYS,
    Event,
    billed,
    cents,
    gross,
    kwh,
    lines,
    monthly,
    nets,
    of_charge,
    with_vat,
    year,
)

# What each hour is in Sweden and Norway, by hour means:
NORTH = (
    Event("2026-01-06 10:00", 100, 60),  # Tuesday, Epiphany: a holiday in Sweden, billed as the weekday it falls on
    Event("2026-01-14 17:00", 200, 15),  # one quarter hour: the hour's mean is (200 + 3 x 40) / 4 = 80
    Event("2026-01-17 12:00", 150, 60),  # Saturday
    Event("2026-02-13 22:00", 120, 60),  # Friday, just after 22:00
    Event("2026-02-20 21:00", 70, 60),  # Friday, the last hour before 22:00
    Event("2026-03-29 03:00", 90, 60),  # Sunday, the hour after the clock went forward
    Event("2026-03-30 06:00", 60, 60),  # Monday, 06:00 of summer time
    Event("2026-05-20 10:00", 40, 15, kvar=170),  # the hour's mean of reactive power is (170 + 3 x 10) / 4 = 50
    Event("2026-07-15 12:00", 250, 60),
    Event("2026-08-12 03:00", 40, 60, kvar=60),
    Event("2026-10-25 02:00 again", 95, 60),  # the hour that comes twice, the second time
    Event("2026-11-01 00:00", 85, 60),  # Sunday, first hour of the month by local time, still October in UTC
    Event("2026-11-30 21:45", 200, 15),  # Monday, last quarter of the window: (3 x 40 + 200) / 4 = 80
)
# kWh above the base: 60 + 40 + 110; 80 + 30; 50 + 20; 210; 55; 45 + 40
EXTRA = {"jan": 210, "feb": 110, "mar": 70, "jul": 210, "oct": 55, "nov": 85}
# highest hour of each month
PEAKS = (150, 120, 90, 40, 40, 40, 250, 40, 40, 95, 85, 40)


def test_sundsvall_bills_two_peaks_at_once_and_reactive_power() -> None:
    bill = billed("se-sundsvall-high-voltage-2024", year("Europe/Stockholm", NORTH, kvar=10))
    all_year = lines(PEAKS, "21")  # 1030 kW x 21
    # Mon-Fri 06-22 of November to March: 100 on Epiphany, not 150 of Saturday; 70, not 120 after 22:00; 60; 80; base
    high_load = lines((100, 70, 60, 80, 40), "66")
    # The base of 10 kvar is below 30 % of 40 kW, 12: nothing. May 50 - 12 = 38, August 60 - 12 = 48
    reactive = [Decimal(38 * 9), Decimal(48 * 9)]
    energy = lines(kwh(EXTRA), "0.467")
    authorities = [cents(Decimal(3904) / 12)] * 12  # 325.33 each month
    assert nets(bill) == {
        "fixed": Decimal(12 * 2180),
        "authorities": Decimal("3903.96"),
        "power-all-year": Decimal(21630),
        "power-high-load": Decimal(350 * 66),
        "reactive-power": Decimal(774),
        "energy": sum(energy),
    }
    assert sum(all_year) == 21630
    assert of_charge(bill, "reactive-power")["2026-08"] == 432
    every = [*[Decimal(2180)] * 12, *authorities, *all_year, *high_load, *reactive, *energy]
    assert gross(bill) == with_vat(every, "25")


def test_sjogerstad_bills_the_mean_of_the_two_highest_months() -> None:
    bill = billed("se-sjogerstad-low-voltage-2018", year("Europe/Stockholm", NORTH))
    # 16 h of each weekday, and the events in them: 60 + 40; 30; 20; 40
    high = [
        *(22 * 16 * 40 + 100, 20 * 16 * 40 + 30, 22 * 16 * 40 + 20, 0, 0, 0),
        *(0, 0, 0, 0, 21 * 16 * 40 + 40, 23 * 16 * 40),
    ]
    other = [whole - part for whole, part in zip(kwh(EXTRA), high, strict=True)]
    assert nets(bill) == {
        "fixed": cents(Decimal("21057.5") / 12) * 12,
        "power": Decimal((250 + 150) // 2 * 230),  # July and January
        "power-high-load": Decimal((100 + 80) // 2 * 260),  # January and November
        "energy-high-load": monthly(high, "0.152"),
        "energy-other": monthly(other, "0.087"),
        "tax": monthly(kwh(EXTRA), "0.331"),
    }


def test_hafslund_bills_three_seasons() -> None:
    bill = billed("no-hafslund-low-voltage-2017", year("Europe/Oslo", NORTH))
    winter = [
        40 * HOURS[k] + EXTRA.get(month, 0)
        for k, month in ((0, "jan"), (1, "feb"), (2, "mar"), (10, "nov"), (11, "dec"))
    ]
    summer = [40 * h for h in (720, 744, 720, 744, 744, 720, 745)]
    summer[3] += 210
    summer[6] += 55
    assert nets(bill) == {
        "fixed": Decimal(12 * 340),
        "power-winter-1": Decimal((150 + 120 + 40) * 150),
        "power-winter-2": Decimal((90 + 85) * 76),  # 1 November 00:00 is the peak of November, not of summer
        "power-summer": Decimal((40 + 40 + 40 + 250 + 40 + 40 + 95) * 11),
        "energy-winter": monthly(winter, "0.052"),
        "energy-summer": monthly(summer, "0.03"),
    }


def test_telemark_bills_each_part_of_the_peak_by_its_tier() -> None:
    bill = billed("no-telemark-2022", year("Europe/Oslo", NORTH))
    # 40: 40 x 62; 85: 50 x 62 + 35 x 48; 250: 50 x 62 + 150 x 48 + 50 x 36
    power = {
        "2026-01": 50 * 62 + 100 * 48,
        "2026-02": 50 * 62 + 70 * 48,
        "2026-03": 50 * 62 + 40 * 48,
        "2026-07": 50 * 62 + 150 * 48 + 50 * 36,
        "2026-10": 50 * 62 + 45 * 48,
        "2026-11": 50 * 62 + 35 * 48,
    }
    for month in ("04", "05", "06", "08", "09", "12"):
        power[f"2026-{month}"] = 40 * 62
    assert of_charge(bill, "power") == power
    assert nets(bill) == {"fixed": 12 * 1067, "power": 56400, "energy": monthly(kwh(EXTRA), "0.3984")}


def test_glitre_bills_working_hours_and_another_price_above_300_kw() -> None:
    events = (
        Event("2026-01-01 10:00", 100, 60),  # Thursday, a holiday with a fixed date: it counts
        Event("2026-01-14 17:00", 200, 15),  # hour's mean 80
        Event("2026-02-10 12:00", 310, 60),  # above 300 kW: all of it at the other price
        Event("2026-03-14 12:00", 200, 60),  # Saturday
        Event("2026-03-30 07:00", 60, 60),  # Monday, 07:00 of summer time
        Event("2026-04-02 10:00", 100, 60),  # Maundy Thursday moves, and does not count
        Event("2026-04-03 10:00", 110, 60),  # nor does Good Friday
        Event("2026-04-06 10:00", 120, 60),  # nor Easter Monday
        Event("2026-04-08 19:00", 70, 60),
        Event("2026-04-08 20:00", 90, 60),  # just after 20:00
        Event("2026-05-01 12:00", 55, 60),  # Friday, a holiday with a fixed date
        Event("2026-05-14 12:00", 120, 60),  # Ascension
        Event("2026-05-25 12:00", 130, 60),  # Whit Monday
        Event("2026-06-10 06:00", 80, 60),  # just before 07:00
        Event("2026-06-10 07:00", 65, 60),
        Event("2026-06-13 12:00", 90, 60),  # Saturday
        Event("2026-07-15 12:00", 350, 60),
        Event("2026-11-18 20:00", 90, 60),  # just after 20:00
    )
    bill = billed("no-glitre-low-voltage-2016", year("Europe/Oslo", events))
    assert of_charge(bill, "power-winter") == {
        "2026-01": 100 * 79,
        "2026-02": 310 * 59,  # 18 290: less than 300 kW would cost
        "2026-03": 60 * 79,
        "2026-10": 40 * 79,
        "2026-11": 40 * 79,
        "2026-12": 40 * 79,
    }
    assert of_charge(bill, "power-summer") == {
        "2026-04": 70 * 12,
        "2026-05": 55 * 12,
        "2026-06": 65 * 12,
        "2026-07": 350 * 9,
        "2026-08": 40 * 12,
        "2026-09": 40 * 12,
    }
    # 15 h of each weekday; events: 60 + 40; 270; 20; 50
    day = [40 * 15 * n for n in (22, 20, 22, 22, 21, 23)]
    day[0], day[1], day[2], day[4] = day[0] + 100, day[1] + 270, day[2] + 20, day[4] + 50
    # the rest of the months January to March and October to December
    whole = [40 * HOURS[k] for k in (0, 1, 2, 9, 10, 11)]
    whole[0], whole[1], whole[2], whole[4] = whole[0] + 100, whole[1] + 270, whole[2] + 20 + 160, whole[4] + 50
    # 60 + 70 + 80 + 30 + 50; 15 + 80 + 90; 40 + 25 + 50; 310
    summer = [40 * h + more for h, more in zip(HOURS[3:9], (290, 185, 115, 310, 0, 0), strict=True)]
    assert nets(bill) == {
        "fixed": cents(Decimal(5800) / 12) * 12,
        "power-winter": Decimal(7900 + 18290 + 4740 + 3 * 3160),
        "power-summer": Decimal(840 + 660 + 780 + 3150 + 2 * 480),
        "energy-winter-day": monthly(day, "0.055"),
        "energy-winter-night": monthly([a - b for a, b in zip(whole, day, strict=True)], "0.049"),
        "energy-summer": monthly(summer, "0.039"),
    }


def test_fjellnett_bills_five_weighted_weekly_peaks_of_twelve_months() -> None:
    events = (
        Event("2026-01-14 17:00", 100, 60),  # week 3
        Event("2026-01-16 12:00", 90, 60),  # week 3 again: no second peak
        Event("2026-02-10 12:00", 200, 15),  # week 7, the hour's mean: (200 + 3 x 40) / 4 = 80
        Event("2026-03-30 12:00", 60, 60),  # week 14, March: 60 x 0.85 = 51
        Event("2026-04-02 12:00", 120, 60),  # week 14, April: 120 x 0.50 = 60; the week has one peak, 60
        Event("2026-07-15 12:00", 200, 60),  # week 29: 200 x 0.25 = 50
        Event("2026-11-18 12:00", 90, 60),  # week 47: 90 x 0.70 = 63
        Event("2026-12-31 12:00", 60, 60),  # week 53: 60 x 0.95 = 57
    )
    bill = billed("no-fjellnett-2026", year("Europe/Oslo", events))
    # The base is 40 in the weeks of January and February. Mean of the five highest before the month, x 534 / 12 =
    # 44.50; what December had is billed from January 2027 on, and of January 2026 nothing before it is known:
    means = {
        "2026-01": Decimal(0),
        "2026-02": Decimal(100 + 4 * 40) / 5,  # 52
        "2026-03": Decimal(100 + 80 + 3 * 40) / 5,  # 60
        "2026-04": Decimal(100 + 80 + 51 + 2 * 40) / 5,  # 62.2
        "2026-05": Decimal(100 + 80 + 60 + 2 * 40) / 5,  # 64
        "2026-06": Decimal(64),
        "2026-07": Decimal(64),
        "2026-08": Decimal(100 + 80 + 60 + 50 + 40) / 5,  # 66
        "2026-09": Decimal(66),
        "2026-10": Decimal(66),
        "2026-11": Decimal(66),
        "2026-12": Decimal(100 + 80 + 63 + 60 + 50) / 5,  # 70.6
    }
    power = {month: cents(kw * Decimal("44.50")) for month, kw in means.items()}
    energy = kwh({"jan": 60 + 50, "feb": 40, "mar": 20, "apr": 80, "jul": 160, "nov": 50, "dec": 20})
    assert of_charge(bill, "power") == power
    assert nets(bill) == {
        "fixed": cents(Decimal(2000) / 12) * 12,
        "power": Decimal("31185.60"),
        "energy": monthly(energy, "0.129"),
        "fund-and-tax": monthly(energy, "0.0813"),
    }


def test_istad_bills_the_whole_year_by_three_winter_months() -> None:
    events = (
        Event("2025-12-15 10:00", 80, 60),  # Monday: reached once
        Event("2025-12-16 08:00", 70, 60),
        Event("2025-12-23 10:00", 150, 60),  # after 21 December
        Event("2026-01-01 10:00", 120, 60),  # before 2 January
        Event("2026-01-14 15:00", 160, 30),  # Wednesday, the last hour before 16:00: (160 + 40) / 2 = 100
        Event("2026-01-14 16:00", 130, 60),
        Event("2026-01-20 09:00", 95, 60),
        Event("2026-02-07 12:00", 150, 60),  # Saturday
        Event("2026-02-10 07:00", 75, 120),  # reached twice
        Event("2026-07-15 12:00", 300, 60),  # summer: not measured for the power
    )
    series = year("Europe/Oslo", events, first="2025-12-01", after="2026-12-01")
    bill = billed("no-istad-h3-2018", series)
    rest = cents(Decimal(70 + 95 + 75) / 3 * Decimal("692.50") / 12)  # 80 kW: 4616.67
    assert of_charge(bill, "power") == {
        "2025-12": cents(70 * Decimal("692.50") / 12),  # 4039.58
        "2026-01": cents(95 * Decimal("692.50") / 12),  # 5482.29
        "2026-02": Decimal("4328.13"),  # 75 x 692.50 / 12 = 4328.125
        **{f"2026-{month:02d}": rest for month in range(3, 12)},
    }
    # December 40 + 30 + 110; January 80 + 60 + 90 + 55; February 110 + 70; July 260
    energy = [40 * 744 + 180, *kwh({"jan": 285, "feb": 180, "jul": 260})[:11]]
    assert nets(bill) == {
        "fixed": 12 * Decimal("63.75"),
        "power": Decimal("55400.03"),
        "energy": monthly(energy, "0.3425"),
    }


def test_n1_bills_by_time_of_day_and_season() -> None:
    events = (
        Event("2026-01-14 17:00", 120, 15),  # first quarter of the peak: 20 kWh
        Event("2026-01-14 16:45", 160, 15),  # last quarter before it: 30 kWh
        Event("2026-09-30 18:00", 100, 60),  # last day of summer
        Event("2026-10-01 18:00", 110, 60),  # first day of winter
        Event("2026-10-25 02:00 again", 100, 60),
        Event("2026-12-25 20:45", 200, 15),  # Christmas is no exception: 40 kWh at the peak
        Event("2026-12-25 21:00", 80, 15),  # 10 kWh after it
    )
    bill = billed("dk-n1-c-2025", year("Europe/Copenhagen", events))
    summer, winter = range(3, 9), (0, 1, 2, 9, 10, 11)
    low = [40 * 6 * n for n in DAYS]
    low[2] -= 40  # 02:00-03:00 of 29 March did not come
    low[9] += 40 + 60  # and came twice on 25 October, the second time with 100 kW
    winter_high = {k: 40 * 14 * DAYS[k] for k in winter}
    winter_high[0] += 30
    winter_high[11] += 10
    winter_peak = {k: 40 * 4 * DAYS[k] for k in winter}
    winter_peak[0] += 20
    winter_peak[9] += 70
    winter_peak[11] += 40
    summer_peak = {k: 40 * 4 * DAYS[k] for k in summer}
    summer_peak[8] += 60
    assert nets(bill) == {
        "subscription": cents(Decimal("400.30") / 12) * 12,
        "low": monthly(low, "0.1083"),
        "summer-high": monthly([40 * 14 * DAYS[k] for k in summer], "0.1625"),
        "winter-high": monthly(winter_high.values(), "0.3250"),
        "summer-peak": monthly(summer_peak.values(), "0.4225"),
        "winter-peak": monthly(winter_peak.values(), "0.9751"),
    }


def test_iss_bills_power_reactive_power_and_winter_days() -> None:
    events = (
        Event("2026-01-14 17:00", 200, 15),  # hour's mean 80
        Event("2026-01-17 12:00", 150, 60),  # Saturday is a winter day: 110 kWh
        Event("2026-02-08 12:00", 120, 60),  # Sunday is not: 80 kWh
        Event("2026-03-29 04:00", 90, 60),  # Sunday, the hour after the clock went forward
        Event("2026-05-20 10:00", 40, 15, kvar=170),  # the hour's mean: (170 + 3 x 10) / 4 = 50
        Event("2026-10-31 12:00", 100, 60),  # Saturday, but not yet November
        Event("2026-12-06 12:00", 60, 60),  # Sunday
    )
    bill = billed("fi-iss-low-voltage-power", year("Europe/Helsinki", events, kvar=10))
    peaks = (150, 120, 90, 40, 40, 40, 40, 40, 40, 100, 40, 60)
    # Mon-Sat: 31 - 4, 28 - 4, 31 - 5, 30 - 5, 31 - 4 Sundays; 15 h each; events 40 + 110
    day = [40 * 15 * n for n in (27, 24, 26, 0, 0, 0, 0, 0, 0, 0, 25, 27)]
    day[0] += 150
    total = kwh({"jan": 150, "feb": 80, "mar": 50, "oct": 60, "dec": 20})
    other = [a - b for a, b in zip(total, day, strict=True)]
    assert sum(WEEKDAYS) == 261
    assert nets(bill) == {
        "basic": 12 * Decimal("58.50"),
        "power": monthly(peaks, "3.85"),
        "reactive-power": monthly([10] * 11 + [50], "7.17"),
        "winter-day": monthly(day, "0.0231"),
        "other-time": monthly(other, "0.0145"),
    }
    amounts = [
        *lines([1] * 12, "58.50"),
        *lines(peaks, "3.85"),
        *lines([10] * 11 + [50], "7.17"),
        *lines(day, "0.0231"),
        *lines(other, "0.0145"),
    ]
    assert gross(bill) == with_vat(amounts, "25.5")
