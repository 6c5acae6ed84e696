"""Sun, clear sky and planes against pvlib: by vectors that it wrote, and by itself where it is installed."""

from __future__ import annotations

import json
import math
from datetime import datetime
from typing import Any

import pvlib_vectors
import pytest

from dispatch.forecasting.clear_sky import Plane, PvSite, clear_irradiance, extraterrestrial_w_per_m2, plane_w_per_m2
from dispatch.forecasting.sun import Place, sun_angles

VECTORS = json.loads(pvlib_vectors.FILE.read_text(encoding="utf-8"))
SUN_DEG = 0.65  # Spencer's series holds for a year of 365 days: in a leap year, and within a day, it is off
PLANE_W_PER_M2 = 17.0  # what that angle makes of 500 W/m2 with the sun 11 degrees high


def moment_of(row: list[Any]) -> float:
    return datetime.fromisoformat(row[1]).timestamp()


def test_the_vectors_hold_every_place_and_enough_of_day() -> None:
    assert VECTORS["pvlib"] == "0.16.1"
    assert {row[0] for row in VECTORS["rows"]} == set(pvlib_vectors.PLACES)
    assert len(VECTORS["rows"]) > 100


@pytest.mark.parametrize("name", pvlib_vectors.PLACES)
def test_sun_sky_and_planes_are_those_of_pvlib(name: str) -> None:
    place = Place(*pvlib_vectors.PLACES[name])
    for row in VECTORS["rows"]:
        if row[0] != name:
            continue
        utc_s, (zenith_deg, outside, ghi, dni, dhi, *onto) = moment_of(row), row[2:]
        sun = sun_angles(utc_s, *place)
        assert math.degrees(math.acos(sun.cos_zenith)) == pytest.approx(zenith_deg, abs=SUN_DEG)
        assert extraterrestrial_w_per_m2(utc_s) == pytest.approx(outside, abs=0.01)
        # at the same sun the sky is the same but for rounding; with our own sun it is near
        assert clear_irradiance(utc_s, math.cos(math.radians(zenith_deg))) == pytest.approx((ghi, dni, dhi), abs=0.1)
        sky = clear_irradiance(utc_s, sun.cos_zenith)
        if zenith_deg < 80:  # lower down the beam changes by 30 W/m2 in a degree
            ours = [plane_w_per_m2(Plane(*way, 1.0), place, sun, sky, outside) for way in pvlib_vectors.PLANES]
            assert ours == pytest.approx(onto, abs=PLANE_W_PER_M2)


def test_pvlib_still_says_the_same_where_it_is_installed() -> None:
    pytest.importorskip("pvlib")
    found = pvlib_vectors.vectors()
    for ours, theirs in zip(VECTORS["rows"], found["rows"], strict=True):
        assert ours[:2] == theirs[:2]
        assert ours[2:] == pytest.approx(theirs[2:], abs=0.01)


def test_planes_add_up_and_there_is_nothing_at_night() -> None:
    place, noon = Place(48.0, 11.0), datetime.fromisoformat("2026-06-21T11:15:00Z").timestamp()
    east, west = Plane(15, 90, 4_000), Plane(15, 270, 6_000)
    both = PvSite(place, (east, west))
    assert both.peak_w == 10_000
    alone = [PvSite(place, (plane,)).power_w(noon) for plane in (east, west)]
    assert both.power_w(noon) == pytest.approx(sum(alone))
    assert 0.6 * both.peak_w < both.power_w(noon) < both.peak_w
    assert both.power_w(noon - 4 * 3600) > 0
    morning = [PvSite(place, (plane,)).power_w(noon - 4 * 3600) / plane.peak_w for plane in (east, west)]
    assert morning[0] > 1.5 * morning[1]  # 90 is east: it has the sun first
    assert both.power_w(noon + 12 * 3600) == 0.0
