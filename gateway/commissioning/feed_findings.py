"""Asks each price feed of a site file once, and says what it answers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from drivers.http.client import HttpClient
from drivers.tariffs.feeds.checks import Checked, checked
from drivers.tariffs.feeds.config import PriceFeed
from drivers.tariffs.feeds.fetching import Failure, fetched
from drivers.tariffs.feeds.kinds import KINDS, title
from drivers.tariffs.feeds.market_days import day_begin_s, market_day
from gateway.commissioning.findings import Finding, ok, warning
from gateway.site.schema import Site

CODE = "price-feed"


def feed_findings(site: Site, now_s: float) -> Iterator[Finding]:
    """What each feed answers for today and tomorrow. Takes up to 20 s for one that is silent."""
    if not site.tariff.feed:
        return
    today = market_day(now_s)
    begin_s, end_s = day_begin_s(today), day_begin_s(today + timedelta(days=2))
    zone = ZoneInfo(site.site.timezone)
    for feed, found in zip(site.tariff.feed, asyncio.run(_answers(site, begin_s, end_s)), strict=True):
        if isinstance(found, Failure):
            yield warning("tariff", CODE, found.why, "check network, proxy and token; `journalctl -u skerry` has more")
            continue
        ends = f"{datetime.fromtimestamp(found.prices.end_utc_s, zone):%Y-%m-%d %H:%M %Z}"
        remarks = "".join(f"; {remark}" for remark in found.remarks)
        yield ok("tariff", CODE, f"{title(feed)} answers: prices end {ends}{remarks}")


async def _answers(site: Site, begin_s: int, end_s: int) -> list[Checked | Failure]:
    client = HttpClient()
    client.join()
    try:
        return [await _answer(client, site, feed, begin_s, end_s) for feed in site.tariff.feed]
    finally:
        await client.leave()


async def _answer(client: HttpClient, site: Site, feed: PriceFeed, begin_s: int, end_s: int) -> Checked | Failure:
    kind = KINDS[feed.kind]

    async def check(body: bytes) -> Checked:
        answer = kind.parse(body, feed, begin_s, end_s)
        return checked(
            answer,
            begin_s,
            end_s,
            site.tariff.eur_per,
            repeats=kind.repeats,
            as_declared=site.tariff.prices_as_declared,
        )

    return await fetched(client, feed, begin_s, end_s, check)
