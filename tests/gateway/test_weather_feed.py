"""Forecasts from a server that misbehaves: what is used meanwhile, what is asked, and what a restart keeps."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
import weather_answers
from http_server import HttpServer, response
from small_gateway import Running, running
from test_slow_devices import Events
from waiting import until
from weather_answers import MIDNIGHT_S, SITE, as_bytes

from dispatch.forecasting.service_forecast import ServiceForecast
from drivers.clock import VirtualClock
from drivers.http.client import HttpClient
from drivers.weather.config import WeatherService
from drivers.weather.fetching import Failure, fetched
from gateway import weather_feed
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
        again = taken.feed(server, "forecast-solar")
        server.pages[SOLAR] = response(b"", "503 Busy", Retry_After="9999999")
        await again.ask()
        again._clock.advance(6 * 3600.0)  # type: ignore[attr-defined]
        await again.ask()
        assert len(server.asked) == 3, "left alone for six hours at most"
    assert taken.forecasts == []


async def test_a_gateway_hands_the_services_answer_to_its_planner_and_again_after_a_restart(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weather_feed, "START_SPREAD_S", 0.0)
    now_s = time.time()
    midnight_s = int(now_s // 86_400) * 86_400
    answer = weather_answers.open_meteo(begin_s=midnight_s, quarters=3 * 96)
    noon = midnight_s // 900 + 46  # today's, by the sun: at most 24 h from now, whatever the time is

    def clearness(there: Running) -> float | None:
        return there.gateway.planner._source.clearness(noon)

    async with HttpServer({METEO: page(as_bytes(answer))}) as server:
        sections: dict[str, Any] = {
            "site": {"name": "Small", "latitude_deg": 52.2834, "longitude_deg": 6.8712},
            "pv": [{"id": "roof", "url": "tcp://127.0.0.1:1", "peak_w": 20_000}],
            "plane": [{"pv": "roof", "tilt_deg": 30, "azimuth_deg": 180, "peak_w": 20_000}],
            "weather": [{"kind": "open-meteo", "url": server.url(METEO)}],
        }
        async with running(place, place / "s.sock", commanded=False, **sections) as there:
            await until(lambda: clearness(there) is not None)
            seen = clearness(there)
        assert len(server.asked) == 1
        monkeypatch.setattr(weather_feed, "START_SPREAD_S", 1e6)  # the kept answer is all there is
        async with running(place, place / "s.sock", commanded=False, **sections) as there:
            assert clearness(there) == pytest.approx(seen, abs=0.01)
        assert len(server.asked) == 1


async def test_a_quarter_hour_that_was_not_told_is_no_night_after_a_restart() -> None:
    taken, again = Taken(), Taken()
    answer = weather_answers.open_meteo()
    noon = int(NOON_S) // 900
    answer["minutely_15"]["shortwave_radiation"][noon - MIDNIGHT_S // 900 + 1] = None
    async with HttpServer({METEO: page(as_bytes(answer))}) as server:
        await taken.feed(server, "open-meteo").ask()
        again.feed(server, "open-meteo").adopt(kept_forecast(kept_as_record(taken.kept[STATE])))
    for forecast in (*taken.forecasts, *again.forecasts):
        assert noon not in forecast.powers_w
        assert forecast.powers_w[noon + 1] > 1000
    assert len(again.forecasts) == 1


async def test_a_key_in_the_question_is_in_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKERRY_SECRET_METEO", "s3cret/key+1")
    async with HttpServer({METEO: page(b'{"reason": "no key s3cret/key+1"}')}) as server:
        url = server.url(METEO)
        service = WeatherService(kind="open-meteo", url=url, token_credential="meteo")
        client = HttpClient()
        client.join()
        for answer in (
            server.pages[METEO],
            response(b"", "302 Found", Location="https://u:p@mirror.example.org/v1?apikey=s3cret%2Fkey%2B1"),
            response(b"", "302 Found", Location="/v2?apikey=s3cret%2Fkey%2B1"),
            response(b"", "500 s3cret/key+1"),
        ):
            server.pages[METEO] = answer
            found = await fetched(client, service, SITE)
            assert isinstance(found, Failure)
            assert "s3cret" not in found.why
            assert "u:p" not in found.why
        await client.leave()
