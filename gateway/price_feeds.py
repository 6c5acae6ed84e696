"""Fetches market prices from the feeds of the site file, and keeps them over a restart.

The day-ahead market publishes the next day's prices about 13:00 CET. From 12:45 on they are asked for, at a moment that
differs from site to site, and again until they are there. Prices that are known stay in force whatever a feed answers.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from dispatch.billing.charges.energy_prices import uses_market
from dispatch.billing.market_prices import PriceSeries
from dispatch.model.clock import Clock
from dispatch.model.reasons import Reason
from drivers.back_off import spread
from drivers.http.client import HttpClient
from drivers.tariffs.feeds.checks import Checked, checked
from drivers.tariffs.feeds.config import PriceFeed
from drivers.tariffs.feeds.fetching import DEADLINE_S, Failure, fetched
from drivers.tariffs.feeds.kinds import KINDS, title
from drivers.tariffs.feeds.market_days import (
    Publication,
    day_begin_s,
    market_day,
    next_asking_s,
    overdue_since_s,
    to_be_known_until_s,
)
from drivers.tariffs.feeds.merging import merged
from gateway.event_sink import EventSink
from gateway.prices_in_force import PriceOrigin, PricesInForce
from gateway.site.schema import Site
from gateway.supervised_calls import PartHangs, SupervisedCalls

STATE = "price_feed"  # under which the record keeps what was fetched
DAY_S = 86_400
HISTORY_S = 7 * DAY_S  # whose same hours stand in for prices that are not known
SPREAD_S = 600.0  # over which the sites begin to ask
START_SPREAD_S = 20.0  # the same after a start, such as of all sites after an outage
NOT_YET_S = 300.0  # between two questions for prices that are not published yet
FIRST_AGAIN_S, LONGEST_AGAIN_S = 60.0, 1800.0  # after a failure, and after many
MOST_AGAIN_S = 6 * 3600.0  # however long a server wants to be left alone
LOOK_S = 30.0  # machine seconds between two looks at the clock, which may be set


class KeptPrices(msgspec.Struct, frozen=True):
    """What was fetched, as the record keeps it: of which feed, when, and the prices."""

    kind: str
    zone: str
    fetched_utc_s: float
    prices: PriceSeries


def kept_prices(found: Any) -> KeptPrices | None:
    """What the record keeps; None: nothing. Raises msgspec.ValidationError."""
    kept = None if found is None else msgspec.convert(found, KeptPrices)
    if kept is not None and not _is_series(kept.prices):
        raise msgspec.ValidationError("prices: expected starts in order, as many prices, and an end after the last")
    return kept


def _is_series(prices: PriceSeries) -> bool:
    starts = [*prices.start_utc_s, prices.end_utc_s]
    ordered = all(a < b for a, b in pairwise(starts))
    return bool(prices.start_utc_s) and ordered and len(prices.start_utc_s) == len(prices.eur_per_mwh)


def known_until_s(prices: PriceSeries, utc_s: float) -> float | None:
    """Until when prices are known without a gap from this moment on; None: that of this moment is not."""
    if prices.at(utc_s) is None:
        return None
    later = prices.changes(utc_s, prices.end_utc_s)
    return next((s for s, price in later if price is None), prices.end_utc_s)


class PriceFeeds:
    """Asks the feeds of a site in their order, and puts in force what can be used."""

    def __init__(
        self,
        site: Site,
        prices: PricesInForce,
        clock: Clock,
        events: EventSink,
        on_change: Callable[[], None],
        calls: SupervisedCalls,
        save: Callable[[str, Any], None],
        identity: Callable[[], str],
        deadline_s: float = DEADLINE_S,
    ) -> None:
        """`on_change` is called when other prices are in force. `identity`: of the site, for when it asks."""
        self._feeds, self._tariff = site.tariff.feed, site.tariff
        self._zone = ZoneInfo(site.site.timezone)
        self._prices, self._clock, self._events, self._on_change = prices, clock, events, on_change
        self._calls, self._save, self._identity, self._deadline_s = calls, save, identity, deadline_s
        self._client = HttpClient()
        self._failures = 0  # since prices were last complete
        self._questions = 0
        self._told = ""  # the failure that was last told
        self._why = ""  # why the last question brought nothing
        self._remarks: tuple[str, ...] = ()  # on the last answer
        self._asked = asyncio.Event()

    def adopt(self, kept: KeptPrices | None) -> None:
        """Take what the record keeps, unless a feed has answered since, or the site file names another feed."""
        if kept is None or self._prices.series.start_utc_s:
            return
        feed = next((f for f in self._feeds if (f.kind, f.zone) == (kept.kind, kept.zone)), None)
        if feed is not None:
            self._prices.replace(kept.prices, PriceOrigin(title(feed), kept.fetched_utc_s))

    def ask_now(self) -> None:
        """Ask the feeds soon, whatever is known."""
        self._asked.set()

    async def run(self) -> None:
        """Ask whenever it is time, until cancelled."""
        self._client.join()
        try:
            wait_s = START_SPREAD_S * spread(self._identity(), 0)
            while True:
                await self._pause(wait_s)
                wait_s = await self.look()
        finally:
            await self._client.leave()

    async def look(self) -> float:
        """Ask if prices are missing; how long to wait for the next time, in seconds of the site's clock."""
        asked = self._asked.is_set()
        self._asked.clear()
        wait_s = 0.0 if asked else self._until_due_s()
        if wait_s > 0:
            self._judge()
            return wait_s
        again_s = await self._ask()
        self._judge()
        return again_s

    @property
    def _publication(self) -> Publication:
        return KINDS[self._feeds[0].kind].publication

    def _complete(self) -> bool:
        """Whether all prices are known that can be by now."""
        now_s = self._clock.utc_s()
        until_s = known_until_s(self._prices.series, now_s)
        return until_s is not None and until_s >= to_be_known_until_s(now_s, self._publication)

    def _until_due_s(self) -> float:
        """Seconds until prices are to be asked for, if no question before them has failed."""
        if not self._complete():
            return 0.0
        now_s = self._clock.utc_s()
        return next_asking_s(now_s, self._publication) - now_s + SPREAD_S * spread(self._identity(), 0)

    async def _ask(self) -> float:
        """Ask each feed until one tells what is missing; seconds until the next question."""
        self._questions += 1
        now_s = self._clock.utc_s()
        today = market_day(now_s)
        begin_s, end_s = day_begin_s(today), day_begin_s(today + timedelta(days=2))
        if self._prices.series.at(now_s - HISTORY_S) is None:
            begin_s -= HISTORY_S
        again_s, failed, why = 0.0, False, []
        for feed in self._feeds:
            found = await self._fetched(feed, begin_s, end_s)
            if isinstance(found, Checked):
                self._take(feed, found)
                why += [f"{title(feed)}: {remark}" for remark in found.remarks]
                failed = False
            else:
                why.append(found.why)
                again_s, failed = max(again_s, found.again_s), found.published
            if self._complete() or not (failed or self._late()):
                break
        return self._again_s(again_s, failed, "; ".join(why))

    async def _fetched(self, feed: PriceFeed, begin_s: int, end_s: int) -> Checked | Failure:
        async def check(body: bytes) -> Checked:
            return await self._calls.call(self._checked, body, feed, begin_s, end_s)

        try:
            return await fetched(self._client, feed, begin_s, end_s, check, self._deadline_s)
        except PartHangs as error:  # said by its alarm
            return Failure(f"{title(feed)}: {error}")

    def _checked(self, body: bytes, feed: PriceFeed, begin_s: int, end_s: int) -> Checked:
        """The prices of an answer. Raises FeedError."""
        kind, known, as_declared = KINDS[feed.kind], self._prices.series, self._tariff.prices_as_declared
        answer = kind.parse(body, feed, begin_s, end_s)
        return checked(
            answer, begin_s, end_s, self._tariff.eur_per, known, repeats=kind.repeats, as_declared=as_declared
        )

    def _take(self, feed: PriceFeed, found: Checked) -> None:
        """Put the prices in force, keep them, and say what is new."""
        now_s, before = self._clock.utc_s(), self._prices.series
        series = merged(before, found.prices, now_s)
        origin = PriceOrigin(title(feed), now_s)
        changed = series != before
        self._prices.replace(series if changed else before, origin)
        self._save(STATE, KeptPrices(feed.kind, feed.zone, now_s, series))
        if changed:
            text = f"prices of {origin.source} are in force, they end {self._local(series.end_utc_s)}"
            self._events.event("gateway", "info", "tariff", text)
            self._on_change()
        if found.remarks != self._remarks:
            for remark in found.remarks:
                self._events.event("gateway", "warning", "tariff", f"{origin.source}: {remark}")
        self._remarks = found.remarks

    def _again_s(self, wanted_s: float, failed: bool, why: str) -> float:
        """How long to wait after a question; tells a failure once."""
        if self._complete():
            if self._told:
                self._events.event("gateway", "info", "tariff", f"prices are fetched again: {self._told}")
            self._failures, self._told, self._why = 0, "", ""
            return max(1.0, self._until_due_s())
        self._why = why or "the answer has no price beyond those that are known"
        jitter = 0.5 + spread(self._identity(), self._questions)
        if not failed:
            pause_s = NOT_YET_S * (4 if self._overdue_s() is not None else 1)
            return max(pause_s * jitter, min(wanted_s, MOST_AGAIN_S))
        pause_s = min(FIRST_AGAIN_S * 2.0**self._failures, LONGEST_AGAIN_S) * jitter
        self._failures = min(self._failures + 1, 10)
        if why != self._told:
            self._told = why
            self._events.event("gateway", "warning", "tariff", f"no prices were fetched, {self._meanwhile()}: {why}")
        return max(pause_s, min(wanted_s, MOST_AGAIN_S))

    def _late(self) -> bool:
        """Whether the prices are usually published by now, so that another feed is worth to be asked."""
        now_s = self._clock.utc_s()
        usual_s = day_begin_s(market_day(now_s)) + 3600 * self._publication.usual.hour + 1800
        return now_s >= usual_s or self._prices.series.at(now_s) is None

    def _overdue_s(self) -> float | None:
        now_s = self._clock.utc_s()
        return overdue_since_s(known_until_s(self._prices.series, now_s), now_s, self._publication)

    def _judge(self) -> None:
        """Say in `prices` whether they are overdue."""
        since_s = self._overdue_s()
        if since_s is None:
            self._prices.note_overdue(None)
            return
        why = self._why or "not asked for yet"
        self._prices.note_overdue(Reason("alarm.feed_overdue", {"why": why, "meanwhile": self._meanwhile()}))

    def _meanwhile(self) -> str:
        """What is used as long as no other prices come."""
        series, now_s = self._prices.series, self._clock.utc_s()
        if not series.start_utc_s:
            return "no price is known"
        until_s = known_until_s(series, now_s)
        stand_ins = "those of the same hours of the last days"
        if until_s is None:
            return f"used meanwhile: {stand_ins}"
        return f"known prices end {self._local(until_s)}, then {stand_ins} are used"

    async def _pause(self, wait_s: float) -> None:
        """Wait by the site's clock; looks at it now and then, for it may be set. Ends at once if somebody asks."""
        until_s = self._clock.utc_s() + wait_s
        while not self._asked.is_set() and (left_s := until_s - self._clock.utc_s()) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(LOOK_S, left_s / self._clock.speed)):
                    await self._asked.wait()
            if left_s > wait_s + DAY_S:  # the clock was set back
                return
            self._judge()

    def _local(self, utc_s: float) -> str:
        return f"{datetime.fromtimestamp(utc_s, self._zone):%Y-%m-%d %H:%M %Z}"


def fetches_prices(site: Site) -> bool:
    """Whether prices are to be fetched: the site file names a feed, and a charge follows the market's price."""
    return bool(site.tariff.feed) and uses_market(site.tariff)
