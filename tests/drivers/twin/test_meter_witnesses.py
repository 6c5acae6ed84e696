"""What a silent device does is measured where two meters show it; a frozen meter is found by the other one."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from demo_day import DemoDay, demo_site

from dispatch.model.decision import Decision, Mode
from dispatch.model.snapshot import Snapshot
from dispatch.wording.catalogue import words
from drivers.twin.faults import Fault
from gateway.site.schema import Site

JOB_ENDS = datetime(2025, 9, 18, 13, 20, 0, tzinfo=UTC).timestamp()  # by the bundled trace, -5 kW within a second


def until(day: DemoDay, utc_s: float) -> Decision:
    day.run_until(utc_s)
    return day.step()


def running(site: Site | None = None, seconds: float = 60.0) -> DemoDay:
    day = DemoDay(site)
    until(day, day.clock.utc_s() + seconds)
    return day


def before_the_job_ends() -> DemoDay:
    """The demo from a hundred seconds before the end of its job on."""
    site = demo_site()
    assert site.twin is not None
    twin = msgspec.structs.replace(site.twin, start_utc=datetime.fromtimestamp(JOB_ENDS - 100, UTC).isoformat())
    return DemoDay(msgspec.structs.replace(site, twin=twin))


def one_meter() -> Site:
    site = demo_site()
    return msgspec.structs.replace(site, meter=tuple(m for m in site.meter if m.role == "grid"))


def test_a_silent_pcs_is_measured_by_the_meters_until_and_after_it_reverts() -> None:
    day = running()
    (pcs,) = day.twin.pcs
    held_w = pcs.w
    assert held_w > 3_000
    day.twin.faults.put(Fault("hung", "pcs1"))
    began_s = day.clock.utc_s()
    decision = until(day, began_s + 6)
    assert "measured by grid and load meter: discharge" in words(decision.reason)
    assert decision.battery_w == pytest.approx(held_w, abs=300)
    decision = until(day, began_s + 70)
    assert abs(pcs.w) < 50
    assert "it has reverted: grid and load meter show battery at 0 kW" in words(decision.reason)
    assert decision.battery_w == pytest.approx(0, abs=300)
    net_w = day.twin.load_w - sum(p.w for p in day.twin.pv)
    assert decision.net_load_w == pytest.approx(net_w, abs=600)


def test_without_a_load_meter_it_is_said_to_be_assumed_until_its_own_timeout_and_after() -> None:
    day = running(one_meter())
    held_w = day.twin.pcs[0].w
    day.twin.faults.put(Fault("hung", "pcs1"))
    began_s = day.clock.utc_s()
    decision = until(day, began_s + 6)
    assert "assumed to keep its setpoint (discharge" in words(decision.reason)
    assert "runs out in" in words(decision.reason)
    assert decision.battery_w == pytest.approx(held_w, abs=300)
    decision = until(day, began_s + 70)
    assert "assumed at 0.0 kW" in words(decision.reason)
    assert decision.battery_w == 0
    assert abs(day.twin.pcs[0].w) < 50


@pytest.mark.parametrize(("frozen", "after_s"), [("grid", 1.0), ("load", 1.0), ("grid", 3.5), ("load", 3.5)])
def test_a_frozen_meter_is_found_by_the_other_one_at_the_next_step(frozen: str, after_s: float) -> None:
    """It took 10.9 s though the load meter disagreed at once."""
    day = before_the_job_ends()
    until(day, JOB_ENDS - after_s)
    begun_s = day.controller.interval.unknown_s  # it began before the demo
    day.twin.faults.put(Fault("frozen", frozen))
    before_w = day.twin.load_w
    while abs(day.twin.load_w - before_w) < 3_000:
        decision = day.step()
        assert not decision.meter_frozen
        assert not decision.load_meter_frozen
    decision = until(day, day.clock.utc_s() + max(2.2, 3.8 - after_s))  # a meter that moved shortly before still speaks
    assert (decision.meter_frozen, decision.load_meter_frozen) == (frozen == "grid", frozen == "load")
    unknown_s = day.controller.interval.unknown_s - begun_s
    assert unknown_s == pytest.approx(after_s + 2.4 if frozen == "grid" else 0, abs=0.8)
    day.twin.faults.clear(frozen)
    decision = until(day, day.clock.utc_s() + 1)
    assert not decision.meter_frozen
    assert not decision.load_meter_frozen
    assert day.controller.interval.unknown_s == pytest.approx(begun_s)


def test_beside_a_frozen_grid_meter_the_net_load_is_derived_from_the_load_meter() -> None:
    """It held the last setpoint for 5 s and went to the safe value, though the load meter shows the load."""
    day = before_the_job_ends()
    until(day, JOB_ENDS - 20)
    day.twin.faults.put(Fault("frozen", "grid"))
    until(day, JOB_ENDS + 4)
    for _ in range(100):
        decision = day.step()
        assert decision.meter_frozen
        assert decision.mode in (Mode.PLAN, Mode.RULES)
        assert decision.net_load_w == pytest.approx(day.twin.load_w - sum(p.w for p in day.twin.pv), abs=900)
        assert "grid meter grid stands still: net load" in words(decision.reason)
        assert "derived from load meter and PV" in words(decision.reason)
    assert decision.chain[2].reason.code == "net.by_load_meter"
    day.twin.faults.put(Fault("frozen", "load"))
    decision = until(day, day.clock.utc_s() + 12)
    assert decision.mode is Mode.SAFE, "both stand still"
    day.twin.faults.clear("grid")
    day.twin.faults.clear("load")
    decision = until(day, day.clock.utc_s() + 3)
    assert not decision.meter_frozen
    assert "derived" not in words(decision.reason)


def test_a_load_meter_of_a_part_of_the_site_gives_no_net_load() -> None:
    day = before_the_job_ends()
    snapshot = day.lockstep.snapshot

    def part(seq: int) -> Snapshot:
        now = snapshot(seq)
        assert now.load is not None
        half = msgspec.structs.replace(now.load.w, value=0.5 * (now.load.w.value or 0.0))
        return msgspec.structs.replace(now, load=msgspec.structs.replace(now.load, w=half))

    day.lockstep.snapshot = part  # type: ignore[method-assign]
    until(day, JOB_ENDS - 20)
    day.twin.faults.put(Fault("frozen", "grid"))
    decision = until(day, JOB_ENDS + 30)
    assert decision.meter_frozen
    assert decision.mode is Mode.SAFE


def test_healthy_meters_are_never_called_frozen() -> None:
    day = DemoDay()
    while day.clock.utc_s() < JOB_ENDS + 130:
        decision = day.step()
        assert not decision.meter_frozen
        assert not decision.load_meter_frozen


def test_a_meter_that_froze_before_the_grid_went_adds_nothing_behind_the_open_switch() -> None:
    """Its 31.8 kW were believed all through the outage."""
    day = running()
    (meter,) = [m for m in day.twin.meters if m.role == "grid"]
    start_wh = day.controller.interval.energy_wh, meter.reading.import_wh
    day.twin.faults.put(Fault("frozen", "grid"))
    until(day, day.clock.utc_s() + 0.6)
    day.twin.faults.put(Fault("outage", until_s=day.twin.t_s + 60))
    began_s = day.clock.utc_s()
    decision = until(day, began_s + 3)
    assert decision.meter_frozen
    decision = until(day, began_s + 50)
    assert decision.meter_frozen
    interval = day.controller.interval
    assert interval.unknown_s == pytest.approx(51, abs=1)
    assert interval.high_wh is None
    true_wh = meter.reading.import_wh - start_wh[1]
    assert interval.energy_wh - start_wh[0] == pytest.approx(true_wh, abs=12)
    day.twin.faults.clear("grid")
    decision = until(day, began_s + 55)
    assert not decision.meter_frozen
    interval = day.controller.interval
    assert interval.unknown_s == 0
    assert interval.energy_wh - start_wh[0] == pytest.approx(meter.reading.import_wh - start_wh[1], abs=6)
