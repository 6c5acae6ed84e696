"""What the record keeps of the market at each tick: the price and the grid's CO2 as they are known at the time."""

from __future__ import annotations

from typing import Protocol

from dispatch.billing.charges.energy_prices import uses_market
from dispatch.billing.market_prices import published
from dispatch.config.tariff_terms import TariffTerms
from dispatch.model.carbon import CarbonSeries
from gateway.prices_in_force import PricesInForce
from storage.signals import CARBON, MARKET_PRICE


class FetchedCarbon(Protocol):
    """What is known of the grid's CO2 by a feed; what the site file states is no measurement."""

    @property
    def series(self) -> CarbonSeries:
        """By the quarter hour."""


class RecordedMarket:
    """Signals for the record; none of what the site does not have."""

    def __init__(self, terms: TariffTerms, prices: PricesInForce, carbon: FetchedCarbon | None = None) -> None:
        """`carbon`: None: no feed of it."""
        self._market, self._prices, self._carbon = uses_market(terms), prices, carbon

    def figures(self, utc_s: float | None) -> dict[str, float | None]:
        """Market price, EUR/MWh, before all charges; CO2 of the grid, g/kWh. `utc_s` None: the time is not known."""
        found: dict[str, float | None] = {}
        if self._market:
            found[MARKET_PRICE] = None if utc_s is None else published(self._prices.series, utc_s)
        if self._carbon is not None:
            found[CARBON] = None if utc_s is None else self._carbon.series.at(utc_s)
        return found
