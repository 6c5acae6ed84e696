"""Defines the feeds of prices and of the grid's CO2 in the site file: `[[tariff.feed]]`, `[tariff.co2_feed]`."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from drivers.credentials import CredentialName

FeedUrl = Annotated[
    str,
    Meta(
        pattern=r"^(https?://[^\s/@?#{}]+(/[^\s?#{}]*)?)?$",
        description="Where it is asked, such as a mirror on the site's network. Empty: the service itself.",
        extra={"expected": "http://host:port/path or https://host:port/path, without user, ? and #"},
    ),
]
Kind = Literal["energy-charts", "entsoe", "awattar", "tibber", "octopus"]


class PriceFeed(msgspec.Struct, frozen=True, kw_only=True):
    """`[[tariff.feed]]`: a service that prices are fetched from. Of several the first is asked first."""

    kind: Annotated[
        Kind,
        Meta(
            description="energy-charts, entsoe: day-ahead prices of a bidding zone. awattar: of Germany or Austria. "
            "tibber: the price of a contract without tax. octopus: the unit rates of a British tariff without VAT."
        ),
    ]
    zone: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z0-9-]{0,48}$",
            description="What prices are asked for. energy-charts, entsoe: bidding zone, such as `DE-LU`, `AT`, `NL`, "
            "`SE3`. awattar: `DE` or `AT`. octopus: tariff code, such as `E-1R-AGILE-24-10-01-C`. tibber: id of the "
            "home, which may be left out with one home.",
        ),
    ] = ""
    token_credential: Annotated[
        CredentialName,
        Meta(
            description="entsoe, tibber: name of the systemd credential that holds the token, or of the environment "
            "variable `SKERRY_SECRET_NAME`. Never the token itself."
        ),
    ] = ""
    url: FeedUrl = ""


class CarbonFeed(msgspec.Struct, frozen=True, kw_only=True):
    """`[tariff.co2_feed]`: fetches what a kWh of the grid emits from Energy-Charts, in place of `co2_g_per_kwh`."""

    country: Annotated[
        str,
        Meta(
            pattern=r"^[a-z]{2}$",
            description="Country as Energy-Charts names it, such as `de`, `at`, `fr`.",
            extra={"expected": "two letters in lower case, such as de"},
        ),
    ]
    url: FeedUrl = ""
