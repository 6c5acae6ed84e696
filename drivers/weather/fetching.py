"""Asks a service of weather once, in bounded time and size."""

from __future__ import annotations

from types import ModuleType
from urllib.parse import urlsplit

import msgspec

from dispatch.forecasting.clear_sky import PvSite
from drivers.credentials import secret
from drivers.http.client import HttpClient
from drivers.http.errors import HttpError
from drivers.http.secret_file import hidden
from drivers.modbus.errors import DeviceError
from drivers.weather import forecast_solar, open_meteo
from drivers.weather.answer import WeatherError
from drivers.weather.config import WeatherService

KINDS: dict[str, ModuleType] = {"open-meteo": open_meteo, "forecast-solar": forecast_solar}
TITLES = {"open-meteo": "Open-Meteo", "forecast-solar": "Forecast.Solar"}
DEADLINE_S = 20.0
MOST_BYTES = 1 << 20  # four days of quarter hours are 20 kB
KEY = "token_credential"
LIMITED = 429  # HTTP status: too many questions
LIMITED_S = 3600.0  # over which Forecast.Solar counts them


class Failure(msgspec.Struct, frozen=True):
    """Why there is no forecast, and how long the service wants to be left alone."""

    why: str
    again_s: float = 0.0


async def fetched(
    client: HttpClient, service: WeatherService, site: PvSite, deadline_s: float = DEADLINE_S
) -> dict[int, float] | Failure:
    """Expected AC power by quarter hour, W, or why there is none. The text never holds a key."""
    kind, name, token = KINDS[service.kind], TITLES[service.kind], ""
    try:
        token = secret(name, KEY, service.token_credential) if service.token_credential else ""
        bodies = []
        for question in kind.questions(service, site, token):
            request = msgspec.structs.replace(question, secrets=(token,) if token else ())
            where = f"{name} at {urlsplit(request.url).hostname}"
            answer = await client.send(where, request, deadline_s=deadline_s, most_bytes=MOST_BYTES)
            bodies.append(answer.body)
        powers: dict[int, float] = kind.powers_w(tuple(bodies), site)
    except HttpError as error:
        return Failure(
            f"{error.where}: {error.what}", max(error.retry_after_s, LIMITED_S if error.status == LIMITED else 0.0)
        )
    except DeviceError as error:
        return Failure(f"{error.where}: {error.what}")
    except WeatherError as error:
        return Failure(f"{name}: {hidden(str(error), token)}")
    return powers
