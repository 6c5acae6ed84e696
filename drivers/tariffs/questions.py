"""Asks about prices that look as if their unit were another, or as if they stood for missing ones.

Prices are never converted by guess: a question is put to whoever keeps the file. What follows from it is decided where
the prices are used: replay and sizing use them as declared and print it, a gateway does not use them (`acceptance`).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from statistics import median

from dispatch.billing.market_prices import PriceSeries

# Means of European day-ahead prices: 20 to 300 EUR/MWh, single sunny days near 0 (SMARD, Energy-Charts, 2015-2025).
PER_KWH = 1.0  # EUR/MWh; a mean below it is 10 to 100 ct/kWh written in EUR
CT_SURE = 20.0  # EUR/MWh; a file without any price above it
CT_LIKELY = 60.0  # EUR/MWh; ... above it, which is a mild day, but not with decimals that the market does not quote,
WEEK_S = 7 * 86_400  # nor for a whole week
TOO_DEAR = 500.0  # EUR/MWh; the dearest month of Germany had a mean of 465 (August 2022)
A_DAY_S = 23 * 3600  # the shortest local day
OTHER_DAY = 5.0  # times lower than the file's other days, and with more decimals: a day in another unit
LEAST_SHARED = 4  # prices that two series both tell, or nothing is said of their units
LEAST_SHARED_EUR = 1.0  # EUR/MWh; a ratio to less than that says nothing
IF_TRUE = "If they are right as declared, set prices_as_declared = true in [tariff]"


def unit_question(prices: PriceSeries) -> str:
    """What to ask about the unit of whoever keeps the file; empty for prices as they are usual."""
    known = [price for price in prices.eur_per_mwh if price is not None]
    highest, mean = max(map(abs, known), default=0.0), sum(map(abs, known)) / max(len(known), 1)
    if highest == 0:
        return ""
    found = f"the highest price is {highest:.3g} EUR/MWh, the mean {mean:.3g}"
    if mean < PER_KWH:
        return f"{found}: are they EUR/kWh? Then name the column price_eur_per_kwh. {IF_TRUE}"
    if _looks_like_ct(prices, known, highest):
        return f"{found}: are they ct/kWh? Then name the column price_ct_per_kwh. {IF_TRUE}"
    if mean > TOO_DEAR:
        return f"the mean price is {mean:.0f} EUR/MWh: is the unit of the column right, and is it EUR? {IF_TRUE}"
    return ""


def day_question(prices: PriceSeries) -> str:
    """What to ask about a whole day of exactly 0, or one in another unit than the rest; empty where there is none."""
    zero = list(_zero_days(prices))
    if not zero:
        return _other_day(prices)
    first_s, length_s = zero[0]
    more = f", and {len(zero) - 1} more such times" if len(zero) > 1 else ""
    return (
        f"every price is 0.00 for {length_s / 3600:g} h from {_stamp(first_s)} on{more}: are these prices, or missing "
        f"ones? Leave out rows that are missing. {IF_TRUE}"
    )


def factor_beside(prices: PriceSeries, others: PriceSeries) -> float | None:
    """How many times the others these prices are, where both are known: the median. None: too few are."""
    ratios = []
    for start_s, price in zip(prices.start_utc_s, prices.eur_per_mwh, strict=True):
        other = others.at(start_s)
        if price is not None and other is not None and abs(other) >= LEAST_SHARED_EUR:
            ratios.append(price / other)
    return median(ratios) if len(ratios) >= LEAST_SHARED else None


def _looks_like_ct(prices: PriceSeries, known: list[float], highest: float) -> bool:
    """The market quotes EUR/MWh with two decimals; ct/kWh have three or more."""
    if highest < CT_SURE:
        return True
    long = prices.end_utc_s - prices.start_utc_s[0] >= WEEK_S
    return highest < CT_LIKELY and (_finer(known) > 0.5 or long)


def _finer(known: list[float]) -> float:
    """The share of prices with more decimals than the market quotes."""
    return sum(abs(100 * price - round(100 * price)) > 1e-6 for price in known) / len(known)


def _other_day(prices: PriceSeries) -> str:
    """A question about the first day that is written in another way than the rest of the file."""
    days: dict[int, list[float]] = {}
    for start_s, price in zip(prices.start_utc_s, prices.eur_per_mwh, strict=True):
        if price is not None:
            days.setdefault(start_s // 86_400, []).append(price)
    means = {day: sum(map(abs, known)) / len(known) for day, known in days.items()}
    usual = median(means.values())
    for day, mean in sorted(means.items()):
        if 0 < mean < usual / OTHER_DAY and _finer(days[day]) > 0.5 and mean < CT_SURE:
            return (
                f"the mean price of {_stamp(86_400 * day)[:10]} is {mean:.2g} EUR/MWh, that of other days {usual:.3g}, "
                f"and it has more decimals: is it in another unit? {IF_TRUE}"
            )
    return ""


def _stamp(utc_s: float) -> str:
    return f"{datetime.fromtimestamp(utc_s, UTC):%Y-%m-%dT%H:%M:%SZ}"


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
