"""What weather services are asked, and what is made of their answers, right and wrong ones."""

from __future__ import annotations

from typing import Any

import pytest
import weather_answers
from weather_answers import MIDNIGHT_S, SITE, as_bytes

from drivers.weather import forecast_solar, open_meteo
from drivers.weather.answer import WeatherError
from drivers.weather.config import WeatherService

METEO = WeatherService(kind="open-meteo", decimals=1)
SOLAR = WeatherService(kind="forecast-solar")


def test_open_meteo_is_told_the_rounded_place_and_nothing_else() -> None:
    (request,) = open_meteo.questions(METEO, SITE, "")
    query = dict(request.query)
    assert (request.url, query.pop("latitude"), query.pop("longitude")) == (open_meteo.URL, "52.3", "6.9")
    assert set(query) == {"minutely_15", "timeformat", "forecast_days"}
    (paid,) = open_meteo.questions(METEO, SITE, "secret")
    assert (paid.url, dict(paid.query)["apikey"]) == (open_meteo.PAID_URL, "secret")


def test_forecast_solar_is_asked_for_one_kilowatt_of_each_plane() -> None:
    urls = [request.url for request in forecast_solar.questions(SOLAR, SITE, "")]
    begin = "https://api.forecast.solar/estimate/52.28/6.87"
    assert urls == [f"{begin}/30/0/1", f"{begin}/15/-90/1"]  # there 0 is south and -90 east
    assert forecast_solar.questions(SOLAR, SITE, "key")[0].url.startswith("https://api.forecast.solar/key/estimate/")


def test_irradiance_becomes_the_power_of_the_planes_in_the_quarter_before_its_time() -> None:
    powers = open_meteo.powers_w((as_bytes(weather_answers.open_meteo()),), SITE)
    assert len(powers) == 2 * 96
    assert min(powers) == MIDNIGHT_S // 900 - 1
    noon = (MIDNIGHT_S + 41_400) // 900
    assert powers[noon] == pytest.approx(SITE.power_w(noon * 900 + 450), rel=0.002)
    dull = open_meteo.powers_w((as_bytes(weather_answers.open_meteo(share=0.5)),), SITE)
    assert 0.4 * powers[noon] < dull[noon] < 0.6 * powers[noon]
    assert powers[MIDNIGHT_S // 900] == 0.0


def test_an_hour_that_is_not_known_is_left_out() -> None:
    answer = weather_answers.open_meteo()
    answer["minutely_15"]["diffuse_radiation"][50:54] = [None] * 4
    answer["minutely_15"]["shortwave_radiation"][60] = 1e6
    powers = open_meteo.powers_w((as_bytes(answer),), SITE)
    assert set(range(2 * 96)) - {quarter - MIDNIGHT_S // 900 + 1 for quarter in powers} == {50, 51, 52, 53, 60}


def test_the_planes_of_forecast_solar_are_added_by_their_peak_power() -> None:
    bodies = (as_bytes(weather_answers.forecast_solar(700)), as_bytes(weather_answers.forecast_solar(300)))
    powers = forecast_solar.powers_w(bodies, SITE)
    ten = MIDNIGHT_S // 900 + 40  # 10:00 UTC is 12:00 there
    on_south, on_east = 700 + (500 - 700) * 450 / 10_800, 300 + (500 - 300) * 450 / 10_800
    assert powers[ten] == pytest.approx(20 * on_south + 10 * on_east)
    night = [w for quarter, w in powers.items() if (MIDNIGHT_S // 900 + 76) < quarter < (MIDNIGHT_S // 900 + 96 + 17)]
    assert max(night) == 0.0
    assert len(night) == 36


WHOLE = weather_answers.open_meteo()
UNITS, LISTS = WHOLE["minutely_15_units"], WHOLE["minutely_15"]
NOON_S = MIDNIGHT_S + 39_600


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"error": True, "reason": "Parameter out of range"}, "expected JSON as documented"),
        (WHOLE | {"latitude": 12.0}, "expected the place that was asked for"),
        (WHOLE | {"longitude": -353.2}, ""),  # the same place, once around
        (WHOLE | {"minutely_15_units": UNITS | {"time": "iso8601"}}, "unixtime"),
        (WHOLE | {"minutely_15_units": dict.fromkeys(UNITS, "unixtime")}, "W/m²"),
        (WHOLE | {"minutely_15": LISTS | {"time": [1, 2]}}, "as many in each"),
        (weather_answers.open_meteo(begin_s=MIDNIGHT_S + 60), "each quarter hour"),
        (weather_answers.open_meteo(share=100.0, begin_s=NOON_S, quarters=8), "no irradiance"),
    ],
)
def test_a_wrong_answer_of_open_meteo_is_told(answer: dict[str, Any], expected: str) -> None:
    body = as_bytes(answer)
    if not expected:
        assert open_meteo.powers_w((body,), SITE)
        return
    with pytest.raises(WeatherError, match=expected):
        open_meteo.powers_w((body,), SITE)


@pytest.mark.parametrize("body", [b"<!doctype html><title>Login</title>", b"", b"\xff\xfe", b"[" * 10_000])
def test_what_is_no_answer_is_told(body: bytes) -> None:
    for read, bodies in ((open_meteo.powers_w, (body,)), (forecast_solar.powers_w, (body, body))):
        with pytest.raises(WeatherError, match="expected JSON"):
            read(bodies, SITE)


@pytest.mark.parametrize(
    ("watts", "expected"),
    [
        ({}, "has 0 powers"),
        ({"2026-06-21T06:20:17": 0, "2026-06-21T07:20:17": 0}, "a time with its offset"),
        ({"2026-06-21T06:00:00Z": 0, "2026-06-21T07:00:00Z": 20_000}, "expected 0 to 1500"),
        ({"2026-06-21T06:00:00Z": 0, "2026-06-21T08:00:00+02:00": 5}, "same moment"),
        ({"2026-06-21T06:00:00Z": 0, "2028-06-21T08:00:00Z": 5}, "more than three weeks"),
        ({"2026-06-21T06:00:00Z": 0, "2026-06-21T06:01:00Z": 5}, "no quarter hour"),
    ],
)
def test_a_wrong_answer_of_forecast_solar_is_told(watts: dict[str, float], expected: str) -> None:
    body = as_bytes({"result": {"watts": watts}})
    with pytest.raises(WeatherError, match=expected):
        forecast_solar.powers_w((body, body), SITE)
