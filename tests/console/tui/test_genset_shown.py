"""What every view says while a generator feeds the site, on 80 columns: drawn from a recorded moment."""

from __future__ import annotations

from datetime import UTC

import msgspec
import pytest
import scenes

from console.cli import status_text, why
from console.display.import_limit import interval_limit
from console.display.islanding_text import next_step_text
from console.display.viewmodel import Model, received
from console.tui.canvas import Canvas
from console.tui.energy_flows import BatteryFlow, GridFlow
from console.tui.island import Island
from console.tui.plan_view import PlanView, shown_key
from console.tui.status_bars import StateLine
from console.tui.trends import ImportChart
from dispatch.model.equipment import Switch
from dispatch.model.islanding import IslandState, IslandView, Reconnect, RideThrough
from dispatch.model.readings import reading, status
from dispatch.model.reasons import Reason, plain
from gateway.api.previous_version import for_version

SWITCH = Switch(
    "pcc", position=status("open"), control=status("remote"), grid_voltage=status("absent"), source=status("genset")
)


@pytest.fixture(name="model")
def the_model() -> Model:
    """A calm moment, with the generator in the grid's place for six minutes."""
    scene = scenes.read("calm")
    now_s = scene.published.snapshot.utc_s
    against = Reason("close.on_genset", {"switch": "pcc"})
    window = Reason("window.no_voltage", {"switch": "pcc"})
    back = Reconnect("vde-ar-n-4105", False, window, 60.0, None, against=against, by_device=True)
    view = IslandView(
        now_s - 360, 0.0, Reason("seen.genset", {"switch": "pcc"}), False, back, left_grid_utc_s=now_s - 360
    )
    decision = msgspec.structs.replace(scene.published.decision, island=IslandState.GENSET, islanding=view)
    grid = msgspec.structs.replace(scene.published.snapshot.grid, w=reading(18_040.0))
    snapshot = msgspec.structs.replace(scene.published.snapshot, switches=(SWITCH,), grid=grid)
    published = msgspec.structs.replace(scene.published, decision=decision, snapshot=snapshot)
    assert scene.welcome is not None
    welcome = msgspec.structs.replace(scene.welcome, limits={**scene.welcome.limits, "genset_w": 30_000.0})
    return received(Model(welcome=welcome, plan=scene.plan), published)


def drawn(widget: object, model: Model, width: int = 80, height: int = 16) -> list[str]:
    canvas = Canvas(width, height)
    widget.paint(canvas, model)  # type: ignore[attr-defined]
    return canvas.lines()


def test_the_strip_and_the_flow_show_the_generator(model: Model) -> None:
    assert "ON-GENSET 00:06:00" in drawn(StateLine(), model, 60, 1)[0]
    flow = drawn(GridFlow(), model, 19, 6)
    assert flow[1].strip() == "18.0 kW generator"
    assert flow[3].strip() == "rated 30.0 kW"
    assert "Hz" in flow[5]


def test_the_flow_without_a_rating_says_so(model: Model) -> None:
    assert model.welcome is not None
    bare = {name: w for name, w in model.welcome.limits.items() if name != "genset_w"}
    unknown = msgspec.structs.replace(model, welcome=msgspec.structs.replace(model.welcome, limits=bare))
    assert drawn(GridFlow(), unknown, 19, 6)[3].strip() == "rating unknown"


def test_the_island_view_says_who_feeds_the_site_and_who_changes_back(model: Model) -> None:
    lines = drawn(Island(), model)
    assert "ON-GENSET: off the grid for 00:06:00" in lines[0]
    assert "the switch changes back once the grid is there" in lines[1]
    assert "switch pcc says that the generator feeds the site" in lines[3]
    text = "\n".join(lines)
    assert "open, source genset, control remote; grid voltage absent" in text
    assert "switch returns by itself; grid outside the window of vde-ar-n-4105" in text
    assert next_step_text(model) == "the switch changes back once the grid is there"


def test_the_plan_is_paused_and_says_why_at_once(model: Model) -> None:
    assert "paused: the site is on-genset" in drawn(PlanView(), model)[0]
    assert model.published is not None
    tied = msgspec.structs.replace(model.published.decision, island=IslandState.GRID_TIED)
    calm = msgspec.structs.replace(model, published=msgspec.structs.replace(model.published, decision=tied))
    assert "paused" not in drawn(PlanView(), calm)[0]
    assert shown_key(calm) != shown_key(model)


def test_status_says_that_it_is_no_import(model: Model) -> None:
    assert model.published is not None
    assert model.welcome is not None
    lines = list(status_text.lines(model.published, model.welcome))
    (grid,) = [line for line in lines if line.startswith("Grid ")]
    assert grid.split() == ["Grid", "18.0", "kW", "generator", "rated", "30.0", "kW"]
    (interval,) = [line for line in lines if line.startswith("Interval ")]
    assert "paused: on the generator" in interval
    assert "room for" not in interval
    assert "on-genset 00:06:00" in lines[0]


@pytest.mark.parametrize("version", [1, 2])
def test_a_console_of_before_is_told_that_it_is_not_known(model: Model, version: int) -> None:
    assert model.published is not None
    decision = msgspec.structs.replace(model.published.decision, chain=(), reason=plain("test"))
    told = for_version(msgspec.structs.replace(model.published, decision=decision), version)
    assert told["decision"]["island"] == "unknown"


def test_the_chart_of_import_says_whose_power_it_shows(model: Model) -> None:
    lines = drawn(ImportChart(), model, 80, 6)
    assert "Generator kW" in lines[0]
    assert lines[3].rstrip().endswith("10:20 paused")


def test_why_names_the_generator_where_the_grid_would_be(model: Model) -> None:
    assert model.published is not None
    decision = msgspec.structs.replace(
        model.published.decision, net_load_w=18_000.0, import_target_w=18_000.0, chain=(), reason=plain("test")
    )
    (line,) = [line for line in why.lines(decision, UTC) if line.startswith("Net load")]
    assert line.split() == ["Net", "load", "18.0", "kW", "(load", "less", "PV),", "generator", "wanted", "18.0", "kW"]


def test_the_broken_line_is_the_generators_rating(model: Model) -> None:
    lines = drawn(ImportChart(), model, 80, 6)
    assert "rated     30.0" in lines[1]
    assert model.published is not None
    tied = msgspec.structs.replace(model.published.decision, island=IslandState.GRID_TIED)
    calm = msgspec.structs.replace(model, published=msgspec.structs.replace(model.published, decision=tied))
    word, limit_w = interval_limit(model.published.interval)
    assert f"{word:<8} {limit_w / 1000:5.1f}" in drawn(ImportChart(), calm, 80, 6)[1]


@pytest.mark.parametrize("state", [IslandState.GENSET, IslandState.GRID_TIED])
def test_no_runtime_is_told_of_a_load_that_the_pcs_cannot_carry(model: Model, state: IslandState) -> None:
    assert model.published is not None
    for most_w, told, flow in ((90_000.0, "if the g", "holds load"), (10_000.0, "none: ", "cannot hold load")):
        ride = RideThrough(3600.0, 1800.0, None, 20_000.0, 1000.0, 0.0, 0, plain("none"), None, most_w)
        decision = msgspec.structs.replace(model.published.decision, island=state, ride=ride)
        seen = msgspec.structs.replace(model, published=msgspec.structs.replace(model.published, decision=decision))
        (runtime,) = [line for line in drawn(Island(), seen) if line.lstrip().startswith("Runtime")]
        assert told in runtime
        assert flow in drawn(BatteryFlow(), seen, 19, 6)[5]
    assert "20.0 kW to carry, the PCS can give 10.0 kW" in runtime


def test_a_site_without_a_battery_has_none_to_hold_the_load(model: Model) -> None:
    assert model.published is not None
    snapshot = msgspec.structs.replace(model.published.snapshot, pcs=(), batteries=())
    bare = msgspec.structs.replace(model, published=msgspec.structs.replace(model.published, snapshot=snapshot))
    assert [line.strip() for line in drawn(BatteryFlow(), bare, 19, 6) if line.strip()] == ["Battery", "none"]
