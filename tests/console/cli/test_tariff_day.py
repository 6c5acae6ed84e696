"""A day priced by a tariff: what a peak would add to its bill, and hours in which something changes."""

from __future__ import annotations

import pytest

from console.cli.tariff_day import priced_day
from dispatch.config.charges import Charge, MonthWeights, TariffWindow
from dispatch.config.tariff_terms import TariffTerms

NOV_11, OCT_25 = 1_794_351_600, 1_792_879_200  # 2026, midnight in Berlin; clocks go back on 25 October
LOAD_W = [15_000.0 if n == 70 else 10_000.0 for n in range(96)]

PEAKS = [
    # Fjellnett: 534 NOK per kW and year, five weeks, November counts 70 %
    (
        Charge(
            id="p",
            kind="max",
            price=534,
            price_per="year",
            period="rolling-12",
            peaks_of="week",
            top=5,
            month_weight_pct=MonthWeights(nov=70),
            vat_pct=25,
        ),
        15 * 0.7 * 534 / 12 / 5 * 1.25,
    ),
    (Charge(id="p", kind="max", price=10, tiers=((0, 62), (12, 48))), 12 * 62 + 3 * 48),
    (Charge(id="p", kind="max", tiers=((0, 79), (12, 59)), tier_on="whole"), 15 * 59),
    (Charge(id="p", kind="max", price=2, basis="kVA"), 15 / 0.9 * 2),
    (Charge(id="p", kind="excess", price=3, price_per="day", contract_kw=13), 2 * 3 * 30),
    (Charge(id="p", kind="max", price=5, currency="SEK"), 15 * 5 * 0.0875),
]


@pytest.mark.parametrize(("charge", "amount"), PEAKS)
def test_what_a_peak_adds_to_its_bill(charge: Charge, amount: float) -> None:
    terms = TariffTerms(charge=(charge,), power_factor=0.9, eur_per={"SEK": 0.0875})
    (peak,) = priced_day(terms, "Europe/Berlin", 900, NOV_11, LOAD_W, None).peaks
    assert peak.begin_utc_s == NOV_11 + 70 * 900
    assert peak.amount == pytest.approx(amount)


def test_a_peak_that_must_have_been_reached_three_times_is_the_third_highest() -> None:
    loads_w = [*LOAD_W[:80], 14_000.0, 13_000.0, *LOAD_W[82:]]
    terms = TariffTerms(charge=(Charge(id="p", kind="max", price=10, occurs=3),))
    (peak,) = priced_day(terms, "Europe/Berlin", 900, NOV_11, loads_w, None).peaks
    assert (peak.kw, peak.begin_utc_s, peak.amount) == (13.0, NOV_11 + 81 * 900, pytest.approx(130.0))


def test_charges_without_a_peak_of_the_load_have_none() -> None:
    reactive = Charge(id="r", kind="max", price=9, basis="kvar", free_pct=30)
    hours = Charge(id="h", kind="excess", price=12, excess_by="hours", contract_kw=5)
    terms = TariffTerms(charge=(reactive, hours), power_factor=0.9)
    assert priced_day(terms, "Europe/Berlin", 900, NOV_11, LOAD_W, None).peaks == ()


def test_a_row_lasts_as_long_as_nothing_changes_and_a_day_may_have_25_hours() -> None:
    window = TariffWindow(id="w", times=("06:15-22:00",))
    terms = TariffTerms(
        charge=(
            Charge(id="a", kind="energy", price=0.3, windows=("w",)),
            Charge(id="b", kind="energy", price=0.1, windows=("w",), outside=True),
        ),
        window=(window,),
        currency="SEK",
    )
    found = priced_day(terms, "Europe/Berlin", 900, OCT_25, [1000.0] * 100, None)
    assert [row.price for row in found.rows] == [0.1, 0.3, 0.1]
    assert [(row.end_utc_s - row.begin_utc_s) / 3600 for row in found.rows] == [7.25, 15.75, 2]
    assert (found.import_kwh, found.currency) == (25, "SEK")
    assert found.energy_amount == pytest.approx(15.75 * 0.3 + 9.25 * 0.1)
