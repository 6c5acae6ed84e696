"""Answers of weather services as they would come, in the shape of those that their clients' tests have recorded."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from dispatch.forecasting.clear_sky import Plane, PvSite, clear_irradiance
from dispatch.forecasting.sun import Place, sun_angles

SITE = PvSite(Place(52.2834, 6.8712), (Plane(30, 180, 20_000), Plane(15, 90, 10_000)))
MIDNIGHT_S = int(datetime(2026, 6, 21, tzinfo=UTC).timestamp())


def open_meteo(share: float = 1.0, begin_s: int = MIDNIGHT_S, quarters: int = 2 * 96) -> dict[str, Any]:
    """Two days of this share of a clear sky."""
    times = [begin_s + 900 * k for k in range(quarters)]
    skies = [clear_irradiance(s - 450, sun_angles(s - 450, *SITE.place).cos_zenith) for s in times]
    fields = ("shortwave_radiation", "direct_normal_irradiance", "diffuse_radiation")
    lists = {name: [round(share * sky[n], 1) for sky in skies] for n, name in enumerate(fields)}
    return {
        "latitude": 52.28,
        "longitude": 6.88,
        "generationtime_ms": 0.07,
        "utc_offset_seconds": 0,
        "timezone": "GMT",
        "timezone_abbreviation": "GMT",
        "elevation": 29.0,
        "minutely_15_units": {"time": "unixtime", **dict.fromkeys(fields, "W/m²")},
        "minutely_15": {"time": times, **lists},
    }


def forecast_solar(noon_w: int = 700) -> dict[str, Any]:
    """Two days of one plane of 1 kWp: it rises from 06:20 to noon and falls until 20:59, at UTC+2."""
    watts = {}
    for day in ("2026-06-21", "2026-06-22"):
        for clock, w in (("06:20:17", 0), ("09:00:00", 300), ("12:00:00", noon_w), ("15:00:00", 500)):
            watts[f"{day}T{clock}+02:00"] = w
        watts[f"{day}T18:00:00+02:00"] = 100
        watts[f"{day}T20:59:23+02:00"] = 0
    message = {"code": 0, "type": "success", "text": "", "ratelimit": {"period": 3600, "limit": 12, "remaining": 11}}
    return {"result": {"watts": watts, "watt_hours_day": {"2026-06-21": 5000}}, "message": message}


def as_bytes(answer: dict[str, Any]) -> bytes:
    return json.dumps(answer).encode()
