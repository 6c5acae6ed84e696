"""Which silent PV inverters are asleep, by the sun, by what they gave last, and by the other inverters."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_site import a_snapshot

from dispatch.forecasting.pv_asleep import SleepingInverters
from dispatch.forecasting.sun import Place, elevation_range_deg
from dispatch.model.equipment import Pv
from dispatch.model.readings import MISSING, Quality, Reading, reading
from dispatch.model.snapshot import Snapshot

BERLIN = Place(52.5, 13.4)
ZONE = "Europe/Berlin"


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


class Site:
    """Two inverters of 10 kW, seen once a minute."""

    def __init__(self, place: Place | None = BERLIN, zone: str = ZONE, last_w: float | None = None) -> None:
        self.inverters = SleepingInverters({"pv1": 10_000.0, "pv2": 10_000.0}, place, zone, last_w)
        self.mono_s = 0.0
        self.fallen: list[str] = []

    def see(self, when: str, pv1: Reading, pv2: Reading, grid_tied: bool = True) -> Snapshot:
        self.mono_s += 60
        now = a_snapshot(self.mono_s, pv=(Pv("pv1", w=pv1), Pv("pv2", w=pv2)), utc_s=at(when))
        marked, fallen = self.inverters.mark(now, grid_tied)
        self.fallen += fallen
        return marked


SILENT = Reading(3.0, 40.0, Quality.STALE)


def test_an_inverter_that_faded_at_dusk_gives_0_w_until_dawn_and_then_is_lost() -> None:
    site = Site()
    site.see("2025-09-16T18:50+02:00", reading(100.0), reading(0.0))
    dusk = site.see("2025-09-16T19:10+02:00", SILENT, MISSING)
    assert dusk.pv_w == 0.0
    assert [pv.asleep for pv in dusk.pv] == [True, True]
    assert site.fallen == ["pv1", "pv2"]
    assert site.see("2025-09-17T02:00+02:00", SILENT, MISSING).load_w == dusk.grid.w.good
    dawn = site.see("2025-09-17T07:00+02:00", reading(20.0), MISSING)
    assert [pv.asleep for pv in dawn.pv] == [False, True]
    noon = site.see("2025-09-17T12:00+02:00", reading(6_000.0), MISSING)
    assert noon.pv_w is None, "the sun is up and the other inverter gives power: this one does not answer"
    assert not noon.pv[1].asleep
    assert site.fallen == ["pv1", "pv2"], "each said once"


def test_one_lost_by_day_is_unknown_and_gives_0_w_at_night_without_being_asleep() -> None:
    site = Site()
    site.see("2025-09-16T12:00+02:00", reading(6_000.0), reading(6_000.0))
    day = site.see("2025-09-16T12:05+02:00", Reading(6_000.0, 300.0, Quality.STALE), reading(6_000.0))
    assert day.pv_w is None
    assert not day.pv[0].asleep
    night = site.see("2025-09-16T23:00+02:00", Reading(6_000.0, 4e4, Quality.STALE), reading(0.0))
    assert night.pv_w == 0.0
    assert not night.pv[0].asleep, "its alarm stays"
    assert site.see("2025-09-17T12:00+02:00", reading(5_000.0), reading(5_000.0)).pv_w == 10_000.0
    site.see("2025-09-17T21:00+02:00", reading(0.0), reading(0.0))
    assert site.see("2025-09-17T21:10+02:00", MISSING, MISSING).pv[0].asleep, "it answered: forgotten"


def test_other_inverters_that_give_nothing_confirm_that_there_is_no_light() -> None:
    """Snow, or a storm front at noon: one fell silent after it faded, the other goes on answering 0 W."""
    site = Site()
    site.see("2025-12-16T12:00+01:00", reading(30.0), reading(20.0))
    assert site.see("2025-12-16T12:05+01:00", SILENT, reading(20.0)).pv_w == 20.0
    assert site.see("2025-12-16T12:10+01:00", SILENT, reading(1_500.0)).pv_w is None, "there is light again"


def test_off_the_grid_a_silent_inverter_stays_unknown() -> None:
    site = Site()
    site.see("2025-09-16T21:50+02:00", reading(0.0), reading(0.0))
    assert site.see("2025-09-16T22:00+02:00", SILENT, SILENT).pv_w == 0.0
    assert site.see("2025-09-16T22:01+02:00", SILENT, SILENT, grid_tied=False).pv_w is None


@pytest.mark.parametrize("place", [BERLIN, None])
@pytest.mark.parametrize("last_w", [0.0, None])
def test_a_gateway_that_starts_at_night_knows_it_by_the_sun_and_the_record(
    place: Place | None, last_w: float | None
) -> None:
    night = Site(place, last_w=last_w).see("2025-11-29T23:00+01:00", MISSING, MISSING)
    assert night.pv_w == 0.0
    assert night.pv[0].asleep
    day = Site(place, last_w=last_w).see("2025-11-29T11:36+01:00", MISSING, MISSING)
    assert day.pv_w is None


def test_a_record_that_ends_with_sun_on_the_panels_is_no_sleep_but_at_night_still_0_w() -> None:
    night = Site(last_w=8_000.0).see("2025-11-29T23:00+01:00", MISSING, MISSING)
    assert night.pv_w == 0.0
    assert not night.pv[0].asleep


def test_without_a_place_the_time_zone_says_when_it_can_be_dark() -> None:
    """On a clock of Berlin a winter dusk at 16:30 may be one; an early afternoon is none."""
    assert Site(None, last_w=0.0).see("2025-12-16T16:40+01:00", MISSING, MISSING).pv_w == 0.0
    assert Site(None, last_w=0.0).see("2025-12-16T13:00+01:00", MISSING, MISSING).pv_w is None
    assert Site(None, "Australia/Sydney", 0.0).see("2025-12-16T13:00+11:00", MISSING, MISSING).pv_w is None
    assert Site(None, "Australia/Sydney", 0.0).see("2025-12-16T23:00+11:00", MISSING, MISSING).pv_w == 0.0


@pytest.mark.parametrize(
    ("when", "place", "least_deg", "most_deg"),
    [
        ("2025-06-21T11:06+00:00", BERLIN, 60.5, 61.2),  # noon of the longest day: 90 - 52.5 + 23.4
        ("2025-12-21T11:04+00:00", BERLIN, 13.8, 14.3),
        ("2025-03-20T18:05+00:00", Place(0.0, 0.0), -1.0, 1.0),  # sunset at the equator
        ("2025-12-21T02:00+00:00", Place(-33.9, 151.2), 75.0, 80.0),  # Sydney at noon
    ],
)
def test_the_sun_stands_where_the_almanac_says(when: str, place: Place, least_deg: float, most_deg: float) -> None:
    low_deg, high_deg = elevation_range_deg(at(when), place, "UTC")
    assert low_deg == high_deg
    assert least_deg <= low_deg <= most_deg


@given(st.floats(min_value=at("2025-01-01T00:00+00:00"), max_value=at("2025-12-31T00:00+00:00")))
def test_what_the_time_zone_allows_holds_the_true_sun(utc_s: float) -> None:
    """Cities at both ends of the zone's land, north and south of Berlin."""
    least_deg, most_deg = elevation_range_deg(utc_s, None, "Europe/Berlin")
    for place in (BERLIN, Place(40.4, -3.7), Place(48.9, 2.3), Place(41.3, 19.8), Place(55.7, 12.6)):
        here_deg, _ = elevation_range_deg(utc_s, place, "Europe/Berlin")
        assert least_deg - 1.5 <= here_deg <= most_deg + 1.5
