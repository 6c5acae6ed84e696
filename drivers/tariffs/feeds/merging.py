"""Puts fetched prices together with those that were known before."""

from __future__ import annotations

from dispatch.billing.market_prices import PriceSeries

KEPT_S = 10 * 86_400  # of the past: stand-ins are made of the last seven days


def merged(known: PriceSeries, new: PriceSeries, now_s: float) -> PriceSeries:
    """The new prices, and the known ones wherever the new do not tell one; the past as far back as is of use."""
    from_s = int(now_s) - KEPT_S
    instants = sorted(s for s in {*known.start_utc_s, known.end_utc_s, *new.start_utc_s, new.end_utc_s} if s >= from_s)
    starts: list[int] = []
    prices: list[float | None] = []
    for s in instants:
        told = new.at(s)
        starts.append(s)
        prices.append(known.at(s) if told is None else told)
    while prices and prices[0] is None:
        starts, prices = starts[1:], prices[1:]
    end_s = starts[-1] if starts else 0
    while prices and prices[-1] is None:
        end_s = starts.pop()
        prices.pop()
    return PriceSeries(tuple(starts), tuple(prices), end_s)
