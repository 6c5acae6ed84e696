"""PV by the sun: what is learnt of its share of a clear sky, and that snow or a fault is not learnt as weather."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest

from dispatch.forecasting.clear_sky import Plane, PvSite, clear_quarter_w
from dispatch.forecasting.pv import PvForecaster
from dispatch.forecasting.pv_by_sun import SunPvForecaster
from dispatch.forecasting.pv_yield import LONG_ENOUGH, YieldWatch
from dispatch.forecasting.service_forecast import OLDEST_S, FollowedService, ServiceForecast
from dispatch.forecasting.sun import Place
from dispatch.wording.catalogue import words

DAY = 96
SITE = PvSite(Place(55.8, 12.5), (Plane(30, 180, 10_000),))
MARCH = int(datetime.fromisoformat("2026-03-10T00:00:00Z").timestamp()) // 900
NOON = 45  # 11:15 UTC
CLEAR = [clear_quarter_w(SITE, MARCH + k) for k in range(14 * DAY)]


def fed(quarters: int, share: Callable[[int], float]) -> SunPvForecaster:
    """A forecaster that has seen so many quarters of this share of a clear sky."""
    forecaster = SunPvForecaster(SITE)
    for k in range(quarters):
        assert forecaster.observe(900 * (MARCH + k), share(k) * CLEAR[k])
    return forecaster


def test_a_steady_share_of_the_clear_sky_is_forecast_as_such() -> None:
    expected = fed(10 * DAY + 30, lambda _k: 0.7).predict(900 * (MARCH + 10 * DAY + 30), DAY)
    assert list(expected) == pytest.approx([0.7 * w for w in CLEAR[10 * DAY + 30 : 11 * DAY + 30]], rel=0.02, abs=10)


def test_days_that_grow_longer_are_forecast_better_than_by_recent_days() -> None:
    now = 13 * DAY
    by_days = PvForecaster("UTC")
    for k in range(now):
        by_days.observe(900 * (MARCH + k), CLEAR[k])
    by_sun = fed(now, lambda _k: 1.0)

    def missed_w(forecaster: PvForecaster | SunPvForecaster) -> float:
        expected = forecaster.predict(900 * (MARCH + now), DAY)
        return sum(abs(a - b) for a, b in zip(expected, CLEAR[now:], strict=True))

    assert missed_w(by_sun) < 0.25 * missed_w(by_days)


def test_a_dull_hour_dims_the_next_ones_more_than_tomorrow() -> None:
    now = 10 * DAY + NOON
    forecast = fed(now, lambda k: 0.3 if k >= now - 4 else 0.9).predict(900 * (MARCH + now), DAY)
    soon, tomorrow = forecast[0] / CLEAR[now], forecast[DAY - 4] / CLEAR[now + DAY - 4]
    assert soon == pytest.approx(0.3, abs=0.05)
    assert 0.6 < tomorrow < 0.9


def test_a_new_site_starts_from_the_power_of_the_moment() -> None:
    start_s, forecaster = 900 * (MARCH + NOON), SunPvForecaster(SITE)
    dull = forecaster.predict(start_s, 8, now_w=0.2 * CLEAR[NOON])
    bright = forecaster.predict(start_s, 8, now_w=0.9 * CLEAR[NOON])
    assert all(0 < a < b < w for a, b, w in zip(dull, bright, CLEAR[NOON:], strict=False))
    assert max(forecaster.predict(900 * MARCH, 8)) == 0.0  # midnight, and nothing measured


def test_what_was_observed_is_not_taken_twice() -> None:
    forecaster = fed(5, lambda _k: 1.0)
    assert not forecaster.observe(900 * (MARCH + 4), 5.0)
    assert forecaster.observe(900 * (MARCH + 9), 5.0)


def test_snow_is_told_from_weather_and_not_learnt() -> None:
    snow, after = range(8 * DAY, 10 * DAY), 10 * DAY + NOON
    under_snow = fed(8 * DAY + NOON, lambda k: 0.004 if k in snow else 0.8)
    assert under_snow.trouble is not None
    since = datetime.fromisoformat("2026-03-18T06:15:00Z").timestamp()
    assert abs(under_snow.trouble.since_utc_s - since) <= 3600
    assert under_snow.trouble.share == pytest.approx(0.004, abs=0.001)
    ahead = under_snow.predict(900 * (MARCH + 8 * DAY + NOON), DAY)
    assert max(ahead[:16]) < 0.02 * SITE.peak_w  # today nothing comes
    assert ahead[-1] > 0.7 * CLEAR[8 * DAY + NOON - 1]  # tomorrow is not known to be like it
    source = under_snow.source(900 * (MARCH + 9 * DAY))
    assert source is not None
    assert "0 % of a clear sky: snow, shade or a fault" in words(source)

    melted = fed(after, lambda k: 0.004 if k in snow else 0.8)
    assert melted.trouble is None
    expected = melted.predict(900 * (MARCH + after), 8)
    assert list(expected) == pytest.approx([0.8 * w for w in CLEAR[after : after + 8]], rel=0.03)
    by_days = PvForecaster("UTC")
    for k in range(after):
        by_days.observe(900 * (MARCH + k), (0.004 if k in snow else 0.8) * CLEAR[k])
    assert sum(melted.predict(900 * (MARCH + 11 * DAY), DAY)) > 1.2 * sum(
        by_days.predict(900 * (MARCH + 11 * DAY), DAY)
    )


def test_a_dark_cloud_is_weather_and_a_low_sun_says_nothing() -> None:
    watch = YieldWatch(10_000)
    taken = [len(watch.take(k, 10.0, 5_000.0)) for k in range(LONG_ENOUGH - 1)]
    assert (sum(taken), watch.trouble) == (0, None)
    assert len(watch.take(LONG_ENOUGH - 1, 400.0, 5_000.0)) == LONG_ENOUGH  # it was a cloud: all of it counts
    for k in range(3 * LONG_ENOUGH):
        assert watch.take(100 + k, 0.0, 900.0) == [(100 + k, 0.0, 900.0)]
    assert watch.trouble is None


def test_trouble_lasts_over_the_night_and_ends_with_the_sun_on_the_panels() -> None:
    watch = YieldWatch(10_000)
    for k in range(LONG_ENOUGH):
        watch.take(k, 0.0, 5_000.0)
    assert watch.trouble is not None
    watch.take(50, 0.0, 0.0)
    watch.take(90, 200.0, 5_000.0)  # 4 %: still next to nothing
    assert watch.trouble.since_utc_s == 0
    assert watch.take(91, 3_000.0, 5_000.0) == [(91, 3_000.0, 5_000.0)]
    assert watch.trouble is None


def test_a_service_is_followed_for_what_comes_after_the_next_hours() -> None:
    now = 10 * DAY + NOON
    forecaster, now_s = fed(now, lambda _k: 0.9), 900 * (MARCH + now)
    own = forecaster.predict(now_s, DAY)
    dull = {MARCH + now + k: 0.2 * CLEAR[now + k] for k in range(DAY - 8)}
    forecaster.take_service(ServiceForecast("Open-Meteo", now_s - 1200.0, dull))
    forecast = forecaster.predict(now_s, DAY)
    assert forecast[0] == pytest.approx(own[0])  # the sun is out here and now
    assert 0.5 * own[8] < forecast[8] < 0.8 * own[8]
    tomorrow = DAY - 12
    assert forecast[tomorrow] == pytest.approx(0.2 * CLEAR[now + tomorrow], rel=0.02)
    assert forecast[-1] == own[-1]  # it does not go so far
    source = forecaster.source(now_s)
    assert source is not None
    assert words(source) == "PV by Open-Meteo, 20 min old, and its recent hours"
    late_s = now_s + OLDEST_S
    later = forecaster.source(late_s)
    assert later is not None
    assert words(later) == "PV by the sun and its recent days"


def test_the_share_of_a_service_is_learnt_and_bounded() -> None:
    service = FollowedService(10_000)
    assert service.share == 1.0
    service.take(ServiceForecast("x", 0.0, dict.fromkeys(range(90), 4_000.0)))
    for quarter in range(90):
        service.learn(quarter, 3_000.0)
    assert 0.75 < service.share < 0.85
    assert service.blended_w(9_999.0, 80, 0.0) == pytest.approx(4_000 * service.share, rel=0.01)
    assert service.blended_w(123.0, 91, 0.0) == 123.0  # not in it
    for _ in range(600):
        service.learn(5, 0.0)
    assert service.share == 0.2


def test_where_a_service_expects_sun_an_hour_with_a_tenth_of_it_is_enough() -> None:
    watch = YieldWatch(10_000)
    overcast = [watch.take(k, 300.0, 5_000.0, 800.0) for k in range(20)]
    assert all(len(each) == 1 for each in overcast)  # it expects little, and little comes
    for k in range(20, 24):
        assert watch.trouble is None
        watch.take(k, 300.0, 5_000.0, 4_500.0)
    assert watch.trouble is not None
    assert watch.trouble.share == pytest.approx(0.06)
    assert watch.take(24, 400.0, 5_000.0, 4_500.0) == []  # above 5 % of a clear sky, and still not what the sun gives
    assert len(watch.take(25, 2_000.0, 5_000.0, 4_500.0)) == 1
    assert watch.trouble is None


def test_the_service_tells_the_forecast_how_clear_it_was() -> None:
    now = 10 * DAY + NOON
    forecaster = fed(now, lambda _k: 0.9)
    assert forecaster.clearness(MARCH + now) is None
    sunny = {MARCH + now + k: 0.8 * CLEAR[now + k] for k in range(20)}
    forecaster.take_service(ServiceForecast("Open-Meteo", 900.0 * (MARCH + now), sunny))
    assert forecaster.clearness(MARCH + now) == pytest.approx(0.8)
    for k in range(4):
        forecaster.observe(900 * (MARCH + now + k), 0.05 * CLEAR[now + k])
    assert forecaster.trouble is not None
    assert forecaster.trouble.since_utc_s == 900 * (MARCH + now)
