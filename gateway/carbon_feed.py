"""Fetches what a kWh of the grid emits, and keeps it over a restart. Nothing is controlled by it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from dispatch.model.carbon import MOST_FIGURES, NO_CARBON, CarbonSeries, merged
from dispatch.model.clock import Clock
from drivers.back_off import spread
from drivers.http.client import HttpClient
from drivers.tariffs.feeds.carbon import DEADLINE_S, CarbonNotFetched, fetched
from drivers.tariffs.feeds.config import CarbonFeed
from gateway.event_sink import EventSink
from gateway.site.schema import Site

STATE = "carbon_feed"  # under which the record keeps what was fetched
DAY_S = 86_400
KEPT_S = 2 * DAY_S  # of the past: a quarter hour is settled some minutes after its end
PERIOD_S = 3600.0
FIRST_AGAIN_S, LONGEST_AGAIN_S = 300.0, 4 * 3600.0  # after a failure, and after many
LOOK_S = 30.0  # machine seconds between two looks at the clock, which may be set
MOST_AGAIN_S = 6 * 3600.0  # however long the service wants to be left alone


class KeptCarbon(msgspec.Struct, frozen=True):
    """What was fetched, as the record keeps it."""

    country: str
    fetched_utc_s: float
    series: CarbonSeries


def kept_carbon(found: Any) -> KeptCarbon | None:
    """What the record keeps; None: nothing. Raises msgspec.ValidationError."""
    kept = None if found is None else msgspec.convert(found, KeptCarbon)
    if kept is not None and not 0 < len(kept.series.g_per_kwh) <= MOST_FIGURES:
        raise msgspec.ValidationError(f"g_per_kwh: expected 1 to {MOST_FIGURES} figures")
    return kept


class CarbonService:
    """Asks once an hour. `series` is what is known."""

    def __init__(
        self,
        feed: CarbonFeed,
        clock: Clock,
        events: EventSink,
        save: Callable[[str, Any], None],
        identity: Callable[[], str],
        kept: KeptCarbon | None = None,
        stated_g_per_kwh: float | None = None,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        """`identity`: of the site, for when it asks. `kept`: what the record keeps; of another country it is left.

        `stated_g_per_kwh`: what the site file says of the grid, for times that are not known.
        """
        self._feed, self._clock, self._events, self._save = feed, clock, events, save
        self._identity, self._deadline_s = identity, deadline_s
        self._client = HttpClient()
        self._failures, self._questions, self._stated = 0, 0, stated_g_per_kwh
        self.series = kept.series if kept is not None and kept.country == feed.country else NO_CARBON

    def at(self, utc_s: float) -> float | None:
        """g CO2 equivalent per kWh at an instant: as fetched, else as stated; None: not known."""
        told = self.series.at(utc_s)
        return self._stated if told is None else told

    async def run(self) -> None:
        """Ask whenever it is time, until cancelled."""
        self._client.join()
        try:
            while True:
                await self._pause(await self.look())
        finally:
            await self._client.leave()

    async def look(self) -> float:
        """Ask once; how long to wait for the next time, in seconds of the site's clock."""
        now_s, feed = self._clock.utc_s(), self._feed
        self._questions += 1
        try:
            found = await fetched(self._client, feed, int(now_s) - DAY_S, int(now_s) + 2 * DAY_S, self._deadline_s)
        except CarbonNotFetched as error:
            return max(self._failed(str(error)), min(error.again_s, MOST_AGAIN_S))
        self.series = merged(self.series, found, now_s - KEPT_S)
        self._save(STATE, KeptCarbon(feed.country, now_s, self.series))
        if self._failures:
            self._events.event("gateway", "info", "carbon", "what the grid emits is fetched again")
        self._failures = 0
        return PERIOD_S * (0.9 + 0.2 * self._spread())

    def _failed(self, why: str) -> float:
        if not self._failures:
            text = f"what the grid emits was not fetched, what is known and co2_g_per_kwh are used: {why}"
            self._events.event("gateway", "info", "carbon", text)
        pause_s = min(FIRST_AGAIN_S * 2.0**self._failures, LONGEST_AGAIN_S)
        self._failures = min(self._failures + 1, 10)
        return pause_s * (0.5 + self._spread())

    def _spread(self) -> float:
        return spread(self._identity(), self._questions)

    async def _pause(self, wait_s: float) -> None:
        """Wait by the site's clock; looks at it now and then, for it may be set."""
        until_s = self._clock.utc_s() + wait_s
        while 0 < (left_s := until_s - self._clock.utc_s()) <= 2 * wait_s:  # noqa: ASYNC110  a clock has no event
            await asyncio.sleep(min(LOOK_S, left_s / self._clock.speed))


def carbon_service(
    site: Site,
    clock: Clock,
    events: EventSink,
    save: Callable[[str, Any], None],
    identity: Callable[[], str],
    kept: KeptCarbon | None,
) -> CarbonService | None:
    """What fetches for this site; None where its file names no feed. `kept`: what an earlier run has fetched."""
    feed = site.tariff.co2_feed
    return None if feed is None else CarbonService(feed, clock, events, save, identity, kept, site.tariff.co2_g_per_kwh)
