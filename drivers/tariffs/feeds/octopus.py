"""Octopus Energy (Great Britain): the unit rates of a tariff, half-hourly for Agile. Free, without a key.

`GET https://api.octopus.energy/v1/products/PRODUCT/electricity-tariffs/TARIFF/standard-unit-rates/` answers `results`,
newest first: `value_exc_vat` in pence per kWh, `valid_from`, `valid_to` (null: until further notice) and
`payment_method`. As in recorded answers in the tests of ryanw-mobile/OctoMeter (GetStandardUnitRatesSampleData); the
answer does not name the tariff. VAT is left out: `vat_pct` of [tariff] has it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

import msgspec

from drivers.http.page import Request
from drivers.tariffs.feeds.answer import FeedAnswer, FeedError, NotPublished, PriceRow, document, instant, per_mwh
from drivers.tariffs.feeds.config import PriceFeed

URL = "https://api.octopus.energy/v1"
TARIFF = re.compile(r"E-1R-([A-Z0-9-]+)-[A-P]")  # electricity, one register, product, region
MOST_ROWS = 1500  # of one page: a month of half hours
OTHER_METHODS = frozenset({"NON_DIRECT_DEBIT"})  # of a tariff with two rates the one by direct debit is taken


class Rate(msgspec.Struct, frozen=True):
    """One rate."""

    value_exc_vat: float
    valid_from: str
    valid_to: str | None = None
    payment_method: str | None = None


class Rates(msgspec.Struct, frozen=True):
    """The answer, as far as it is used."""

    results: list[Rate]
    next: str | None = None


def ask(feed: PriceFeed, begin_s: int, end_s: int, token: str) -> Request:
    """The request for [begin, end). Raises FeedError: the zone is no tariff code."""
    del token
    found = TARIFF.fullmatch(feed.zone)
    if found is None:
        raise FeedError(f"zone = {feed.zone}: expected a tariff code, such as E-1R-AGILE-24-10-01-C")
    path = f"/products/{found[1]}/electricity-tariffs/{feed.zone}/standard-unit-rates/"
    begin, end = (f"{datetime.fromtimestamp(s, UTC):%Y-%m-%dT%H:%M:%SZ}" for s in (begin_s, end_s))
    query = ("period_from", begin), ("period_to", end), ("page_size", str(MOST_ROWS))
    return Request((feed.url or URL).rstrip("/") + path, query=query)


def parse(body: bytes, feed: PriceFeed, begin_s: int, end_s: int) -> FeedAnswer:
    """The prices of an answer, within [begin, end): a rate may hold for years. Raises FeedError."""
    del feed
    found = document(body, Rates)
    if found.next is not None:
        raise FeedError(f"has more than {len(found.results)} rates: expected one page")
    rates = [rate for rate in found.results if rate.payment_method not in OTHER_METHODS]
    rows = (_row(rate, begin_s, end_s) for rate in rates)
    inside = tuple(row for row in rows if row.end_s is not None and row.start_s < row.end_s)
    if not inside:
        raise NotPublished("has no rate")
    return FeedAnswer(inside, "GBP")


def _row(rate: Rate, begin_s: int, end_s: int) -> PriceRow:
    until_s = end_s if rate.valid_to is None else min(end_s, instant(rate.valid_to, "valid_to"))
    return PriceRow(max(begin_s, instant(rate.valid_from, "valid_from")), until_s, per_mwh(rate.value_exc_vat, 10))
