"""The feeds that there are: how each is asked, how its answer is read, when its prices come."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import urlsplit

from drivers.http.page import Request
from drivers.tariffs.feeds import awattar, energy_charts, entsoe, octopus, tibber
from drivers.tariffs.feeds.answer import FeedAnswer
from drivers.tariffs.feeds.areas import EIC
from drivers.tariffs.feeds.config import Kind, PriceFeed
from drivers.tariffs.feeds.market_days import DAY_AHEAD, OCTOPUS, Publication


class FeedKind(NamedTuple):
    """One service. `repeats`: its days may be alike, as those of a tariff by the time of day."""

    title: str
    ask: Callable[[PriceFeed, int, int, str], Request]
    parse: Callable[[bytes, PriceFeed, int, int], FeedAnswer]
    needs_token: bool = False
    publication: Publication = DAY_AHEAD
    repeats: bool = False


KINDS: dict[Kind, FeedKind] = {
    "energy-charts": FeedKind("Energy-Charts", energy_charts.ask, energy_charts.parse),
    "entsoe": FeedKind("ENTSO-E", entsoe.ask, entsoe.parse, needs_token=True),
    "awattar": FeedKind("aWATTar", awattar.ask, awattar.parse),
    "tibber": FeedKind("Tibber", tibber.ask, tibber.parse, needs_token=True),
    "octopus": FeedKind("Octopus", octopus.ask, octopus.parse, publication=OCTOPUS, repeats=True),
}
COUNTRIES = ("DE", "AT")  # of aWATTar
_UUID = re.compile(r"[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}")  # what ENTSO-E gives as token
MOST_DIGITS = 6  # in the name of a credential


def title(feed: PriceFeed) -> str:
    """The feed as people name it, such as "Energy-Charts DE-LU"."""
    return f"{KINDS[feed.kind].title} {feed.zone}".strip()


def wrong(feed: PriceFeed) -> tuple[str, str] | None:
    """The key of the site file that does not fit the feed's kind, and what was expected; None: all do."""
    if feed.kind in ("energy-charts", "entsoe") and feed.zone not in EIC:
        return "zone", f"a bidding zone: {', '.join(EIC)}"
    if feed.kind == "awattar" and feed.zone not in COUNTRIES:
        return "zone", f"{' or '.join(COUNTRIES)}"
    if feed.kind == "octopus" and octopus.TARIFF.fullmatch(feed.zone) is None:
        return "zone", "a tariff code, such as E-1R-AGILE-24-10-01-C"
    if looks_like_a_token(feed.token_credential):
        return "token_credential", "the name of a credential, not the token: that stays out of the site file"
    if KINDS[feed.kind].needs_token and not feed.token_credential:
        return "token_credential", f"the name of a credential: {KINDS[feed.kind].title} needs a token"
    if not KINDS[feed.kind].needs_token and feed.token_credential:
        return "token_credential", f"none: {KINDS[feed.kind].title} needs no token"
    return None


def looks_like_a_token(text: str) -> bool:
    """Whether what should be the name of a credential is the secret itself."""
    return _UUID.fullmatch(text.lower()) is not None or sum(map(str.isdigit, text)) > MOST_DIGITS


def host(request: Request) -> str:
    """Where a question goes, for messages: never its query, which may hold a token."""
    return urlsplit(request.url).netloc
