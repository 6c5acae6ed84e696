"""Asks about prices that look as if their unit were another, or as if they stood for missing ones.

Prices are never converted by guess: a question is put to whoever keeps the file, the prices are used as declared.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from dispatch.billing.prices import PriceSeries

# Means of European day-ahead prices: 20 to 300 EUR/MWh, single sunny days near 0 (SMARD, Energy-Charts, 2015-2025).
PER_KWH = 1.0  # EUR/MWh; a mean below it is 10 to 100 ct/kWh written in EUR
CT_SURE = 20.0  # EUR/MWh; a file without any price above it
CT_LIKELY = 60.0  # EUR/MWh; ... above it, which is a mild day, but not with decimals that the market does not quote,
WEEK_S = 7 * 86_400  # nor for a whole week
TOO_DEAR = 500.0  # EUR/MWh; the dearest month of Germany had a mean of 465 (August 2022)
A_DAY_S = 23 * 3600  # the shortest local day


def questions(prices: PriceSeries) -> Iterator[str]:
    """What to ask of whoever keeps the file; nothing about prices as they are usual."""
    known = [price for price in prices.eur_per_mwh if price is not None]
    highest, mean = max(map(abs, known), default=0.0), sum(map(abs, known)) / max(len(known), 1)
    zero = list(_zero_days(prices))
    if zero:
        first_s, length_s = zero[0]
        more = f", and {len(zero) - 1} more such times" if len(zero) > 1 else ""
        when = f"{datetime.fromtimestamp(first_s, UTC):%Y-%m-%dT%H:%M:%SZ}"
        yield f"every price is 0.00 for {length_s / 3600:g} h from {when} on{more}: are these prices, or missing ones?"
    if highest == 0:
        return
    if mean < PER_KWH:
        yield (
            f"the highest price is {highest:.3g} EUR/MWh, the mean {mean:.2g}: are they EUR/kWh? Then name the column "
            "price_eur_per_kwh; they are used as EUR/MWh until it says so"
        )
    elif _looks_like_ct(prices, known, highest):
        yield (
            f"the highest price is {highest:.3g} EUR/MWh, the mean {mean:.3g}: are they ct/kWh? Then name the column "
            "price_ct_per_kwh; they are used as EUR/MWh until it says so"
        )
    elif mean > TOO_DEAR:
        yield f"the mean price is {mean:.0f} EUR/MWh: is the unit of the column right, and is it EUR?"


def _looks_like_ct(prices: PriceSeries, known: list[float], highest: float) -> bool:
    """The market quotes EUR/MWh with two decimals; ct/kWh have three or more."""
    if highest < CT_SURE:
        return True
    finer = sum(abs(100 * price - round(100 * price)) > 1e-6 for price in known)
    long = prices.end_utc_s - prices.start_utc_s[0] >= WEEK_S
    return highest < CT_LIKELY and (finer > len(known) / 2 or long)


def _zero_days(prices: PriceSeries) -> Iterator[tuple[int, int]]:
    """(start, length in s) of each time of a day or more in which every price is exactly 0."""
    ends = [*prices.start_utc_s[1:], prices.end_utc_s]
    begin: int | None = None
    for (start, price), end in zip(zip(prices.start_utc_s, prices.eur_per_mwh, strict=True), ends, strict=True):
        if price == 0.0:
            begin = start if begin is None else begin
            last = end
        elif begin is not None:
            if last - begin >= A_DAY_S:
                yield begin, last - begin
            begin = None
    if begin is not None and last - begin >= A_DAY_S:
        yield begin, last - begin
