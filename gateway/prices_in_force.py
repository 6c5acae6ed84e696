"""The prices in force: one holder that planner, control loop, consoles and Energy IQ all read."""

from __future__ import annotations

import msgspec

from dispatch.billing.market_prices import NO_PRICES, PriceSeries
from dispatch.model.reasons import Reason


class PriceOrigin(msgspec.Struct, frozen=True):
    """Which feed prices come from, such as "Energy-Charts DE-LU", and when they were fetched."""

    source: str = ""
    fetched_utc_s: float | None = None


NO_ORIGIN = PriceOrigin()


class PricesInForce:
    """`series` is replaced as a whole; whoever uses it over more than one step takes it once.

    `error`: why the price file cannot be used as it is now; empty: it can. `series` is then what was read before.
    `origin`: where fetched prices come from. `overdue`: why they have not come that should be there; None: they have.
    """

    def __init__(self, series: PriceSeries = NO_PRICES, error: str = "") -> None:
        self.series, self.error = series, error
        self.origin = NO_ORIGIN
        self.overdue: Reason | None = None

    def replace(self, series: PriceSeries, origin: PriceOrigin = NO_ORIGIN) -> None:
        """Put other prices in force, from a file or feed that can be used."""
        self.series, self.error, self.origin = series, "", origin

    def refuse(self, why: str) -> None:
        """The file cannot be used: what is in force stays."""
        self.error = why

    def note_overdue(self, why: Reason | None) -> None:
        """Prices that should be known by now are not, and why; None: they are."""
        self.overdue = why

    @property
    def end_utc_s(self) -> float | None:
        """When the last known price ends; None: none is known."""
        return self.series.end_utc_s if self.series.start_utc_s else None
