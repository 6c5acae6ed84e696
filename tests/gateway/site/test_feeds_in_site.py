"""Price feeds in the site file: what contradicts, and that a token has no place in it; what check and doctor say."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import feed_answers
import pytest
from http_server import HttpServer, response
from small_gateway import small_site

from console.cli.check import _tariff
from console.display.formats import fetched_text
from drivers.tariffs.feeds.market_days import day_begin_s, market_day
from gateway.commissioning.feed_findings import feed_findings
from gateway.commissioning.findings import Level
from gateway.site.loader import SiteFileError

CHARTS = {"kind": "energy-charts", "zone": "DE-LU"}
NOW_S = datetime(2026, 11, 30, 12, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("tariff", "error"),
    [
        (
            {"feed": [{"kind": "energy-charts", "zone": "DE"}]},
            "tariff.feed[0].zone = 'DE': expected a bidding zone: AT, BE",
        ),
        ({"feed": [CHARTS, CHARTS]}, "tariff.feed[1].zone = 'DE-LU': expected each feed once"),
        (
            {"feed": [CHARTS], "file": "p.csv"},
            "tariff.file = 'p.csv': expected no file where there is a [[tariff.feed]]",
        ),
        ({"feed": [{"kind": "entsoe", "zone": "AT"}]}, "expected the name of a credential: ENTSO-E needs a token"),
        ({"feed": [{"kind": "smard", "zone": "AT"}]}, "tariff.feed[0].kind = 'smard': expected"),
        ({"feed": [{**CHARTS, "url": "ftp://x"}]}, "tariff.feed[0].url = 'ftp://x': expected http"),
        ({"eur_per": {"GBP": 0.0}, "feed": [CHARTS]}, "tariff.eur_per"),
    ],
)
def test_what_contradicts(tmp_path: Path, tariff: dict[str, Any], error: str) -> None:
    with pytest.raises(SiteFileError) as found:
        small_site(tmp_path, tariff=tariff)
    assert error in str(found.value)


@pytest.mark.parametrize(
    "token", ["a3f0c2de-1b2c-4d5e-8f90-123456789abc", "a3f0c2de1b2c4d5e8f90123456789abc", "key-1234567"]
)
def test_a_token_is_refused_and_not_shown(tmp_path: Path, token: str) -> None:
    with pytest.raises(SiteFileError) as found:
        small_site(tmp_path, tariff={"feed": [{"kind": "entsoe", "zone": "AT", "token_credential": token}]})
    assert "(not shown)" in str(found.value)
    assert "expected the name of a credential, not the token" in str(found.value)
    assert token not in str(found.value)


async def test_what_check_and_doctor_say(tmp_path: Path) -> None:
    begin_s = day_begin_s(market_day(NOW_S))
    body = feed_answers.energy_charts(tuple(50.0 + n for n in range(24)), begin_s, 3600)
    async with HttpServer({"/price": response(body, kind="application/json")}) as server:
        feeds = [{**CHARTS, "url": server.url("/price")}, {"kind": "awattar", "zone": "AT", "url": server.url("/none")}]
        site = small_site(tmp_path, tariff={"feed": feeds})
        assert _tariff(site)[0] == ["tariff    prices by Energy-Charts DE-LU, else aWATTar AT, not asked here"]
        good, bad = await asyncio.to_thread(lambda: list(feed_findings(site, NOW_S)))
    assert (good.level, good.text) == (Level.OK, "Energy-Charts DE-LU answers: prices end 2026-12-01 00:00 CET")
    assert bad.level is Level.WARNING
    assert bad.text.endswith("answers HTTP 404 Not Found")


def test_the_age_of_prices_in_words() -> None:
    assert fetched_text("ENTSO-E AT", NOW_S - 3600, NOW_S, "Europe/Berlin") == "ENTSO-E AT, fetched 12:00"
    assert fetched_text("ENTSO-E AT", NOW_S - 2 * 86_400, NOW_S, "Europe/Berlin") == "ENTSO-E AT, fetched 11-28 13:00"
    assert fetched_text("ENTSO-E AT", None, NOW_S, "Europe/Berlin") == "ENTSO-E AT"
