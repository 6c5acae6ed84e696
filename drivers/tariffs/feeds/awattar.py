"""aWATTar: hourly day-ahead prices of Germany or Austria. Free, without a key.

`GET https://api.awattar.de/v1/marketdata?start=MS&end=MS` answers `data`, rows with `start_timestamp`, `end_timestamp`
(milliseconds), `marketprice` and `unit` "Eur/MWh" (documentation: https://www.awattar.at/services/api). The answer does
not name the country.
"""

from __future__ import annotations

import msgspec

from drivers.http.page import Request
from drivers.tariffs.feeds.answer import FeedAnswer, FeedError, NotPublished, PriceRow, document
from drivers.tariffs.feeds.config import PriceFeed

URL = "https://api.awattar.{}/v1/marketdata"
UNIT = "eur/mwh"


class Row(msgspec.Struct, frozen=True):
    """One hour."""

    start_timestamp: int
    end_timestamp: int
    marketprice: float
    unit: str


class Prices(msgspec.Struct, frozen=True):
    """The answer, as far as it is used."""

    data: list[Row]


def ask(feed: PriceFeed, begin_s: int, end_s: int, token: str) -> Request:
    """The request for [begin, end)."""
    del token
    query = ("start", str(1000 * begin_s)), ("end", str(1000 * end_s))
    return Request(feed.url or URL.format(feed.zone.lower()), query=query)


def parse(body: bytes, feed: PriceFeed, begin_s: int, end_s: int) -> FeedAnswer:
    """The prices of an answer. Raises FeedError."""
    del feed, begin_s, end_s
    found = document(body, Prices).data
    if not found:
        raise NotPublished("has no price")
    other = next((row.unit for row in found if row.unit.lower() != UNIT), None)
    if other is not None:
        raise FeedError(f"unit = {other[:40]!r}: expected Eur/MWh")
    return FeedAnswer(tuple(_row(row) for row in found), "EUR")


def _row(row: Row) -> PriceRow:
    if row.start_timestamp % 1000 or row.end_timestamp % 1000:
        raise FeedError(f"start_timestamp = {row.start_timestamp}: expected milliseconds of whole seconds")
    return PriceRow(row.start_timestamp // 1000, row.end_timestamp // 1000, row.marketprice)
