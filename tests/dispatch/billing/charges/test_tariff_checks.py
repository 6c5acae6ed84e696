"""What is wrong with a tariff is said by key, value and what was expected; what is right is not complained of."""

from __future__ import annotations

from datetime import date

import pytest

from dispatch.billing.charges.tariff_checks import tariff_checks, tariff_remarks
from dispatch.config.charges import Charge, IndividualFee, TariffWindow
from dispatch.config.tariff_terms import TariffTerms

DAY = TariffWindow(id="day", days=("mon-fri",), times=("06:00-22:00",))
LATE = TariffWindow(id="late", times=("20:00-08:00",))
WINTER = TariffWindow(id="winter", months=("nov-mar",))


def faults(*charges: Charge, metering_s: int = 900, **terms: object) -> list[str]:
    tariff = TariffTerms(charge=charges, **{"window": (DAY, LATE, WINTER), **terms})  # type: ignore[arg-type]
    found = (finding for check in tariff_checks(tariff, metering_s) for finding in check())
    return [f"{key} = {value!r}: {expected}" for key, value, expected in found]


def energy(id: str, *windows: str, **more: object) -> Charge:
    return Charge(id=id, kind="energy", price=0.1, windows=windows, **more)  # type: ignore[arg-type]


def peak(**more: object) -> Charge:
    return Charge(**{"id": "p", "kind": "max", "price": 1.0, **more})  # type: ignore[arg-type]


def test_what_is_right_has_no_fault() -> None:
    assert faults() == []
    assert faults(energy("ht", "day"), energy("nt", "day", outside=True)) == []
    assert faults(energy("all"), energy("surcharge", "late"), energy("winter", "winter")) == []
    grid = (energy("grid 1", "day"), energy("grid 2", "day", outside=True))
    assert faults(*grid, energy("sold 1", "late"), energy("sold 2", "late", outside=True)) == []
    assert faults(peak(basis="kVA"), power_factor=0.9) == []
    pair = (peak(id="few", full_load_h_below=2500), peak(id="many", full_load_h_from=2500))
    assert faults(*pair) == []
    changed = (energy("old", to_date="2026-12-31"), energy("new", "day", from_date="2027-01-01"))
    assert faults(*changed, energy("rest", "day", outside=True, from_date="2027-01-01")) == []


@pytest.mark.parametrize(
    ("charge", "expected"),
    [
        (
            peak(windows=("nacht",)),
            "tariff.charge[0].windows = 'nacht': the id of a [[tariff.window]]: day, late, winter",
        ),
        (
            peak(individual=IndividualFee(windows=("x",)), period="year"),
            "tariff.charge[0].individual.windows = 'x': the id",
        ),
        (peak(contract_kw=5.0), "tariff.charge[0].contract_kw = 5.0: only where kind is one of: excess, contract"),
        (energy("e", top=3), "tariff.charge[0].top = 3: only where kind is one of: max"),
        (peak(outside=True), "tariff.charge[0].outside = True: windows that it is outside of"),
        (peak(top=3), "tariff.charge[0].top = 3: peaks_of beside it"),
        (peak(set_in=("dec",), period="year"), "tariff.charge[0].set_in = ['dec']: period = \"month\""),
        (peak(set_in=("dez",)), "tariff.charge[0].set_in = 'dez': months such as"),
        (energy("e", period="rolling-12"), "tariff.charge[0].period = 'rolling-12': kind = \"max\""),
        (peak(year_from="10-01"), "tariff.charge[0].year_from = '10-01': period = \"year\""),
        (peak(year_from="02-29", period="year"), "tariff.charge[0].year_from = '02-29': a day that every year has"),
        (
            peak(individual=IndividualFee(windows=("day",))),
            "tariff.charge[0].individual = 'a table': period = \"year\"",
        ),
        (peak(peaks_of="month", period="day"), "tariff.charge[0].peaks_of = 'month': nothing longer than the period"),
        (Charge(id="x", kind="excess", price=1.0), "tariff.charge[0].contract_kw = None: the contracted power"),
        (Charge(id="x", kind="contract", price=1.0), "tariff.charge[0].contract_kw = None: the contracted power"),
        (Charge(id="x", kind="reactive", price=1.0), "tariff.power_factor = None: the power factor of the import"),
        (peak(basis="kVA"), "tariff.power_factor = None: the power factor of the import"),
        (peak(price=0.0, tiers=((0.0, 1.0), (0.0, 2.0))), "pairs of [from, price] with ascending from"),
        (peak(price=0.0, tiers=((0.0, float("inf")),)), "tiers = ((0.0, inf),): finite numbers"),
        (peak(tiers=((0.0, 1.0),)), "tariff.charge[0].price = 1.0: tiers or a price, not both"),
        (peak(interval_min=10), "tariff.charge[0].interval_min = 10: a multiple of the meter's interval"),
        (peak(currency="SEK"), "tariff.charge[0].currency = 'SEK': its rate in [tariff] eur_per"),
        (peak(from_date="2026-02-30"), "tariff.charge[0].from_date = '2026-02-30': a date such as"),
        (peak(from_date="2026-02-03", to_date="2026-02-01"), "tariff.charge[0].to_date = '2026-02-01': no day before"),
        (
            energy("late", "late"),
            "tariff.charge[0].windows = ('late',): a price for every hour: 2027-01-01 08:00 has none",
        ),
        (peak(id="energy"), "tariff.charge[0].id = 'energy': another name"),
        (peak(full_load_h_from=2500), "tariff.charge[0].full_load_h_from = 2500: a charge for years below 2500 h, too"),
        (peak(full_load_h_below=2500), "tariff.charge[0].full_load_h_below = 2500: a charge from 2500 h on, too"),
    ],
)
def test_what_is_wrong_with_a_charge_is_said_once(charge: Charge, expected: str) -> None:
    (found,) = faults(charge)
    assert expected in found


def test_hours_priced_twice_and_years_with_two_prices_are_found() -> None:
    (found,) = faults(energy("day", "day"), energy("late", "late"), energy("rest", "day", outside=True))
    assert "is in 2 windows, 2027-01-01 08:00 in 1" in found
    assert "a charge without windows beside them" in found
    pair = (peak(id="few", full_load_h_below=3000), peak(id="many", full_load_h_from=2500))
    (found,) = faults(*pair)
    assert found == "tariff.charge[1].full_load_h_from = 2500: 3000 h, where the one before ends: no gap, no overlap"
    (found,) = faults(co2_eur_per_tonne=80.0)
    assert found.startswith("tariff.co2_eur_per_tonne = 80.0: tariff.co2_g_per_kwh as well")
    assert not faults(co2_eur_per_tonne=80.0, co2_g_per_kwh=0.0)
    twice = faults(peak(), peak())
    assert twice == ["tariff.charge[1].id = 'p': the id of one [[tariff.charge]] only"]


@pytest.mark.parametrize(
    ("window", "terms", "expected"),
    [
        (
            {"months": ("feb",), "dates": ("03-01..03-31",)},
            {},
            "tariff.window[0].id = 'w': months, days and dates that meet",
        ),
        ({"dates": ("2026-02-03",), "days": ("mon",)}, {}, "this window never comes"),
        ({"dates": ("02-30",)}, {}, "tariff.window[0].dates = '02-30': dates such as"),
        ({"holidays": "outside"}, {}, "tariff.holidays = '': whose holidays window w asks for"),
        ({}, {"holidays": "DE-ZZ"}, "tariff.holidays = 'DE-ZZ': a country and subdivision with known holidays"),
        ({"holidays": "outside"}, {"holidays": "QQ"}, "tariff.holidays = 'QQ': a country and subdivision"),
        (
            {"times": ("08:05-09:00",)},
            {},
            "tariff.window[0].times = ('08:05-09:00',): ends of whole intervals of charge p",
        ),
    ],
)
def test_what_is_wrong_with_a_window_is_said(window: dict[str, object], terms: dict[str, str], expected: str) -> None:
    made = TariffWindow(id="w", **window)  # type: ignore[arg-type]
    (found,) = faults(peak(windows=("w",)), window=(made,), **terms)
    assert expected in found


def test_a_total_in_another_currency_needs_its_rate() -> None:
    (found,) = faults(currency="SEK")
    assert found == "tariff.currency = 'SEK': its rate in [tariff] eur_per, { SEK = ... }, beside charges in EUR"
    assert faults(currency="SEK", eur_per={"SEK": 0.09}) == []
    (found,) = faults(eur_per={"EUR": 1.0, "SEK": 0.09})
    assert found == "tariff.eur_per = 'EUR = 1': rates of other currencies: EUR is what they are in"


def test_charges_of_other_times_are_remarked() -> None:
    charges = (peak(id="a", from_date="2027-01-01"), peak(id="b", to_date="2025-12-31"), peak(id="c"))
    assert list(tariff_remarks(TariffTerms(charge=charges), date(2026, 6, 1))) == [
        "tariff: charge a holds from 2027-01-01 on: it is not billed yet",
        "tariff: charge b held until 2025-12-31: it is billed no more",
    ]


def test_figures_of_another_unit_and_seams_of_dates_are_remarked() -> None:
    charges = (
        Charge(id="ct", kind="energy", price=30),
        Charge(id="krona", kind="energy", price=2.5, currency="SEK"),
        Charge(id="share", kind="energy", price=0.2, vat_pct=0.19),
        Charge(id="w", kind="contract", price=1, contract_kw=80_000),
        Charge(id="old", kind="max", price=1, to_date="2026-12-31"),
        Charge(id="new", kind="max", price=1, from_date="2026-12-31"),
        Charge(id="until", kind="energy", flow="export", price=0.1, to_date="2026-12-30"),
        Charge(id="then", kind="energy", flow="export", price=0.1, from_date="2027-01-01"),
    )
    windows = (TariffWindow(id="gone", dates=("2020-02-03",)), TariffWindow(id="yearly", dates=("12-24..01-01",)))
    terms = TariffTerms(charge=charges, window=windows, eur_per={"SEK": 0.09})
    found = [one for one in tariff_remarks(terms, date(2026, 6, 1)) if "not billed yet" not in one]
    assert found == [
        "tariff: charge ct asks 30 EUR per kWh: is the price one of 100ths or of a MWh?",
        "tariff: charge share has 0.19 % VAT: is it a share, not percent?",
        "tariff: charge w has 80000 kW contracted: are they W?",
        "tariff: window gone has dates of the past only: it comes no more",
        "tariff: charges old and new both hold on 2026-12-31: that day is billed twice",
        "tariff: after 2026-12-30 and before 2027-01-01 neither charge until nor then holds",
    ]
