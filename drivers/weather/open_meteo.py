"""Open-Meteo: irradiance in quarter hours. Free for non-commercial use (10 000 calls a day), else with a key.

`GET https://api.open-meteo.com/v1/forecast?latitude=52.28&longitude=6.87&minutely_15=shortwave_radiation,...` answers
lists side by side in `minutely_15`, their units in `minutely_15_units`. Radiation is the mean of the 15 minutes before
its time. Its shape is that of the recorded answers in the tests of frenck/python-open-meteo @657ea3d (MIT,
tests/fixtures/forecast_minutely_15.json); with `timeformat=unixtime` times are POSIX seconds. Data CC BY 4.0.
"""

from __future__ import annotations

import math
from itertools import pairwise

import msgspec

from dispatch.forecasting.clear_sky import Irradiance, PvSite
from dispatch.model.forecast import QUARTER_S
from drivers.http.page import Request
from drivers.weather.answer import MOST_ROWS, WeatherError, document
from drivers.weather.config import WeatherService

URL = "https://api.open-meteo.com/v1/forecast"
PAID_URL = "https://customer-api.open-meteo.com/v1/forecast"
FIELDS = ("shortwave_radiation", "direct_normal_irradiance", "diffuse_radiation")
UNIT = "W/m²"
DAYS = "4"  # the longest plan looks 72 h ahead
MOST_W_PER_M2 = 1500.0  # more does not reach the ground
NEAR_DEG = 1.0  # from the place asked for to the middle of its cell: the coarsest model has cells of 0.25 degrees


class Quarters(msgspec.Struct, frozen=True):
    """Lists side by side; null: not known."""

    time: list[int]
    shortwave_radiation: list[float | None]
    direct_normal_irradiance: list[float | None]
    diffuse_radiation: list[float | None]


class Units(msgspec.Struct, frozen=True):
    """The unit of each list."""

    time: str
    shortwave_radiation: str
    direct_normal_irradiance: str
    diffuse_radiation: str


class Forecast(msgspec.Struct, frozen=True):
    """The answer, as far as it is used."""

    latitude: float
    longitude: float
    minutely_15_units: Units
    minutely_15: Quarters


def questions(service: WeatherService, site: PvSite, token: str) -> tuple[Request, ...]:
    """What to ask: the place, rounded, and nothing else of the site."""
    latitude, longitude = (f"{round(deg, service.decimals):.{service.decimals}f}" for deg in site.place)
    query = [("latitude", latitude), ("longitude", longitude), ("minutely_15", ",".join(FIELDS))]
    query += [("timeformat", "unixtime"), ("forecast_days", DAYS)]
    if token:
        query.append(("apikey", token))
    return (Request(service.url or (PAID_URL if token else URL), query=tuple(query)),)


def powers_w(bodies: tuple[bytes, ...], site: PvSite) -> dict[int, float]:
    """Expected AC power by quarter hour (number since 1970), W. Raises WeatherError."""
    (body,) = bodies
    found = document(body, Forecast)
    _check(found, site)
    rows, powers = found.minutely_15, dict[int, float]()
    lists = (rows.shortwave_radiation, rows.direct_normal_irradiance, rows.diffuse_radiation)
    for end_s, *values in zip(rows.time, *lists, strict=True):
        if all(value is not None and 0 <= value <= MOST_W_PER_M2 for value in values):
            sky = Irradiance(*(float(value or 0.0) for value in values))
            powers[end_s // QUARTER_S - 1] = site.power_w(end_s - QUARTER_S / 2, sky)
    if not powers:
        raise WeatherError(f"has no irradiance between 0 and {MOST_W_PER_M2:g} W/m²")
    return powers


def _check(found: Forecast, site: PvSite) -> None:
    """Raises WeatherError for another place, unit or step than was asked for."""
    units, rows = found.minutely_15_units, found.minutely_15
    if units.time != "unixtime":
        raise WeatherError(f"time in {units.time[:40]!r}: expected 'unixtime'")
    given = {units.shortwave_radiation, units.direct_normal_irradiance, units.diffuse_radiation}
    if given != {UNIT}:
        raise WeatherError(f"irradiance in {', '.join(sorted(unit[:20] for unit in given))}: expected {UNIT}")
    lengths = {len(rows.time), *(len(each) for each in msgspec.structs.astuple(rows))}
    if len(lengths) > 1 or not 0 < len(rows.time) <= MOST_ROWS:
        raise WeatherError(f"has lists of {sorted(lengths)} values: expected as many in each, at most {MOST_ROWS}")
    if any(b - a != QUARTER_S for a, b in pairwise(rows.time)) or rows.time[0] % QUARTER_S:
        raise WeatherError(f"has times from {rows.time[0]} that are not each quarter hour after the other")
    off_deg = abs(found.latitude - site.place.latitude_deg), _apart(found.longitude, site.place.longitude_deg)
    if not all(math.isfinite(deg) and deg <= NEAR_DEG for deg in off_deg):
        raise WeatherError(f"is of {found.latitude:g}, {found.longitude:g}: expected the place that was asked for")


def _apart(a_deg: float, b_deg: float) -> float:
    """Between two longitudes, over the date line, too."""
    return abs((a_deg - b_deg + 180) % 360 - 180)
