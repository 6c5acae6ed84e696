"""A generator at the PCC in lock-step: outage, generator, grid; its lowest load, its rating, and what is paused."""

from __future__ import annotations

import random

import msgspec
import pytest
from genset_site import GENSET, NOON, GensetSite, without_source
from soak_sizes import examples

from dispatch.control.controller import Controller
from dispatch.model.decision import Mode
from dispatch.model.equipment import Meter
from dispatch.model.islanding import IslandRequest, IslandState
from dispatch.model.orders import Order, OrderKind
from dispatch.model.readings import MISSING, status
from dispatch.model.reasons import RuleId
from dispatch.model.snapshot import Snapshot
from dispatch.wording.catalogue import words
from drivers.twin.faults import Fault

BAND_W = 300.0  # the deadband, and what a reading is late by


def order(site: GensetSite, w: float) -> Order:
    now = site.decisions[-1]
    return Order(
        id="o1", kind=OrderKind.SETPOINT, value=w, target="", who="ann", reason="test", given_utc_s=now.utc_s,
        ends_utc_s=now.utc_s + 3600, ends_mono_s=1e9,
    )  # fmt: skip


def with_source(snapshot: Snapshot, source: str, position: str) -> Snapshot:
    (switch,) = snapshot.switches
    switch = msgspec.structs.replace(switch, source=status(source), position=status(position))
    return msgspec.structs.replace(snapshot, switches=(switch,))


@pytest.mark.usefixtures("claims_judged")
def test_an_outage_leads_to_the_generator_and_back_and_its_energy_is_no_import() -> None:
    site = GensetSite(18_000.0)
    site.run(10)
    site.outage()
    site.run(3)
    imported_wh = site.controller.interval.energy_wh
    decision = site.run(40)
    assert (decision.island, decision.battery_w, decision.mode) == (IslandState.GENSET, 0.0, Mode.RULES)
    assert site.feeds[-1] == pytest.approx(18_000, abs=50)
    assert site.controller.interval.energy_wh == pytest.approx(imported_wh, abs=0.1)
    unknown_s = site.controller.interval.unknown_s
    site.grid_back()
    site.run(30)
    assert site.states() == ["grid-tied", "islanded", "on-genset", "islanded", "synchronising", "grid-tied"]
    assert site.written == {"following"}
    assert site.site.unserved_wh == 0
    on_grid_wh = sum(site.feeds[-110:]) * 0.2 / 3600
    assert on_grid_wh == pytest.approx(site.controller.interval.energy_wh - imported_wh, rel=0.15)
    assert unknown_s < 1
    assert site.controller.interval.unknown_s < 4, "the meter may still have shown the generator for its delay"
    assert "switch pcc says that the generator feeds the site" in site.texts("island")[2]


def test_a_switch_that_returns_by_itself_is_not_shown_to_wait_for_us() -> None:
    site = GensetSite(18_000.0)
    decision = site.on_genset()
    assert decision.islanding is not None
    assert decision.islanding.reconnect is not None
    assert decision.islanding.reconnect.by_device
    held = site.site.switches[0]
    held.command = 1
    decision = site.run(0.4)
    assert decision.islanding is not None
    assert decision.islanding.reconnect is not None
    assert not decision.islanding.reconnect.by_device, "an order of ours still holds it open"


def test_the_rules_of_money_are_at_rest_and_say_why() -> None:
    chain = {trace.rule: words(trace.reason) for trace in GensetSite(18_000.0).on_genset().chain}
    for rule in (RuleId.INTERVAL_BUDGET, RuleId.GRID_RAMP, RuleId.PLAN, RuleId.REST):
        assert chain[rule] == "not in force: the site is on-genset"


def test_the_battery_lifts_a_small_load_to_the_lowest_load_and_helps_above_the_rating() -> None:
    site = GensetSite(2_000.0)
    site.on_genset()
    site.run(4)
    assert site.feeds[-1] == pytest.approx(GENSET.min_load_w, abs=BAND_W)
    site.load["w"] = 40_000.0
    decision = site.run(6)
    assert site.feeds[-1] == pytest.approx(GENSET.rated_w, abs=BAND_W)
    assert "kW is above the generator's rating of 30.0 kW" in words(decision.reason)
    assert site.genset.tripped == ""


def test_the_reserve_is_refilled_from_what_the_generator_has_to_spare() -> None:
    site = GensetSite(18_000.0, soc_pct=20.0, reserve_h=4.0)
    site.on_genset()
    decision = site.run(4)
    assert site.feeds[-1] == pytest.approx(GENSET.charge_up_to_w, abs=BAND_W)
    assert "refill while the generator gives less than 27.0 kW" in words(decision.reason)


@pytest.mark.parametrize(("asked_w", "feed_w"), [(50_000.0, GENSET.min_load_w), (-50_000.0, GENSET.charge_up_to_w)])
def test_an_order_is_limited_by_the_generator(asked_w: float, feed_w: float) -> None:
    site = GensetSite(18_000.0)
    site.on_genset()
    decision = site.run(4, orders=[order(site, asked_w)])
    assert decision.mode is Mode.MANUAL
    assert site.feeds[-1] == pytest.approx(feed_w, abs=BAND_W)


def test_pv_is_limited_once_the_battery_is_full() -> None:
    site = GensetSite(10_000.0, soc_pct=95.0, start=NOON)
    site.on_genset()
    site.run(12)
    assert site.site.pv[0].sun_w > 10_000
    assert site.feeds[-1] == pytest.approx(GENSET.min_load_w, abs=800)
    assert min(site.feeds[20:]) >= GENSET.min_load_w - BAND_W
    assert any("the generator gives at least 6.0 kW" in text for text in site.texts("pv1"))
    site.load["w"] = 40_000.0
    site.run(12)
    assert site.texts("pv1")[-1].endswith("kW of PV can be used or stored")


def test_pv_that_may_not_be_limited_charges_the_battery() -> None:
    site = GensetSite(3_000.0, start=NOON, curtail=False)
    site.on_genset()
    site.run(4)
    assert site.feeds[-1] == pytest.approx(GENSET.min_load_w, abs=BAND_W)
    assert site.site.pcs[0].w < -15_000


def test_a_load_that_jumps_is_followed_within_seconds() -> None:
    chance = random.Random(5)
    jumps = [chance.uniform(1_000, 45_000) for _ in range(20)]
    site = GensetSite(lambda t_s: jumps[int(t_s // 5) % 20])
    site.on_genset()
    site.run(60)
    late = [w for n, w in enumerate(site.feeds) if (site.site.t_s - (len(site.feeds) - n - 1) * 0.2) % 5 > 2.5]
    assert min(late) >= GENSET.min_load_w - BAND_W
    assert max(late) <= GENSET.rated_w + BAND_W
    assert site.genset.tripped == ""


def test_without_its_meter_the_battery_stands_still() -> None:
    site = GensetSite(18_000.0)
    site.on_genset()
    site.run(4, orders=[order(site, -8_000.0)])
    assert site.decisions[-1].battery_w == -8_000.0

    def lost(snapshot: Snapshot) -> Snapshot:
        return msgspec.structs.replace(snapshot, grid=Meter("grid", w=MISSING))

    site.change = lost
    decision = site.run(0.4, orders=[order(site, -8_000.0)])
    assert (decision.battery_w, decision.mode) == (0.0, Mode.SAFE)
    assert "on the generator with an unknown load the battery stands still" in words(decision.reason)


def test_a_switch_that_falls_silent_changes_no_limit_and_no_sentence_says_more_than_is_known() -> None:
    site = GensetSite(2_000.0)
    site.on_genset()
    site.change = without_source
    decision = site.run(6)
    assert decision.island is IslandState.GENSET
    assert site.feeds[-1] == pytest.approx(GENSET.min_load_w, abs=BAND_W)
    assert decision.islanding is not None
    assert words(decision.islanding.reason) == (
        "the site was on its generator when the switch last told: switch pcc does not say whether the grid or the "
        "generator feeds the site"
    )
    site.change = lambda snapshot: snapshot
    assert site.run(1).island is IslandState.GENSET
    assert len([text for text in site.texts("island") if "→ on-genset" in text]) == 1


def test_a_switch_that_is_silent_from_the_grid_on_leaves_it_open_who_feeds_the_site() -> None:
    site = GensetSite(18_000.0)
    site.run(2)
    site.change = without_source
    decision = site.run(1)
    assert (decision.island, decision.battery_w) == (IslandState.UNKNOWN, None)
    assert "does not say whether the grid or the generator feeds the site" in words(decision.reason)


def test_one_false_word_of_a_generator_on_the_grid_clips_no_order() -> None:
    site = GensetSite(18_000.0)
    site.run(3)
    asked = order(site, -40_000.0)
    site.run(6, orders=[asked])
    assert site.decisions[-1].battery_w == -40_000.0
    site.change = lambda snapshot: with_source(snapshot, "genset", "open")
    during = site.run(0.2, orders=[asked])
    site.change = lambda snapshot: snapshot
    after = [site.run(0.2, orders=[asked]) for _ in range(5)]
    assert {d.island for d in (during, *after)} == {IslandState.GRID_TIED}
    assert during.battery_w is None, "nothing is written"
    assert {d.battery_w for d in after} == {-40_000.0}


def test_what_a_silent_switch_may_have_returned_to_the_grid_is_not_measured() -> None:
    site = GensetSite(18_000.0)
    site.on_genset()
    unknown_s = site.controller.interval.unknown_s
    site.change = without_source
    site.run(10)
    assert site.decisions[-1].island is IslandState.GENSET
    assert site.controller.interval.unknown_s - unknown_s == pytest.approx(10, abs=0.5)


@pytest.mark.parametrize("position", ["closed", "moving"])
def test_a_generator_beside_a_contact_to_the_grid_that_is_not_open_is_not_taken_for_no_import(position: str) -> None:
    site = GensetSite(18_000.0)
    site.run(5)
    before = site.controller.interval

    site.change = lambda snapshot: with_source(snapshot, "genset", position)
    assert site.run(60).island is IslandState.UNKNOWN
    now = site.controller.interval
    assert now.unknown_s - before.unknown_s == pytest.approx(60, abs=1)
    assert now.energy_wh - before.energy_wh == pytest.approx(18_000 / 60, rel=0.05), "as much as before is assumed"


def test_a_generator_that_stops_leaves_the_site_to_the_battery() -> None:
    site = GensetSite(18_000.0)
    site.on_genset()
    site.genset.stopped = True
    decision = site.run(3)
    assert decision.island is IslandState.ISLANDED
    assert site.site.pcs[0].forming
    site.genset.stopped = False
    assert site.run(8).island is IslandState.GENSET
    assert site.written == {"following"}
    assert site.site.unserved_wh == 0


def test_a_dark_site_is_taken_up_by_the_generator() -> None:
    site = GensetSite(18_000.0)
    site.run(2)
    site.site.pcs[0].trip()
    site.genset.stopped = True
    site.outage()
    assert site.run(8).island is IslandState.BLACKOUT
    site.genset.stopped = False
    assert site.run(12).island is IslandState.GENSET
    assert site.feeds[-1] == pytest.approx(18_000, abs=50)


def test_no_drill_begins_on_the_generator() -> None:
    site = GensetSite(18_000.0)
    site.on_genset()
    asked = IslandRequest(id="1", kind="drill", who="ann", reason="monthly", minutes=5)
    (reply,) = site.run(0.2, requests=[asked]).replies
    assert not reply.ok
    assert "on-genset" in words(reply.reason)


@pytest.mark.parametrize("killed", [False, True])
def test_a_switch_held_open_for_a_drill_is_freed_for_the_generator_when_the_grid_goes(killed: bool) -> None:
    site = GensetSite(8_000.0, soc_pct=80.0)
    site.genset.stopped = True
    site.run(5)
    asked = IslandRequest(id="1", kind="drill", who="ann", reason="monthly", minutes=5)
    (reply,) = site.run(0.2, requests=[asked]).replies
    assert reply.ok, words(reply.reason)
    site.run(30)
    (switch,) = site.site.switches
    assert (site.controller.island.state, switch.command) == (IslandState.ISLANDED, 1)
    if killed:
        site.controller = Controller(site.controller.config)
        site.run(2)
        assert switch.command == 1
    site.outage()
    decision = site.run(0.6)
    assert switch.command == 1, "not by one sample"
    decision = site.run(3)
    assert switch.command == 0
    assert decision.switch is None
    site.genset.stopped = False
    assert site.run(8).island is IslandState.GENSET


@pytest.mark.usefixtures("claims_judged")
def test_a_load_above_the_rating_that_the_battery_cannot_take_leads_to_steps_of_load_shedding() -> None:
    site = GensetSite(20_000.0)
    site.site.pcs[0].discharge_setting_w = 0.0
    assert site.on_genset().ride is not None
    site.load["w"] = 34_000.0
    decision = site.run(4)
    assert decision.ride is not None
    assert decision.ride.rung == 2
    decision = site.run(8)
    assert decision.ride is not None
    assert decision.ride.rung == 5, "critical nodes are capped, none is shut down"
    assert decision.ride.why is not None
    assert words(decision.ride.why).endswith("kW was drawn from the generator, rated 30.0 kW")
    assert site.genset.tripped == ""
    site.load["w"] = 10_000.0
    decision = site.run(70)
    assert decision.ride is not None
    assert decision.ride.rung == 5, "it would be overloaded again"


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(examples(1)))
def test_any_order_of_outages_silences_and_stops_leaves_no_fault_and_writes_to_no_forming_pcs(seed: int) -> None:
    chance = random.Random(seed)
    loads = [chance.uniform(500, 40_000) for _ in range(40)]
    site = GensetSite(lambda t_s: loads[int(t_s // 8) % 40], soc_pct=chance.choice([30.0, 60.0, 94.0]))
    site.run(2)
    events = (site.outage, site.outage, site.grid_back, lambda: setattr(site.genset, "stopped", chance.random() < 0.3))
    for _ in range(24):
        chance.choice(events)()
        if chance.random() < 0.2:
            until_s = site.site.t_s + chance.uniform(1, 8)
            hung, frozen = Fault("hung", "grid", until_s), Fault("frozen", "grid", until_s)
            site.site.faults.put(chance.choice([hung, frozen]))
        site.change = without_source if chance.random() < 0.2 else lambda snapshot: snapshot
        site.run(chance.uniform(0.4, 6))
    assert "fault" not in site.states()
    assert site.written <= {"following"}
    assert site.site.unserved_wh == 0
