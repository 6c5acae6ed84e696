"""What the record keeps of market price and grid CO2, as known at each tick."""

from __future__ import annotations

from typing import NamedTuple

from dispatch.billing.market_prices import NO_PRICES, PriceSeries
from dispatch.config.charges import Charge
from dispatch.config.tariff_terms import TariffTerms
from dispatch.model.carbon import CarbonSeries
from gateway.prices_in_force import PricesInForce
from gateway.recorded_market import RecordedMarket
from storage.signals import CARBON, MARKET_PRICE

T0 = 1_777_975_200
PRICES = PriceSeries((T0, T0 + 3600), (90.0, None), T0 + 7200)


class Feed(NamedTuple):
    """What a feed of the grid's CO2 has fetched."""

    series: CarbonSeries


def test_the_price_before_charges_as_it_is_in_force() -> None:
    prices = PricesInForce(PRICES)
    record = RecordedMarket(TariffTerms(fee_eur_per_kwh=0.1), prices)
    assert [record.figures(T0 + s) for s in (0, 3600)] == [{MARKET_PRICE: 90.0}, {MARKET_PRICE: None}]
    assert record.figures(None) == {MARKET_PRICE: None}, "the clock is not known"
    prices.replace(NO_PRICES)
    assert record.figures(T0) == {MARKET_PRICE: None}


def test_carbon_is_what_was_fetched() -> None:
    record = RecordedMarket(TariffTerms(), PricesInForce(), Feed(CarbonSeries(T0, (310.5,))))
    assert [record.figures(T0 + s)[CARBON] for s in (0, 899, 900)] == [310.5, 310.5, None]
    assert record.figures(None)[CARBON] is None


def test_a_site_without_market_and_feed_has_no_such_signal() -> None:
    fixed = TariffTerms(charge=(Charge(id="energy", kind="energy", price=0.3),))
    assert RecordedMarket(fixed, PricesInForce(PRICES)).figures(T0) == {}
