"""Defines a service of weather forecasts in the site file: `[[weather]]`."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from drivers.credentials import CredentialName


class WeatherService(msgspec.Struct, frozen=True, kw_only=True):
    """`[[weather]]`: a service that PV forecasts are fetched from. Of several the first is asked first.

    Needs the planes of the panels, `[[plane]]`. Without this section nothing is fetched.
    """

    kind: Annotated[
        Literal["open-meteo", "forecast-solar"],
        Meta(
            description="open-meteo: irradiance, of which the power is computed here; it is sent the place only. "
            "forecast-solar: power; it is also sent tilt and azimuth of each plane, never the peak power."
        ),
    ]
    decimals: Annotated[
        int,
        Meta(
            ge=0,
            le=4,
            description="Decimals of latitude and longitude that are sent. 1: to some 10 km, 2: to some 1 km.",
        ),
    ] = 2
    token_credential: Annotated[
        CredentialName,
        Meta(
            description="Name of the systemd credential that holds the key of a paid account, or of the environment "
            "variable `SKERRY_SECRET_NAME`. Never the key itself. Empty: without a key."
        ),
    ] = ""
    url: Annotated[
        str,
        Meta(
            pattern=r"^(https?://[^\s/@?#{}]+(/[^\s?#{}]*)?)?$",
            description="Another address of the service, such as your own Open-Meteo. Empty: the public one.",
            extra={"expected": "an address such as https://weather.example.com/v1/forecast"},
        ),
    ] = ""
