"""What price feeds answer."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

from feed_answers import ANSWERS
from fuzzing import Parser, Session, simple

from drivers.tariffs.feeds.answer import FeedError
from drivers.tariffs.feeds.carbon import parse as parse_carbon
from drivers.tariffs.feeds.checks import checked
from drivers.tariffs.feeds.config import PriceFeed
from drivers.tariffs.feeds.kinds import KINDS

DAY_S = 86_400
JSON = ("drivers.tariffs.feeds.answer:document", "drivers.tariffs.feeds.answer:beginning")
XML = ("drivers.tariffs.feeds.entsoe:_root", "drivers.tariffs.feeds.answer:beginning")


def _taken(feed: PriceFeed, begin_s: int) -> Session:
    def take(data: bytes, _: Path) -> None:
        end_s = begin_s + DAY_S
        found = checked(KINDS[feed.kind].parse(data, feed, begin_s, end_s), begin_s, end_s, {"GBP": 1.15})
        prices = found.prices
        starts = [*prices.start_utc_s, prices.end_utc_s]
        assert all(a < b for a, b in pairwise(starts))
        assert all(price is None or math.isfinite(price) for price in prices.eur_per_mwh)

    return simple(take)


def carbon(data: bytes, _: Path) -> None:
    found = parse_carbon(data, 1796007600, 1796007600 + DAY_S)
    assert found.end_utc_s > found.start_utc_s
    assert all(figure is None or 0 <= figure <= 2000 for figure in found.g_per_kwh)


CARBON = b'{"unix_seconds":[1796007600,1796008500],"co2eq":[310.5,null],"co2eq_forecast":[null,305.25]}'
PARSERS = (
    Parser("carbon feed", JSON, lambda: [CARBON], simple(carbon), (FeedError,), tree="json", share=0.5),
    *(
        Parser(
            f"price feed {kind}",
            XML if kind == "entsoe" else JSON,
            lambda body=body: [body],  # type: ignore[misc]
            _taken(feed, begin_s),
            (FeedError,),
            tree="" if kind == "entsoe" else "json",
            share=0.5,
        )
        for kind, (feed, body, begin_s) in ANSWERS.items()
    ),
)
