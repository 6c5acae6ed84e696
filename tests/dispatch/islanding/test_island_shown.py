"""What the state machine and the ladder show beside what they ask for: the road taken, what a drill would find."""

from __future__ import annotations

import msgspec
import pytest
from test_state_machine import Devices, config, islanded, play

from dispatch.islanding.drill_prechecks import _prechecks_of_pcs
from dispatch.islanding.load_shedding import SHUTDOWN_MARGIN, LoadShedding
from dispatch.islanding.observation import Bus
from dispatch.islanding.reconnection import Reconnection
from dispatch.islanding.state_machine import IslandMachine
from dispatch.model.islanding import IslandRequest, IslandState
from dispatch.model.readings import Quality, Status, reading
from dispatch.model.reasons import plain
from dispatch.wording.catalogue import words

S = IslandState
GOOD = Quality.GOOD


def asked(kind: str, minutes: float = 1.0) -> IslandRequest:
    return IslandRequest(id="c", kind=kind, who="a", reason="rehearsal", minutes=minutes)  # type: ignore[arg-type]


def test_the_road_has_each_state_at_its_last_coming_and_begins_anew_at_the_next_leaving() -> None:
    machine, devices = islanded()
    left = play(machine, devices, 10).view
    assert [state for _, state in left.road] == ["islanded"]
    assert left.left_grid_utc_s == left.road[0][0]
    devices.v, devices.hz = 230.0, 50.0
    play(machine, devices, 1)
    devices.hz = 50.4  # outside the window: back to islanded, and synchronising comes again
    play(machine, devices, 1)
    devices.hz = 50.0
    again = play(machine, devices, 1).view
    assert [state for _, state in again.road] == ["islanded", "synchronising"]
    assert again.road[0][0] > left.road[0][0]
    assert again.left_grid_utc_s == left.left_grid_utc_s, "off the grid since the same moment"
    play(machine, devices, 61)
    devices.contact, devices.mode = "closed", "grid_following"
    back = play(machine, devices, 1).view
    assert [state for _, state in back.road] == ["islanded", "synchronising", "closing", "grid-tied"]
    assert back.left_grid_utc_s is None
    devices.v = devices.hz = 0.0
    devices.contact, devices.mode = "open", "grid_forming"
    assert [state for _, state in play(machine, devices, 1).view.road] == ["islanded"]


@pytest.mark.parametrize(
    ("control", "ok", "found"),
    [
        (Status(), True, "pcs1 is running, control not told"),  # as by many device maps
        (Status("local", 0.0, GOOD), False, "pcs1 is running, control local"),
        (Status("remote", 9.0, Quality.STALE), False, "pcs1 is running, control not read"),
    ],
)
def test_a_pcs_that_does_not_tell_who_controls_it_may_take_part_in_a_drill(
    control: Status, ok: bool, found: str
) -> None:
    snapshot = Devices().snapshot()
    pcs = msgspec.structs.replace(snapshot.pcs[0], control=control)
    (check,) = _prechecks_of_pcs(config(), msgspec.structs.replace(snapshot, pcs=(pcs,)))
    assert (check.ok, words(check.figure)) == (ok, found)


def test_a_check_finds_what_a_drill_would_and_begins_nothing() -> None:
    machine, devices = IslandMachine(config()), Devices()
    play(machine, devices, 1)
    (would,) = machine.step(devices.snapshot(), [asked("check")]).replies
    assert would.ok
    assert words(would.reason) == "a drill of 1 min may begin"
    assert (machine.state, machine.drill) == (S.GRID_TIED, None)
    devices.key = "local"
    devices.t_s += 0.2
    (would,) = machine.step(devices.snapshot(), [asked("check")]).replies
    (does,) = machine.step(devices.snapshot(), [asked("drill")]).replies
    assert not would.ok
    assert would.checks == does.checks
    assert [words(c.remedy) for c in would.checks if not c.ok] == ["turn its key to remote"]


@pytest.mark.parametrize(
    ("orders_in", "rests_in", "control", "figure", "remedy"),
    [
        (("remote", "automatic"), "automatic", "automatic", "automatic", ""),
        (("remote", "automatic"), "automatic", "inhibited", "inhibited", "set it to automatic at the switch"),
        ((), "automatic", "automatic", "its map only watches it", "a switch that compares both sides before it closes"),
    ],
)
def test_a_drill_needs_a_switch_that_takes_orders(
    orders_in: tuple[str, ...], rests_in: str, control: str, figure: str, remedy: str
) -> None:
    machine, devices = IslandMachine(config()), Devices()
    play(machine, devices, 1)
    snapshot = devices.snapshot()
    (switch,) = snapshot.switches
    ats = msgspec.structs.replace(switch, orders_in=orders_in, rests_in=rests_in, control=Status(control, 0.0, GOOD))
    (would,) = machine.step(msgspec.structs.replace(snapshot, switches=(ats,)), [asked("check")]).replies
    (check,) = [c for c in would.checks if words(c.name) == "switch control"]
    assert (check.ok, words(check.figure)) == (not remedy, figure)
    assert remedy in words(check.remedy)


@pytest.mark.parametrize(
    ("orders_in", "control", "against"),
    [
        ((), "automatic", "takes no orders by its map"),
        (("remote", "automatic"), "inhibited", "is in inhibited control"),
        (("remote", "automatic"), "automatic", ""),
    ],
)
def test_only_a_switch_that_takes_orders_is_asked_to_close(
    orders_in: tuple[str, ...], control: str, against: str
) -> None:
    _, devices = islanded()
    (switch,) = devices.snapshot().switches
    ats = msgspec.structs.replace(switch, orders_in=orders_in, control=Status(control, 0.0, GOOD))
    obstacle = Reconnection(config()).obstacle(devices.snapshot(), ats, Bus("foreign", plain("a test")))
    assert obstacle is not None
    assert (against in words(obstacle)) if against else obstacle.code == "go.bus_is"


def test_no_drill_begins_on_an_soc_that_is_not_believed() -> None:
    machine, devices = IslandMachine(config()), Devices()
    play(machine, devices, 1)
    snapshot, replace = devices.snapshot(), msgspec.structs.replace
    battery = replace(snapshot.batteries[0], soc_state="stands_still", soc_reported_pct=reading(99.0))
    (would,) = machine.step(replace(snapshot, batteries=(battery,)), [asked("check")]).replies
    (check,) = [c for c in would.checks if not c.ok]
    assert words(check.name) == "SoC"
    assert words(check.figure) == "SoC 80.0 % (counted from energy; bat1 reports 99.0 %)"


def test_a_drill_shows_what_it_began_with() -> None:
    machine, devices = IslandMachine(config()), Devices()
    play(machine, devices, 1)
    step = machine.step(devices.snapshot(), [asked("drill")])
    assert step.view.drill is not None
    assert step.view.drill.checks == step.replies[0].checks
    assert step.view.drill.transfer_gap is None


def test_the_shutdown_is_foretold_by_the_low_estimate_while_off_the_grid() -> None:
    _, devices = islanded()
    ride, snapshot = LoadShedding(config()), devices.snapshot()
    drawing = (msgspec.structs.replace(snapshot.pcs[0], w=reading(10_000.0)),)
    view = ride.step(msgspec.structs.replace(snapshot, pcs=drawing), on_battery=True, state=S.ISLANDED).view
    assert view.low_s is not None
    assert view.shutdown_in_s == pytest.approx(view.low_s - SHUTDOWN_MARGIN * config().ride_through.shutdown_s)
    assert ride.step(snapshot, on_battery=False, state=S.GRID_TIED).view.shutdown_in_s is None
