"""The hub's database and the stream by themselves: months, other releases, a stream that is full."""

from __future__ import annotations

import pytest
from hub_bases import Base
from storage_samples import SOURCE

from benchmarks import hub_engines
from benchmarks.hub_engines import Nats
from fleet.bus import Broker, Bus, BusFailed
from fleet.bus_messages import EventsSent, Sent
from fleet.hub_database import HubDatabase, Outcome, Refusal
from fleet.hub_intake import Arrived
from fleet.hub_schema import NewerDatabase
from storage.outgoing import OutgoingEvent

pytestmark = pytest.mark.skipif(bool(hub_engines.missing()), reason=hub_engines.missing())
SITE, INCARNATION = map(str, SOURCE)


def event_at(utc_s: float, number: int, site: str = SITE) -> Arrived:
    """An event of a site."""
    events = (OutgoingEvent(number, round(utc_s * 1e6), "gateway", "info", ""),)
    body = EventsSent(after_id=number - 1, events=events)
    return Arrived(site=site, sent=Sent(format=1, incarnation=INCARNATION, name="Fjord", timezone="UTC", body=body))


def partitions(base: Base) -> list[str]:
    sql = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'event'::regclass ORDER BY 1"
    return [name for (name,) in base.all(sql)]


def test_months_get_partitions_old_ones_go_and_a_clock_that_is_years_off_is_kept(base: Base) -> None:
    november_s, year_later_s = 1_793_491_200.0 + 86_400, 1_793_491_200.0 + 366 * 86_400  # 2026-11-02, 2027-11-02
    clock = [november_s]
    database = HubDatabase(base.url, lambda: clock[0])
    database.open()
    applied = database.apply([event_at(november_s, 1), event_at(year_later_s, 2)])
    assert applied.outcomes == (Outcome.KEPT, Outcome.KEPT)
    assert partitions(base) == ["event_2026_11", "event_default"]
    assert base.all("SELECT id FROM event_default") == [(2,)]
    clock[0] = year_later_s
    assert database.apply([event_at(year_later_s, 3)]).outcomes == (Outcome.KEPT,)
    assert base.all("SELECT id FROM event_2027_11 ORDER BY id") == [(2,), (3,)], "what came too early moves there"
    database.forget_before(12)
    assert partitions(base) == ["event_2027_11", "event_default"]
    assert base.all("SELECT id FROM event ORDER BY id") == [(2,), (3,)]
    database.forget_before(13)
    database.close()
    again = HubDatabase(base.url, lambda: clock[0])
    again.open()
    assert again.sources()[SITE, INCARNATION].event_id == 3
    again.close()


def test_a_database_of_a_later_release_is_refused_and_an_early_page_waits(base: Base) -> None:
    database = HubDatabase(base.url)
    database.open()
    assert database.apply([event_at(1e9, 5)]).outcomes == (Outcome.EARLY,)
    assert database.apply([Refusal(SITE, "damaged", "why")] * 2).outcomes == (Outcome.REFUSED,) * 2
    assert base.kinds() == ["damaged"], "the same again in a row is kept once"
    base.run("INSERT INTO migration (version) VALUES (99)")
    with pytest.raises(NewerDatabase, match="version 99"):
        database.open()
    database.close()


async def test_a_full_bus_takes_nothing_more_and_loses_nothing(nats: Nats) -> None:
    bus = await Bus.connect(Broker(url=nats.url), "test", "_INBOX")
    await bus.prepare(40_000)
    with pytest.raises(BusFailed, match="maximum bytes exceeded"):
        await publish(bus, 99)
    first = await bus.fetch(1, 5.0)
    await first[0].done()
    await bus.publish(f"skerry.{SITE}.block.9", bytes(9_000))
    left = await bus.fetch(10, 5.0)
    assert [m.subject.rpartition(".")[2] for m in (*first, *left)] == ["0", "1", "2", "3", "9"]
    await bus.close()


async def publish(bus: Bus, count: int) -> None:
    for n in range(count):
        await bus.publish(f"skerry.{SITE}.block.{n}", bytes(9_000))
