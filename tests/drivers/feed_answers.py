"""Answers of price feeds, in the shape of recorded ones, made of figures; and what a feed answers when it fails.

ENTSO-E: two series of the document recorded on 2024-10-07 in the tests of JaccoR/hass-entso-e
(custom_components/entsoereloaded/test/datasets/DE_60M_15M_overlap.xml, commit d294c50): hourly prices of the coupled
auction with position 15 left out, quarter-hourly ones of another auction. Energy-Charts: the shape in OpenEMS'
TimeOfUseTariffEnergyChartsImplTest, with its four prices. Octopus: the rates of 2022-10-22 in the tests of an Agile
client (30-minute rates, newest first). aWATTar: the hour in aWATTar's own documentation. Tibber: documentation only.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime

from drivers.tariffs.feeds.config import PriceFeed

ENERGY_CHARTS = PriceFeed(kind="energy-charts", zone="DE-LU")
ENTSOE = PriceFeed(kind="entsoe", zone="DE-LU", token_credential="entsoe")
AWATTAR = PriceFeed(kind="awattar", zone="AT")
TIBBER = PriceFeed(kind="tibber", token_credential="tibber")
OCTOPUS = PriceFeed(kind="octopus", zone="E-1R-AGILE-24-10-01-C")

DE_LU, AT = "10Y1001A1001A82H", "10YAT-APG------L"
# 2024-10-06 local, hours; None: the position is left out
HOURS: tuple[float | None, ...] = (
    *(67.04, 63.97, 62.83, 63.35, 62.71, 63.97, 63.41, 72.81, 77.2, 66.06, 35.28, 16.68),
    *(5.25, -0.01, None, 0.2, 59.6, 90.94, 106.3, 97.22, 72.98, 59.37, 58.69, 51.71),
)
QUARTERS = (98.1, 89.5, 77.21, 40.09, 87.2, 80.1, 75.3, 51.34)  # the other auction, the first two hours


def utc(text: str) -> int:
    """POSIX seconds of "2024-10-05T22:00"."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def stamp(utc_s: float) -> str:
    return f"{datetime.fromtimestamp(utc_s, UTC):%Y-%m-%dT%H:%MZ}"


BEGIN_S, END_S = utc("2024-10-05T22:00"), utc("2024-10-06T22:00")


def series(
    prices: tuple[float | None, ...],
    begin_s: int = BEGIN_S,
    step_s: int = 3600,
    *,
    sequence: str = "1",
    area: str = DE_LU,
    currency: str = "EUR",
    curve: str = "A03",
    unit: str = "MWH",
) -> str:
    """A TimeSeries of ENTSO-E with one period."""
    points = "".join(
        f"<Point><position>{n}</position><price.amount>{price}</price.amount></Point>"
        for n, price in enumerate(prices, start=1)
        if price is not None
    )
    place = "classificationSequence_AttributeInstanceComponent.position"
    end_s = begin_s + step_s * len(prices)
    return f"""<TimeSeries><mRID>1</mRID><auction.type>A01</auction.type><businessType>A62</businessType>
<in_Domain.mRID codingScheme="A01">{area}</in_Domain.mRID><out_Domain.mRID codingScheme="A01">{area}</out_Domain.mRID>
<contract_MarketAgreement.type>A01</contract_MarketAgreement.type><currency_Unit.name>{currency}</currency_Unit.name>
<price_Measure_Unit.name>{unit}</price_Measure_Unit.name>{f"<{place}>{sequence}</{place}>" if sequence else ""}
<curveType>{curve}</curveType><Period><timeInterval><start>{stamp(begin_s)}</start><end>{stamp(end_s)}</end>
</timeInterval><resolution>PT{step_s // 60}M</resolution>{points}</Period></TimeSeries>"""


def publication(*parts: str) -> bytes:
    """A document of ENTSO-E."""
    space = "urn:iec62325.351:tc57wg16:451-3:publicationdocument:7:3"
    name, text = "Publication_MarketDocument", f"<mRID>2d27</mRID><type>A44</type>{''.join(parts)}"
    return f'<?xml version="1.0" encoding="utf-8"?><{name} xmlns="{space}">{text}</{name}>'.encode()


ENTSOE_ANSWER = publication(series(HOURS), series(QUARTERS, step_s=900, sequence="2"))
NO_DATA = (
    b'<?xml version="1.0" encoding="UTF-8"?><Acknowledgement_MarketDocument '
    b'xmlns="urn:iec62325.351:tc57wg16:451-1:acknowledgementdocument:8:0"><mRID>ack</mRID><Reason><code>999</code>'
    b"<text>No matching data found for Data item Day-ahead Prices [12.1.D].</text></Reason>"
    b"</Acknowledgement_MarketDocument>"
)


def energy_charts(prices: tuple[float | None, ...], begin_s: int, step_s: int = 900, unit: str = "EUR / MWh") -> bytes:
    """An answer of Energy-Charts."""
    times = [begin_s + n * step_s for n in range(len(prices))]
    licence = "CC BY 4.0 (creativecommons.org/licenses/by/4.0) from Bundesnetzagentur | SMARD.de"
    answer = {"license_info": licence, "unix_seconds": times, "price": prices, "unit": unit, "deprecated": False}
    return json.dumps(answer).encode()


QUARTER_HOURS = (158.95, 160.98, 171.15, 174.96)
QUARTER_HOURS_S = 1632402000
ENERGY_CHARTS_ANSWER = energy_charts(QUARTER_HOURS, QUARTER_HOURS_S)


def awattar(prices: tuple[float, ...], begin_s: int, unit: str = "Eur/MWh") -> bytes:
    """An answer of aWATTar: hours."""
    rows = [
        {
            "start_timestamp": 1000 * (begin_s + 3600 * n),
            "end_timestamp": 1000 * (begin_s + 3600 * n + 3600),
            "marketprice": price,
            "unit": unit,
        }
        for n, price in enumerate(prices)
    ]
    return json.dumps({"object": "list", "data": rows, "url": "/at/v1/marketdata"}).encode()


AWATTAR_ANSWER = awattar((42.09, 37.5), 1428591600)


def octopus(rates: list[dict[str, object]], following: str | None = None) -> bytes:
    """An answer of Octopus."""
    return json.dumps({"count": len(rates), "next": following, "previous": None, "results": rates}).encode()


def rate(pence: float, begin: str, end: str | None, method: str | None = None) -> dict[str, object]:
    inclusive = round(pence * 1.05, 4)
    return {
        "value_exc_vat": pence,
        "value_inc_vat": inclusive,
        "valid_from": begin,
        "valid_to": end,
        "payment_method": method,
    }


OCTOPUS_ANSWER = octopus(
    [
        rate(15.33, "2022-10-22T22:30:00Z", "2022-10-22T23:00:00Z"),
        rate(14.28, "2022-10-22T22:00:00Z", "2022-10-22T22:30:00Z"),
        rate(22.03, "2022-10-22T21:30:00Z", "2022-10-22T22:00:00Z"),
        rate(24.42, "2022-10-22T21:00:00Z", "2022-10-22T21:30:00Z"),
    ]
)


def tibber(homes: list[dict[str, object]]) -> bytes:
    return json.dumps({"data": {"viewer": {"homes": homes}}}).encode()


def home(id: str, *prices: tuple[str, float], currency: str = "EUR") -> dict[str, object]:
    """A home of Tibber with a contract and these prices today."""
    told = [{"energy": price, "startsAt": at, "currency": currency} for at, price in prices]
    return {"id": id, "currentSubscription": {"priceInfo": {"today": told, "tomorrow": []}}}


TIBBER_PRICES = ("2026-11-30T00:00:00.000+01:00", 0.0837), ("2026-11-30T00:15:00.000+01:00", 0.0791)
TIBBER_ANSWER = tibber([home("96a1", *TIBBER_PRICES), {"id": "cafe", "currentSubscription": None}])
ANSWERS = {
    "energy-charts": (ENERGY_CHARTS, ENERGY_CHARTS_ANSWER, QUARTER_HOURS_S),
    "entsoe": (ENTSOE, ENTSOE_ANSWER, BEGIN_S),
    "awattar": (AWATTAR, AWATTAR_ANSWER, 1428591600),
    "octopus": (OCTOPUS, OCTOPUS_ANSWER, utc("2022-10-22T21:00")),
    "tibber": (TIBBER, TIBBER_ANSWER, utc("2026-11-29T23:00")),
}
