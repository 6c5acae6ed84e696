"""Makes a price series of what a feed answers, or says by name why it cannot be used.

Nothing is guessed: two prices for one time, another currency, a time that was not asked for are refused; a day that
looks as if it stood for missing prices, or for those of another day, is left out, and said.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from itertools import pairwise

import msgspec

from dispatch.billing.market_prices import NO_PRICES, PriceSeries
from dispatch.wording.formatting import span
from drivers.tariffs.acceptance import SAME_UNIT
from drivers.tariffs.csv_file import PRICE_LIMIT_EUR_PER_MWH, RASTER_S
from drivers.tariffs.feeds.answer import PER_MWH_DECIMALS, FeedAnswer, FeedError, PriceRow
from drivers.tariffs.feeds.market_days import day_begin_s, day_end_s, market_day
from drivers.tariffs.questions import factor_beside
from drivers.tariffs.series import steps_of

EUR = "EUR"
AROUND_S = 86_400  # prices this far from the time asked for are taken, too: some feeds answer in whole days of UTC
MOST_ROWS = 5000
LEAST_DIFFERENT = 3  # prices of a day that is compared with the day before: a fixed price is the same every day
DAY_S = 86_400


class Checked(msgspec.Struct, frozen=True):
    """Prices that can be used, EUR/MWh, and what must be said of them."""

    prices: PriceSeries
    remarks: tuple[str, ...] = ()


def checked(
    answer: FeedAnswer,
    begin_s: int,
    end_s: int,
    eur_per: Mapping[str, float],
    known: PriceSeries = NO_PRICES,
    *,
    repeats: bool = False,
    as_declared: bool = False,
) -> Checked:
    """The prices of an answer to a question for [begin, end). Raises FeedError.

    `eur_per`: stated rates of other currencies. `known`: prices in force, for a day that repeats the one before.
    `repeats`: days may be alike, as those of a tariff by the time of day. `as_declared`: no day is doubted.
    """
    rate = _rate(answer.currency, eur_per)
    rows, remarks = _single(_with_ends(_inside(answer.rows, begin_s, end_s)))
    prices = _series(rows, rate)
    doubtful = {} if as_declared else dict(_doubtful_days(prices, known, repeats))
    for day, why in doubtful.items():
        prices = _without(prices, day)
        remarks.append(f"{day}: {why}; the day is left out")
    if not prices.start_utc_s:
        raise FeedError("; ".join(remarks))
    factor = None if as_declared else factor_beside(prices, known)
    if factor is not None and not SAME_UNIT[0] <= factor <= SAME_UNIT[1]:
        raise FeedError(
            f"has {factor:.3g} times the prices known for the same hours: expected the same unit and zone; if those "
            "known are wrong, set prices_as_declared = true in [tariff]"
        )
    remarks += [f"{day}: {why}" for day, why in _short_days(prices) if day not in doubtful]
    return Checked(prices, tuple(remarks))


def _rate(currency: str, eur_per: Mapping[str, float]) -> float:
    """EUR per unit of a currency. Raises FeedError."""
    rate = 1.0 if currency == EUR else eur_per.get(currency)
    if rate is None:
        raise FeedError(f"has prices in {currency[:10]!r}: expected EUR, or a rate for it in eur_per of [tariff]")
    return rate


def _inside(rows: Sequence[PriceRow], begin_s: int, end_s: int) -> list[PriceRow]:
    """The rows about the time that was asked for, sorted. Raises FeedError."""
    if len(rows) > MOST_ROWS:
        raise FeedError(f"has {len(rows)} prices: expected at most {MOST_ROWS}")
    for row in rows:
        if not math.isfinite(row.per_mwh) or abs(row.per_mwh) > PRICE_LIMIT_EUR_PER_MWH:
            limit = f"{PRICE_LIMIT_EUR_PER_MWH:g}"
            raise FeedError(f"has a price of {row.per_mwh:g} per MWh: expected within +-{limit}")
    near = sorted(row for row in rows if begin_s - AROUND_S <= row.start_s < end_s + AROUND_S)
    if not near:
        starts = [row.start_s for row in rows]
        found = f"prices from {_words(min(starts))} to {_words(max(starts))}" if starts else "no price"
        raise FeedError(f"has {found}: expected some from {_words(begin_s)} to {_words(end_s)}")
    off = next((row for row in near if row.start_s % RASTER_S), None)
    if off is not None:
        raise FeedError(f"has a price that begins at {_words(off.start_s)}: expected a full five minutes")
    return near


def _with_ends(rows: list[PriceRow]) -> list[PriceRow]:
    """Rows that do not say when they end last as long as those around them."""
    if all(row.end_s is not None for row in rows):
        return rows
    starts = sorted({row.start_s for row in rows})
    step_s = dict(zip(starts, steps_of(starts), strict=True))
    return [row if row.end_s is not None else row._replace(end_s=row.start_s + step_s[row.start_s]) for row in rows]


def _single(rows: list[PriceRow]) -> tuple[list[PriceRow], list[str]]:
    """Each row once; what must be said of those that come twice. Raises FeedError where two differ or overlap."""
    once = [*dict.fromkeys(rows)]
    for row, following in pairwise(once):
        if (row.end_s or 0) > following.start_s:
            both = f"{row.per_mwh:g} and {following.per_mwh:g}"
            raise FeedError(f"has two prices for {_words(following.start_s)}, {both}: expected one")
    twice = len(rows) - len(once)
    return once, [f"tells {twice} prices twice, alike"] if twice else []


def _series(rows: list[PriceRow], rate: float) -> PriceSeries:
    """The series; a time between two rows that neither covers is a gap."""
    starts: list[int] = []
    prices: list[float | None] = []
    end_s = rows[0].start_s
    for row in rows:
        if row.start_s > end_s:
            starts.append(end_s)
            prices.append(None)
        starts.append(row.start_s)
        prices.append(row.per_mwh if rate == 1 else round(row.per_mwh * rate, PER_MWH_DECIMALS))
        end_s = row.end_s or row.start_s
        if end_s <= row.start_s:
            raise FeedError(f"has a price that ends at {_words(end_s)}, where it begins: expected a later end")
    return PriceSeries(tuple(starts), tuple(prices), end_s)


def _days(prices: PriceSeries) -> Iterator[date]:
    """The market days of which the series tells a price."""
    known = (s for s, price in zip(prices.start_utc_s, prices.eur_per_mwh, strict=True) if price is not None)
    yield from dict.fromkeys(market_day(s) for s in known)


def _doubtful_days(prices: PriceSeries, known: PriceSeries, repeats: bool) -> Iterator[tuple[date, str]]:
    """Days that stand for missing prices, or for those of another day, and why that seems so."""
    for day in _days(prices):
        begin_s, end_s = day_begin_s(day), day_end_s(day)
        told = dict(prices.changes(begin_s, end_s))
        if set(told.values()) == {0.0}:
            yield day, "every price is 0.00"
        elif not repeats and len(set(told.values())) >= LEAST_DIFFERENT and _as_before(prices, known, begin_s, end_s):
            yield day, "every price is that of the day before"


def _as_before(prices: PriceSeries, known: PriceSeries, begin_s: int, end_s: int) -> bool:
    before = known if known.at(begin_s - DAY_S) is not None else prices
    return list(prices.changes(begin_s, end_s)) == [
        (s + DAY_S, price) for s, price in before.changes(begin_s - DAY_S, end_s - DAY_S)
    ]


def _without(prices: PriceSeries, day: date) -> PriceSeries:
    """The same without a day: a gap, or an earlier end."""
    begin_s, end_s = day_begin_s(day), day_end_s(day)
    kept = [
        (s, None if begin_s <= s < end_s else price)
        for s, price in zip(prices.start_utc_s, prices.eur_per_mwh, strict=True)
    ]
    until_s = prices.end_utc_s
    while kept and kept[-1][1] is None:
        until_s = kept.pop()[0]
    return PriceSeries(tuple(s for s, _ in kept), tuple(price for _, price in kept), until_s) if kept else NO_PRICES


def _short_days(prices: PriceSeries) -> Iterator[tuple[date, str]]:
    """Days of which the series tells only a part."""
    for day in _days(prices):
        begin_s, end_s = day_begin_s(day), day_end_s(day)
        first_s = max(begin_s, prices.start_utc_s[0])
        changes = [*prices.changes(first_s, end_s), (end_s, None)]
        told_s = sum(b[0] - a[0] for a, b in pairwise(changes) if a[1] is not None)
        if begin_s >= prices.start_utc_s[0] and told_s < end_s - begin_s:
            yield day, f"prices of {span(told_s)} of {span(end_s - begin_s)}"


def _words(utc_s: float) -> str:
    try:
        return f"{datetime.fromtimestamp(utc_s, UTC):%Y-%m-%dT%H:%MZ}"
    except (ValueError, OverflowError, OSError):
        return f"{utc_s:g} s"
