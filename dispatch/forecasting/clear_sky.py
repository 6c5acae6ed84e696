"""Computes what PV gives under a clear sky: sun position, clear-sky irradiance, irradiance on each plane.

Clear sky: Ineichen and Perez (2002), Solar Energy 73, 151-157, at sea level with a Linke turbidity of 3 (clean air to
haze; a wrong one is a factor that the forecast learns). Air mass: Kasten and Young (1989). Irradiance outside the
atmosphere: Spencer (1971), solar constant 1366.1 W/m2. On a plane: Hay and Davies (1980), ground albedo 0.2.
The tests compare each with pvlib.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import NamedTuple

from dispatch.forecasting.sun import Place, SunAngles, sun_angles
from dispatch.model.forecast import QUARTER_S

TURBIDITY = 3.0  # Linke turbidity
SOLAR_CONSTANT_W_PER_M2 = 1366.1
ALBEDO = 0.2  # of the ground before the planes
SYSTEM = 0.86  # AC power per DC power at 1000 W/m2: 14 % loss, the default of the EU's PVGIS
LEAST_COS_ZENITH = 0.01745  # sun 1 degree high: below it the ratio of beam on plane to beam on ground is held
FIRST_YEAR_DAYS = 365


class Plane(NamedTuple):
    """PV panels that look the same way. Tilt from horizontal; azimuth clockwise from north, 180 is south."""

    tilt_deg: float
    azimuth_deg: float
    peak_w: float


class Irradiance(NamedTuple):
    """W/m2: on a horizontal area, from the direction of the sun, and diffuse on a horizontal area."""

    ghi: float
    dni: float
    dhi: float


DARK = Irradiance(0.0, 0.0, 0.0)


def extraterrestrial_w_per_m2(utc_s: float) -> float:
    """Irradiance outside the atmosphere on an area that faces the sun."""
    day = 2 * math.pi * (datetime.fromtimestamp(utc_s // 1, UTC).timetuple().tm_yday - 1) / FIRST_YEAR_DAYS
    nearness = (
        1.00011
        + 0.034221 * math.cos(day)
        + 0.00128 * math.sin(day)
        + 0.000719 * math.cos(2 * day)
        + 0.000077 * math.sin(2 * day)
    )
    return SOLAR_CONSTANT_W_PER_M2 * nearness


def air_mass(cos_zenith: float) -> float:
    """Length of the sun's way through the air, 1 with the sun in the zenith. `cos_zenith` > 0."""
    elevation_deg = math.degrees(math.asin(min(1.0, cos_zenith)))
    return 1 / (cos_zenith + 0.50572 * math.pow(6.07995 + elevation_deg, -1.6364))


def clear_irradiance(utc_s: float, cos_zenith: float) -> Irradiance:
    """Under a clear sky; nothing with the sun below the horizon."""
    if cos_zenith <= 0:
        return DARK
    outside, mass = extraterrestrial_w_per_m2(utc_s), air_mass(cos_zenith)
    ghi = 0.868 * outside * cos_zenith * math.exp(-0.0387 * mass * TURBIDITY)
    beam = (0.664 + 0.163) * outside * math.exp(-0.09 * mass * (TURBIDITY - 1))
    most = ghi * (1 - (0.1 - 0.2 * math.exp(-TURBIDITY)) / (0.1 + 0.882)) / cos_zenith
    dni = min(beam, most)
    return Irradiance(ghi, dni, ghi - dni * cos_zenith)


def plane_w_per_m2(plane: Plane, place: Place, sun: SunAngles, sky: Irradiance, outside_w_per_m2: float) -> float:
    """Irradiance on the plane. `outside_w_per_m2`: `extraterrestrial_w_per_m2` of that moment."""
    tilt = math.radians(plane.tilt_deg)
    cos_incidence = max(0.0, _cos_incidence(tilt, math.radians(plane.azimuth_deg), place, sun))
    clearness = min(1.0, sky.dni / outside_w_per_m2)
    seen_sky = (1 + math.cos(tilt)) / 2
    diffuse = sky.dhi * (clearness * cos_incidence / max(sun.cos_zenith, LEAST_COS_ZENITH) + (1 - clearness) * seen_sky)
    return sky.dni * cos_incidence + diffuse + sky.ghi * ALBEDO * (1 - math.cos(tilt)) / 2


def _cos_incidence(tilt: float, azimuth: float, place: Place, sun: SunAngles) -> float:
    """Cosine of the angle between sun and the plane's normal; radians."""
    latitude = math.radians(place.latitude_deg)
    east = -math.cos(sun.declination) * math.sin(sun.hour_angle)
    north = math.sin(sun.declination) * math.cos(latitude) - math.cos(sun.declination) * math.sin(latitude) * math.cos(
        sun.hour_angle
    )
    on_ground = east * math.sin(azimuth) + north * math.cos(azimuth)
    return on_ground * math.sin(tilt) + sun.cos_zenith * math.cos(tilt)


class PvSite(NamedTuple):
    """Where the panels are, and how they look."""

    place: Place
    planes: tuple[Plane, ...]

    @property
    def peak_w(self) -> float:
        """Peak power of all planes."""
        return sum(plane.peak_w for plane in self.planes)

    def power_w(self, utc_s: float, sky: Irradiance | None = None) -> float:
        """AC power at an instant, W: by this irradiance, or under a clear sky."""
        sun = sun_angles(utc_s, *self.place)
        sky = clear_irradiance(utc_s, sun.cos_zenith) if sky is None else sky
        if sky.ghi <= 0:
            return 0.0
        outside = extraterrestrial_w_per_m2(utc_s)
        onto = (plane.peak_w * plane_w_per_m2(plane, self.place, sun, sky, outside) for plane in self.planes)
        return SYSTEM * sum(onto) / 1000


def clear_quarter_w(site: PvSite, quarter: int) -> float:
    """AC power under a clear sky in the middle of a quarter hour (number since 1970), W."""
    return site.power_w(quarter * QUARTER_S + QUARTER_S / 2)
