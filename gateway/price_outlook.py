"""The import price now and for the next 36 h, as consoles show it. EUR/kWh with fees and taxes."""

from __future__ import annotations

from dispatch.config.tariff_terms import TariffTerms
from gateway.api.protocol import TariffNow
from gateway.prices_in_force import PricesInForce

AHEAD_S = 36 * 3600
REBUILD_S = 60  # on the clock's minutes


class PriceOutlook:
    """Computed once a minute, as it is asked for at every tick, and when other prices are in force."""

    def __init__(self, terms: TariffTerms, prices: PricesInForce) -> None:
        self._terms, self._prices = terms, prices
        self.last = TariffNow()
        self._until_s = float("-inf")
        self._of, self._origin = prices.series, prices.origin

    def now(self, utc_s: float) -> TariffNow:
        """The prices as of this moment; computed anew also after a clock was set back."""
        other = self._of is not self._prices.series or self._origin is not self._prices.origin
        if other or not self._until_s - 2 * REBUILD_S < utc_s < self._until_s:
            self._of, self._origin = self._prices.series, self._prices.origin
            self._until_s = utc_s - utc_s % REBUILD_S + REBUILD_S
            self.last = self._compute(utc_s)
        return self.last

    def _compute(self, utc_s: float) -> TariffNow:
        terms, prices = self._terms, self._of
        now = prices.at(utc_s)
        ahead: list[tuple[int, float]] = []
        for start_s, price in zip(prices.start_utc_s, prices.eur_per_mwh, strict=True):
            if price is not None and utc_s - 3600 < start_s < utc_s + AHEAD_S:
                value = round(terms.import_eur_per_kwh(price), 5)
                if not ahead or ahead[-1][1] != value:
                    ahead.append((start_s, value))
        return TariffNow(
            now_eur_per_kwh=None if now is None else round(terms.import_eur_per_kwh(now), 5),
            ahead=tuple(ahead),
            ends_utc_s=prices.end_utc_s if prices.start_utc_s else None,
            source=self._origin.source,
            fetched_utc_s=self._origin.fetched_utc_s,
        )
