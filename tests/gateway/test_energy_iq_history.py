"""The Energy IQ from a record on disk: local days, gaps, prices, who steered; and its iq."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from iq_days import CHEAP, CONFIG, DEAR, LOAD_W, PV_W, Clock, record, trade_w
from waiting import LIMIT_S, until

from dispatch.billing.market_prices import NO_PRICES, PriceSeries
from dispatch.config.tariff_terms import TariffTerms
from dispatch.model.events import Event
from drivers.config import TariffConfig
from gateway import energy_iq_service
from gateway.energy_iq_history import LATER, Report, digest, local_day, make_report, read_quarters
from gateway.energy_iq_service import STATE, EnergyIqService
from gateway.parts_in_trouble import PartsInTrouble
from gateway.previous_run import read_previous_run
from gateway.prices_in_force import PricesInForce
from gateway.supervised_calls import SupervisedCalls
from storage.config import StorageConfig
from storage.reader import Archive, QueryTimeout
from storage.recorder import Recorder

DAY = date(2025, 9, 16)
BEGIN, END = local_day(DAY, "Europe/Berlin")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory whose record holds all of DAY."""
    directory = tmp_path_factory.mktemp("whole")
    record(directory, BEGIN, END)
    return directory


def reported(directory: Path, **options: Any) -> Report:
    archive = Archive(directory, timeout_s=20)
    try:
        return make_report(archive, CONFIG, DAY, float(END), **options)
    finally:
        archive.close()


def test_a_local_day_has_the_hours_it_has() -> None:
    hours = [
        (e - b) / 3600 for b, e in (local_day(date(2025, *d), "Europe/Berlin") for d in ((3, 30), (6, 1), (10, 26)))
    ]
    assert hours == [23, 24, 25]


def test_a_key_that_came_later_counts_once_it_is_set() -> None:
    replace, battery = msgspec.structs.replace, CONFIG.batteries[0]
    windowed = replace(CONFIG, grid=replace(CONFIG.grid, export_window_s=900))
    bounded = replace(CONFIG, batteries=(replace(battery, unmonitored_w=1.0), *CONFIG.batteries[1:]))
    assert len({digest(config) for config in (CONFIG, windowed, bounded)}) == 3
    priced = [
        replace(CONFIG, tariff=replace(CONFIG.tariff, co2_g_per_kwh=g_per_kwh, co2_eur_per_tonne=eur))
        for eur in (0.0, 80.0)
        for g_per_kwh in (300.0, 400.0)
    ]
    assert [digest(config) == digest(CONFIG) for config in priced] == [True, True, False, False]
    assert digest(priced[2]) != digest(priced[3])
    sections = (CONFIG.grid, battery, TariffConfig())
    assert {name for section in sections for name in section.__struct_fields__} >= LATER


def test_quarters_are_what_was_recorded(whole: Path) -> None:
    archive = Archive(whole)
    quarters, notes = read_quarters(archive, CONFIG, BEGIN, END)
    archive.close()
    assert (len(quarters), notes) == (96, [])
    assert [q.start_utc_s for q in quarters] == list(range(BEGIN, END, 900))
    assert all(q.load_w == pytest.approx(LOAD_W, abs=1) for q in quarters)
    assert [q.battery_w for q in quarters] == [trade_w(q.start_utc_s) for q in quarters]
    assert {round(q.eur_per_mwh, 1) for q in quarters} == {CHEAP, DEAR}
    assert all(a.end_soc_pct == b.begin_soc_pct for a, b in pairwise(quarters))
    assert not any(q.unable or q.ordered for q in quarters)


def test_a_day_and_its_month_are_judged(whole: Path) -> None:
    report = reported(whole)
    assert report.iq.known_h == report.iq.of_h == 24
    assert report.iq.iq_pct is not None
    assert 5 < report.iq.iq_pct < 60  # 20 of 45 kWh that would have fitted, and sold at the same price
    assert report.month.begin_utc_s == local_day(date(2025, 9, 1), "Europe/Berlin")[0]
    assert report.month.known_h == 24
    assert report.month.of_h == 16 * 24
    assert report.fits(CONFIG)
    other = msgspec.structs.replace(CONFIG, tariff=TariffTerms())
    assert not report.fits(other)


def test_a_running_day_is_judged_up_to_now(whole: Path) -> None:
    archive = Archive(whole)
    report = make_report(archive, CONFIG, DAY, BEGIN + 10.4 * 3600, causes=False)
    with pytest.raises(ValueError, match="2025-09-17: expected a day that has begun; at the site it is 2025-09-16"):
        make_report(archive, CONFIG, date(2025, 9, 17), float(END - 1))
    archive.close()
    assert report.iq.of_h == 10.25
    assert report.iq.loss is None


def test_hours_in_which_a_pv_inverter_is_silent_are_judged_by_their_net_load(tmp_path: Path) -> None:
    """Known throughout or lost at noon for three hours: the same bill, the same Energy IQ."""
    silent = range(BEGIN + 11 * 3600, BEGIN + 14 * 3600, 60)
    record(tmp_path / "lost", BEGIN, END, pv_w=lambda t_s: None if t_s in silent else PV_W)
    record(tmp_path / "known", BEGIN, END, pv_w=lambda t_s: PV_W)
    archive = Archive(tmp_path / "lost")
    quarters, _ = read_quarters(archive, CONFIG, BEGIN, END)
    archive.close()
    assert len(quarters) == 96
    assert all(q.load_w - q.pv_w == pytest.approx(LOAD_W - PV_W, abs=1) for q in quarters)
    lost, known = reported(tmp_path / "lost").iq, reported(tmp_path / "known").iq
    assert lost.known_h == 24
    assert lost.iq_pct == pytest.approx(known.iq_pct, abs=0.01)


def test_gaps_orders_and_outages_are_seen(tmp_path: Path) -> None:
    """Three hours without a record, an order of ten minutes, nine seconds and more of an outage."""
    ordered = range(BEGIN + 9 * 3600 + 600, BEGIN + 9 * 3600 + 1200, 60)
    record(
        tmp_path,
        BEGIN,
        END,
        missing=range(BEGIN + 3600, BEGIN + 4 * 3600, 60),
        ordered=ordered,
        unable={BEGIN + 20 * 3600},
    )
    archive = Archive(tmp_path)
    quarters, _ = read_quarters(archive, CONFIG, BEGIN, END)
    archive.close()
    assert len(quarters) == 96 - 12
    assert [(q.start_utc_s - BEGIN) / 3600 for q in quarters if q.ordered] == [9.0, 9.25]
    assert [(q.start_utc_s - BEGIN) / 3600 for q in quarters if q.unable] == [20.0]
    report = reported(tmp_path)
    assert report.iq.known_h == 21


def test_what_a_generator_gave_is_no_import(tmp_path: Path) -> None:
    """The quarter hours that it touches are left out, and it is said how many."""
    record(tmp_path, BEGIN, END, on_genset=range(BEGIN + 3600 + 840, BEGIN + 2 * 3600, 60))
    archive = Archive(tmp_path)
    quarters, notes = read_quarters(archive, CONFIG, BEGIN, END)
    archive.close()
    assert len(quarters) == 96 - 4
    assert notes == ["4 quarter hours with the generator are left out: it is no import"]


def test_prices_that_are_not_on_record_come_from_the_price_file_or_are_told(tmp_path: Path) -> None:
    record(tmp_path, BEGIN, BEGIN + 8 * 3600, priced=False)
    half = PriceSeries((BEGIN,), (DEAR,), BEGIN + 4 * 3600)
    archive = Archive(tmp_path)
    quarters, notes = read_quarters(archive, CONFIG, BEGIN, END, half)
    assert [q.eur_per_mwh for q in quarters] == [DEAR] * 32  # the mean of what is known stands in
    assert notes == ["16 of 32 quarter hours have no price, the mean of that hour on other days instead"]
    quarters, notes = read_quarters(archive, CONFIG, BEGIN, END, NO_PRICES)
    archive.close()
    assert [q.eur_per_mwh for q in quarters] == [0.0] * 32
    assert notes == ["no market price on record or in the site's price file: judged by fees, tax and peak alone"]


@pytest.mark.parametrize("with_market", [True, False])
def test_the_market_price_on_record_holds_after_the_tariff_has_changed(with_market: bool, tmp_path: Path) -> None:
    record(tmp_path, BEGIN, BEGIN + 3600, with_market=with_market)
    dearer = msgspec.structs.replace(CONFIG.tariff, fee_eur_per_kwh=CONFIG.tariff.fee_eur_per_kwh + 0.01)
    archive = Archive(tmp_path)
    quarters, notes = read_quarters(archive, msgspec.structs.replace(CONFIG, tariff=dearer), BEGIN, END)
    archive.close()
    assert notes == []
    assert [q.eur_per_mwh for q in quarters] == pytest.approx([DEAR if with_market else DEAR - 10] * 4, abs=0.01)


# ── the service ─────────────────────────────────────────────────────────────────────────────────────────────────────


class Events:
    """What the service reports, and when."""

    def __init__(self, at_s: float) -> None:
        self.clock = Clock(at_s, speed=1.0)
        self.said: list[Event] = []

    def event(self, kind: str, severity: str, subject: str, text: str) -> None:
        self.said.append(Event(self.clock.at_s, kind, severity, subject, text))


def service(
    directory: Path, events: Events, save: Callable[[str, Any], None] = lambda key, value: None, config: Any = CONFIG
) -> EnergyIqService:
    heard: Any = events
    kept = read_previous_run(directory, events.clock.at_s).iq_reports
    calls = SupervisedCalls("Energy IQ", LIMIT_S, PartsInTrouble())
    return EnergyIqService(config, PricesInForce(), directory, events.clock, heard, save, kept, calls)


async def computed(iq: EnergyIqService) -> None:
    """Let a service run until it has figures."""
    running = asyncio.create_task(iq.run())
    await until(lambda: iq.now is not None)
    running.cancel()


async def test_yesterday_is_judged_once_and_kept_over_a_restart(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy_iq_service, "FIRST_S", 0.0)
    events = Events(END + 7 * 3600.0)
    recorder = Recorder(whole, StorageConfig(), "boot", clock=events.clock)
    iq = service(whole, events, recorder.save_state)
    await computed(iq)
    assert iq.now is not None
    assert (iq.now.day, iq.now.today_pct, iq.now.today_of_h) == ("2025-09-17", None, 7)
    assert iq.now.yesterday_pct is not None
    assert iq.now.month_known_h == 24
    (event,) = events.said
    assert event.text.startswith(f"Energy IQ {iq.now.yesterday_pct:.0f} for 2025-09-16; month to date ")
    await asyncio.to_thread(recorder.close)

    archive = Archive(whole)
    saved = msgspec.convert(archive.last_state(STATE), dict[str, Report])
    archive.close()
    events = Events(END + 8 * 3600.0)
    again = service(whole, events)
    assert await again.report(DAY, events.clock.at_s) == saved["2025-09-16"]
    await computed(again)
    assert events.said == []  # not judged twice

    dearer = msgspec.structs.replace(CONFIG, tariff=TariffTerms(demand_eur_per_kw_month=5.0))
    changed = service(whole, events, config=dearer)
    assert (await changed.report(DAY, events.clock.at_s)).inputs != saved[
        "2025-09-16"
    ].inputs  # another site file: anew


async def test_a_day_is_judged_only_once_its_last_minute_is_on_record(
    whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway that starts half a minute after midnight leaves it to the next hour."""
    monkeypatch.setattr(energy_iq_service, "FIRST_S", 0.0)
    saved: list[str] = []
    events = Events(END + 30.0)
    iq = service(whole, events, lambda key, value: saved.append(key))
    iq._kept.clear()
    await computed(iq)
    assert (saved, events.said) == ([], [])


async def test_few_days_are_computed_at_a_time(whole: Path) -> None:
    """Anybody may ask; who asks for many days at once is told to wait, and what was found is found again."""
    iq = service(whole, Events(END))
    days = [date(2025, 9, d) for d in (12, 13, 14, 15)]
    first = [asyncio.create_task(iq.report(day, float(END))) for day in days[:3]]
    await asyncio.sleep(0)
    with pytest.raises(QueryTimeout, match="ask again in a minute"):
        await iq.report(days[3], float(END))
    found = [await task for task in first]
    assert [report.day for report in found] == [day.isoformat() for day in days[:3]]
    assert await iq.report(days[0], float(END)) is found[0]


async def test_a_stop_waits_for_what_is_computed_and_begins_nothing(
    whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interpreter that ends while the solver works would take the process down with it."""
    began, ended = threading.Event(), threading.Event()
    really = energy_iq_service.make_report

    def slowly(*arguments: Any, **options: Any) -> Report:
        began.set()
        report = really(*arguments, **options)
        time.sleep(0.2)  # a solver that takes longer than the stop
        ended.set()
        return report

    monkeypatch.setattr(energy_iq_service, "make_report", slowly)
    iq = service(whole, Events(END))
    under_way = asyncio.create_task(iq.report(date(2025, 9, 11), float(END)))
    assert await asyncio.to_thread(began.wait, LIMIT_S)
    await iq.close()
    assert ended.is_set()
    assert (await under_way).day == "2025-09-11"
    with pytest.raises(QueryTimeout, match="the gateway is stopping"):
        await iq.report(date(2025, 9, 10), float(END))


async def test_without_a_record_there_is_no_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No exception leaves the service, and there are no figures."""
    monkeypatch.setattr(energy_iq_service, "FIRST_S", 0.0)
    iq = service(tmp_path, Events(END))
    running = asyncio.create_task(iq.run())
    await until(lambda: "no Energy IQ" in caplog.text)
    assert not running.done()
    assert iq.now is None
    running.cancel()
