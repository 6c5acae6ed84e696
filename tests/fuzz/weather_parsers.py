"""What weather services answer, and what of it the record keeps."""

from __future__ import annotations

from pathlib import Path

import msgspec
import weather_answers
from fuzzing import Parser, simple
from weather_answers import SITE, as_bytes

from dispatch.model.decoding import decoded
from drivers.weather import forecast_solar, open_meteo
from drivers.weather.answer import WeatherError
from gateway.weather_feed import kept_forecast


def _possible(powers: dict[int, float]) -> None:
    assert powers
    assert all(0 <= w <= 4 * SITE.peak_w for w in powers.values())
    assert max(powers) - min(powers) < 4000


def _open_meteo(data: bytes, _directory: Path) -> None:
    _possible(open_meteo.powers_w((data,), SITE))


def _forecast_solar(data: bytes, _directory: Path) -> None:
    _possible(forecast_solar.powers_w((data, data), SITE))


def _kept(data: bytes, _directory: Path) -> None:
    found = kept_forecast(decoded(msgspec.json.decode, data))
    assert found is None or found.powers_w


PARSERS = (
    Parser(
        name="forecasts of Open-Meteo",
        covers=("drivers.weather.answer:document",),
        examples=lambda: [
            as_bytes(weather_answers.open_meteo(quarters=60, begin_s=weather_answers.MIDNIGHT_S + 36_000))
        ],
        session=simple(_open_meteo),
        errors=(WeatherError,),
        tree="json",
    ),
    Parser(
        name="forecasts of Forecast.Solar",
        covers=("drivers.weather.answer:document",),
        examples=lambda: [as_bytes(weather_answers.forecast_solar())],
        session=simple(_forecast_solar),
        errors=(WeatherError,),
        tree="json",
    ),
    Parser(
        name="a PV forecast that the record keeps",
        covers=("gateway.weather_feed:kept_forecast",),
        examples=lambda: [
            b'{"kind":"open-meteo","made_utc_s":1.8e9,"panels":"0","first":2000000,"powers_w":[0.0,5.0]}'
        ],
        session=simple(_kept),
        errors=(msgspec.DecodeError,),
        tree="json",
    ),
)
