"""Charges in words: each field that a charge has is said, in a sentence that can be checked against a price sheet."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from dispatch.billing.charges.calendar import calendar_of
from dispatch.billing.charges.description import described, next_spans, window_in_words
from dispatch.config.charges import Charge, IndividualFee, MonthWeights, TariffWindow
from dispatch.config.tariff_terms import TariffTerms
from dispatch.wording.catalogue import ENGLISH, words

WINTER = TariffWindow(id="winter", months=("nov-mar",), days=("mon-fri",), times=("06:00-22:00",))
PEAK = {"id": "p", "kind": "max", "price": 66.0}
TERMS = TariffTerms(window=(WINTER,), holidays="SE", currency="SEK")

SAID = {
    "66 SEK per kW and month on the highest 60-minute mean of the month, Nov–Mar, Mon–Fri 06:00–22:00, holidays as "
    "weekdays": Charge(**PEAK, interval_min=60, windows=("winter",)),
    "66 SEK per kVA and year on the mean of the 2 highest months of the year, of each its highest "
    "15-minute mean, 30 kVA "
    "billed at least, years from 10-01 on": Charge(
        **PEAK, basis="kVA", period="year", peaks_of="month", top=2, floor_kw=30, year_from="10-01"
    ),
    "66 SEK per kW and year on the mean of the 5 highest weeks of the last twelve months, of each its "
    "highest 15-minute "
    "mean, months count in part (Jul 25 %), plus 25 % VAT": Charge(
        **PEAK,
        price_per="year",
        period="rolling-12",
        peaks_of="week",
        top=5,
        month_weight_pct=MonthWeights(jul=25),
        vat_pct=25,
    ),
    "66 SEK per kW and month on the mean of the 3 highest days of the month, of each its highest "
    "15-minute mean, each peak "
    "counts as 2.5 kW at least": Charge(**PEAK, peaks_of="day", top=3, peak_floor_kw=2.5),
    "66 SEK per kW and month on the mean of the 3 highest 15-minute means of the month": Charge(
        **PEAK, peaks_of="interval", top=3
    ),
    "66 SEK per kW and month on the highest 15-minute mean of the month, Dec, Jan billed by their own "
    "peak, other months by "
    "the mean of those last past": Charge(**PEAK, set_in=("dec", "jan")),
    "66 SEK per kW and month on the highest 15-minute mean of the month, in its place the peak of the "
    "windows winter, if "
    "lower by 20 % and 100 kW and if it saves 500 at least; never below 20 % of the full charge": Charge(
        **PEAK, individual=IndividualFee(windows=("winter",), gap_pct=20, gap_kw=100, least_saving=500, floor_pct=20)
    ),
    "66 SEK per kvar and month on the highest 15-minute reactive power of the month above 30 % of the highest active "
    "power": Charge(**PEAK, basis="kvar", free_pct=30),
    "[150 from 0 on, 130 from 200 on] EUR, each part at the price of its tier, per kW and month on the "
    "highest 15-minute mean "
    "of the month": Charge(**PEAK, tiers=((0, 150), (200, 130)), currency="EUR"),
    "[150 from 0 on] SEK, all at the price of the highest tier reached, per kW and month on the highest "
    "15-minute mean of the "
    "month": Charge(**PEAK, tiers=((0, 150),), tier_on="whole"),
    "1.4 SEK per kW on the root of the sum of squares of what each 15-minute mean of the month is above 60 kW "
    "contracted": Charge(id="x", kind="excess", price=1.4, excess_by="root-sum-square", contract_kw=60),
    "1.4 SEK per kW on the sum of what each 15-minute mean of the month is above 60 kW contracted": Charge(
        id="x", kind="excess", price=1.4, excess_by="sum", contract_kw=60
    ),
    "1.4 SEK per hour of the day in which the 15-minute mean is above 60 kW contracted": Charge(
        id="x", kind="excess", price=1.4, excess_by="hours", contract_kw=60, period="day"
    ),
    "1.4 SEK per kW and day on the highest 15-minute mean of the month, as far as it is above 60 kW contracted": Charge(
        id="x", kind="excess", price=1.4, contract_kw=60, price_per="day"
    ),
    "19.58 SEK per kW and year of 150 kW contracted": Charge(
        id="x", kind="contract", price=19.58, price_per="year", contract_kw=150
    ),
    "0.01 SEK per kvarh above 40 % of the active energy imported": Charge(
        id="x", kind="reactive", price=0.01, free_pct=40
    ),
    "0.01 SEK per capacitive kvarh above 0 % of the active energy imported": Charge(
        id="x", kind="reactive", reactive="capacitive", price=0.01
    ),
    "66 SEK per kW and month on the mean of the 5 highest weeks of the twelve months before the month that is billed, "
    "of each its highest 15-minute mean": Charge(**PEAK, period="rolling-12", past_only=True, peaks_of="week", top=5),
    "66 SEK per kW and month on the highest 15-minute mean of the month, a peak counts as far as 2 intervals reached "
    "it": Charge(**PEAK, occurs=2),
    "2180 SEK per month": Charge(id="x", kind="fixed", price=2180),
    "0.5 SEK per kWh imported, outside of Nov–Mar, Mon–Fri 06:00–22:00, holidays as weekdays, from "
    "2026-01-01 on, until "
    "2026-12-31": Charge(
        id="x",
        kind="energy",
        price=0.5,
        windows=("winter",),
        outside=True,
        from_date="2026-01-01",
        to_date="2026-12-31",
    ),
    "the market price plus 0.5 SEK per kWh imported": Charge(id="x", kind="energy", price=0.5, market_factor=1),
    "the market price per kWh imported": Charge(id="x", kind="energy", market_factor=1),
    "1.03 times the market price plus 0.5 SEK per kWh imported": Charge(
        id="x", kind="energy", price=0.5, market_factor=1.03
    ),
    "1.03 times the market price per kWh imported": Charge(id="x", kind="energy", market_factor=1.03),
    "earns 0.08 SEK per kWh exported": Charge(id="x", kind="energy", flow="export", price=0.08),
    "earns the market price less 0.01 SEK per kWh exported": Charge(
        id="x", kind="energy", flow="export", price=-0.01, market_factor=1
    ),
    "earns the market price plus 0.01 SEK per kWh exported": Charge(
        id="x", kind="energy", flow="export", price=0.01, market_factor=1
    ),
    "earns 0.9 times the market price less 0.1 SEK per kWh exported": Charge(
        id="x", kind="energy", flow="export", price=-0.1, market_factor=0.9
    ),
    "the market price less 0.5 SEK per kWh imported": Charge(id="x", kind="energy", price=-0.5, market_factor=1),
    "1.03 times the market price less 0.5 SEK per kWh imported": Charge(
        id="x", kind="energy", price=-0.5, market_factor=1.03
    ),
    "earns the market price per kWh exported": Charge(id="x", kind="energy", flow="export", market_factor=1),
    "earns 0.9 times the market price per kWh exported": Charge(
        id="x", kind="energy", flow="export", market_factor=0.9
    ),
    "earns 0.9 times the market price plus 0.1 SEK per kWh exported": Charge(
        id="x", kind="energy", flow="export", price=0.1, market_factor=0.9
    ),
    "21.49 SEK per kW and year on the highest 15-minute mean of the year, in years with fewer than 2500 full-load "
    "hours": Charge(id="x", kind="max", price=21.49, period="year", full_load_h_below=2500),
    "119.08 SEK per kW and year on the highest 15-minute mean of the year, in years with 2500 full-load hours or "
    "more": Charge(id="x", kind="max", price=119.08, period="year", full_load_h_from=2500),
}


@pytest.mark.parametrize("said", SAID)
def test_charges(said: str) -> None:
    assert words(described(SAID[said], TERMS, 900)) == said


@pytest.mark.parametrize(
    ("window", "said"),
    [
        (TariffWindow(id="w"), "always"),
        (TariffWindow(id="w", dates=("12-24..01-01",), holidays="inside"), "on 12-24..01-01, and on every holiday"),
        (
            TariffWindow(id="w", times=("22:00-06:00",), except_dates=("05-01",), bridge_days="outside"),
            "22:00–06:00, except 05-01, not on bridge days",
        ),
        (TariffWindow(id="w", days=("sat",), holidays="outside"), "Sat, not on holidays"),
        (TariffWindow(id="w", days=("mon-fri",), holidays="as-sunday"), "Mon–Fri, holidays as Sundays"),
    ],
)
def test_windows(window: TariffWindow, said: str) -> None:
    assert words(window_in_words(window, "SE")) == said


def test_without_holidays_nothing_is_said_of_them() -> None:
    assert words(window_in_words(WINTER, "")) == "Nov–Mar, Mon–Fri 06:00–22:00"


def test_every_phrase_of_a_charge_is_used_above_and_none_is_missing() -> None:
    codes: set[str] = set()

    def collect(reason: object) -> None:
        if isinstance(reason, list):
            for part in reason:
                collect(part)
        elif hasattr(reason, "figures"):
            codes.add(reason.code)
            for figure in reason.figures.values():
                collect(figure)

    for charge in SAID.values():
        collect(described(charge, TERMS, 900))
    charges = {code for code in ENGLISH.phrases if code.startswith("charge.")}
    assert charges == {code for code in codes if code.startswith("charge.")}
    assert not ENGLISH.phrases.keys() & ENGLISH.templates.keys()


def test_the_next_times_of_a_window() -> None:
    def at(text: str) -> int:
        return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/Berlin")).timestamp())

    night = TariffWindow(id="night", days=("mon-fri",), times=("22:00-06:00",), holidays="outside")
    calendar = calendar_of(TariffTerms(window=(WINTER, night), holidays="DE"), "Europe/Berlin")
    spans = next_spans("winter", calendar, at("2026-03-31 23:00"), 2)
    assert spans == [
        (at("2026-11-02 06:00"), at("2026-11-02 22:00")),
        (at("2026-11-03 06:00"), at("2026-11-03 22:00")),
    ]
    begun = next_spans("winter", calendar, at("2026-03-31 12:00"), 1)
    assert begun == [(at("2026-03-31 06:00"), at("2026-03-31 22:00"))]
    over_midnight = next_spans("night", calendar, at("2026-04-30 12:00"), 2)
    assert over_midnight == [  # 1 May is a Friday and a holiday; Saturday is outside
        (at("2026-04-30 22:00"), at("2026-05-01 00:00")),
        (at("2026-05-04 00:00"), at("2026-05-04 06:00")),
    ]
    never = TariffWindow(id="never", dates=("2020-01-01",))
    assert (
        next_spans("never", calendar_of(TariffTerms(window=(never,)), "Europe/Berlin"), at("2026-01-01 00:00"), 1) == []
    )
