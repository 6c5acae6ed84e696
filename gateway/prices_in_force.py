"""The prices in force: one holder that planner, control loop, consoles and Energy IQ all read."""

from __future__ import annotations

from dispatch.billing.prices import NO_PRICES, PriceSeries


class PricesInForce:
    """`series` is replaced as a whole; whoever uses it over more than one step takes it once.

    `error`: why the price file cannot be used as it is now; empty: it can. `series` is then what was read before.
    """

    def __init__(self, series: PriceSeries = NO_PRICES, error: str = "") -> None:
        self.series, self.error = series, error

    def replace(self, series: PriceSeries) -> None:
        """Put other prices in force, from a file that can be used."""
        self.series, self.error = series, ""

    def refuse(self, why: str) -> None:
        """The file cannot be used: what is in force stays."""
        self.error = why

    @property
    def end_utc_s(self) -> float | None:
        """When the last known price ends; None: none is known."""
        return self.series.end_utc_s if self.series.start_utc_s else None
