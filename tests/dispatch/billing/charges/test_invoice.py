"""The invoice against a slow recomputation, and by hand; what must not change it; what it says."""

from __future__ import annotations

import time
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_recomputation import recomputed
from soak_sizes import examples

from dispatch.billing.charges.invoice import Invoice, Metered, invoice
from dispatch.config.charges import Charge, IndividualFee, MonthWeights, TariffWindow
from dispatch.config.demand_terms import DemandTerms
from dispatch.config.tariff_terms import TariffTerms
from dispatch.wording.catalogue import words

BERLIN = "Europe/Berlin"


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(BERLIN)).timestamp())


def gross(found: Invoice) -> dict[tuple[str, str], Decimal]:
    return {(line.charge, line.period): line.gross for line in found.lines if line.gross}


def billed(tariff: TariffTerms, start: str, kw: list[float], step_s: int = 900, **more: list[float]) -> Invoice:
    metered = Metered(start_utc_s=at(start), step_s=step_s, import_kwh=[w * step_s / 3600 for w in kw], **more)
    return invoice(tariff, BERLIN, 900, metered)


def only(*charges: Charge, **terms: object) -> TariffTerms:
    """These charges; without one on energy the market's price would be billed, too."""
    free = () if any(c.kind == "energy" for c in charges) else (Charge(id="none", kind="energy"),)
    return TariffTerms(charge=(*charges, *free), **terms)  # type: ignore[arg-type]


windows = st.builds(
    TariffWindow,
    id=st.just("w"),
    days=st.sampled_from([(), ("mon-fri",), ("sat", "sun"), ("fri-mon",)]),
    times=st.sampled_from([(), ("06:00-22:00",), ("22:00-06:00",), ("02:00-03:00", "08:15-11:30"), ("00:00-24:00",)]),
    months=st.sampled_from([(), ("oct-mar",), ("mar",), ("apr-oct",)]),
)
prices = st.sampled_from([0.1, 0.0725, 12.345, 150.0])
common = {
    "price": prices,
    "windows": st.sampled_from([(), ("w",)]),
    "vat_pct": st.sampled_from([0.0, 19.0, 25.5]),
    "tiers": st.sampled_from([(), ((0.0, 2.0), (25.0, 1.0)), ((5.0, 1.5),)]),
    "tier_on": st.sampled_from(["part", "whole"]),
}
energy = st.builds(Charge, id=st.just("c"), kind=st.just("energy"), period=st.sampled_from(["day", "month"]), **common)
power = {
    **common,
    "interval_min": st.sampled_from([None, 15, 30, 60]),
    "price_per": st.sampled_from([None, "year"]),
    "period": st.sampled_from(["month", "year"]),
}
peaks = st.builds(
    Charge,
    id=st.just("c"),
    kind=st.just("max"),
    peaks_of=st.sampled_from(["day", "week", "month", "interval"]),
    top=st.integers(1, 4),
    floor_kw=st.sampled_from([0.0, 3.3]),
    **power,
)
excesses = st.builds(
    Charge,
    id=st.just("c"),
    kind=st.just("excess"),
    excess_by=st.sampled_from(["max", "sum", "root-sum-square", "hours"]),
    contract_kw=st.sampled_from([0.0, 40.0]),
    **power,
)


@given(
    charges=st.lists(st.one_of(energy, peaks, excesses), min_size=1, max_size=3),
    window=windows,
    outside=st.booleans(),
    start=st.sampled_from(["2026-03-27T22:30", "2026-10-23T00:00", "2026-02-27T23:45", "2025-12-30T00:15"]),
    values=st.lists(st.integers(0, 80_000), min_size=1, max_size=7),
    count=st.integers(1, 420),
)
@pytest.mark.soak
@settings(max_examples=examples(25))
def test_the_invoice_is_that_of_a_slow_recomputation(
    charges: list[Charge], window: TariffWindow, outside: bool, start: str, values: list[int], count: int
) -> None:
    named = [
        msgspec.structs.replace(charge, id=f"c{n}", outside=outside and bool(charge.windows))
        for n, charge in enumerate(charges)
    ]
    tariff = only(*named, window=(window,))
    kwh = [values[k % len(values)] * (k % 11) / 10_000 for k in range(count)]
    metered = Metered(start_utc_s=at(start), step_s=900, import_kwh=kwh)
    found = invoice(tariff, BERLIN, 900, metered)
    assert gross(found) == recomputed(tariff, metered, 900)
    assert found.total.gross == sum(line.gross for line in found.lines)
    turned = msgspec.structs.replace(tariff, charge=tariff.charge[::-1])
    assert invoice(turned, BERLIN, 900, metered).total == found.total


@given(window=windows, kwh=st.lists(st.integers(0, 9_999), min_size=8, max_size=8), month=st.integers(1, 12))
@settings(max_examples=15)
def test_a_window_and_its_complement_are_all_of_the_time(window: TariffWindow, kwh: list[int], month: int) -> None:
    """On days of 23 and 25 hours, too."""
    day = {3: 28, 10: 24}.get(month, 1)
    tariff = only(
        Charge(id="in", kind="energy", price=1.0, windows=("w",)),
        Charge(id="out", kind="energy", price=1.0, windows=("w",), outside=True),
        Charge(id="all", kind="energy", price=1.0),
        window=(window,),
    )
    found = billed(tariff, f"2026-{month:02d}-{day:02d}T00:00", [kwh[k % 8] / 250 for k in range(200)])
    sums = {name: sum(line.net for line in found.lines if line.charge == name) for name in ("in", "out", "all")}
    assert sums["in"] + sums["out"] == pytest.approx(sums["all"], abs=Decimal("0.03"))
    quantities = {n: sum(line.quantity for line in found.lines if line.charge == n) for n in ("in", "out", "all")}
    assert quantities["in"] + quantities["out"] == pytest.approx(quantities["all"], abs=1e-5)


def test_twice_the_energy_is_twice_the_bill() -> None:
    tariff = only(Charge(id="e", kind="energy", price=0.3), Charge(id="p", kind="max", price=9.0))
    once = billed(tariff, "2026-05-01T00:00", [4.0, 8.0, 2.0])
    twice = billed(tariff, "2026-05-01T00:00", [8.0, 16.0, 4.0])
    assert twice.total.gross == 2 * once.total.gross == Decimal("146.10")  # 7 kWh of 0.30 EUR, 16 kW of 9 EUR
    assert [line.quantity for line in twice.lines] == [2 * line.quantity for line in once.lines]


def test_one_tariff_said_in_both_ways_gives_one_bill() -> None:
    old = TariffTerms(
        fee_eur_per_kwh=0.0321,
        vat_pct=19,
        export_margin_eur_per_kwh=0.004,
        demand=DemandTerms(eur_per_kw=12.5, top_days=2, floor_w=5000, windows=("mon-fri 08:00-20:00",)),
    )
    new = TariffTerms(
        window=(TariffWindow(id="day", days=("mon-fri",), times=("08:00-20:00",)),),
        charge=(
            Charge(id="energy", kind="energy", price=0.0321, market_factor=1, vat_pct=19),
            Charge(id="export", kind="energy", flow="export", price=-0.004, market_factor=1),
            Charge(id="demand", kind="max", price=12.5, peaks_of="day", top=2, floor_kw=5, windows=("day",)),
        ),
    )
    market = [40.0 + 7.31 * (k % 50) for k in range(400)]
    export = [0.25 * (k % 3 == 0) for k in range(400)]
    kw = [3.7 * (k % 13) for k in range(400)]
    bills = [billed(t, "2026-06-04T00:00", kw, export_kwh=export, eur_per_mwh=market) for t in (old, new)]
    assert bills[0] == bills[1]
    assert {line.charge for line in bills[0].lines} == {"energy", "export", "demand"}


def test_a_market_price_that_is_needed_and_not_there_is_said() -> None:
    with pytest.raises(ValueError, match="charge energy: expected market prices: its market_factor is not 0"):
        billed(TariffTerms(), "2026-05-01T00:00", [1.0])


def test_peaks_by_hand() -> None:
    """Two days of quarter hours at 10 kW, with 30 kW on the first at 12:00 and 50 kW on the second at 13:00."""
    kw = [10.0] * 192
    kw[48], kw[96 + 52] = 30.0, 50.0
    two = billed(only(Charge(id="p", kind="max", price=6.0, peaks_of="day", top=2)), "2026-05-05T00:00", kw)
    (line,) = [line for line in two.lines if line.charge == "p"]
    assert (line.quantity, line.net) == (40.0, Decimal("240.00"))
    assert line.set_by_utc_s == (at("2026-05-06T13:00"), at("2026-05-05T12:00"))
    assert [words(remark) for remark in two.remarks] == ["2026-05: 2 of 31 days are in the data; it is charged whole"]
    hour = billed(only(Charge(id="p", kind="max", price=6.0, interval_min=60)), "2026-05-05T00:00", kw)
    assert next(line for line in hour.lines if line.charge == "p").quantity == 20.0
    weighted = Charge(id="p", kind="max", price=6.0, month_weight_pct=MonthWeights(may=25.0))
    assert next(x for x in billed(only(weighted), "2026-05-05T00:00", kw).lines if x.charge == "p").quantity == 12.5


def a_year(kw_of_month: list[float]) -> tuple[str, list[float]]:
    """A year of days at the kW of their month, 2026; steps of a day would not fit an interval: of an hour."""
    start, end = at("2026-01-01T00:00"), at("2027-01-01T00:00")
    zone = ZoneInfo(BERLIN)
    return "2026-01-01T00:00", [kw_of_month[datetime.fromtimestamp(t, zone).month - 1] for t in range(start, end, 3600)]


def by_month(charge: Charge, kw_of_month: list[float], **terms: object) -> list[float]:
    start, kw = a_year(kw_of_month)
    metered = Metered(start_utc_s=at(start), step_s=3600, import_kwh=kw)
    found = invoice(only(charge, **terms), BERLIN, 3600, metered)
    return [line.quantity for line in found.lines if line.charge == charge.id]


def test_a_rolling_year_and_months_that_others_set() -> None:
    kw = [70, 60, 50, 10, 10, 20, 10, 10, 10, 10, 10, 90]
    rolling = Charge(id="p", kind="max", price=1.0, period="rolling-12")
    assert by_month(rolling, kw) == [70] * 11 + [90]
    mean = Charge(id="p", kind="max", price=1.0, period="rolling-12", peaks_of="month", top=12, peak_floor_kw=15)
    assert by_month(mean, kw)[:4] == [70, 65, 60, 48.75]
    set_in = Charge(id="p", kind="max", price=1.0, set_in=("dec-feb",))
    assert by_month(set_in, kw) == [70, 60] + [65] * 9 + [90]


def test_years_of_many_and_of_few_full_load_hours_have_their_prices() -> None:
    pair = (
        Charge(id="few", kind="max", price=10.0, period="year", full_load_h_below=2500),
        Charge(id="many", kind="max", price=100.0, period="year", full_load_h_from=2500),
    )
    tariff = only(*pair)
    for share, expected in ((2490, "few"), (2510, "many")):
        kw = [100.0] * share + [0.0] * (8760 - share)
        found = invoice(tariff, BERLIN, 3600, Metered(start_utc_s=at("2026-01-01T00:00"), step_s=3600, import_kwh=kw))
        (line,) = [line for line in found.lines if line.kind == "max"]
        assert line.charge == expected
        assert words(line.remarks[0]) == f"{share} full-load hours a year, by 365 of 365 days"


HIGH = TariffWindow(id="high", months=("jan",), times=("08:00-10:00",))


@pytest.mark.parametrize(
    ("high_kw", "fee", "billed_kw", "said"),
    [
        (400.0, IndividualFee(windows=("high",), gap_pct=20, gap_kw=100), 400.0, "individual fee: 200.0 kW below"),
        (550.0, IndividualFee(windows=("high",), gap_pct=5, gap_kw=100), 600.0, "no individual fee: highest 550.0 kW"),
        (550.0, IndividualFee(windows=("high",), gap_pct=20), 600.0, "120.0 kW are asked"),
        (400.0, IndividualFee(windows=("high",), least_saving=20_001), 600.0, "it would save 20000.00; 20001.00"),
        (10.0, IndividualFee(windows=("high",), floor_pct=20), 120.0, "individual fee: 590.0 kW below"),
    ],
)
def test_the_individual_fee_is_granted_or_says_why_not(
    high_kw: float, fee: IndividualFee, billed_kw: float, said: str
) -> None:
    kw = [600.0] * 96
    kw[32:40] = [high_kw] * 8
    charge = Charge(id="p", kind="max", price=100.0, period="year", individual=fee)
    found = billed(only(charge, window=(HIGH,)), "2026-01-12T00:00", kw)
    (line,) = [line for line in found.lines if line.charge == "p"]
    assert line.quantity == billed_kw
    assert said in words(line.remarks[0])
    summer = billed(only(charge, window=(HIGH,)), "2026-07-12T00:00", kw)
    (line,) = [line for line in summer.lines if line.charge == "p"]
    assert (line.quantity, words(line.remarks[0])) == (
        600.0,
        "no individual fee: no interval of the high-load windows is in the data",
    )


def test_apparent_and_reactive_power_by_hand() -> None:
    """30 kW with 40 kvar are 50 kVA; a power factor of 0.6 says the same. A quarter hour has 7.5 kWh and 10 kvarh."""
    charges = (
        Charge(id="kva", kind="max", price=2.0, basis="kVA"),
        Charge(id="kvar", kind="max", price=1.0, basis="kvar", free_pct=50),
        Charge(id="kvarh", kind="reactive", price=0.1, free_pct=40),
    )
    measured = billed(only(*charges), "2026-05-01T00:00", [30.0] * 4, reactive_kvarh=[10.0] * 4)
    stated = billed(only(*charges, power_factor=0.6), "2026-05-01T00:00", [30.0] * 4)
    assert gross(measured) == gross(stated)
    quantities = {line.charge: line.quantity for line in measured.lines if line.gross}
    assert quantities == {"kva": 50.0, "kvar": 25.0, "kvarh": 28.0}
    with pytest.raises(ValueError, match="expected reactive energy beside the imported"):
        billed(only(*charges), "2026-05-01T00:00", [30.0])


def test_contract_fixed_and_charges_that_begin_within_a_month() -> None:
    charges = (
        Charge(id="contract", kind="contract", price=36.5, price_per="year", contract_kw=100, period="month"),
        Charge(id="meter", kind="fixed", price=0.5, price_per="day"),
        Charge(id="old", kind="fixed", price=31.0, to_date="2026-05-10"),
        Charge(id="new", kind="fixed", price=62.0, from_date="2026-05-11"),
    )
    found = gross(billed(only(*charges), "2026-05-01T00:00", [1.0] * 96))
    assert {name: amount for (name, _), amount in found.items()} == {
        "contract": Decimal("304.17"),  # 3650 / 12
        "meter": Decimal("15.50"),
        "old": Decimal("10.00"),
        "new": Decimal("42.00"),
    }


def test_lines_in_another_currency_are_turned_at_the_stated_rate() -> None:
    tariff = only(
        Charge(id="sek", kind="fixed", price=100.0, currency="SEK", vat_pct=25),
        Charge(id="eur", kind="fixed", price=1.0),
        eur_per={"SEK": 0.0875},
    )
    found = billed(tariff, "2026-05-01T00:00", [1.0])
    assert {line.charge: (line.gross, line.currency) for line in found.lines if line.gross} == {
        "sek": (Decimal("125.00"), "SEK"),
        "eur": (Decimal("1.00"), "EUR"),
    }
    assert found.total.gross == Decimal("8.75") + Decimal("2.19") + 1


def test_half_a_cent_goes_up_and_vat_is_of_the_rounded_net() -> None:
    tariff = only(
        Charge(id="e", kind="energy", price=0.125, vat_pct=19),
        Charge(id="x", kind="energy", flow="export", price=0.125),
    )
    found = billed(tariff, "2026-05-01T00:00", [4.0], export_kwh=[1.0])
    assert [(line.net, line.vat) for line in found.lines] == [
        (Decimal("0.13"), Decimal("0.02")),
        (Decimal("-0.13"), Decimal("0.00")),
    ]


def test_series_that_do_not_fit_are_refused() -> None:
    tariff = only(Charge(id="p", kind="max", price=1.0))
    with pytest.raises(ValueError, match="export_kwh: 1 values: expected 2"):
        billed(tariff, "2026-05-01T00:00", [1.0, 2.0], export_kwh=[1.0])
    with pytest.raises(ValueError, match="import_kwh: expected finite numbers"):
        billed(tariff, "2026-05-01T00:00", [float("nan")])
    with pytest.raises(ValueError, match="step of 3600 s: expected to divide the interval of 900 s"):
        billed(tariff, "2026-05-01T00:00", [1.0], step_s=3600)
    assert billed(tariff, "2026-05-01T00:00", []).lines == ()


def test_a_year_of_quarter_hours_takes_a_fraction_of_a_second() -> None:
    window = TariffWindow(id="ht", days=("mon-fri",), times=("06:00-22:00",), holidays="as-sunday")
    tariff = only(
        Charge(id="ht", kind="energy", price=0.25, windows=("ht",)),
        Charge(id="nt", kind="energy", price=0.18, windows=("ht",), outside=True),
        Charge(id="year", kind="max", price=120.0, period="year"),
        Charge(id="weeks", kind="max", price=30.0, peaks_of="week", top=5, period="rolling-12"),
        Charge(id="excess", kind="excess", price=3.0, contract_kw=30, excess_by="root-sum-square"),
        Charge(id="base", kind="fixed", price=120.0, price_per="year"),
        window=(window,),
        holidays="DE-BE",
    )
    kwh = [float(k % 97) / 4 for k in range(35_040)]
    begin = time.process_time()
    found = invoice(tariff, BERLIN, 900, Metered(start_utc_s=at("2026-01-01T00:00"), step_s=900, import_kwh=kwh))
    assert time.process_time() - begin < 2.0
    assert len(found.lines) == 12 * 5 + 1
    assert found.remarks == ()


@pytest.mark.parametrize(
    "charge",
    [
        Charge(id="c", kind="max", price=12, period="rolling-12", past_only=True),
        Charge(id="c", kind="max", price=12, set_in=("dec", "jan")),
        Charge(id="c", kind="max", price=12, period="rolling-12"),
    ],
)
def test_a_charge_on_months_before_the_data_has_a_line_that_says_so(charge: Charge) -> None:
    (line,) = (one for one in billed(only(charge), "2025-06-01", [20.0] * 96).lines if one.charge == "c")
    assert (line.quantity, line.net) in ((0.0, Decimal(0)), (20.0, Decimal(240)))
    assert [words(remark) for remark in line.remarks] == ["peaks before 2025-06-01 are not in the data"]
