"""Drills against the twin: the whole road, an abort from every state, and what goes wrong on the way."""

from __future__ import annotations

import functools
from collections.abc import Callable
from itertools import pairwise

import msgspec
import pytest
from outage_storm import Draw, Storm
from site_copies import Copies

from dispatch.config.contact_terms import ContactTerms
from dispatch.control.controller import Controller
from dispatch.model.contacts import Contact
from dispatch.model.decision import Decision
from dispatch.model.islanding import DrillReport, IslandReply, IslandRequest, IslandState
from dispatch.model.readings import status
from dispatch.model.reasons import Reason, RuleId
from dispatch.wording.catalogue import words
from drivers.twin.faults import Fault
from drivers.twin.grid import Position
from drivers.twin.pcs import OpCtl

CALM = Draw(1, 80.0, 100.0, 20_000.0, 0.0, 5_000.0, 0.3, False, "permit", (), None, 0.0)
DRILL = IslandRequest(id="1", kind="drill", who="ann", reason="monthly", minutes=1.0)
ABORT = IslandRequest(id="2", kind="abort", who="ann", reason="smell of smoke")
S = IslandState
ROAD = (S.GRID_TIED, S.PREPARING, S.OPENING, S.ISLANDED, S.SYNCHRONISING, S.CLOSING)


class Bench:
    """A calm site, its controller, and whoever types."""

    def __init__(self, **changes: object) -> None:
        self.storm = Storm(msgspec.structs.replace(CALM, **changes))
        self.site, self.lockstep = self.storm.site, self.storm.lockstep
        self.seq = 0
        self.decisions: list[Decision] = []
        self.replies: list[IslandReply] = []
        self.report: DrillReport | None = None
        self.worst_w = 0.0  # largest import or export while the switch was opening
        self.run(5.0)

    def tick(self, *requests: IslandRequest, tick_s: float = 0.2) -> Decision:
        self.seq += 1
        self.lockstep.advance(tick_s)
        snapshot = self.lockstep.snapshot(self.seq)
        decision = self.storm.controller.step(snapshot, None, requests)
        self.lockstep.apply(decision)
        self.decisions.append(decision)
        self.replies += decision.replies
        self.report = decision.report or self.report
        return decision

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.2)):
            self.tick()

    def until(self, done: Callable[[Decision], bool], at_most_s: float = 400.0, tick_s: float = 0.2) -> Decision:
        for _ in range(round(at_most_s / tick_s)):
            decision = self.tick(tick_s=tick_s)
            if done(decision):
                return decision
        last = self.decisions[-1]
        raise AssertionError(f"still {last.island.value} after {at_most_s:g} s: {words(last.reason)}")

    def states(self) -> list[str]:
        found: list[str] = []
        for decision in self.decisions:
            if not found or found[-1] != decision.island.value:
                found.append(decision.island.value)
        return found


@functools.cache
def begun(state: IslandState) -> Copies[Bench]:
    """A drill that has come to this state; each goes on from the one before."""
    if state is S.GRID_TIED:
        return Copies(Bench())
    bench = begun(ROAD[ROAD.index(state) - 1]).copy()
    if state is S.PREPARING:
        bench.tick(DRILL)
    bench.until(lambda d: d.island is state)
    return Copies(bench)


def drilling(state: IslandState) -> Bench:
    """A drill as soon as it is in this state."""
    return begun(state).copy()


@pytest.mark.usefixtures("claims_judged")
def test_a_drill_goes_the_whole_road() -> None:
    bench = Bench()
    bench.tick(DRILL)
    assert bench.replies[0].ok, words(bench.replies[0].reason)
    assert all(check.ok for check in bench.replies[0].checks)
    opening = bench.until(lambda d: d.island is S.OPENING)
    assert abs(bench.site.grid_w) <= bench.storm.config.island.prepare_w
    assert opening.switch is not None
    assert opening.switch.action == "open"
    bench.until(lambda d: d.report is not None)
    road = ["grid-tied", "preparing", "opening", "islanded", "synchronising", "closing", "grid-tied"]
    assert bench.states() == road
    report = bench.report
    assert report is not None
    assert (report.result, report.who, report.reason) == ("passed", "ann", "monthly")
    assert all(c.ok for c in report.criteria)
    watched = {"communication", "bus voltage", "bus frequency", "SoC above floor", "load in rating"}
    assert {words(c.name) for c in report.criteria} >= watched
    assert 60 <= report.islanded_s < 90
    assert report.battery_wh == pytest.approx(15_000 * report.islanded_s / 3600, rel=0.35)
    assert report.transfer_gap == Reason("gap.below_resolution")
    heads = [words(what).split(":")[0] for _, what in report.timeline]
    assert heads[:4] == ["preparing", "opening", "islanded", "held as long as asked"]
    assert heads[4:] == ["synchronising", "closing", "grid-tied", "end"]
    assert bench.site.unserved_wh == 0
    for before, after in pairwise(bench.decisions):
        assert after.events or after.island is before.island
    bench.run(5.0)
    back = [
        words(t.reason)
        for d in bench.decisions
        for t in d.chain
        if d.island is S.GRID_TIED and t.rule is RuleId.ISLANDING
    ]
    assert any(reason.startswith("import ramps back after the return to the grid") for reason in back)
    assert bench.site.switches[0].command == 0, "nothing stays asked for"
    assert bench.decisions[-1].switch is None


def test_an_outage_at_a_steady_load_is_no_pulse() -> None:
    bench = Bench()
    bench.site.faults.put(Fault("outage", until_s=bench.site.t_s + 3))
    bench.until(lambda d: d.island is S.ISLANDED)
    bench.until(lambda d: d.island is S.GRID_TIED)
    bench.run(20.0)
    assert bench.storm.controller.pulses_seen == 0


@pytest.mark.usefixtures("claims_judged")
def test_import_comes_back_in_a_ramp() -> None:
    bench = Bench(pv_peak_w=0.0)
    bench.tick(DRILL)
    bench.until(lambda d: d.island is S.CLOSING)
    bench.until(lambda d: d.island is S.GRID_TIED)
    closed_s = bench.site.t_s
    steepest_w = 0.0
    while bench.report is None:
        bench.tick()
        away_s = bench.site.t_s - closed_s
        if away_s > 1.0:  # until then the PCS follows what it last held
            steepest_w = max(steepest_w, bench.site.grid_w - 2_000 * (away_s + 0.6))
    assert steepest_w <= 500


@pytest.mark.parametrize("state", [S.PREPARING, S.OPENING, S.ISLANDED, S.SYNCHRONISING, S.CLOSING])
def test_abort_from_every_state_leads_back_to_the_grid(state: IslandState) -> None:
    bench = drilling(state)
    bench.tick(ABORT)
    assert bench.replies[-1].ok
    bench.tick(IslandRequest(id="3", kind="abort", who="bob", reason="me too"))
    bench.until(lambda d: bench.report is not None)
    assert bench.report is not None
    assert (bench.report.transfer_gap == Reason("gap.none")) is (state is S.PREPARING)
    assert (bench.report.result, words(bench.report.why)) == ("aborted", "by ann (smell of smoke)")
    assert "drill aborted: by ann (smell of smoke)" in [e.text for d in bench.decisions for e in d.events]
    assert bench.decisions[-1].island is S.GRID_TIED
    assert bench.site.unserved_wh == 0


@pytest.mark.parametrize("state", [S.PREPARING, S.OPENING, S.ISLANDED])
def test_a_protective_contact_ends_a_drill(state: IslandState) -> None:
    """No switch is asked to open any more; a PCS that forms the grid goes on until the switch closes."""
    bench = Bench()
    epo = ContactTerms(id="epo", purpose="epo")
    bench.storm.controller = Controller(msgspec.structs.replace(bench.storm.controller.config, contacts=(epo,)))
    read, said = bench.lockstep.snapshot, "inactive"
    bench.lockstep.snapshot = lambda seq: msgspec.structs.replace(  # type: ignore[method-assign]
        read(seq), contacts=(Contact("epo", status(said)),)
    )
    bench.run(5.0)
    bench.tick(DRILL)
    bench.until(lambda d: d.island is state)
    said, begun = "active", len(bench.decisions)
    bench.until(lambda d: bench.report is not None)
    assert bench.report is not None
    assert bench.report.result == "failed"
    assert "emergency stop epo is active" in words(bench.report.why)
    assert bench.decisions[-1].island is S.GRID_TIED
    assert bench.site.unserved_wh == 0
    after = bench.decisions[begun + 2 :]
    if state is S.PREPARING:
        assert not any(d.switch is not None and d.switch.action == "open" for d in after)
    assert {s.w for d in after for s in d.setpoints} <= {0.0, None}


@pytest.mark.usefixtures("claims_judged")
def test_a_switch_that_jams_fails_the_drill_and_is_withdrawn() -> None:
    bench = drilling(S.PREPARING)
    bench.site.switches[0].jammed = True
    bench.until(lambda d: d.report is not None)
    assert bench.report is not None
    assert (bench.report.result, bench.decisions[-1].island) == ("failed", S.FAULT)  # its contacts disagree
    assert "did not confirm open" in words(bench.report.why)
    bench.site.switches[0].jammed = False
    bench.run(1.0)
    assert bench.decisions[-1].island is S.FAULT, "only an operator resets a fault"
    bench.tick(IslandRequest(id="r", kind="reset", who="ann", reason="freed"))
    bench.until(lambda d: d.island is S.GRID_TIED)


def test_a_switch_that_never_closes_is_given_up_after_its_attempts() -> None:
    bench = drilling(S.ISLANDED)
    bench.site.switches[0].jammed = True
    bench.until(lambda d: d.island is S.FAULT, 3000, tick_s=1.0)
    waits = [d.islanding.reconnect.wait_s for d in bench.decisions if d.islanding and d.islanding.reconnect]
    assert max(waits) == 20 * 2**5
    assert "5 times" in words((bench.decisions[-1].islanding or None).reason)  # type: ignore[union-attr]
    assert bench.site.unserved_wh == 0


def test_a_pcs_that_does_not_form_leaves_the_site_dark_and_the_drill_failed() -> None:
    """Nothing is closed onto the dead bus, though the grid is there: that is for an engineer."""
    bench = drilling(S.OPENING)
    bench.site.pcs[0].operate(OpCtl.STOP)
    bench.until(lambda d: d.report is not None)
    assert bench.report is not None
    assert (bench.report.result, bench.decisions[-1].island) == ("failed", S.BLACKOUT)
    assert any("blackout: the bus is dead: no PCS forms it" in words(line) for _, line in bench.report.timeline)
    bench.run(60)
    assert not any(d.switch is not None and d.switch.action == "close" for d in bench.decisions)
    bench.tick(IslandRequest(id="b", kind="black-start", who="eve", confirmed=True))
    bench.until(lambda d: d.island is S.GRID_TIED)


def test_a_bus_that_never_comes_into_step_is_a_fault_that_keeps_the_load_fed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.twin.grid.SLEW_DEG_PER_S", 0.0)
    bench = drilling(S.PREPARING)
    bench.until(lambda d: d.report is not None, 500)
    assert bench.report is not None
    assert (bench.report.result, bench.decisions[-1].island) == ("failed", S.FAULT)
    assert "not in step: phase differs by 90.00 deg, at most 20; for 300 s after the wait" in words(bench.report.why)
    assert not any(d.switch is not None and d.switch.action == "close" for d in bench.decisions)
    assert (bench.site.islanded, bench.site.unserved_wh) == (True, 0)
    monkeypatch.setattr("drivers.twin.grid.SLEW_DEG_PER_S", 15.0)
    bench.tick(IslandRequest(id="r", kind="reset", who="eve", reason="the PCS follows again"))
    bench.until(lambda d: d.island is S.GRID_TIED)


def test_a_soc_that_falls_faster_than_planned_ends_the_hold() -> None:
    bench = drilling(S.ISLANDED)
    bench.run(10)
    pack = bench.site.pcs[0].battery
    for _ in range(8):  # faster than the load explains, and slower than a BMS that recalibrates
        pack.energy_wh -= 0.004 * pack.capacity_wh
        bench.tick()
    bench.until(lambda d: d.report is not None)
    assert bench.report is not None
    assert (bench.report.result, bench.decisions[-1].island) == ("failed", S.GRID_TIED)
    assert words(bench.report.why).startswith("SoC as planned: 7")
    assert bench.report.islanded_s < 50, "it did not hold its minute"
    assert bench.site.unserved_wh == 0


def test_an_outage_in_the_middle_of_a_drill_makes_it_an_outage() -> None:
    bench = drilling(S.ISLANDED)
    machine = bench.storm.controller.island
    assert machine.step(bench.lockstep.snapshot(bench.seq)).drilling
    bench.site.faults.put(Fault("outage", until_s=bench.site.t_s + 100))
    bench.run(2.0)
    assert bench.report is not None
    assert "outage" in words(bench.report.why)
    assert not machine.step(bench.lockstep.snapshot(bench.seq)).drilling
    assert bench.decisions[-1].island is S.ISLANDED
    bench.until(lambda d: d.island is S.GRID_TIED)
    assert bench.site.unserved_wh == 0


@pytest.mark.parametrize(
    ("changes", "request_", "says"),
    [
        ({"soc_pct": 8.0}, DRILL, "energy: SoC 8.0 %"),
        ({"load_w": 58_000.0}, DRILL, "rating: load 5"),
        ({}, msgspec.structs.replace(DRILL, minutes=600.0), "duration: 600 min of at most 60"),
        ({}, msgspec.structs.replace(DRILL, reason=" "), "reason: none"),
        ({}, msgspec.structs.replace(DRILL, alarms=("pcs-fault:pcs1",)), "alarms: PCS pcs1 in fault"),
        ({"fault": ("hung", "pcc", 0.0, 1e9)}, DRILL, "switch: pcc is not read"),
    ],
)
def test_a_precheck_that_fails_says_what_would_make_it_pass(
    changes: dict[str, object], request_: IslandRequest, says: str
) -> None:
    bench = Bench(**changes)
    if "fault" in changes:
        bench.site.faults.put(Fault("hung", "pcc"))
        bench.run(3.0)
    bench.tick(request_)
    reply = bench.replies[-1]
    assert not reply.ok
    assert says in words(reply.reason)
    assert all(c.remedy for c in reply.checks if not c.ok)
    assert bench.decisions[-1].switch is None
    assert bench.decisions[-1].island is not S.PREPARING


def test_a_second_drill_is_refused_while_one_runs() -> None:
    bench = Bench()
    bench.tick(DRILL)
    bench.tick(msgspec.structs.replace(DRILL, id="3"))
    assert not bench.replies[-1].ok
    assert "no other drill: one is running" in words(bench.replies[-1].reason)


@pytest.mark.parametrize("state", [S.PREPARING, S.OPENING, S.ISLANDED, S.SYNCHRONISING, S.CLOSING])
def test_a_restarted_controller_adopts_what_it_finds(state: IslandState) -> None:
    bench = drilling(state)
    kept = bench.storm.controller.memory()
    bench.storm.controller = Controller(bench.storm.config)
    bench.storm.controller.restore(kept)
    first = bench.tick()
    closed = bench.site.switches[0].position is Position.CLOSED
    assert first.island is (S.GRID_TIED if closed else S.SYNCHRONISING)  # the grid is there
    bench.until(lambda d: d.island is S.GRID_TIED)
    assert bench.site.unserved_wh == 0


def test_black_start_needs_an_engineers_word() -> None:
    bench = Bench()
    bench.site.faults.put(Fault("outage"))
    bench.run(2.0)
    bench.site.load.step_w = 80_000.0  # more than the PCS can carry: dark
    bench.until(lambda d: d.island is S.BLACKOUT)
    bench.site.load.step_w = 0.0
    bench.run(2.0)
    start = IslandRequest(id="b", kind="black-start", who="eve")
    bench.tick(start)
    assert not bench.replies[-1].ok
    assert "engineer's word" in words(bench.replies[-1].reason)
    assert not any(d.pcs_orders for d in bench.decisions)
    bench.tick(msgspec.structs.replace(start, confirmed=True))
    assert bench.replies[-1].ok
    bench.until(lambda d: d.island is S.ISLANDED)
    assert bench.site.islanded
    bench.site.faults.clear("")
    bench.until(lambda d: d.island is S.GRID_TIED)


def test_recharge_after_an_outage_obeys_fuse_and_peak() -> None:
    """Onto a load of 54 kW, under a contracted peak of 60 kW: charging at the 10 kW it may would be too much."""
    bench = Bench(soc_pct=40.0, load_w=54_000.0, pv_peak_w=0.0)
    bench.site.faults.put(Fault("outage", until_s=bench.site.t_s + 120))
    bench.run(3)
    bench.until(lambda d: d.island is S.GRID_TIED)
    config, meter = bench.storm.config, bench.site.meters[0]
    pack = bench.site.pcs[0].battery
    left_pct = pack.soc_pct
    assert left_pct < 39.5
    begin_wh, begin_s, highest_w = meter.reading.import_wh, bench.site.t_s, 0.0
    while bench.site.t_s - begin_s < 1800:
        bench.seq += 1
        bench.lockstep.advance(1.0)
        bench.lockstep.apply(bench.storm.controller.step(bench.lockstep.snapshot(bench.seq), None))
        highest_w = max(highest_w, bench.site.grid_w)
    mean_w = (meter.reading.import_wh - begin_wh) * 3600 / (bench.site.t_s - begin_s)
    assert pack.soc_pct > left_pct + 0.7, "it is charged again"
    assert highest_w <= config.grid.fuse_w
    assert 55_000 < mean_w <= config.grid.contracted_peak_w
    assert bench.storm.controller.month_peak_w <= config.grid.contracted_peak_w
