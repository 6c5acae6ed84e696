"""The judgements of `skerry doctor` on readings made for them."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import proof_sample
import pytest

from dispatch.model.equipment import Battery, DeviceHealth, LinkHealth, Meter, Pcs, Switch
from dispatch.model.proofs import Proofs
from dispatch.model.readings import Quality, Status, reading, status
from dispatch.model.snapshot import Snapshot
from dispatch.plausibility.bounds import SiteBounds
from drivers.kernel_clock import KernelClock
from gateway.commissioning.device_findings import (
    battery_values,
    conversation,
    map_findings,
    pcs_values,
    switch_values,
)
from gateway.commissioning.findings import Finding, Level
from gateway.commissioning.machine_findings import clock_findings, serial_port
from gateway.commissioning.site_findings import balance, grid_code, other_masters, proofs_of, signs
from gateway.site.loader import compose

SITE = compose(
    Path("x.toml"),
    {
        "site": {"name": "Small"},
        "grid": {"fuse_a": 160, "contracted_peak_w": 30_000},
        "battery": [{"id": "bat1", "energy_kwh": 100}],
        "pcs": [
            {"id": "pcs1", "battery": "bat1", "charge_w": 60_000, "discharge_w": 60_000, "url": "tcp://127.0.0.1:1"}
        ],
        "meter": [{"id": "grid", "url": "tcp://127.0.0.1:1"}],
    },
)


def snapshot(grid_w: float | None, pcs_w: float, load_w: float | None = None) -> Snapshot:
    load = None if load_w is None else Meter("load", w=reading(load_w))
    return Snapshot(1, 0.0, 0.0, Meter("grid", w=reading(grid_w)), load=load, pcs=(Pcs("pcs1", w=reading(pcs_w)),))


def only(found: object) -> Finding:
    (one,) = list(found)  # type: ignore[call-overload]
    return one  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("grid_w", "pcs_w", "load_w", "level", "advice"),
    [
        (10_000, 5_000, 15_000, Level.OK, ""),
        (-10_000, 5_000, 15_000, Level.FAULT, "set invert on the grid meter: then"),
        (10_000, 5_000, -15_000, Level.FAULT, "set invert on the load meter: then"),
        (10_000, -20_000, 30_000, Level.FAULT, "check the sign of the PCS' power: then"),
        (10_000, 5_000, 60_000, Level.FAULT, "check sign and CT ratio of each meter"),
        (-10_000, 5_000, None, Level.FAULT, "set invert on the grid meter, or add the source"),
        (10_000, 5_000, None, Level.NOTE, "compare with what the site is known to draw"),
        (None, 5_000, None, Level.NOTE, "mend what cannot be read"),
    ],
)
def test_the_balance(grid_w: float | None, pcs_w: float, load_w: float | None, level: Level, advice: str) -> None:
    found = only(balance(SITE, [snapshot(grid_w, pcs_w, load_w)]))
    assert found.level is level
    assert found.advice.startswith(advice)


@pytest.mark.parametrize(
    ("grid", "level"),
    [((10_000, 5_000), Level.OK), ((10_000, 15_000), Level.FAULT), ((10_000, 9_900), Level.NOTE)],
)
def test_the_grid_meter_moves_against_the_battery(grid: tuple[float, float], level: Level) -> None:
    samples = [snapshot(grid[0], 0.0), snapshot(grid[0], 100.0), snapshot(grid[1], 5_000.0)]
    assert only(signs(samples)).level is level


def test_a_battery_at_rest_proves_no_sign() -> None:
    found = only(signs([snapshot(10_000, 0.0), snapshot(15_000, 200.0)]))
    assert (found.level, found.text.split(":")[0]) == (Level.NOTE, "the battery did not move")


def held(setpoint_w: float, left_s: float | None = None, enabled: float = 1.0) -> Pcs:
    return Pcs(
        "pcs1",
        setpoint_w=reading(setpoint_w),
        setpoint_enabled=reading(enabled),
        revert_remaining_s=reading(left_s),
    )


@pytest.mark.parametrize(
    ("state", "text"),
    [
        ("standby", "its state is standby: it follows no setpoint now"),
        (None, "does not tell its state: it is taken to run"),  # as most hybrids by a map
        ("running", ""),
    ],
)
def test_what_the_state_of_a_pcs_means_for_its_setpoint(state: str | None, text: str) -> None:
    pcs = Pcs("pcs1", w=reading(0.0), state=status(state))
    found = [f.text for f in pcs_values(SITE, SiteBounds(SITE.dispatch), pcs) if f.code == "state"]
    assert found == ([text] if text else [])


def test_who_else_commands_a_pcs() -> None:
    assert list(other_masters([held(5_000, enabled=0.0)])) == []
    assert only(other_masters([held(5_000), held(6_000)])).level is Level.FAULT
    assert only(other_masters([held(5_000, 40.0), held(5_000, 38.0), held(5_000, 60.0)])).level is Level.FAULT
    left = only(other_masters([held(5_000, 40.0), held(5_000, 38.0)]))
    assert (left.level, left.text) == (Level.NOTE, "holds 5 kW from before, 38 s of its timer are left")
    assert only(other_masters([held(5_000), held(5_000)])).level is Level.WARNING


def test_a_large_plant_needs_figures_of_its_own() -> None:
    assert list(grid_code(SITE)) == []
    large = msgspec.structs.replace(
        SITE, pcs=tuple(msgspec.structs.replace(SITE.pcs[0], id=id, discharge_w=70_000.0) for id in ("a", "b"))
    )
    found = only(grid_code(large))
    assert "140 kW" in found.text
    assert "v_low_pct" in found.advice
    medium = msgspec.structs.replace(SITE, grid=msgspec.structs.replace(SITE.grid, connection="medium-voltage"))
    assert "connected at medium voltage: VDE-AR-N 4110 applies" in only(grid_code(medium)).text
    own = {"v_low_pct": 90.0, "v_high_pct": 110.0, "hz_low": 47.5, "hz_high": 50.1, "wait_s": 600.0}
    island = msgspec.structs.replace(large.island, **own, gradient_pct_per_min=10.0)
    assert list(grid_code(msgspec.structs.replace(large, island=island))) == []


def test_answers_near_the_deadline_and_near_the_tick() -> None:
    link = LinkHealth("h:502 unit 1", round_trip_ms=20.0, round_trip_worst_ms=120.0)
    found = list(conversation(SITE, SITE.meter[0], DeviceHealth("grid", "meter", True, 0.0, 9, 1, 0, link=link)))
    by_code = {f.code: f for f in found}
    assert by_code["slow"].advice == "set deadline_s = 0.24 for it; it is then read less often"
    assert by_code["tick"].level is Level.WARNING
    assert by_code["reads-failed"].text == "1 of 10 reads failed"


def test_a_battery_that_nothing_protects() -> None:
    found = {f.code: f for f in battery_values(SITE, Battery("bat1", soc_pct=reading(50.0), energy_wh=reading(5e4)))}
    assert found["temperature"].level is Level.WARNING
    assert "it is not used, by unmonitored_w" in found["temperature"].text
    assert "50 kWh" in found["rated-energy"].text
    assert only(battery_values(SITE, Battery("bat1", temp_c=reading(20.0)))).code == "no-soc"


@pytest.mark.parametrize(
    ("kernel", "level"),
    [
        (KernelClock(True, 0.02), Level.OK),
        (KernelClock(True, 3.0), Level.WARNING),
        (KernelClock(False), Level.WARNING),
        (KernelClock(None, None, "not permitted"), Level.NOTE),
    ],
)
def test_the_clock(kernel: KernelClock, level: Level) -> None:
    assert only(clock_findings(lambda: kernel, lambda why: KernelClock(None, None, why))).level is level


def test_a_serial_port_must_be_there_and_be_one(tmp_path: Path) -> None:
    assert list(serial_port("tcp://127.0.0.1:502")) == []
    assert "No such file" in only(serial_port(f"serial://{tmp_path}/ttyUSB0?baud=9600")).text
    (tmp_path / "file").touch()
    assert "is no serial port" in only(serial_port(f"serial://{tmp_path}/file")).text
    master, slave = os.openpty()
    assert list(serial_port(f"serial://{os.ttyname(slave)}")) == []
    os.close(master)
    os.close(slave)


def test_what_has_been_proven_is_of_the_device_as_it_is() -> None:
    here = proof_sample.HERE
    kept = proof_sample.proofs()
    for identity, level in ((here, Level.OK), (msgspec.structs.replace(here, firmware="4.0"), Level.WARNING)):
        health = DeviceHealth("pcs1", "pcs", True, 0.0, 9, 0, 0, identity=identity)
        seen = msgspec.structs.replace(snapshot(0.0, 0.0), devices=(health,))
        assert only(proofs_of(SITE, kept, seen)).level is level
        assert only(proofs_of(SITE, Proofs(), seen)).level is Level.NOTE


def test_a_meter_that_sends_by_itself() -> None:
    meter = msgspec.structs.replace(SITE.meter[0], source="p1")
    assert "once a second" in only(map_findings(msgspec.structs.replace(SITE, meter=(meter,)))).text
    link = LinkHealth("127.0.0.1:1", connect_ms=2.0, answers=40, failures=1)
    reached = next(conversation(SITE, meter, DeviceHealth("grid", "meter", True, 0.4, 9, 0, 0, link=link)))
    assert reached.text == "127.0.0.1:1: sends telegrams, 40 so far, 1 unusable"


def test_what_a_map_asks_to_look_up_at_the_device() -> None:
    assert list(map_findings(SITE)) == []
    meter = msgspec.structs.replace(SITE.meter[0], map="eastron-sdm630")
    assert "deadline_s" in only(map_findings(msgspec.structs.replace(SITE, meter=(meter,)))).text


@pytest.mark.parametrize(
    ("control", "orders_in", "rests_in", "found"),
    [
        ("remote", ("remote",), "", ["position"]),
        ("local", ("remote",), "", ["position", "local"]),
        ("automatic", ("remote", "automatic"), "automatic", ["position"]),
        ("automatic", (), "automatic", ["position", "watched"]),
        ("inhibited", (), "automatic", ["position", "control", "watched"]),
        (None, (), "automatic", ["position", "control", "watched"]),
    ],
)
def test_whether_a_switch_acts_by_itself_and_takes_orders(
    control: str | None, orders_in: tuple[str, ...], rests_in: str, found: list[str]
) -> None:
    closed = Status("closed", 0.0, Quality.GOOD)
    said = Status() if control is None else Status(control, 0.0, Quality.GOOD)
    switch = Switch("ats", position=closed, control=said, orders_in=orders_in, rests_in=rests_in)
    assert [one.code for one in switch_values(switch)] == found
