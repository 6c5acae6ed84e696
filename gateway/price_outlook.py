"""The import price now and for the next 36 h, as consoles show it. EUR/kWh with fees and taxes."""

from __future__ import annotations

from dispatch.billing.charges.energy_prices import by_time, import_price, uses_market
from dispatch.model.forecast import QUARTER_S
from drivers.config import TariffConfig
from gateway.api.protocol import TariffNow
from gateway.prices_in_force import PricesInForce

AHEAD_S = 36 * 3600
FIXED_DAYS = 8  # prices without a market's part end in so many days, beyond every plan
REBUILD_S = 60  # on the clock's minutes


class PriceOutlook:
    """Computed once a minute, as it is asked for at every tick, and when other prices are in force."""

    def __init__(self, terms: TariffConfig, timezone: str, prices: PricesInForce) -> None:
        self._terms, self._timezone, self._prices = terms, timezone, prices
        self._by_time, self._market = by_time(terms), uses_market(terms)
        self.expected = self._market and bool(terms.file or terms.feed)  # there should be market prices
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
        now = self._price(utc_s)
        ahead: list[tuple[int, float]] = []
        for start_s in self._instants(utc_s):
            price = self._price(start_s)
            if price is not None and (not ahead or ahead[-1][1] != round(price, 5)):
                ahead.append((start_s, round(price, 5)))
        return TariffNow(
            now_eur_per_kwh=None if now is None else round(now, 5),
            ahead=tuple(ahead),
            ends_utc_s=self._end_s(utc_s),
            source=self._origin.source if self._market else "",
            fetched_utc_s=self._origin.fetched_utc_s if self._market else None,
        )

    def _price(self, utc_s: float) -> float | None:
        return import_price(self._terms, self._timezone, utc_s, self._of.at(utc_s))

    def _instants(self, utc_s: float) -> list[int]:
        """When the price may change, from an hour ago: where the market's does, and each quarter hour with windows."""
        begin_s, end_s = utc_s - 3600, utc_s + AHEAD_S
        instants = {start_s for start_s in self._of.start_utc_s if begin_s < start_s < end_s} if self._market else set()
        if self._by_time or not self._market:
            first_s = int(begin_s // QUARTER_S + 1) * QUARTER_S
            instants.update(range(first_s, int(end_s), QUARTER_S))
        return sorted(instants)

    def _end_s(self, utc_s: float) -> int | None:
        if not self._market:
            return int(utc_s // 86400 + FIXED_DAYS) * 86400
        return self._of.end_utc_s if self._of.start_utc_s else None
