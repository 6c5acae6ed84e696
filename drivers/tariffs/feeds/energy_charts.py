"""Energy-Charts (Fraunhofer ISE): day-ahead prices of a bidding zone. Free, without a key; CC BY 4.0.

`GET https://api.energy-charts.info/price?bzn=DE-LU&start=2026-11-30&end=2026-12-01` answers two lists side by side,
`unix_seconds` and `price`, with `unit` "EUR / MWh". Its shape is that of answers in the tests of OpenEMS
(TimeOfUseTariffEnergyChartsImpl, EPL-2.0) and evcc; the answer does not name the bidding zone.
"""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import msgspec

from drivers.http.page import Request
from drivers.tariffs.feeds.answer import FeedAnswer, FeedError, NotPublished, PriceRow, document
from drivers.tariffs.feeds.config import PriceFeed

URL = "https://api.energy-charts.info/price"
UNIT = "EUR/MWh"


class Prices(msgspec.Struct, frozen=True):
    """The answer, as far as it is used."""

    unix_seconds: list[int]
    price: list[float | None]
    unit: str


def ask(feed: PriceFeed, begin_s: int, end_s: int, token: str) -> Request:
    """The request for [begin, end). The days asked for are those of UTC that hold it: more comes than was asked."""
    del token
    first, last = (f"{datetime.fromtimestamp(s, UTC):%Y-%m-%d}" for s in (begin_s, end_s - 1))
    return Request(feed.url or URL, query=(("bzn", feed.zone), ("start", first), ("end", last)))


def parse(body: bytes, feed: PriceFeed, begin_s: int, end_s: int) -> FeedAnswer:
    """The prices of an answer. Raises FeedError."""
    del feed, begin_s, end_s
    found = document(body, Prices)
    if found.unit.replace(" ", "") != UNIT:
        raise FeedError(f"unit = {found.unit[:40]!r}: expected {UNIT}")
    if len(found.unix_seconds) != len(found.price):
        raise FeedError(f"has {len(found.unix_seconds)} times and {len(found.price)} prices: expected as many")
    rows = [
        PriceRow(s, None, price) for s, price in zip(found.unix_seconds, found.price, strict=True) if price is not None
    ]
    if not rows:
        raise NotPublished("has no price")
    return FeedAnswer(_with_ends(found, rows), "EUR")


def _with_ends(found: Prices, rows: list[PriceRow]) -> tuple[PriceRow, ...]:
    """A row whose price is null ends the one before it; it is a gap."""
    gaps = {s for s, price in zip(found.unix_seconds, found.price, strict=True) if price is None}
    if not gaps:
        return tuple(rows)
    starts = sorted({*(row.start_s for row in rows), *gaps})
    following = dict(pairwise(starts))
    return tuple(
        row._replace(end_s=following[row.start_s]) if following.get(row.start_s) in gaps else row for row in rows
    )
