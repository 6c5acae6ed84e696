"""Fetches PV forecasts from the services of the site file, and keeps the last one over a restart.

Whatever a service answers, or does not, the plan goes on with the sun and the PV's recent days.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable
from typing import Any

import msgspec

from dispatch.forecasting.clear_sky import PvSite
from dispatch.forecasting.service_forecast import ServiceForecast
from dispatch.model.clock import Clock
from dispatch.planning.pipeline import pv_site
from drivers.http.client import HttpClient
from drivers.weather.config import WeatherService
from drivers.weather.fetching import DEADLINE_S, TITLES, Failure, fetched
from gateway.event_sink import EventSink
from gateway.site.schema import Site

STATE = "weather"  # under which the record keeps what was fetched
PERIOD_S = 3600.0  # models are computed anew every 1 to 6 h
PLANES_AN_HOUR = 6  # of a service that is asked for each: half of the 12 questions that Forecast.Solar allows
FIRST_AGAIN_S, LONGEST_AGAIN_S = 300.0, 4 * 3600.0  # after a failure, and after many
MOST_AGAIN_S = 6 * 3600.0  # however long a service wants to be left alone
LOOK_S = 30.0  # machine seconds between two looks at the clock, which may be set
START_SPREAD_S = 60.0  # sites that start together do not ask together
MOST_QUARTERS = 2000


class KeptForecast(msgspec.Struct, frozen=True):
    """What was fetched, as the record keeps it: of which service, when, for which panels, W by quarter hour.

    None: the service told nothing of that one.
    """

    kind: str
    made_utc_s: float
    panels: str
    first: int
    powers_w: list[float | None]


def kept_forecast(found: Any) -> KeptForecast | None:
    """What the record keeps; None: nothing. Raises msgspec.ValidationError."""
    kept = None if found is None else msgspec.convert(found, KeptForecast)
    if kept is not None and not 0 < len(kept.powers_w) <= MOST_QUARTERS:
        raise msgspec.ValidationError(f"powers_w: expected 1 to {MOST_QUARTERS} powers")
    return kept


class WeatherFeed:
    """Asks the services in their order, hourly, later and later while all fail."""

    def __init__(
        self,
        services: tuple[WeatherService, ...],
        panels: PvSite,
        clock: Clock,
        events: EventSink,
        on_forecast: Callable[[ServiceForecast], None],
        save: Callable[[str, Any], None],
        deadline_s: float = DEADLINE_S,
    ) -> None:
        """`on_forecast` takes what was fetched."""
        self._services, self._panels, self._clock, self._events = services, panels, clock, events
        self._on_forecast, self._save, self._deadline_s = on_forecast, save, deadline_s
        self._client = HttpClient()
        self._failures, self._told = 0, ""
        self._leave_until_s: dict[str, float] = {}  # by kind: services that want to be left alone

    def adopt(self, kept: KeptForecast | None) -> None:
        """Use what the record keeps, if it is of a service and of panels that the site file still has."""
        if kept is None or kept.panels != _digest(self._panels):
            return
        if kept.kind in {service.kind for service in self._services}:
            powers = {quarter: w for quarter, w in enumerate(kept.powers_w, start=kept.first) if w is not None}
            self._on_forecast(ServiceForecast(TITLES[kept.kind], kept.made_utc_s, powers))

    async def run(self) -> None:
        """Ask whenever it is time, until cancelled."""
        self._client.join()
        try:
            since_s, wait_s = self._clock.utc_s(), START_SPREAD_S * self._spread()
            while True:
                passed_s = self._clock.utc_s() - since_s
                if 0 <= passed_s < wait_s:  # else it is time, or the clock was set back
                    await asyncio.sleep(min(LOOK_S, (wait_s - passed_s) / self._clock.speed))
                    continue
                wait_s, since_s = await self.ask(), self._clock.utc_s()
        finally:
            await self._client.leave()

    async def ask(self) -> float:
        """Ask the services until one answers; seconds until the next time."""
        why: list[str] = []
        for service in self._services:
            now_s = self._clock.utc_s()
            if now_s < self._leave_until_s.get(service.kind, 0.0) <= now_s + MOST_AGAIN_S:  # beyond: a clock set back
                continue
            found = await fetched(self._client, service, self._panels, self._deadline_s)
            if not isinstance(found, Failure):
                self._take(service, found)
                return self._period_s(service)
            why.append(found.why)
            self._leave_until_s[service.kind] = now_s + min(found.again_s, MOST_AGAIN_S)
        return self._failed("; ".join(why))

    def _take(self, service: WeatherService, powers: dict[int, float]) -> None:
        now_s, first, last = self._clock.utc_s(), min(powers), max(powers)
        self._on_forecast(ServiceForecast(TITLES[service.kind], now_s, powers))
        told = (powers.get(quarter) for quarter in range(first, min(last + 1, first + MOST_QUARTERS)))
        values = [None if w is None else round(w, 1) for w in told]
        self._save(STATE, KeptForecast(service.kind, now_s, _digest(self._panels), first, values))
        if self._told:
            self._events.event("gateway", "info", "weather", f"PV forecasts are fetched again: {TITLES[service.kind]}")
        self._failures, self._told = 0, ""

    def _failed(self, why: str) -> float:
        pause_s = min(FIRST_AGAIN_S * 2.0**self._failures, LONGEST_AGAIN_S) * (0.5 + self._spread())
        self._failures = min(self._failures + 1, 10)
        if why and not self._told:
            self._told = why
            text = f"no PV forecast was fetched, the last one and the sun are used: {why}"
            self._events.event("gateway", "info", "weather", text)
        return pause_s

    def _period_s(self, service: WeatherService) -> float:
        questions = len(self._panels.planes) if service.kind == "forecast-solar" else 1
        return PERIOD_S * -(-questions // PLANES_AN_HOUR)

    def _spread(self) -> float:
        """From 0 up to 1, the same for the same site: sites do not ask at the same moment."""
        return int(_digest(self._panels), 16) / 2**32


def weather_feed(
    site: Site,
    clock: Clock,
    events: EventSink,
    on_forecast: Callable[[ServiceForecast], None],
    save: Callable[[str, Any], None],
    kept: KeptForecast | None,
) -> WeatherFeed | None:
    """What fetches for this site; None where its file names no service. `kept`: what an earlier run has fetched."""
    panels = pv_site(site.dispatch)
    if not site.weather or panels is None:
        return None
    feed = WeatherFeed(site.weather, panels, clock, events, on_forecast, save)
    feed.adopt(kept)
    return feed


def _digest(panels: PvSite) -> str:
    """What tells one set of panels from another."""
    return f"{zlib.crc32(repr(panels).encode()):08x}"
