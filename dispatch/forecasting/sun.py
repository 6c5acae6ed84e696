"""Computes where the sun stands: declination and equation of time after Spencer (1971), Fourier series in the day."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

# Where a site lies of which only the time zone is known: the zone's clock may be an hour and a half ahead of the sun
# (Galicia) or half an hour behind it (eastern Poland); latitudes are those where people live.
WEST_DEG, EAST_DEG = -22.5, 7.5  # from the zone's own meridian
LATITUDES_DEG = tuple(range(0, 57, 4))


class SunAngles(NamedTuple):
    """Radians; the cosine is that of the angle from the zenith, so its arcsine is the elevation."""

    declination: float
    hour_angle: float
    cos_zenith: float


class Place(NamedTuple):
    """North and east are positive, degrees."""

    latitude_deg: float
    longitude_deg: float


def sun_angles(utc_s: float, latitude_deg: float, longitude_deg: float) -> SunAngles:
    """The sun at an instant."""
    day = 2 * math.pi * (datetime.fromtimestamp(utc_s // 1, UTC).timetuple().tm_yday - 1) / 365
    declination = (
        0.006918
        - 0.399912 * math.cos(day)
        + 0.070257 * math.sin(day)
        - 0.006758 * math.cos(2 * day)
        + 0.000907 * math.sin(2 * day)
        - 0.002697 * math.cos(3 * day)
        + 0.00148 * math.sin(3 * day)
    )
    equation_min = 229.18 * (
        0.000075
        + 0.001868 * math.cos(day)
        - 0.032077 * math.sin(day)
        - 0.014615 * math.cos(2 * day)
        - 0.040849 * math.sin(2 * day)
    )
    minutes = (utc_s % 86400) / 60 + 4 * longitude_deg + equation_min
    hour_angle = math.radians(minutes / 4 - 180)
    latitude = math.radians(latitude_deg)
    cos_zenith = math.sin(latitude) * math.sin(declination) + math.cos(latitude) * math.cos(declination) * math.cos(
        hour_angle
    )
    return SunAngles(declination, hour_angle, cos_zenith)


def elevation_range_deg(utc_s: float, place: Place | None, timezone: str) -> tuple[float, float]:
    """Least and greatest elevation that the sun may have at the site, degrees; the same where its place is known.

    Without a place it is all places, where people live, that keep this time zone.
    """
    if place is not None:
        here_deg = _elevation_deg(utc_s, place)
        return here_deg, here_deg
    standard_h, hemispheres = _zone(datetime.fromtimestamp(utc_s, UTC).year, timezone)
    found = [
        _elevation_deg(utc_s, Place(side * latitude_deg, 15 * standard_h + east_deg))
        for side in hemispheres
        for latitude_deg in LATITUDES_DEG
        for east_deg in (WEST_DEG, 0.0, EAST_DEG)
    ]
    return min(found), max(found)


def _elevation_deg(utc_s: float, place: Place) -> float:
    return math.degrees(math.asin(max(-1.0, min(1.0, sun_angles(utc_s, *place).cos_zenith))))


@lru_cache(maxsize=4)
def _zone(year: int, timezone: str) -> tuple[float, tuple[int, ...]]:
    """Hours ahead of UTC without summer time; which hemispheres (1 north, -1 south) keep such a clock."""
    january_h, july_h = (_offset_h(datetime(year, month, 1, tzinfo=ZoneInfo(timezone))) for month in (1, 7))
    if january_h == july_h:
        return january_h, (1, -1)
    return min(january_h, july_h), (1,) if july_h > january_h else (-1,)


def _offset_h(moment: datetime) -> float:
    offset = moment.utcoffset()
    assert offset is not None
    return offset.total_seconds() / 3600
