"""Tibber: the price of a customer's contract without tax, by GraphQL. Needs a token.

`POST https://api.tibber.com/v1-beta/gql`. `energy` is the price of the power exchange per kWh, `startsAt` has an
offset, `currency` names the currency; quarter hours must be asked for (documentation:
https://developer.tibber.com/docs/reference). Only today and tomorrow are told. The parser rests on documentation.
"""

from __future__ import annotations

import msgspec

from drivers.http.page import Request
from drivers.tariffs.feeds.answer import FeedAnswer, FeedError, NotPublished, PriceRow, document, instant, per_mwh
from drivers.tariffs.feeds.config import PriceFeed

URL = "https://api.tibber.com/v1-beta/gql"
PRICE = "{energy startsAt currency}"
QUERY = (
    "{viewer{homes{id currentSubscription{priceInfo(resolution: QUARTER_HOURLY){"
    f"today{PRICE} tomorrow{PRICE}"
    "}}}}}"
)
SHOWN_HOMES = 4


class Price(msgspec.Struct, frozen=True, rename="camel"):
    """One price."""

    energy: float
    starts_at: str
    currency: str


class PriceInfo(msgspec.Struct, frozen=True):
    """The prices of a contract; tomorrow's list is empty before they are published."""

    today: list[Price] = []
    tomorrow: list[Price] = []


class Subscription(msgspec.Struct, frozen=True, rename="camel"):
    """A contract."""

    price_info: PriceInfo | None = None


class Home(msgspec.Struct, frozen=True, rename="camel"):
    """A home; without a contract there are no prices."""

    id: str
    current_subscription: Subscription | None = None


class Viewer(msgspec.Struct, frozen=True):
    """Whose token it is."""

    homes: list[Home]


class Data(msgspec.Struct, frozen=True):
    """What GraphQL answers."""

    viewer: Viewer


class Problem(msgspec.Struct, frozen=True):
    """What GraphQL says of a failure, in an answer with status 200."""

    message: str = ""


class Answer(msgspec.Struct, frozen=True):
    """The answer, as far as it is used."""

    data: Data | None = None
    errors: list[Problem] = []


def ask(feed: PriceFeed, begin_s: int, end_s: int, token: str) -> Request:
    """The request for today and tomorrow, whatever the time asked for."""
    del begin_s, end_s
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    body = msgspec.json.encode({"query": QUERY})
    return Request(feed.url or URL, method="POST", headers=headers, body=body)


def parse(body: bytes, feed: PriceFeed, begin_s: int, end_s: int) -> FeedAnswer:
    """The prices of an answer. Raises FeedError."""
    del begin_s, end_s
    found = document(body, Answer)
    if found.errors:
        raise FeedError(f"refuses the question: {found.errors[0].message[:120]!r}")
    if found.data is None:
        raise FeedError("has neither data nor errors")
    info = _home(found.data.viewer.homes, feed.zone)
    prices = [*info.today, *info.tomorrow]
    if not prices:
        raise NotPublished("has no price")
    currencies = {price.currency for price in prices}
    if len(currencies) > 1:
        raise FeedError(f"mixes currencies: {', '.join(sorted(currencies))[:80]}")
    rows = (PriceRow(instant(p.starts_at, "startsAt"), None, per_mwh(p.energy, 1000)) for p in prices)
    return FeedAnswer(tuple(rows), currencies.pop())


def _home(homes: list[Home], wanted: str) -> PriceInfo:
    """The prices of the home that is meant. Raises FeedError."""
    with_prices = {
        home.id: home.current_subscription.price_info
        for home in homes
        if home.current_subscription is not None and home.current_subscription.price_info is not None
    }
    ids = ", ".join(sorted(with_prices)[:SHOWN_HOMES])[:200] or "none"
    if wanted and wanted not in with_prices:
        raise FeedError(f"has no home {wanted} with a contract: expected zone to be one of its homes, which are {ids}")
    if not wanted and len(with_prices) != 1:
        raise FeedError(f"has {len(with_prices)} homes with a contract: expected one, or zone to name it: {ids}")
    info = with_prices[wanted] if wanted else next(iter(with_prices.values()))
    return info or PriceInfo()
