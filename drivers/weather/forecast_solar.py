"""Forecast.Solar: power of one plane, today and the next days. Without a key 12 questions an hour by address.

`GET https://api.forecast.solar/estimate/LAT/LON/TILT/AZIMUTH/1?time=iso8601` answers `result.watts`: power at certain
moments, between which it runs straight (`watt_hours_period` is just that energy). Azimuth there is 0 for south and -90
for east (doc.forecast.solar, api:estimate). The shape is that of the recorded answers in the tests of
home-assistant-libs/forecast_solar @0aa04cd (MIT, tests/fixtures/forecast.json and ratelimit.json). Each plane is asked
for 1 kWp: the service is not told how large it is.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from datetime import datetime
from itertools import pairwise

import msgspec

from dispatch.forecasting.clear_sky import PvSite
from dispatch.model.forecast import QUARTER_S
from drivers.http.page import Request
from drivers.weather.answer import MOST_ROWS, WeatherError, document
from drivers.weather.config import WeatherService

URL = "https://api.forecast.solar"
ASKED_W = 1000.0  # of each plane
MOST_SHARE = 1.5  # of the peak power asked for: more is another plane, or another unit
LONGEST_S = 3 * 3600  # between two moments of a day: what lies further apart is a night


class Result(msgspec.Struct, frozen=True):
    """Power by moment, W."""

    watts: dict[str, float]


class Estimate(msgspec.Struct, frozen=True):
    """The answer, as far as it is used."""

    result: Result


def questions(service: WeatherService, site: PvSite, token: str) -> tuple[Request, ...]:
    """One question for each plane: place, tilt and azimuth, rounded."""
    place = "/".join(f"{round(deg, service.decimals):.{service.decimals}f}" for deg in site.place)
    base = "/".join(part for part in (service.url.rstrip("/") or URL, token, "estimate", place) if part)
    planes = ((round(plane.tilt_deg), round(plane.azimuth_deg) - 180) for plane in site.planes)
    return tuple(Request(f"{base}/{tilt}/{azimuth}/1", query=(("time", "iso8601"),)) for tilt, azimuth in planes)


def powers_w(bodies: tuple[bytes, ...], site: PvSite) -> dict[int, float]:
    """Expected AC power by quarter hour (number since 1970), W: of those that every plane has. Raises WeatherError."""
    planes = [
        {quarter: w * plane.peak_w / ASKED_W for quarter, w in _quarters(body).items()}
        for body, plane in zip(bodies, site.planes, strict=True)
    ]
    shared = set.intersection(*(set(each) for each in planes))
    if not shared:
        raise WeatherError("has no quarter hour that every plane has")
    return {quarter: sum(each[quarter] for each in planes) for quarter in sorted(shared)}


def _quarters(body: bytes) -> dict[int, float]:
    """Mean power by quarter hour of one plane, W; 0 between the last moment of a day and the first of the next."""
    watts = document(body, Estimate).result.watts
    if not 2 <= len(watts) <= MOST_ROWS:
        raise WeatherError(f"has {len(watts)} powers: expected some of each day, at most {MOST_ROWS}")
    moments = sorted((_moment_s(stamp), _within(stamp, w)) for stamp, w in watts.items())
    times, powers = [s for s, _ in moments], [w for _, w in moments]
    if any(a == b for a, b in pairwise(times)) or times[-1] - times[0] > MOST_ROWS * QUARTER_S:
        raise WeatherError("has powers of the same moment, or of more than three weeks")
    first, last = math.ceil(times[0] / QUARTER_S), int(times[-1] // QUARTER_S)
    return {quarter: _at(times, powers, (quarter + 0.5) * QUARTER_S) for quarter in range(first, last)}


def _at(times: list[float], powers: list[float], s: float) -> float:
    """Power at a moment between the first and the last."""
    k = bisect_right(times, s)
    (left_s, right_s), (left_w, right_w) = times[k - 1 : k + 1], powers[k - 1 : k + 1]
    if right_s - left_s > LONGEST_S:
        return 0.0
    return left_w + (right_w - left_w) * (s - left_s) / (right_s - left_s)


def _moment_s(stamp: str) -> float:
    try:
        found = datetime.fromisoformat(stamp)
        if found.utcoffset() is not None:
            return found.timestamp()
    except (ValueError, OverflowError):
        pass
    raise WeatherError(f"{stamp[:40]!r}: expected a time with its offset, such as 2026-04-26T07:00:00+02:00")


def _within(stamp: str, w: float) -> float:
    if not 0 <= w <= MOST_SHARE * ASKED_W:
        raise WeatherError(f"{w:g} W at {stamp[:40]!r}: expected 0 to {MOST_SHARE * ASKED_W:g}, for 1 kWp were asked")
    return w
