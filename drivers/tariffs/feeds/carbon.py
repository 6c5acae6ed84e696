"""Energy-Charts: what a kWh of a country's electricity emits, measured and forecast. Free, without a key; CC BY 4.0.

`GET https://api.energy-charts.info/co2eq?country=de&start=2026-11-30&end=2026-12-01` answers `unix_seconds`, `co2eq`
and `co2eq_forecast` side by side, g CO2 equivalent per kWh by the quarter hour (Fraunhofer ISE; the shape is that which
published clients read). The answer names neither unit nor country. The reader rests on those clients, not on a
recorded answer.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from itertools import pairwise

import msgspec

from dispatch.model.carbon import MOST_FIGURES, STEP_S, CarbonSeries
from drivers.http.client import HttpClient
from drivers.http.errors import HttpError
from drivers.http.page import Request
from drivers.modbus.errors import DeviceError
from drivers.tariffs.feeds.answer import FeedError, NotPublished, document
from drivers.tariffs.feeds.config import CarbonFeed
from drivers.tariffs.feeds.kinds import host

URL = "https://api.energy-charts.info/co2eq"
DEADLINE_S = 20.0
MOST_BYTES = 1 << 20
MOST_G_PER_KWH = 2000.0  # lignite alone is about 1100 (IPCC AR5, annex III)
AROUND_S = 86_400  # figures this far from the time asked for are taken, too


class Figures(msgspec.Struct, frozen=True):
    """The answer, as far as it is used."""

    unix_seconds: list[int]
    co2eq: list[float | None]
    co2eq_forecast: list[float | None] = []


class CarbonNotFetched(Exception):
    """Why there is nothing, as one line. `again_s`: how long the service wants to be left alone."""

    def __init__(self, why: str, again_s: float = 0.0) -> None:
        super().__init__(why)
        self.again_s = again_s


def ask(feed: CarbonFeed, begin_s: int, end_s: int) -> Request:
    """The request for the days of UTC that hold [begin, end)."""
    first, last = (f"{datetime.fromtimestamp(s, UTC):%Y-%m-%d}" for s in (begin_s, end_s - 1))
    return Request(feed.url or URL, query=(("country", feed.country), ("start", first), ("end", last)))


def parse(body: bytes, begin_s: int, end_s: int) -> CarbonSeries:
    """The figures of an answer for [begin, end): measured ones, else those forecast. Raises FeedError."""
    found = document(body, Figures)
    times, measured = found.unix_seconds, found.co2eq
    forecast = found.co2eq_forecast or [None] * len(times)
    if not len(times) == len(measured) == len(forecast):
        raise FeedError(f"has {len(times)} times, {len(measured)} and {len(forecast)} figures: expected as many")
    if len(times) > MOST_FIGURES:
        raise FeedError(f"has {len(times)} figures: expected at most {MOST_FIGURES}")
    known = [b if a is None else a for a, b in zip(measured, forecast, strict=True)]
    for figure in known:
        if figure is not None and not (math.isfinite(figure) and 0 <= figure <= MOST_G_PER_KWH):
            raise FeedError(f"has {figure:g} g/kWh: expected 0 to {MOST_G_PER_KWH:g}")
    if not any(figure is not None for figure in known):
        raise NotPublished("has no figure")
    if not begin_s - AROUND_S <= times[0] <= times[-1] < end_s + AROUND_S:
        raise FeedError(f"has figures of {times[0]} to {times[-1]} s: expected those of {begin_s} to {end_s} s")
    return _by_quarter(times, known)


def _by_quarter(times: list[int], figures: list[float | None]) -> CarbonSeries:
    """The same by quarter hours; hourly figures hold for four. Raises FeedError."""
    steps = {b - a for a, b in pairwise(times)} or {STEP_S}
    step_s = min(steps)
    if steps != {step_s} or step_s not in (STEP_S, 4 * STEP_S) or times[0] % STEP_S:
        raise FeedError("has uneven times: expected quarter hours or hours without a gap")
    return CarbonSeries(times[0], tuple(figure for figure in figures for _ in range(step_s // STEP_S)))


async def fetched(client: HttpClient, feed: CarbonFeed, begin_s: int, end_s: int, deadline_s: float) -> CarbonSeries:
    """What is answered for [begin, end). Raises CarbonNotFetched."""
    request = ask(feed, begin_s, end_s)
    where = f"Energy-Charts {feed.country} at {host(request)}"
    try:
        answer = await client.send(where, request, deadline_s=deadline_s, most_bytes=MOST_BYTES)
        return parse(answer.body, begin_s, end_s)
    except HttpError as error:
        raise CarbonNotFetched(f"{where}: {error.what}", error.retry_after_s) from None
    except DeviceError as error:
        raise CarbonNotFetched(f"{where}: {error.what}") from None
    except FeedError as error:
        raise CarbonNotFetched(f"{where}: {error}") from None
