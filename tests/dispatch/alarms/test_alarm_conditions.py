"""Which alarm conditions hold, from snapshot, decision and facts."""

from typing import Any

import msgspec
import pytest
from plan_site import site

from dispatch.alarms.conditions import conditions
from dispatch.alarms.definitions import DEFINITIONS
from dispatch.alarms.facts import Facts, NodesUnread, PartTrouble
from dispatch.alarms.points import Condition
from dispatch.alarms.states import AlarmBook
from dispatch.config.off_grid import GensetConfig
from dispatch.model.balancing import BalanceDue
from dispatch.model.clock import ClockState
from dispatch.model.contacts import ContactView
from dispatch.model.decision import Contested, Decision, Mode, PvOver, RuleTrace, Setpoint
from dispatch.model.doubts import Doubt
from dispatch.model.equipment import Battery, DeviceHealth, DeviceProof, Gpu, Meter, Node, Pcs, Pv, Switch, Ups
from dispatch.model.islanding import IslandState
from dispatch.model.metering_interval import Interval
from dispatch.model.readings import MISSING, Quality, Reading, Status, reading, status
from dispatch.model.reasons import Reason, RuleId, plain
from dispatch.model.snapshot import Snapshot
from dispatch.wording.catalogue import words

CONFIG = site(reserve={"hours": 2, "critical_load_w": 9_000})  # reserve at SoC 30 %
FACTS = Facts(config=CONFIG, plan_age_s=10.0, prices_end_utc_s=1_000_000.0)
PCS = Pcs(
    "pcs1",
    w=reading(20_000),
    state=status("running"),
    control=status("remote"),
    setpoint_w=reading(20_000),
    setpoint_enabled=reading(1),
)
BATTERY = Battery("bat1", soc_pct=reading(60), temp_c=reading(25))
SNAPSHOT = Snapshot(
    seq=1,
    utc_s=900_000.0,
    mono_s=50.0,
    grid=Meter(
        "grid", w=reading(30_000), v=(reading(230), reading(231), reading(229)), a=tuple(reading(45) for _ in "123")
    ),
    pcs=(PCS,),
    batteries=(BATTERY,),
    switches=(Switch("pcc", position=status("closed"), grid_voltage=status("present")),),
    devices=(
        DeviceHealth("grid", "meter", True, 0.1, 10, 0, 0),
        DeviceHealth("pcs1", "pcs", True, 0.1, 10, 0, 0, proof=DeviceProof("", "3.51", 0.1, 0.2, 0.3, 65.0)),
    ),
    nodes=(Node("gpu-01", w=reading(2_000)),),
    ups=(Ups("ups1", status=status("OL CHRG")),),
)
COUNTED = {
    "soc_pct": reading(20),
    "soc_high_pct": reading(60),
    "soc_reported_pct": reading(60),
    "soc_state": "stands_still",
}
INTERVAL = Interval(899_900.0, 900.0, 500.0, 0.0, 50_000.0, 60_000.0)


def test_a_battery_that_loses_money_is_told_once_enough_is_known() -> None:
    def said(saved_eur: float | None) -> Condition:
        facts = msgspec.structs.replace(FACTS, month_saved_eur=saved_eur)
        return conditions(SNAPSHOT, None, facts)["battery-loses-money"]

    assert said(-12.5).active
    assert words(said(-12.5).detail) == "12.50 EUR more than without it, month to date"
    assert not said(0.0).active
    assert not said(None).active


def decided(w: float | None = 20_000, island: IslandState = IslandState.GRID_TIED, *chain: RuleTrace) -> Decision:
    return Decision(1, 0.0, Mode.PLAN, island, (Setpoint("pcs1", w),), w, None, None, RuleId.PLAN, plain(""), chain)


def held(
    decision: Decision | None = None, pcs: Any = None, battery: Any = None, facts: Any = None, **snapshot: Any
) -> dict[str, Condition]:
    replace = msgspec.structs.replace
    changes = dict(snapshot)
    if pcs:
        changes["pcs"] = (replace(PCS, **pcs),)
    if battery:
        changes["batteries"] = (replace(BATTERY, **battery),)
    base = {"written_w": {"pcs1": 20_000.0}, "interval": INTERVAL}
    return conditions(replace(SNAPSHOT, **changes), decision or decided(), replace(FACTS, **(base | (facts or {}))))


def raised(found: dict[str, Condition]) -> set[str]:
    return {name for name, condition in found.items() if condition.active}


def test_a_healthy_site_is_silent_and_every_condition_can_be_told() -> None:
    found = held()
    assert raised(found) == set()
    assert all(c.active is not None for c in found.values())
    AlarmBook(DEFINITIONS).update(found, 0.0, 0.0)


@pytest.mark.parametrize(
    ("import_w", "alarms", "detail"),
    [
        (20_000.0, set(), ""),
        (5_900.0, set(), ""),
        (5_000.0, {"genset-low-load"}, "5.0 kW from the generator, its lowest load is 6.0 kW"),
        (31_000.0, {"genset-overload"}, "31.0 kW from the generator, rated 30.0 kW"),
        (-2_000.0, {"genset-overload", "genset-low-load"}, "2.0 kW flow back into the generator"),
    ],
)
def test_the_load_of_a_generator(import_w: float, alarms: set[str], detail: str) -> None:
    genset = GensetConfig(rated_w=30_000, min_load_w=6_000)
    facts = {"config": msgspec.structs.replace(FACTS.config, genset=genset)}
    decision = msgspec.structs.replace(decided(), island=IslandState.GENSET)
    found = held(decision, facts=facts, grid=msgspec.structs.replace(SNAPSHOT.grid, w=reading(import_w)))
    assert {name for name in raised(found) if name.startswith("genset-")} == alarms | {"genset-running"}
    assert not alarms or detail in {words(found[name].detail) for name in alarms}
    assert not {name for name in raised(held(facts=facts)) if name.startswith("genset-")}


def test_a_pcs_that_is_not_written_to_holds_no_wrong_setpoint() -> None:
    """Found: an unverified PCS, to which nothing is written, was said to hold 0.0 kW instead of what was asked."""
    contested = msgspec.structs.replace(decided(), contested=(Contested("pcs1", 0.0, 1.0),))
    asked = {"facts": {"written_w": {}}, "pcs": {"setpoint_w": reading(0.0), "w": reading(0.0)}}
    assert "setpoint-mismatch:pcs1" in raised(held(contested, **asked)), "one that refuses it"
    asked["facts"]["withheld"] = {"pcs1": "map x is unverified: not written"}
    assert raised(held(contested, **asked)) == set()


def test_pv_above_its_limit_is_told_with_what_it_reads_back() -> None:
    decision = msgspec.structs.replace(decided(), pv_over=(PvOver("roof", 15_000.0, 4_000.0),))
    found = held(decision, pv=(Pv("roof", w=reading(15_000)), Pv("shed", w=reading(900))))
    assert raised(found) == {"pv-limit-not-followed:roof"}
    assert words(found["pv-limit-not-followed:roof"].detail) == "given a limit of 4.0 kW, measured 15.0 kW"
    found = held(decision, pv=(Pv("roof", w=reading(15_000), limit_w=reading(20_000)),))
    assert "reads back 20.0 kW" in words(found["pv-limit-not-followed:roof"].detail)
    assert raised(held(pv=(Pv("roof", w=reading(15_000)),))) == set()


def test_no_import_of_a_generator_puts_the_peak_at_risk() -> None:
    facts = {"interval": Interval(899_700, 900, 8_500, 0, 50_000, 99_000)}
    assert held(facts=facts)["peak-at-risk"].active
    on_genset = msgspec.structs.replace(decided(), island=IslandState.GENSET)
    assert not held(on_genset, facts=facts)["peak-at-risk"].active


@pytest.mark.parametrize("state", [IslandState.BLACKOUT, IslandState.BLACK_START])
def test_a_site_stays_dark_until_a_pcs_forms(state: IslandState) -> None:
    found = held(decision=msgspec.structs.replace(decided(), island=state))
    assert found["island-blackout"].active


def test_every_definition_can_be_raised() -> None:
    contacts = tuple(ContactView(p, p, "inactive", 0.0) for p in ("epo", "cooling_fault", "door", "grid_operator"))
    decision, facts = msgspec.structs.replace(decided(), contacts=contacts), {"queue_errors": {"alpha": ""}}
    found = held(decision=decision, facts=facts, pv=(Pv("roof"),))
    assert raised(found) == set()
    names = {name.partition(":")[0] for name in (*found, *(name for name, *_ in CASES))}
    assert names == {d.id for d in DEFINITIONS}
    assert found["device-lost:grid"] == Condition(False)  # of a thousand devices what does not hold is left out


def told(purpose: str, state: str, **more: Any) -> Decision:
    """A decision that saw a contact with the name of its purpose."""
    return msgspec.structs.replace(decided(), contacts=(ContactView(purpose, purpose, state, 0.0, **more),))


def ups(said: str, **readings: Reading) -> Ups:
    return Ups("ups1", status=status(said), **readings)


def ats(**said: str) -> Switch:
    """A transfer switch, which is to stand on automatic."""
    return Switch("ats", rests_in="automatic", **{name: status(word) for name, word in said.items()})


LOST = DeviceHealth("grid", "meter", False, 12.0, 10, 3, 0, "port closed")
LOST_GPU = Node("gpu-01", gpus=(Gpu(0, "H200", w=reading(500)), Gpu(1, "H200")), note="GPU 1 is lost")
CASES = [
    ("device-lost:grid", {"devices": (LOST,)}, "no good answer for 12 s; port closed"),
    (
        "nodes-not-read",
        {"facts": {"nodes_unread": NodesUnread(frozenset({"gpu1", "gpu2"}), 7, "the process was ended")}},
        "2 of 7 nodes: the process was ended",
    ),
    (
        "balance-overdue:bat1",
        {"facts": {"balance": (BalanceDue("bat1", 900_000.0 - 2 * 86_400, None),)}},
        "not seen full yet; to be full every 0 days",
    ),
    ("meter-stale", {"grid": Meter("grid")}, "never read"),
    ("meter-stale", {"decision": msgspec.structs.replace(decided(), meter_frozen=True)}, "its value stands still: "),
    ("meters-disagree", {"load": Meter("load", w=reading(44_000))}, "44.0 kW, grid + PCS + PV 50.0 kW: 6.0 kW apart"),
    ("reading-missing:pcs1", {"pcs": {"w": MISSING}}, "power"),
    ("reading-missing:bat1", {"battery": {"soc_pct": MISSING}}, "SoC"),
    (
        "reading-implausible:grid",
        {"decision": msgspec.structs.replace(decided(), implausible=(Doubt("grid", "power", plain("327 kW")),))},
        "327 kW",
    ),
    ("grid-outage", {"switches": (Switch("pcc", grid_voltage=status("absent")),)}, "no grid voltage"),
    ("fuse-overload", {"grid": Meter("g", w=reading(1e5), a=(reading(10), reading(-170)))}, "170 A of 160 A"),
    ("fuse-overload", {"grid": Meter("g", w=reading(120_000))}, "120.0 kW of 110.4 kW"),
    (
        "peak-exceeded",
        {"facts": {"interval": Interval(0, 900, 13_000, 0, 50_000, 0)}},
        "2.0 kW above the contracted peak 50.0 kW",
    ),
    ("peak-exceeded", {"facts": {"interval": Interval(0, 900, 13_000, 840, 50_000, 0)}}, "14 min of it not measured"),
    ("peak-at-risk", {"facts": {"interval": Interval(899_700, 900, 8_500, 0, 50_000, 99_000)}}, "it may be 24.0 kW"),
    ("soc-low:bat1", {"battery": {"soc_pct": reading(10.2)}}, "SoC 10.2 %, limit 10 %"),
    ("soc-below-reserve", {"battery": {"soc_pct": reading(29)}}, "SoC 29.0 %, reserve 30.0 %"),
    ("soc-low:bat1", {"battery": {**COUNTED, "soc_pct": reading(9)}}, "(counted from energy; bat1 reports 60.0 %)"),
    ("soc-below-reserve", {"battery": COUNTED}, "SoC 20.0 % (counted from energy; bat1 reports 60.0 %), reserve"),
    ("soc-stands-still:bat1", {"battery": COUNTED}, "it reports 60.0 %, by the energy moved it is 20.0 %"),
    (
        "soc-stands-still:bat1",
        {"battery": {**COUNTED, "soc_pct": reading(60), "soc_high_pct": reading(75)}},
        "it reports 60.0 %, by the energy moved it is 75.0 %",
    ),
    (
        "battery-contactor:bat1",
        {"battery": {"contactor": status("open"), "alarms": ("contactor_error",)}},
        "contactor error",
    ),
    ("battery-isolation:bat1", {"battery": {"isolation": status("fault")}}, "reports an isolation fault"),
    ("battery-cooling:bat1", {"battery": {"cooling": status("fault"), "alarms": ("fan_error",)}}, "fan error"),
    ("battery-alarm:bat1", {"battery": {"alarms": ("a_b", "c", "d", "e", "f")}}, "a b, c, d and 2 more"),
    ("battery-alarm:bat1", {"battery": {"state": status("error")}}, "error"),
    ("battery-temperature:bat1", {"battery": {"temp_c": reading(46)}}, "46.0 °C, allowed 0..45 °C"),
    ("pcs-fault:pcs1", {"pcs": {"state": status("fault"), "alarms": ("DC_OVER_VOLT",)}}, "DC OVER VOLT"),
    ("pcs-local:pcs1", {"pcs": {"control": status("local")}}, ""),
    ("switch-not-automatic:ats", {"switches": (ats(control="local"),)}, "it is in local control"),
    ("switch-not-automatic:ats", {"switches": (ats(control="remote", command="none"),)}, "it is in remote control"),
    (
        "setpoint-not-followed:pcs1",
        {"pcs": {"w": reading(5_000)}},
        "asked 20.0 kW, reads back 20.0 kW, measured 5.0 kW",
    ),
    ("setpoint-mismatch:pcs1", {"pcs": {"setpoint_w": reading(-30_000)}}, "wrote 20.0 kW, the device holds -30.0 kW"),
    ("setpoint-mismatch:pcs1", {"pcs": {"setpoint_enabled": reading(0)}}, "not enabled"),
    ("no-plan", {"facts": {"plan_age_s": None, "plan_error": plain("SoC unknown")}}, "SoC unknown"),
    ("plan-late", {"facts": {"plan_age_s": 1000.0}}, "17 min old"),
    ("prices-ended", {"facts": {"prices_end_utc_s": 899_999.0}}, ""),
    ("prices-ended", {"facts": {"prices_end_utc_s": None}}, "no prices at all"),
    ("prices-ended", {"facts": {"price_now": False}}, ""),
    ("prices-end-soon", {"facts": {"prices_end_utc_s": 907_200.0}}, "2.0 h left"),
    ("tick-overruns", {"facts": {"overruns_per_min": 9}}, "9 late ticks"),
    ("records-lost", {"facts": {"records_dropped_per_min": 5}}, "5 rows dropped"),
    ("records-lost", {"facts": {"records_error": "disk full"}}, "disk full"),
    (
        "part-failed:planner",
        {"facts": {"parts": (PartTrouble("planner", Reason("alarm.part_died", {"lasted_s": 7.0, "error": "a bug"})),)}},
        "failed 7 s ago: a bug; meanwhile the last plan stays in force",
    ),
    (
        "part-failed:setpoints of pcs1",
        {"facts": {"parts": (PartTrouble("setpoints of pcs1", plain("a bug")),)}},
        "a bug; meanwhile this PCS keeps its setpoint until its own reversion timer runs out",
    ),
    ("disk-full", {"facts": {"ballast_missing": "4.0 of 16.0 MB are left"}}, "4.0 of 16.0 MB are left"),
    ("audit-changed", {"facts": {"audit_changed": "row 7 was edited"}}, "row 7 was edited"),
    ("cap-not-followed:gpu-01", {"facts": {"node_caps_w": {"gpu-01": 1_500}}}, "draws 2.0 kW, capped to 1.5 kW"),
    ("gpus-missing:gpu-01", {"nodes": (LOST_GPU,)}, "1 of 2 without a power reading: GPU 1 is lost"),
    ("gpu-limits-changed:gpu-01", {"facts": {"gpu_limits_changed": {"gpu-01": "GPU 3 450 W"}}}, "GPU 3 450 W"),
    ("gpu-limits-not-kept:gpu-01", {"facts": {"gpu_limits_not_kept": {"gpu-01": "disk full"}}}, "disk full"),
    ("queue-lost:alpha", {"facts": {"queue_errors": {"alpha": "squeue ended with exit code 1"}}}, "exit code 1"),
    ("starts-not-kept:farm", {"facts": {"starts_not_kept": {"farm": "HTTP 503"}}}, "HTTP 503"),
    ("start-limit-changed:farm", {"facts": {"starts_changed": {"farm": "set to 95"}}}, "set to 95"),
    ("signal-silent:fleet", {"facts": {"senders_silent": {"fleet": "its failsafe limits hold"}}}, "failsafe limits"),
    ("limit-exceeded:acme", {"facts": {"limits_exceeded": {"acme": "import at most 12.0 kW"}}}, "at most 12.0 kW"),
    ("output-failed:mqtt", {"facts": {"outputs_failed": {"mqtt": "Connection refused"}}}, "Connection refused"),
    ("orders-dropped", {"facts": {"orders_dropped": "o1 of alice, hold"}}, "o1 of alice, hold"),
    ("clock-stepped", {"facts": {"clock_step_s": -3600.0}}, "by -3600.0 s"),
    (
        "clock-not-known",
        {"facts": {"clock": ClockState(False, machine_utc_s=0.0)}},
        "clock says 1970-01-01",
    ),
    ("clock-not-synchronised", {"facts": {"clock": ClockState(True, False)}}, "follows no time server"),
    (
        "ups-on-battery:ups1",
        {"ups": (ups("OB DISCHRG", w=reading(1_230), charge_pct=reading(64), runtime_s=reading(1_140)),)},
        "its status is OB DISCHRG, battery 64 %, 19 min left by its own estimate, load 1.2 kW",
    ),
    ("contact-stop:epo", {"decision": told("epo", "active")}, "emergency stop epo is active"),
    ("contact-stop:epo", {"decision": told("epo", "lost", read=False)}, "emergency stop epo is not read"),
    ("contact-latched:fire", {"decision": told("fire", "inactive", latched=True)}, "is back and not acknowledged yet"),
    ("contact-cooling:cooling_fault", {"decision": told("cooling_fault", "active")}, "cooling fault cooling_fault is"),
    ("contact-alarm:door", {"decision": told("door", "active")}, "door door is active"),
    ("contact-broken:alarm", {"decision": told("alarm", "broken")}, "its two inputs contradict each other"),
    (
        "grid-operator-limit:grid_operator",
        {"decision": told("grid_operator", "active", read=False, export_limit_w=0.0)},
        "step of the grid operator's grid_operator was active when it was last read",
    ),
    ("ups-on-battery:ups1", {"ups": (ups("OL FSD"),)}, "its status is OL FSD"),
    ("ups-battery-low:ups1", {"ups": (ups("FSD"),)}, "its status is FSD"),
    ("ups-battery-low:ups1", {"ups": (ups("OL LB"),)}, "its status is OL LB"),
    ("ups-overload:ups1", {"ups": (ups("OL OVER"),)}, "its status is OL OVER"),
    ("ups-bypass:ups1", {"ups": (ups("OL BYPASS"),)}, "its status is OL BYPASS"),
    ("ups-bypass:ups1", {"ups": (ups("OFF"),)}, "its status is OFF"),
    ("ups-replace-battery:ups1", {"ups": (ups("OL RB"),)}, "its status is OL RB"),
]


@pytest.mark.parametrize(("alarm_id", "change", "detail"), CASES)
def test_each_condition(alarm_id: str, change: dict[str, Any], detail: str) -> None:
    found = held(**change)
    assert alarm_id in raised(found)
    assert detail in words(found[alarm_id].detail)


@pytest.mark.parametrize(
    ("alarm_id", "change"),
    [
        ("fuse-overload", {"grid": Meter("g")}),
        ("peak-at-risk", {"grid": Meter("g")}),
        ("peak-exceeded", {"facts": {"interval": None}}),
        ("grid-outage", {"grid": Meter("g"), "switches": ()}),
        ("meters-disagree", {"grid": Meter("g"), "load": Meter("load", w=reading(44_000))}),
        ("meters-disagree", {"load": Meter("load")}),
        ("soc-low:bat1", {"battery": {"soc_pct": MISSING}}),
        ("soc-below-reserve", {"battery": {"soc_pct": MISSING}}),
        ("soc-stands-still:bat1", {"battery": {"soc_state": "carried", "soc_reported_pct": reading(0)}}),
        ("battery-temperature:bat1", {"battery": {"temp_c": MISSING}}),
        ("battery-contactor:bat1", {"battery": {"contactor": Status("open", 60.0, Quality.STALE)}}),
        ("battery-cooling:bat1", {"battery": {"cooling": Status("fault", 60.0, Quality.STALE)}}),
        ("setpoint-not-followed:pcs1", {"pcs": {"w": MISSING}}),
        ("setpoint-mismatch:pcs1", {"pcs": {"setpoint_w": MISSING}}),
        ("cap-not-followed:gpu-01", {"nodes": (Node("gpu-01"),), "facts": {"node_caps_w": {"gpu-01": 1_500}}}),
        ("switch-not-automatic:ats", {"switches": (ats(),)}),
        ("contact-alarm:door", {"decision": told("door", "lost")}),
        ("ups-on-battery:ups1", {"ups": (Ups("ups1"),)}),
        ("ups-battery-low:ups1", {"ups": (Ups("ups1", status=Status("OL", 60.0, Quality.STALE)),)}),
    ],
)
def test_what_is_missing_is_unknown_not_fine(alarm_id: str, change: dict[str, Any]) -> None:
    assert held(**change)[alarm_id].active is None


def test_a_switch_may_be_in_remote_control_for_an_order_and_only_a_transfer_switch_must_be_automatic() -> None:
    name = "switch-not-automatic:ats"
    assert held(switches=(ats(control="automatic"),))[name].active is False
    assert held(switches=(ats(control="remote", command="open"),))[name].active is False
    assert held(switches=(Switch("ats", control=status("local")),))[name].active is False


def test_a_node_may_draw_a_little_more_than_its_cap() -> None:
    assert not held(facts={"node_caps_w": {"gpu-01": 1_815, "gone": 1.0}})["cap-not-followed:gpu-01"].active
    assert held(facts={"node_caps_w": {"gpu-01": 1_805}})["cap-not-followed:gpu-01"].active


def test_meters_may_differ_by_their_class_and_silent_devices_miss_nothing() -> None:
    assert not held(load=Meter("load", w=reading(47_100)))["meters-disagree"].active
    assert not held(load=Meter("load", w=reading(54_900)))["meters-disagree"].active  # 10 % of it
    silent = DeviceHealth("pcs1", "pcs", False, 12.0, 10, 3, 0)
    found = held(devices=(silent,), pcs={"w": MISSING}, battery={"soc_pct": MISSING})
    assert raised(found) == {"device-lost:pcs1"}


def test_a_setpoint_fought_over_is_told_with_its_share() -> None:
    contested = msgspec.structs.replace(decided(), contested=(Contested("pcs1", -30_000, 0.2),))
    found = held(contested)["setpoint-mismatch:pcs1"]
    assert found.active
    assert words(found.detail) == "asked 20.0 kW, the device held -30.0 kW in 20 % of the last looks"


def test_derating_and_being_asked_nothing_are_no_faults() -> None:
    name = "setpoint-not-followed:pcs1"
    assert not held(pcs={"w": reading(8_000), "discharge_limit_w": reading(8_000)})[name].active
    assert not held(pcs={"w": reading(7_500)}, battery={"discharge_limit_w": reading(8_000)})[name].active
    assert held(pcs={"w": reading(-9_000)}, battery={"discharge_limit_w": reading(8_000)})[name].active
    assert not held(pcs={"w": reading(8_000), "state": status("throttled")})[name].active
    assert not held(pcs={"w": reading(8_000), "control": status("local")})[name].active
    assert not held(decided(None), pcs={"w": reading(0)})[name].active
    assert not held(facts={"written_w": {}}, pcs={"w": reading(0), "setpoint_w": reading(0)})[name].active
    assert not held(pcs={"setpoint_w": reading(20_400)})["setpoint-mismatch:pcs1"].active  # inside the deadband


def test_the_grid_is_judged_by_voltage_where_no_contact_tells() -> None:
    dead = Meter("grid", w=reading(0), v=(reading(3), reading(0), reading(1)))
    assert held(grid=dead, switches=())["grid-outage"].active
    islanded = decided(0.0, IslandState.ISLANDED)
    assert held(islanded, grid=dead, switches=())["grid-outage"].active is None
    assert not held(islanded, battery={"soc_pct": reading(20)})["soc-below-reserve"].active


def test_the_reserve_of_several_batteries() -> None:
    """300 kWh at 60 % and 100 kWh at 20 %: 50 %. What a PCS in fault holds back is not relied on."""
    second = msgspec.structs.replace(CONFIG.batteries[0], id="bat2", energy_kwh=300.0)
    pcs2 = msgspec.structs.replace(CONFIG.pcs[0], id="pcs2", battery="bat2")
    config = msgspec.structs.replace(CONFIG, batteries=(*CONFIG.batteries, second), pcs=(*CONFIG.pcs, pcs2))
    facts = msgspec.structs.replace(FACTS, config=config)  # the reserve is 15 % of four times the energy
    replace = msgspec.structs.replace
    batteries = (replace(BATTERY, soc_pct=reading(20)), replace(BATTERY, id="bat2", soc_pct=reading(60)))

    def found(batteries: tuple[Battery, ...], state: str = "running") -> tuple[bool | None, str]:
        pcs = (PCS, replace(PCS, id="pcs2", state=status(state)))
        snapshot = replace(SNAPSHOT, pcs=pcs, batteries=batteries)
        condition = conditions(snapshot, decided(), facts)["soc-below-reserve"]
        return condition.active, words(condition.detail) if condition.detail is not None else ""

    assert found(batteries) == (False, "SoC 50.0 %, reserve 15.0 %")
    assert found(batteries, "fault") == (True, "SoC 50.0 %, 5.0 % in service, reserve 15.0 %")
    assert found(batteries[:1]) == (None, ""), "one that is not even in the snapshot is no empty one"


def test_rules_that_cannot_all_be_met() -> None:
    unmet = RuleTrace(RuleId.INTERVAL_BUDGET, 60_000, 60_000, None, True, plain("asks 70.0 kW"), unmet=True)
    ramp = msgspec.structs.replace(unmet, rule=RuleId.GRID_RAMP)
    conflict = held(decided(0.0, IslandState.GRID_TIED, unmet))["rules-conflict"]
    assert conflict.active
    assert words(conflict.detail) == "rule 6 interval budget: asks 70.0 kW"
    assert not held(decided(0.0, IslandState.GRID_TIED, ramp))["rules-conflict"].active
    assert conditions(SNAPSHOT, None, FACTS)["rules-conflict"] == Condition(False)


def test_a_site_without_battery_or_tariff_misses_neither() -> None:
    bare = Facts(config=site(battery={"energy_kwh": 0.0}), prices_expected=False)
    found = conditions(msgspec.structs.replace(SNAPSHOT, pcs=(), batteries=()), None, bare)
    assert raised(found) == set()
