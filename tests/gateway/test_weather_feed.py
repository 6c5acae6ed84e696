"""Forecasts from a server that misbehaves: what is used meanwhile, what is asked, and what a restart keeps."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import weather_answers
from http_server import HttpServer, response
from test_slow_devices import Events
from weather_answers import MIDNIGHT_S, SITE, as_bytes

from dispatch.forecasting.service_forecast import ServiceForecast
from drivers.clock import VirtualClock
from drivers.weather.config import WeatherService
from gateway.weather_feed import PERIOD_S, STATE, WeatherFeed, kept_forecast

NOON_S = MIDNIGHT_S + 43_200.0
METEO, SOLAR = "/v1/forecast", "/estimate/52.28/6.87/30/0/1"


class Taken:
    """Forecasts that were put in force, what was kept, and what was told."""

    def __init__(self) -> None:
        self.forecasts: list[ServiceForecast] = []
        self.kept: dict[str, Any] = {}
        self.events = Events()

    def feed(self, server: HttpServer, *kinds: str, deadline_s: float = 5.0) -> WeatherFeed:
        paths = {"open-meteo": METEO, "forecast-solar": ""}
        services = tuple(WeatherService(kind=kind, url=server.url(paths[kind])) for kind in kinds)  # type: ignore[arg-type]
        save = self.kept.__setitem__
        return WeatherFeed(services, SITE, VirtualClock(NOON_S), self.events, self.forecasts.append, save, deadline_s)


def page(body: bytes, status: str = "200 OK") -> bytes:
    return response(body, status, "application/json; charset=utf-8")


async def test_an_answer_is_used_kept_and_found_again_after_a_restart() -> None:
    taken = Taken()
    async with HttpServer({METEO: page(as_bytes(weather_answers.open_meteo()))}) as server:
        feed = taken.feed(server, "open-meteo")
        assert await feed.ask() == PERIOD_S
        (asked,) = server.asked
        assert "latitude=52.28&longitude=6.87&" in asked
        (forecast,) = taken.forecasts
        assert (forecast.source, forecast.made_utc_s) == ("Open-Meteo", NOON_S)
        assert taken.events.texts == []
        again = Taken()
        after = again.feed(server, "open-meteo")
        after.adopt(kept_forecast(kept_as_record(taken.kept[STATE])))
        (kept,) = again.forecasts
        assert kept.source == "Open-Meteo"
        assert kept.powers_w[int(NOON_S) // 900] == round(forecast.powers_w[int(NOON_S) // 900], 1)
        other = Taken()
        other.feed(server, "forecast-solar").adopt(kept_forecast(kept_as_record(taken.kept[STATE])))
        assert other.forecasts == []


def kept_as_record(kept: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(kept))


async def test_the_second_service_answers_where_the_first_does_not() -> None:
    taken = Taken()
    solar = page(as_bytes(weather_answers.forecast_solar()))
    pages: dict[str, Any] = {METEO: page(b"{}", "500 Oops"), SOLAR: solar, SOLAR.replace("30/0", "15/-90"): solar}
    async with HttpServer(pages) as server:
        assert await taken.feed(server, "open-meteo", "forecast-solar").ask() == PERIOD_S
    assert [forecast.source for forecast in taken.forecasts] == ["Forecast.Solar"]
    assert taken.events.texts == []


async def test_failures_are_told_once_and_asked_about_later_and_later() -> None:
    taken = Taken()
    async with HttpServer({METEO: page(b"<html>")}) as server:
        feed = taken.feed(server, "open-meteo", deadline_s=0.2)
        pauses = [await feed.ask() for _ in range(3)]
        assert pauses[0] < pauses[1] < pauses[2]

        async def hang(_target: str, _writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(60)

        server.pages[METEO] = hang
        await feed.ask()
        assert len(taken.events.texts) == 1
        assert "the last one and the sun are used: Open-Meteo: expected JSON" in taken.events.texts[0]
        server.pages[METEO] = page(as_bytes(weather_answers.open_meteo()))
        assert await feed.ask() == PERIOD_S
    assert taken.events.texts[1:] == ["weather PV forecasts are fetched again: Open-Meteo"]


async def test_a_service_that_says_too_many_is_left_alone_for_an_hour() -> None:
    taken = Taken()
    async with HttpServer({SOLAR: page(b'{"result": "Rate limit"}', "429 Too Many Requests")}) as server:
        feed = taken.feed(server, "forecast-solar")
        await feed.ask()
        await feed.ask()
        assert len(server.asked) == 1
    assert taken.forecasts == []
