"""Prices from feeds: a server that misbehaves in every way, an outage, a restart; which prices are in force then."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import feed_answers
import msgspec
import pytest
from http_server import Handler, HttpServer, response
from small_gateway import running, small_site
from tariff_events import Heard
from waiting import LIMIT_S, until

from dispatch.billing.market_prices import filled
from dispatch.wording.catalogue import words
from drivers.back_off import spread
from drivers.clock import VirtualClock
from drivers.tariffs.feeds.market_days import day_begin_s, market_day
from gateway.parts_in_trouble import PartsInTrouble
from gateway.previous_run import read_previous_run
from gateway.price_feeds import KeptPrices, PriceFeeds, kept_prices
from gateway.prices_in_force import PricesInForce
from gateway.supervised_calls import SupervisedCalls
from storage.config import StorageConfig
from storage.recorder import Recorder

HOUR, DAY = 3600, 86_400
TODAY = day_begin_s(market_day(datetime(2026, 11, 30, 12, tzinfo=UTC).timestamp()))
NOON, ASKED, OVERDUE = TODAY + 12 * HOUR, TODAY + 13 * HOUR, TODAY + 16.1 * HOUR
PRICES = [60.0 + 3 * n - (n % 5) for n in range(24)]
SITE_ID = "0b0e7d0e-9a7c-4a52-a1f4-5d9a2c1f7a10"


def days(number: int, begin_s: int = TODAY) -> bytes:
    """So many days of hours from Energy-Charts, each a little dearer than the one before."""
    prices = tuple(price + day for day in range(number) for price in PRICES)
    return feed_answers.energy_charts(prices, begin_s, HOUR)


def page(body: bytes, kind: str = "application/json", status: str = "200 OK", **headers: str) -> bytes:
    return response(body, status, kind, **headers)


class Fed:
    """The feeds of a site, and a server in their place."""

    def __init__(
        self, directory: Path, server: HttpServer, now_s: float, *feeds: dict[str, str], **tariff: Any
    ) -> None:
        asked = feeds or ({"kind": "energy-charts", "zone": "DE-LU", "url": server.url("/price")},)
        site = small_site(directory, tariff={"feed": list(asked), **tariff})
        self.prices, self.heard, self.clock, self.changes = PricesInForce(), Heard(), VirtualClock(now_s), 0
        self.saved: dict[str, Any] = {}
        self.feeds = PriceFeeds(
            site,
            self.prices,
            self.clock,
            self.heard,  # type: ignore[arg-type]
            self._changed,
            SupervisedCalls("price feed", LIMIT_S, PartsInTrouble()),
            lambda key, value: self.saved.update({key: value}),
            lambda: SITE_ID,
            deadline_s=LIMIT_S,
        )
        self.server = server

    def _changed(self) -> None:
        self.changes += 1

    async def look(self) -> float:
        self.heard.lines.clear()
        return await self.feeds.look()


@pytest.fixture
async def server() -> AsyncIterator[HttpServer]:
    async with HttpServer({}) as made:
        yield made


@asynccontextmanager
async def fed(
    directory: Path, server: HttpServer, now_s: float = NOON, *feeds: dict[str, str], **tariff: Any
) -> AsyncIterator[Fed]:
    made = Fed(directory, server, now_s, *feeds, **tariff)
    made.feeds._client.join()
    try:
        yield made
    finally:
        await made.feeds._client.leave()


async def test_a_day_with_a_feed(tmp_path: Path, server: HttpServer) -> None:
    server.pages["/price"] = page(days(1))
    async with fed(tmp_path, server) as site:
        wait_s = await site.look()
        assert site.heard.lines == ["info prices of Energy-Charts DE-LU are in force, they end 2026-12-01 00:00 CET"]
        assert 45 * 60 <= wait_s <= 55 * 60, "tomorrow's are asked for from 12:45 on"
        assert server.asked == ["/price?bzn=DE-LU&start=2026-11-22&end=2026-12-01"], "with a week for stand-ins"
        assert await site.look() == wait_s, "nothing is asked before"
        assert len(server.asked) == 1
        site.clock.advance(wait_s + 1)
        assert 150 <= await site.look() <= 450, "not published yet: soon again, and nothing is said"
        assert site.heard.lines == []
        server.pages["/price"] = page(days(2))
        wait_s = await site.look()
        assert site.prices.end_utc_s == TODAY + 2 * DAY
        assert wait_s > 20 * HOUR
        assert site.changes == 2
        assert site.prices.origin.source == "Energy-Charts DE-LU"
        assert site.prices.origin.fetched_utc_s == site.clock.utc_s()


async def hangs(_: str, __: asyncio.StreamWriter) -> None:
    await asyncio.sleep(LIMIT_S)


async def cut_off(_: str, writer: asyncio.StreamWriter) -> None:
    body = page(days(2))
    writer.write(body[: len(body) // 2])
    await writer.drain()
    raise ConnectionError


FAILURES: dict[str, tuple[bytes | Handler, str]] = {
    "429": (page(b"{}", status="429 Too Many Requests", Retry_After="7200"), "answers HTTP 429 Too Many Requests"),
    "500": (page(b"{}", status="500 Internal Server Error"), "answers HTTP 500 Internal Server Error"),
    "redirect": (page(b"", status="302 Found", Location="http://127.0.0.1/login"), "redirects to"),
    "cut off": (cut_off, "closed the connection before the end of its answer"),
    "half a document": (page(days(2)[:300]), "expected JSON, found"),
    "packed": (page(gzip.compress(days(2)), Content_Encoding="gzip"), "sends packed content: 'gzip'"),
    "packed and not said": (page(gzip.compress(days(2))), "content packed with gzip"),
    "packed twice": (page(gzip.compress(gzip.compress(days(2)))), "content packed with gzip"),
    "a page": (page(b"<html>Log in</html>", "text/html"), "sends 'text/html'"),
    "a page said to be JSON": (page(b"<html>Log in</html>"), "a page of HTML"),
    "too long": (page(b" " * ((2 << 20) + 1)), "announces 2097153 bytes"),
    "yesterday": (page(days(1, TODAY - 20 * DAY)), "has prices from 2026-11-09T23:00Z"),
    "another unit": (page(feed_answers.energy_charts((0.08,) * 24, TODAY, HOUR, "EUR / kWh")), "unit = 'EUR / kWh'"),
    "ten times as much": (page(feed_answers.energy_charts(tuple(10 * p for p in PRICES), TODAY, HOUR)), "has 10 times"),
    "all zero": (page(feed_answers.energy_charts((0.0,) * 24, TODAY + DAY, HOUR)), "2026-12-01: every price is 0.00"),
    "the same day again": (
        page(feed_answers.energy_charts(tuple(PRICES), TODAY + DAY, HOUR)),
        "2026-12-01: every price is that of the day before",
    ),
    "two prices for an hour": (
        page(feed_answers.energy_charts((1.0, 2.0), TODAY, 0)),
        "has two prices for 2026-11-29T23:00Z, 1 and 2",
    ),
}


@pytest.mark.parametrize("failure", FAILURES)
async def test_a_failure_is_said_by_name_and_known_prices_stay(
    tmp_path: Path, server: HttpServer, failure: str
) -> None:
    answer, why = FAILURES[failure]
    server.pages["/price"] = page(days(1))
    async with fed(tmp_path, server, ASKED) as site:
        await site.look()
        known = site.prices.series
        server.pages["/price"] = answer
        waits_s = [await site.look() for _ in range(2)]
        assert site.prices.series is known
        assert site.prices.end_utc_s == TODAY + DAY
        assert site.heard.lines == [], "said once"
        site.clock.advance(OVERDUE - ASKED)
        await site.look()
        assert site.prices.overdue is not None
        detail = words(site.prices.overdue)
        assert why in detail
        assert "known prices end 2026-12-01 00:00 CET, then those of the same hours of the last days are used" in detail
        least_s = 7200 if failure == "429" else 30
        assert all(least_s <= wait_s <= 2 * HOUR for wait_s in waits_s)
        server.pages["/price"] = page(days(2))
        await site.look()
        assert site.prices.overdue is None
        assert site.prices.end_utc_s == TODAY + 2 * DAY


async def test_a_server_that_hangs_is_given_up(tmp_path: Path, server: HttpServer) -> None:
    server.pages["/price"] = hangs
    async with fed(tmp_path, server) as site:
        site.feeds._deadline_s = 0.1
        await site.look()
        assert site.heard.lines[0].endswith("no whole answer within 0.1 s")


async def test_pauses_grow_and_differ_from_site_to_site(tmp_path: Path, server: HttpServer) -> None:
    async with fed(tmp_path, server) as site:  # 404
        waits_s = [await site.look() for _ in range(9)]
        assert all(30 * 2**n <= wait_s <= 90 * 2**n for n, wait_s in enumerate(waits_s[:5]))
        assert all(900 <= wait_s <= 2700 for wait_s in waits_s[5:])
    assert len({round(spread(f"site {n}", 0), 3) for n in range(100)}) > 80


async def test_the_next_feed_is_asked_where_the_first_fails(
    tmp_path: Path, server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKERRY_SECRET_ENTSOE", "s3cret-t0ken")
    first = {"kind": "entsoe", "zone": "DE-LU", "token_credential": "entsoe", "url": server.url("/api")}
    second = {"kind": "energy-charts", "zone": "DE-LU", "url": server.url("/price")}
    server.pages |= {"/api": page(b"", "text/xml", "401 Unauthorized"), "/price": page(days(1))}
    async with fed(tmp_path, server, NOON, first, second) as site:
        await site.look()
        assert site.prices.origin.source == "Energy-Charts DE-LU"
        server.pages["/api"] = page(feed_answers.publication(feed_answers.series(tuple(PRICES), TODAY)), "text/xml")
        site.feeds.ask_now()
        await site.look()
        assert site.prices.origin.source == "ENTSO-E DE-LU"
        server.pages |= {"/api": page(b"", "text/xml", "401 Unauthorized"), "/price": page(b"{}", status="500 No")}
        site.feeds.ask_now()
        site.clock.advance(OVERDUE - NOON)
        await site.look()
        (line,) = site.heard.lines
        assert "refuses access (HTTP 401); check the token of token_credential = entsoe" in line
        assert "answers HTTP 500 No" in line
        assert "s3cret" not in line
        assert "s3cret" not in str(site.saved)


async def test_prices_of_another_zone_or_currency(
    tmp_path: Path, server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKERRY_SECRET_ENTSOE", "t")
    feed = {"kind": "entsoe", "zone": "DE-LU", "token_credential": "entsoe", "url": server.url("/api")}
    async with fed(tmp_path, server, NOON, feed) as site:
        for series, why in (
            (
                feed_answers.series(tuple(PRICES), TODAY, area=feed_answers.AT),
                "has prices of AT: expected those of DE-LU",
            ),
            (feed_answers.series(tuple(PRICES), TODAY, currency="PLN"), "has prices in 'PLN': expected EUR, or a rate"),
        ):
            server.pages["/api"] = page(feed_answers.publication(series), "application/xml")
            await site.look()
            assert why in site.heard.lines[0]
        assert site.prices.end_utc_s is None
        monkeypatch.delenv("SKERRY_SECRET_ENTSOE")
        await site.look()
        assert (
            "token_credential = entsoe: there is neither a credential nor SKERRY_SECRET_ENTSOE" in site.heard.lines[0]
        )


async def test_pounds_at_the_stated_rate_and_a_question_by_post(
    tmp_path: Path, server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKERRY_SECRET_TIBBER", "t0ken")
    octopus = {"kind": "octopus", "zone": "E-1R-AGILE-24-10-01-C", "url": server.url("/v1")}
    path = "/v1/products/AGILE-24-10-01/electricity-tariffs/E-1R-AGILE-24-10-01-C/standard-unit-rates/"
    begin, end = (datetime.fromtimestamp(s, UTC).isoformat() for s in (TODAY, TODAY + DAY))
    server.pages[path] = page(feed_answers.octopus([feed_answers.rate(20.0, begin, end)]))
    async with fed(tmp_path, server, NOON, octopus, eur_per={"GBP": 1.15}) as site:
        await site.look()
        assert site.prices.series.at(NOON) == 230.0
    tibber = {"kind": "tibber", "token_credential": "tibber", "url": server.url("/gql")}
    start = datetime.fromtimestamp(NOON, UTC).isoformat()
    server.pages["/gql"] = page(feed_answers.tibber([feed_answers.home("a", (start, 0.08))]))
    async with fed(tmp_path, server, NOON, tibber) as site:
        await site.look()
        assert site.prices.series.at(NOON) == 80.0
        assert "priceInfo(resolution: QUARTER_HOURLY)" in json.loads(server.bodies[-1])["query"]
        assert b"Authorization: Bearer t0ken" in server.headers[-1]


def test_prices_outlive_a_restart_without_a_network(tmp_path: Path) -> None:
    """Kept in the record, SQLite, with source and time; the hours after them get those of the same hours before."""

    async def restart() -> None:
        recorder = Recorder(tmp_path, StorageConfig(), "boot", clock=VirtualClock(ASKED))
        async with HttpServer({"/price": page(days(2))}) as server, fed(tmp_path, server, ASKED) as site:
            site.feeds._save = recorder.save_state
            await site.look()
            series = site.prices.series
        assert recorder.close()
        kept = read_previous_run(tmp_path, ASKED + HOUR).price_feed
        assert kept == KeptPrices("energy-charts", "DE-LU", ASKED, series)
        async with HttpServer({}) as server, fed(tmp_path, server, ASKED + HOUR) as site:
            site.feeds.adopt(kept)
            assert await site.look() > 20 * HOUR, "nothing is missing"
            assert server.asked == []
            assert (site.prices.origin.source, site.prices.origin.fetched_utc_s) == ("Energy-Charts DE-LU", ASKED)
            site.clock.advance(2 * DAY)
            await site.look()
            assert words(site.prices.overdue).startswith("used meanwhile: those of the same hours of the last days; ")
            market, missing = filled(site.prices.series, [site.clock.utc_s()], "Europe/Berlin")
            assert missing == 1
            assert market is not None
            hour = datetime.fromtimestamp(ASKED + HOUR, UTC).hour + 1
            assert market[0] == pytest.approx(PRICES[hour] + 0.5)
        other = {"kind": "energy-charts", "zone": "AT", "url": "http://127.0.0.1:1/"}
        async with HttpServer({}) as server, fed(tmp_path, server, ASKED, other) as site:
            site.feeds.adopt(kept)
            assert site.prices.end_utc_s is None, "prices of another zone"

    asyncio.run(restart())


def damaged() -> Iterator[dict[str, Any]]:
    good = {"kind": "entsoe", "zone": "AT", "fetched_utc_s": 1.0}
    yield {**good, "prices": {"start_utc_s": [2, 1], "eur_per_mwh": [1.0, 2.0], "end_utc_s": 3}}
    yield {**good, "prices": {"start_utc_s": [1, 2], "eur_per_mwh": [1.0], "end_utc_s": 3}}
    yield {**good, "prices": {"start_utc_s": [1, 2], "eur_per_mwh": [1.0, 2.0], "end_utc_s": 2}}
    yield {**good, "prices": {"start_utc_s": [], "eur_per_mwh": [], "end_utc_s": 0}}
    yield good


@pytest.mark.parametrize("found", damaged())
def test_damaged_prices_are_not_adopted(found: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        kept_prices(found)
    assert kept_prices(None) is None


async def test_consoles_and_planner_see_fetched_prices(place: Path) -> None:
    today = day_begin_s(market_day(datetime.now(UTC).timestamp()))
    async with HttpServer({"/price": page(days(2, today))}) as server:
        feed = {"kind": "energy-charts", "zone": "DE-LU", "url": server.url("/price")}
        async with running(place, place / "s.sock", tariff={"feed": [feed]}) as site:
            assert site.gateway.price_feeds is not None
            site.gateway.reload_prices()
            await until(lambda: any("are in force" in event.text for event in site.events))
            published = await site.gateway.loop.next_tick()
            assert published.tariff.source == "Energy-Charts DE-LU"
            assert published.tariff.fetched_utc_s is not None
            assert published.tariff.now_eur_per_kwh is not None
