"""What a kWh costs at an instant: plain keys to the last bit, windows, VAT, no market at all."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_site import site_config

from dispatch.billing.bill import Flow, bill
from dispatch.billing.charges.energy_prices import (
    ImportPrices,
    by_time,
    energy_prices,
    import_price,
    market_behind,
    uses_market,
)
from dispatch.config.charges import Charge, TariffWindow
from dispatch.config.tariff_terms import TariffTerms

BERLIN = "Europe/Berlin"
DAY = TariffWindow(id="day", times=("06:00-22:00",))
PAIR = (
    Charge(id="ht", kind="energy", price=0.30, windows=("day",), vat_pct=20),
    Charge(id="nt", kind="energy", price=0.20, windows=("day",), outside=True, vat_pct=20),
)
FIXED = TariffTerms(window=(DAY,), charge=PAIR)
NOON, NIGHT = (
    datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(BERLIN)).timestamp()
    for text in ("2026-05-05T12:00", "2026-05-05T23:00")
)

cents = st.floats(0, 0.3)


@given(cents, cents, st.floats(0, 30), st.floats(-0.01, 0.05), st.floats(-500, 4000))
def test_plain_keys_give_the_price_that_they_always_gave(
    fee: float, tax: float, vat_pct: float, margin: float, market: float
) -> None:
    """To the last bit, and the same as the charges that they stand for."""
    old = TariffTerms(fee_eur_per_kwh=fee, tax_eur_per_kwh=tax, vat_pct=vat_pct, export_margin_eur_per_kwh=margin)
    buy, sell = (market / 1000 + fee + tax) * (1 + vat_pct / 100), market / 1000 - margin
    new = TariffTerms(charge=tuple(msgspec.structs.replace(c, id=f"new {c.id}") for c in old.charges))
    for tariff in (old, new):
        assert energy_prices(tariff, BERLIN, [NOON], [market]) == ([buy], [sell])
        assert import_price(tariff, BERLIN, NOON, market) == buy


def test_a_tariff_by_windows_needs_no_market() -> None:
    assert not uses_market(FIXED)
    assert by_time(FIXED)
    assert energy_prices(FIXED, BERLIN, [NOON, NIGHT]) == ([pytest.approx(0.36), pytest.approx(0.24)], [0.0, 0.0])
    assert import_price(FIXED, BERLIN, NIGHT) == pytest.approx(0.24)
    assert not by_time(TariffTerms())


def test_a_market_that_is_needed_and_not_known_is_none_or_an_error() -> None:
    assert import_price(TariffTerms(), BERLIN, NOON) is None
    with pytest.raises(ValueError, match="charge energy: expected a market price"):
        energy_prices(TariffTerms(), BERLIN, [NOON])


def test_fees_stand_beside_charges_and_the_market_is_billed_once() -> None:
    grid = Charge(id="grid", kind="energy", price=0.05, windows=("day",))
    spot = Charge(id="spot", kind="energy", price=0.01, market_factor=1.0)
    tariff = TariffTerms(fee_eur_per_kwh=0.02, tax_eur_per_kwh=0.03, window=(DAY,), charge=(grid, spot))
    assert [c.id for c in tariff.charges] == ["energy", "tax", "export", "grid", "spot"]
    prices = energy_prices(tariff, BERLIN, [NOON, NIGHT], [100.0, 50.0])
    assert prices.buy == [pytest.approx(0.1 + 0.01 + 0.05 + 0.05), pytest.approx(0.05 + 0.01 + 0.05)]
    assert prices.sell == [pytest.approx(0.1), pytest.approx(0.05)]
    assert market_behind(ImportPrices(tariff, BERLIN), NOON, prices.buy[0]) == pytest.approx(100.0)
    assert market_behind(ImportPrices(FIXED, BERLIN), NOON, 0.3) is None


def test_instant_after_instant_as_all_at_once() -> None:
    """To the last bit, whichever charges hold, and whichever held before; a changed copy of a charge is another."""
    spot = Charge(id="spot", kind="energy", price=0.01, market_factor=1.1, windows=("day",), vat_pct=7)
    tariff = msgspec.structs.replace(FIXED, charge=(*PAIR, spot), tax_eur_per_kwh=0.03, vat_pct=19)
    instants = [NOON + 3600 * n for n in range(30)]
    market = [-50.0 + 7 * n for n in range(30)]
    cost = ImportPrices(tariff, BERLIN)
    assert [cost.at(*pair) for pair in zip(instants, market, strict=True)] == energy_prices(
        tariff, BERLIN, instants, market
    ).buy
    assert cost.at(NOON) is None
    assert cost.at(NIGHT) == pytest.approx(0.2 * 1.2 + 0.03 * 1.19)
    assert hash(msgspec.structs.replace(spot, price=0.02)) != hash(spot)


def test_other_currencies_first_tiers_and_usual_years() -> None:
    tariff = TariffTerms(
        currency="SEK",
        eur_per={"SEK": 0.1},
        charge=(
            Charge(id="tiers", kind="energy", tiers=((0.0, 2.0), (1000.0, 1.0))),
            Charge(id="few", kind="energy", price=9.0, full_load_h_below=2500),
            Charge(id="many", kind="energy", price=1.0, full_load_h_from=2500),
        ),
    )
    assert import_price(tariff, BERLIN, NOON) == pytest.approx(0.3)


def a_flow(step_s: int = 900) -> Flow:
    n = 2 * 86400 // step_s
    return Flow(
        start_utc_s=1_777_845_600,  # 2026-05-04 00:00 in Berlin, a Monday
        step_s=step_s,
        load_w=[20_000.0 + 1000 * (k % 7) for k in range(n)],
        pv_w=[0.0] * n,
        eur_per_mwh=[0.0] * n,
        battery_w=[0.0] * n,
    )


def test_a_bill_has_every_charge_once() -> None:
    """48 h at 20 to 26 kW; 100 kW contracted at 2 EUR, 5 EUR fixed, the peak of 26 kW at 10 EUR and 19 % VAT."""
    charges = (
        *PAIR,
        Charge(id="peak", kind="max", price=10.0, vat_pct=19),
        Charge(id="contract", kind="contract", price=2.0, contract_kw=100),
        Charge(id="meter", kind="fixed", price=5.0),
    )
    config = msgspec.structs.replace(site_config(), tariff=TariffTerms(window=(DAY,), charge=charges))
    found = bill(config, a_flow())
    assert found.peak_eur == pytest.approx(26 * 10 * 1.19)
    assert found.standing_eur == pytest.approx(205.0)
    assert found.peaks_w == {"2026-05": pytest.approx(26_000)}
    at_night = sum(w for k, w in enumerate(a_flow().load_w) if not 24 <= k % 96 < 88) / 4000
    assert found.energy_eur == pytest.approx(0.24 * at_night + 0.36 * (found.import_kwh - at_night))
    assert found.total_eur == pytest.approx(found.energy_eur + found.peak_eur + 205.0)


def test_a_bill_has_tiers_and_years_as_they_come() -> None:
    """1104 kWh in two days: 600 at 0.30, the rest at 0.10; some 7400 full-load hours a year."""
    charges = (
        Charge(id="tiers", kind="energy", tiers=((0.0, 0.3), (600.0, 0.1))),
        Charge(id="few", kind="energy", price=9.0, full_load_h_below=2500),
    )
    config = msgspec.structs.replace(site_config(), tariff=TariffTerms(charge=charges))
    found = bill(config, a_flow())
    assert found.import_kwh > 1000
    assert found.energy_eur == pytest.approx(180 + 0.1 * (found.import_kwh - 600))


def test_the_two_ways_to_say_a_demand_charge_bill_the_same() -> None:
    old = msgspec.structs.replace(site_config(), tariff=TariffTerms(demand_eur_per_kw_month=10.0))
    charge = Charge(id="peak", kind="max", price=10.0)
    new = msgspec.structs.replace(site_config(), tariff=TariffTerms(charge=(charge,)))
    one, other = bill(old, a_flow()), bill(new, a_flow())
    assert one.total_eur == pytest.approx(other.total_eur, abs=1e-9)
    assert one.peaks_w == {period: pytest.approx(w) for period, w in other.peaks_w.items()}
