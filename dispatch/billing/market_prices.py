"""Defines a series of market prices, keyed by UTC instants."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import msgspec

SAME_HOUR_DAYS = 7  # known days whose same hour stands in for a price not yet published


class PriceSeries(msgspec.Struct, frozen=True, cache_hash=True):
    """Day-ahead prices: entry i holds from `start_utc_s[i]` until `start_utc_s[i + 1]`, the last until `end_utc_s`.

    Steps may differ (hourly and quarter-hourly side by side); a gap is an entry whose price is None.
    """

    start_utc_s: tuple[int, ...]
    eur_per_mwh: tuple[float | None, ...]
    end_utc_s: int

    def at(self, utc_s: float) -> float | None:
        """The price in force, EUR/MWh, or None before the first, in a gap, or after the end."""
        if not self.start_utc_s or utc_s < self.start_utc_s[0] or utc_s >= self.end_utc_s:
            return None
        return self.eur_per_mwh[bisect.bisect_right(self.start_utc_s, utc_s) - 1]

    def changes(self, start_utc_s: float, end_utc_s: float) -> Iterator[tuple[float, float | None]]:
        """Each (instant, EUR/MWh or None) from which a price holds within [start, end); the first is at `start`.

        Where the series ends before `end`, the last one yielded is (series end, None). Equal neighbours are one.
        """
        if end_utc_s <= start_utc_s:
            return
        before = self.at(start_utc_s)
        yield start_utc_s, before
        first = bisect.bisect_right(self.start_utc_s, start_utc_s)
        last = bisect.bisect_left(self.start_utc_s, end_utc_s)
        instants = [*self.start_utc_s[first:last], self.end_utc_s] if self.start_utc_s else []
        for instant in instants:
            price = self.at(instant)
            if start_utc_s < instant < end_utc_s and price != before:
                yield instant, price
                before = price


NO_PRICES = PriceSeries((), (), 0)


def published(prices: PriceSeries, utc_s: float) -> float | None:
    """The price in force, EUR/MWh, if one is known and a finite number."""
    price = prices.at(utc_s)
    return price if price is not None and math.isfinite(price) else None


def mean_published(prices: PriceSeries, start_utc_s: float, end_utc_s: float) -> float | None:
    """Mean price over [start, end), each weighted by its time, EUR/MWh; None where any part of it is not known."""
    following = bisect.bisect_right(prices.start_utc_s, start_utc_s)
    if start_utc_s < end_utc_s <= min((prices.end_utc_s, *prices.start_utc_s[following : following + 1])):
        return published(prices, start_utc_s)  # one entry holds all the time
    changes = list(prices.changes(start_utc_s, end_utc_s))
    if len(changes) == 1:
        return published(prices, start_utc_s)
    ends = [*(at for at, _ in changes[1:]), end_utc_s]
    total = 0.0
    for (at, price), end in zip(changes, ends, strict=True):
        if price is None or not math.isfinite(price):
            return None
        total += price * (end - at)
    return total / (end_utc_s - start_utc_s)


def filled_means(
    prices: PriceSeries, starts_utc_s: Sequence[int], step_s: int, timezone: str
) -> tuple[list[float] | None, list[bool]]:
    """Mean price over each step, EUR/MWh, with stand-ins as `filled` has them; and which steps are wholly published.

    For a power that is constant over the step this is the price to charge, however often the price changes in it.
    """
    means = [mean_published(prices, t, t + step_s) for t in starts_utc_s]
    known = [mean is not None for mean in means]
    result = []
    for start, mean in zip(starts_utc_s, means, strict=True):
        if mean is None:
            instants = [at for at, _ in prices.changes(start, start + step_s)]
            market, _ = filled(prices, instants, timezone)
            if market is None:
                return None, known
            lengths = [b - a for a, b in pairwise([*instants, start + step_s])]
            mean = sum(price * length for price, length in zip(market, lengths, strict=True)) / step_s
        result.append(mean)
    return result, known


def filled(prices: PriceSeries, starts_utc_s: Sequence[float], timezone: str) -> tuple[list[float] | None, int]:
    """Market price at each instant, EUR/MWh, and how many of them are stand-ins because none is published.

    A stand-in is the mean of the same local hour on the last seven known days, else the mean of all those days.
    Returns (None, number of instants) when the series holds no price at all.
    """
    known = [published(prices, t) for t in starts_utc_s]
    missing = sum(1 for price in known if price is None)
    if not missing:
        return [price for price in known if price is not None], 0
    hours = _mean_by_hour(prices, timezone)
    if not hours:
        return None, missing
    overall = sum(hours.values()) / len(hours)
    zone = ZoneInfo(timezone)
    result = []
    for t, price in zip(starts_utc_s, known, strict=True):
        result.append(hours.get(_local_hour(t, zone), overall) if price is None else price)
    return result, missing


@lru_cache(maxsize=4)
def _mean_by_hour(prices: PriceSeries, timezone: str) -> Mapping[int, float]:
    zone = ZoneInfo(timezone)
    first = bisect.bisect_left(prices.start_utc_s, prices.end_utc_s - SAME_HOUR_DAYS * 86400)
    seen: dict[int, list[float]] = {}
    for start, price in zip(prices.start_utc_s[first:], prices.eur_per_mwh[first:], strict=True):
        if price is not None and math.isfinite(price):
            seen.setdefault(_local_hour(start, zone), []).append(price)
    return {hour: sum(values) / len(values) for hour, values in seen.items()}


def _local_hour(utc_s: float, zone: ZoneInfo) -> int:
    return datetime.fromtimestamp(utc_s, UTC).astimezone(zone).hour
