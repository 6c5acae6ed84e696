"""Bills of a year by price sheets of Belgium, the Netherlands, France, Great Britain and Spain, worked out by hand.

Each figure of an expectation is the sheet's, or follows from the events; see `golden_year`.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec
from golden_year import (
    DAYS,
    HOURS,
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

from dispatch.wording.catalogue import words


def test_flanders_bills_the_mean_of_the_last_twelve_months() -> None:
    events = (
        Event("2026-01-14 17:00", 120, 15),  # 20 kWh
        Event("2026-02-07 12:00", 150, 60),  # 110 kWh; a second day with 140 changes nothing
        Event("2026-02-08 12:00", 140, 15),  # 25 kWh
        Event("2026-03-31 23:45", 90, 15),  # March by local time, 12.5 kWh
        Event("2026-07-15 12:00", 130, 15),  # 22.5 kWh
        Event("2026-10-25 02:00 again", 95, 15),  # 13.75 kWh
    )
    bill = billed("be-flanders-low-voltage-2023", year("Europe/Brussels", events, eur_per_mwh=80.0))
    sums = (120, 270, 360, 400, 440, 480, 610, 650, 690, 785, 825, 865)  # of the peaks of so many months
    per_kw = Decimal("40.4") / 12
    capacity = {f"2026-{k + 1:02d}": cents(Decimal(total) / (k + 1) * per_kw) for k, total in enumerate(sums)}
    assert of_charge(bill, "capacity") == capacity
    assert capacity["2026-12"] == Decimal("242.68")  # 865 / 12 = 72.083 kW
    # The sheet has no price of energy: the market's is billed
    energy = kwh({"jan": 20, "feb": 135, "mar": 12.5, "jul": 22.5, "oct": 13.75})
    assert nets(bill)["energy"] == monthly(energy, "0.08")


def test_netherlands_bills_contract_month_and_reactive_energy() -> None:
    events = (
        Event("2026-01-14 17:00", 120, 15),  # 20 kWh
        Event("2026-04-27 12:00", 140, 15),  # King's Day: 25 kWh, billed like any other day
        Event("2026-11-01 00:00", 85, 60),  # first hour of November, 45 kWh
    )
    series = year("Europe/Amsterdam", events, kvar=30)
    series = msgspec.structs.replace(series, capacitive_kvarh=[0.5] * len(series.import_kwh))  # 2 kvar
    bill = billed("nl-medium-voltage-transformer-2015", series)
    energy = kwh({"jan": 20, "apr": 25, "nov": 45})
    # 61.97 % of the month's kWh are free
    reactive = [30 * h - Decimal("0.6197") * Decimal(part) for h, part in zip(HOURS, energy, strict=True)]
    amounts = {
        "transport": lines([Decimal(1) / 12] * 12, "441"),
        "connection": lines([Decimal(1) / 12] * 12, "168"),
        "kw-contract": [Decimal("244.75")] * 12,  # 150 x 19.58 / 12
        "kw-max": lines([120, 40, 40, 140, 40, 40, 40, 40, 40, 40, 85, 40], "1.53"),
        "energy": lines(energy, "0.0093"),
        "reactive": lines(reactive, "0.0089"),
        "capacitive": lines([2 * h for h in HOURS], "0.0089"),  # all of it
    }
    assert nets(bill) == {name: sum(each) for name, each in amounts.items()}
    assert gross(bill) == with_vat([net for each in amounts.values() for net in each], "21")
    bill = billed("nl-medium-voltage-transformer-2015", msgspec.structs.replace(series, capacitive_kvarh=()))
    told = [line for line in bill.lines if line.charge == "capacitive"]
    assert [line.net for line in told] == [0] * 12
    assert words(told[0].remarks[0]) == "capacitive energy is not measured: nothing of it is billed here"


def test_turpe_bills_four_classes_and_hours_of_excess_in_kva() -> None:
    events = (
        Event("2026-01-14 17:00", 80, 15, kvar=60),  # 100 kVA of 60: a quarter hour
        Event("2026-01-15 10:00", 48, 15, kvar=36),  # 60 kVA: not above
        Event("2026-01-20 10:00", 55, 15, kvar=48),  # 73 kVA with 55 kW: a quarter hour
        Event("2026-07-15 12:00", 96, 60, kvar=72),  # 120 kVA of 80 in HPB: an hour
        Event("2026-07-15 23:00", 72, 15, kvar=54),  # 90 kVA of 100 in HCB: not above
        Event("2026-07-16 05:45", 120, 15, kvar=90),  # 150 kVA, last quarter of HCB
        Event("2026-07-16 12:00", 70, 15, kvar=60),  # 92 kVA of 80 with 70 kW
        Event("2026-07-16 23:00", 90, 15, kvar=60),  # 108 kVA of 100 with 90 kW
        Event("2026-10-31 22:00", 64, 15, kvar=48),  # 80 kVA: the last night of summer
        Event("2026-11-01 00:00", 64, 30, kvar=48),  # 80 kVA of 60: the first night of winter, half an hour
    )
    bill = billed("fr-turpe7-low-voltage-2025", year("Europe/Paris", events, kvar=30))
    winter, summer = (0, 1, 2, 10, 11), range(3, 10)
    full_winter: dict[int, float] = {k: 40 * 16 * DAYS[k] for k in winter}
    full_winter[0] += 10 + 2 + 3.75  # (80 - 40) / 4, (48 - 40) / 4, (55 - 40) / 4
    off_winter = {k: 40 * 8 * DAYS[k] for k in winter}
    off_winter[2] -= 40  # 29 March
    off_winter[10] += 12
    full_summer: dict[int, float] = {k: 40 * 16 * DAYS[k] for k in summer}
    full_summer[6] += 56 + 7.5
    off_summer: dict[int, float] = {k: 40 * 8 * DAYS[k] for k in summer}
    off_summer[6] += 8 + 20 + 12.5
    off_summer[9] += 40 + 6  # 25 October has 25 hours
    assert {name: net for name, net in nets(bill).items() if net} == {
        "contract-HPH": 12 * cents(60 * Decimal("17.61") / 12),
        "contract-HPB": 12 * cents(20 * Decimal("14.56") / 12),
        "contract-HCB": 12 * cents(20 * Decimal("11.98") / 12),
        # half an hour in January, half an hour in November: 6.205 each, rounded up
        "excess-winter": 2 * Decimal("6.21"),
        "excess-HPB": Decimal("15.51"),  # 1.25 h x 12.41 = 15.5125
        "excess-HCB": Decimal("6.21"),  # 0.5 h
        "HPH": monthly(full_winter.values(), "0.0691"),
        "HCH": monthly(off_winter.values(), "0.0421"),
        "HPB": monthly(full_summer.values(), "0.0213"),
        "HCB": monthly(off_summer.values(), "0.0152"),
        "management": 12 * Decimal("18.15"),
        "metering": 12 * cents(Decimal("283.27") / 12),
    }


def test_northern_powergrid_bills_kva_and_three_bands() -> None:
    events = (
        Event("2026-01-14 17:00", 104, 30, kvar=78),  # 130 kVA for half an hour; red; 32 kWh, 24 kvarh
        Event("2026-02-10 10:00", 160, 15, kvar=120),  # with 40 and 30: 100 kW, 75 kvar, 125 kVA; amber; 30 kWh
        Event("2026-03-30 16:00", 60, 30),  # Monday, summer time: red; 10 kWh
        Event("2026-04-03 17:00", 80, 30),  # Good Friday: green; 20 kWh
        Event("2026-05-25 17:00", 90, 30),  # spring bank holiday: green; 25 kWh
        Event("2026-12-28 17:00", 70, 30),  # Monday in place of Boxing Day: green; 15 kWh
        Event("2026-10-25 01:00 again", 80, 60),  # Sunday: green; 40 kWh
    )
    bill = billed("gb-northern-powergrid-high-voltage-2025", year("Europe/London", events, kvar=30))
    # without New Year, Good Friday, Easter Monday, two of May, one of August, Christmas, 28 December
    working = (21, 20, 22, 20, 19, 22, 23, 20, 22, 22, 21, 21)
    red = [40 * 3 * n for n in working]
    red[0] += 32
    red[2] += 10
    amber = [40 * 13 * n for n in working]
    amber[1] += 30
    total = kwh({"jan": 32, "feb": 30, "mar": 10, "apr": 20, "may": 25, "oct": 40, "dec": 15})
    green = [whole - a - b for whole, a, b in zip(total, red, amber, strict=True)]
    # 33 % of the month's kWh are free; the events with kvar add 24 and 22.5 kvarh
    reactive = [30 * h - Decimal("0.33") * Decimal(part) for h, part in zip(HOURS, total, strict=True)]
    reactive[0] += 24
    reactive[1] += Decimal("22.5")
    assert {name: net for name, net in nets(bill).items() if net} == {
        "fixed": monthly(DAYS, "2.2953"),
        "capacity": monthly([100 * n for n in DAYS], "0.0449"),
        # 30 kVA x 0.0449 x 31 = 41.757; 25 kVA x 0.0449 x 28 = 31.43
        "exceeded-capacity": Decimal("41.76") + Decimal("31.43"),
        "red": monthly(red, "0.088"),
        "amber": monthly(amber, "0.005"),
        "green": monthly(green, "0.0005"),
        "reactive": monthly(reactive, "0.0015"),
    }


def test_spain_bills_six_periods_with_the_root_of_the_sum_of_squares() -> None:
    events = (
        Event("2026-01-06 10:00", 110, 15),  # Epiphany: P6, 10 above 100
        Event("2026-01-14 08:15", 80, 15),  # P2, 20 above 60
        Event("2026-01-14 10:00", 100, 15),  # P1, 40 above
        Event("2026-01-14 12:00", 90, 15),  # P1, 30 above: the root of 40² + 30² is 50
        Event("2026-02-07 12:00", 130, 15),  # Saturday: P6, 30 above
        Event("2026-03-10 10:00", 70, 15),  # P2
        Event("2026-04-03 10:00", 75, 15),  # Good Friday moves and is no holiday here: P4, 15 above
        Event("2026-05-06 08:00", 70, 15),  # P5
        Event("2026-06-10 08:00", 70, 15),  # P4
        Event("2026-07-15 10:00", 80, 15),  # P1, 20 above
        Event("2026-09-09 19:00", 70, 15),  # P3
        Event("2026-10-12 10:00", 90, 15),  # holiday: P6, below 100
    )
    bill = billed("es-6.1td-2025", year("Europe/Madrid", events, kvar=30))
    got = {name: net for name, net in nets(bill).items() if net}
    for number, contract in ((1, "0.078882"), (2, "0.041309"), (3, "0.017970"), (4, "0.014170"), (5, "0.005295")):
        assert got.pop(f"power-P{number}") == monthly([60 * n for n in DAYS], contract)
    assert got.pop("power-P6") == monthly([100 * n for n in DAYS], "0.002510")
    excess = {name: net for name, net in got.items() if name.startswith("excess")}
    assert excess == {
        "excess-P1": Decimal("70.32") + Decimal("28.13"),  # 50 x 1.4064; 20 x 1.4064 = 28.128
        "excess-P2": Decimal("28.13") + Decimal("14.06"),  # 10 x 1.4064 = 14.064
        "excess-P3": Decimal("7.63"),  # 10 x 0.763318
        "excess-P4": Decimal("8.65") + Decimal("5.77"),  # 15 x 0.57699 = 8.65485; 5.7699
        "excess-P5": Decimal("0.37"),  # 10 x 0.0370882
        "excess-P6": Decimal("0.37") + Decimal("1.11"),  # 0.370882; 30 x 0.0370882 = 1.112646
    }
    # Working days without the national holidays on weekdays: 1 and 6 January, 1 May, 12 October, 8 and 25 December
    days = dict(enumerate((20, 20, 22, 22, 20, 22, 23, 21, 22, 21, 21, 21)))
    peak: dict[int, float] = {k: 40 * 9 * n for k, n in days.items()}
    flat: dict[int, float] = {k: 40 * 7 * n for k, n in days.items()}
    # kWh above the base by month and kind of hour: (kW - 40) / 4
    for k, more in ((0, 15 + 12.5), (2, 7.5), (3, 8.75), (6, 10), (8, 7.5)):
        peak[k] += more
    for k, more in ((0, 10), (4, 7.5), (5, 7.5)):
        flat[k] += more
    whole = kwh(
        {"jan": 55, "feb": 22.5, "mar": 7.5, "apr": 8.75, "may": 7.5, "jun": 7.5, "jul": 10, "sep": 7.5, "oct": 12.5}
    )
    high, mid_high, mid, low = (0, 1, 6, 11), (2, 10), (5, 7, 8), (3, 4, 9)
    energy = {
        "energy-P1": monthly([peak[k] for k in high], "0.163"),
        "energy-P2": monthly([*(flat[k] for k in high), *(peak[k] for k in mid_high)], "0.132"),
        "energy-P3": monthly([*(flat[k] for k in mid_high), *(peak[k] for k in mid)], "0.131"),
        "energy-P4": monthly([*(flat[k] for k in mid), *(peak[k] for k in low)], "0.107"),
        "energy-P5": monthly([flat[k] for k in low], "0.093"),
        "energy-P6": monthly([whole[k] - peak[k] - flat[k] for k in range(12)], "0.109"),
    }
    assert {name: net for name, net in got.items() if name.startswith("energy")} == energy
