"""A price file that is changed, replaced, spoilt or removed while the gateway runs: which prices are in force then."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from small_gateway import running, small_site
from tariff_events import Heard
from waiting import LIMIT_S, until

from dispatch.billing.market_prices import PriceSeries
from drivers.clock import VirtualClock
from drivers.tariffs.csv_file import load
from gateway.parts_in_trouble import PartsInTrouble
from gateway.price_watch import PriceWatch
from gateway.prices_in_force import PricesInForce
from gateway.supervised_calls import SupervisedCalls

HEADER = "start_utc,price_eur_per_mwh\n"
T0 = int(datetime(2025, 10, 2, 22, tzinfo=UTC).timestamp())
NOON = float(T0 + 13 * 3600)


def text(hours: int, start_s: int = T0, eur: float = 60.0, step: float = 1.0) -> str:
    rows = (
        f"{datetime.fromtimestamp(start_s + 3600 * n, UTC):%Y-%m-%dT%H:%M:%SZ},{eur + n * step:g}\n"
        for n in range(hours)
    )
    return HEADER + "".join(rows)


class Watched:
    """A watch over one file of 24 h, at noon of its day; the gateway has read it."""

    def __init__(self, directory: Path, **tariff: object) -> None:
        self.path = directory / "prices.csv"
        self.path.write_text(text(24))
        site = small_site(
            directory, tariff={"file": "prices.csv", **tariff}, site={"name": "S", "timezone": "Europe/Berlin"}
        )
        self.site_file = site.path
        self.prices, self.heard = PricesInForce(load("prices.csv", directory)), Heard()
        self.first = self.prices.series
        self.changes = 0
        clock, heard = VirtualClock(NOON), self.heard
        calls = SupervisedCalls("price file", LIMIT_S, PartsInTrouble())
        self.watch = PriceWatch(site, self.prices, clock, heard, self._changed, calls)  # type: ignore[arg-type]

    def _changed(self) -> None:
        self.changes += 1

    async def look(self, times: int = 3) -> list[str]:
        """What so many looks report."""
        self.heard.lines.clear()
        for _ in range(times):
            await self.watch.look()
        return list(self.heard.lines)


@pytest.fixture
async def watched(tmp_path: Path) -> Watched:
    found = Watched(tmp_path)
    assert await found.look() == []
    return found


async def test_a_file_that_is_replaced_is_in_force_at_the_second_look(watched: Watched, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text(text(48))
    os.replace(tmp_path / "new.csv", watched.path)
    assert await watched.look(1) == []
    assert await watched.look(1) == [
        "info new prices are in force (they end 2025-10-05 00:00 CEST); before: they end 2025-10-04 00:00 CEST"
    ]
    assert watched.prices.end_utc_s == T0 + 48 * 3600
    assert watched.changes == 1
    assert await watched.look() == []


async def test_a_file_that_is_being_written_is_not_read(watched: Watched) -> None:
    whole = text(48)
    for end in range(700, len(whole), 200):
        watched.path.write_text(whole[:end])
        assert await watched.look(1) == []
        assert watched.prices.series is watched.first
    watched.path.write_text(whole)
    assert len(await watched.look(2)) == 1
    assert watched.prices.end_utc_s == T0 + 48 * 3600


async def test_the_same_prices_written_again_are_no_news(watched: Watched) -> None:
    watched.path.write_text(text(24))
    os.utime(watched.path, (1, 1))
    assert await watched.look() == []
    assert watched.changes == 0


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (
            HEADER + "2025-10-03T00:00:00Z,12\n2025-10-03T01:00:00Z,1O\n",
            ":3: price_eur_per_mwh = '1O': expected a number",
        ),
        ("time;price\n", ":1: expected the header start_utc,price_eur_per_mwh, found time;price"),
        ("", ":1: expected the header"),
        (
            text(24, T0 - 86400),
            ": holds prices from 2025-10-02 00:00 CEST to 2025-10-03 00:00 CEST, none for 2025-10-03 13:00",
        ),
        (text(24, T0 + 86400), "none for 2025-10-03 13:00 CEST; expected one, it is known"),
        (text(18), "none for 2025-10-03 18:00 CEST; expected one, it is known: write the whole file again"),
        (
            "".join(text(30).splitlines(keepends=True)[:15] + text(30).splitlines(keepends=True)[20:]),
            "none for 2025-10-03 14:",
        ),
        (
            text(48, eur=0.06, step=0.001),
            ": the highest price is 0.107 EUR/MWh, the mean 0.0835: are they EUR/kWh? Then name",
        ),
        (text(48, eur=6.0, step=0.1), ": the highest price is 10.7 EUR/MWh, the mean 8.35: are they ct/kWh? Then name"),
        (text(48, T0 + 43200, eur=0.06, step=0.001), "are they EUR/kWh?"),
        (text(48, eur=6000.0, step=10.0), "is the unit of the column right"),
        (
            text(24) + "".join(text(24, T0 + 86400, eur=0.0, step=0.0).splitlines(keepends=True)[1:]),
            "every price is 0.00",
        ),
        (text(48, eur=0.0, step=0.0), "is the unit another"),
    ],
)
async def test_a_bad_file_keeps_the_prices_until_it_is_mended(watched: Watched, content: str, why: str) -> None:
    watched.path.write_text(content)
    (line,) = await watched.look()
    assert line.startswith("warning the price file cannot be used, the prices before stay (they end 2025-10-04 00:00")
    assert f"{watched.path}{why}" in line or why in line
    assert watched.prices.error in line
    assert watched.prices.series is watched.first
    watched.path.write_text(text(24))
    (line,) = await watched.look()
    assert line.startswith("info the price file was read again: the prices are those in force")
    assert watched.prices.error == ""
    assert watched.changes == 0


async def test_a_file_that_is_gone_keeps_the_prices(watched: Watched) -> None:
    watched.path.unlink()
    assert await watched.look(1) == [], "whoever writes it may remove it first"
    (line,) = await watched.look()
    assert "No such file or directory; expected the price file of tariff.file" in line
    assert watched.prices.series is watched.first
    watched.path.write_text(text(30))
    (line,) = await watched.look()
    assert line.startswith("info new prices are in force")
    assert (watched.prices.error, watched.changes) == ("", 1)


async def test_prices_that_only_look_wrong_are_used_where_those_before_agree(watched: Watched) -> None:
    """A dear day stays dear; one cent a kWh, too, once a person has said that it is right."""
    watched.prices.replace(PriceSeries((T0, T0 + 86400), (900.0, 950.0), T0 + 86400))
    watched.path.write_text(text(48, eur=900.0))
    (line,) = await watched.look()
    assert line.startswith("info new prices are in force")


async def test_prices_as_declared_are_used_and_remarked(tmp_path: Path) -> None:
    watched = Watched(tmp_path, prices_as_declared=True)
    watched.path.write_text(text(48, eur=0.06, step=0.001))
    first, second = await watched.look()
    assert first.startswith("info new prices are in force")
    assert second.startswith("warning prices.csv: the highest price is 0.107 EUR/MWh")


async def test_whoever_asks_is_answered_whatever_the_file_is(watched: Watched) -> None:
    watched.watch.reload()
    fees, line = await watched.look(1)
    assert fees.startswith("info only the price file is read again; fees, tax, VAT and demand charge stay as read from")
    assert line.startswith("info the price file was read again")
    watched.path.write_text("x")
    watched.watch.reload()
    _, line = await watched.look(1)
    assert line.startswith("warning the price file cannot be used")
    watched.watch.reload()
    assert await watched.look(1) == [fees, line]
    watched.site_file.write_text("[tariff]\nfee_eur_per_kwh = 0.2\n")
    watched.watch.reload()
    fees, _ = await watched.look(1)
    assert fees.startswith("warning")
    assert fees.endswith(f"{watched.site_file} has changed since, restart the gateway for it")


async def test_everything_sees_new_prices_at_once(place: Path) -> None:
    """Consoles, planner and alarms read one holder; the planner makes a plan of them at once."""
    now_s = int(datetime.now(UTC).timestamp()) // 3600 * 3600
    path = place / "prices.csv"
    path.write_text(text(4, now_s - 3600))
    prices = PricesInForce(load("prices.csv", place))
    sections = {"plan": {"enabled": True}, "tariff": {"file": "prices.csv"}}
    async with running(place, place / "s.sock", prices=prices, **sections) as site:
        gateway = site.gateway
        await until(lambda: gateway.planner.plan is not None)
        path.write_text(text(40, now_s - 3600, eur=90.0))
        gateway.price_watch.reload()
        await until(lambda: prices.end_utc_s == now_s + 39 * 3600)
        published = await gateway.loop.next_tick()
        assert published.tariff.ends_utc_s == now_s + 39 * 3600
        assert published.tariff.now_eur_per_kwh == pytest.approx(0.091)
        inputs = gateway.planner.inputs()
        assert inputs is not None
        assert inputs.prices is prices.series
        await until(lambda: gateway.planner.plan.steps[0].price_eur_per_kwh == pytest.approx(0.091))
        path.write_text("start_utc,price_eur_per_mwh\nnow,1\n")
        gateway.price_watch.reload()
        await until(lambda: any(a.id == "price-file" for a in gateway.alarms.active()))
        (alarm,) = (a for a in gateway.alarms.active() if a.id == "price-file")
        assert f"{path}:2: start_utc = 'now': expected ISO 8601" in str(alarm.detail)
        assert prices.series is inputs.prices


def test_a_file_that_never_answers_does_not_keep_the_gateway_from_ending(tmp_path: Path) -> None:
    """As on a dead file server: `asyncio.run` waits for every thread of `asyncio.to_thread`."""

    async def look() -> None:
        watched = Watched(tmp_path)
        watched.path.unlink()
        os.mkfifo(watched.path)
        watched.watch.reload()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(watched.watch.look(), 0.1)

    asyncio.run(look())
    os.close(os.open(tmp_path / "prices.csv", os.O_RDWR))  # whoever still reads it reads its end
