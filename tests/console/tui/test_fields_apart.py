"""No two fields touch, none is cut off in a word: at every width, with values as long and as old as they may be."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import scenes
from test_any_size import WIDGETS

import console.tui
from console.display.ink import Ink
from console.display.viewmodel import Model, lost, received
from console.tui.canvas import Canvas
from dispatch.model.decision import Mode
from dispatch.model.equipment import aged
from dispatch.model.islanding import IslandState, RideThrough
from dispatch.model.readings import Quality, Reading
from gateway.api.protocol import Published, Welcome

replace = msgspec.structs.replace
STRIPS = ("StateLine", "LinkLine", "OrderLine", "WhyLine", "NextLine", "AlarmLine", "Footer")
LINK_COLUMNS = 32  # of the line with the state, beside it
PANELS = ("MonthPanel", "TopNodes", "GatewayPanel", "JobsPanel", "PricesPanel", "AlarmsPanel")
CHARTS = ("LoadChart", "ImportChart", "TimeAxis", "TariffStrip", "SocChart")
VIEWS = ("Compute", "Island", "PlanView", "AlarmList", "EventLog", "Devices", "HelpPage")


class WatchedCanvas(Canvas):
    """Remembers which `put` wrote each cell, and what was cut off."""

    def __init__(self, width: int, height: int) -> None:
        super().__init__(width, height)
        self._owner = [[0] * width for _ in range(height)]
        self._puts = 0
        self.faults: list[str] = []

    def put(self, x: int, y: int, text: str, ink: Ink = Ink.PLAIN) -> int:
        """As the canvas does; a field that ends in the middle of a word, or on another one, is noted."""
        self._puts += 1
        end = super().put(x, y, text, ink)
        if not 0 <= y < self.height:
            return end
        if end > self.width and text[self.width - x :].strip() and x < self.width:
            self.faults.append(f"cut at {self.width}: {text!r}")
        for at in range(max(0, x), min(end, self.width)):
            if self.text[y][at] != " ":
                self._owner[y][at] = self._puts
        return end

    def touching(self) -> Iterator[str]:
        """Where a word or figure of one field goes on in another."""
        for y, row in enumerate(self.text):
            for x in range(self.width - 1):
                here, there = row[x], row[x + 1]
                if here.isalnum() and there.isalnum() and self._owner[y][x] != self._owner[y][x + 1]:
                    yield f"column {x + 1}: {''.join(row).strip()!r}"


def old(published: Published, age_s: float, kinds: str = "grid pcs batteries pv load nodes") -> Published:
    """The same, some devices silent for so long."""
    snapshot = published.snapshot
    changes: dict[str, Any] = {}
    for name in kinds.split():
        part = getattr(snapshot, name)
        changes[name] = (
            tuple(aged(p, age_s, Quality.STALE) for p in part)
            if isinstance(part, tuple)
            else part and aged(part, age_s, Quality.STALE)
        )
    return replace(published, snapshot=replace(snapshot, **changes))


def large(published: Published) -> Published:
    """Powers of a large site."""
    snapshot = published.snapshot
    return replace(
        published,
        snapshot=replace(
            snapshot,
            grid=replace(snapshot.grid, w=replace(snapshot.grid.w, value=-1_234_567.0)),
            pcs=tuple(replace(p, w=replace(p.w, value=-2_345_678.0)) for p in snapshot.pcs),
            pv=tuple(replace(p, w=replace(p.w, value=987_654.0)) for p in snapshot.pv),
            nodes=tuple(replace(n, id=f"a-very-long-name-of-a-node-{n.id}") for n in snapshot.nodes * 20),
        ),
        month_peak_w=1_234_567.0,
        month_unmeasured_s=17 * 86_400.0,
    )


def long_outage(published: Published) -> Published:
    """Off the grid for days, with a runtime of many hours."""
    ride = RideThrough(
        runtime_s=47_000.0,
        low_s=45_000.0,
        promised_left_s=40_000.0,
        draw_w=2_000.0,
        wh_per_pct=1_000.0,
        learnt_pct=0.0,
        rung=0,
        rung_name="",
        why=None,
    )
    decision = replace(published.decision, island=IslandState.SYNCHRONISING, mode=Mode.OBSERVE, ride=ride)
    if decision.islanding is not None:
        view = replace(decision.islanding, left_grid_utc_s=published.snapshot.utc_s - 360_000.0)
        decision = replace(decision, islanding=view)
    return replace(published, decision=decision)


def two_batteries(published: Published) -> Published:
    """Of twelve batteries one is not read."""
    battery = published.snapshot.batteries[0]
    many = tuple(replace(battery, id=f"bat{n}") for n in range(11))
    missing = replace(battery, id="bat12", soc_pct=Reading())
    return replace(published, snapshot=replace(published.snapshot, batteries=(*many, missing)))


CHANGES: dict[str, Callable[[Published], Published]] = {
    "as it is": lambda published: published,
    "silent 9 s": lambda published: old(published, 9.0),
    "silent 100 s": lambda published: old(published, 100.0),
    "silent 119 min": lambda published: old(published, 7_190.0),
    "silent 900 d": lambda published: old(published, 900 * 86_400.0),
    "PV silent": lambda published: old(published, 100.0, "pv"),
    "large": large,
    "large and silent": lambda published: old(large(published), 100.0),
    "long outage": long_outage,
    "12 batteries": two_batteries,
}
NAMES = ("Fjord One", "Großes Rechenzentrum Nordfriesland", "計算センター北海道第二発電所と蓄電池")


def a_welcome(welcome: Welcome, name: str) -> Welcome:
    return replace(welcome, site=name, user="a-long-user-name-of-a-domain", speed=10.0)


@pytest.fixture(scope="module")
def models() -> dict[str, Model]:
    """Scenes with every change, attached, late and without a gateway."""
    found = {}
    for n, scene_name in enumerate(("calm", "order", "outage", "drill")):
        scene = scenes.read(scene_name)
        for change, change_it in CHANGES.items():
            welcome = a_welcome(scene.welcome, NAMES[n % len(NAMES)])
            model = Model(welcome=welcome, plan=scene.plan, events=scene.events, role="engineer", trend=scene.trend)
            model = received(model, change_it(scene.published))
            found[f"{scene_name}, {change}"] = model
            if change == "as it is":
                found[f"{scene_name}, late"] = replace(model, age_s=100.0)
                found[f"{scene_name}, no gateway"] = replace(lost(model, "the gateway closed the link"), age_s=7_000.0)
    return found


def faults(name: str, width: int, height: int, models: dict[str, Model]) -> list[str]:
    found = []
    for title, model in models.items():
        canvas = WatchedCanvas(width, height)
        WIDGETS[name]().paint(canvas, model)
        found += [f"{name} {width}, {title}: {fault}" for fault in (*canvas.faults, *canvas.touching())]
        if name not in (*VIEWS, "OrderLine") and any(row[-1].isalnum() for row in canvas.text):
            found.append(f"{name} {width}, {title}: touches what is beside it: {canvas.lines()}")
    return found


def flow_widths() -> dict[str, list[int]]:
    """The columns of the flows on a terminal of 80 to 160, by the style sheet."""
    css = (Path(console.tui.__file__).parent / "console.tcss").read_text()
    rules = {"": r"#flows > \* \{[^}]*width: (\d+)", "BatteryFlow": r"#flows BatteryFlow \{ width: (\d+)"}
    rules |= {"PvFlow": r"#flows PvFlow \{ width: (\d+)"}
    fixed = {name: int(re.search(rule, css)[1]) for name, rule in rules.items()}  # type: ignore[index]
    return {
        "GridFlow": [fixed[""]], "BatteryFlow": [fixed["BatteryFlow"]], "PvFlow": [fixed["PvFlow"]],
        "ComputeFlow": [fixed[""]],
    }  # fmt: skip


@pytest.mark.parametrize("name", STRIPS)
def test_strips_at_every_width(name: str, models: dict[str, Model]) -> None:
    if name == "LinkLine":
        widths: Any = [LINK_COLUMNS]
    elif name == "StateLine":
        widths = range(80 - LINK_COLUMNS, 161 - LINK_COLUMNS)
    else:
        widths = range(40, 161)
    height = 2 if name == "WhyLine" else 1
    assert [fault for width in widths for fault in faults(name, width, height, models)] == []


@pytest.mark.parametrize("name", ["GridFlow", "BatteryFlow", "PvFlow", "ComputeFlow"])
def test_flows(name: str, models: dict[str, Model]) -> None:
    assert [fault for width in flow_widths()[name] for fault in faults(name, width, 6, models)] == []


@pytest.mark.parametrize("name", PANELS)
def test_panels(name: str, models: dict[str, Model]) -> None:
    assert faults(name, 38, 6, models) == []


@pytest.mark.parametrize("name", CHARTS)
def test_charts(name: str, models: dict[str, Model]) -> None:
    assert [fault for width in (80, 100, 112 - 38, 160 - 38) for fault in faults(name, width, 8, models)] == []


@pytest.mark.parametrize("name", VIEWS)
def test_views(name: str, models: dict[str, Model]) -> None:
    assert [fault for width in (80, 97, 120, 160) for fault in faults(name, width, 24, models)] == []


def test_an_outage_with_silent_devices_looks_like_none_that_is_known(models: dict[str, Model]) -> None:
    """Bus, runtime and nodes are those of the last answers, and say so on every view that shows them."""
    published = models["outage, silent 100 s"].published
    assert published is not None
    silent = tuple(replace(d, online=False) for d in published.snapshot.devices)
    published = replace(published, snapshot=replace(published.snapshot, devices=silent))
    model = replace(models["outage, silent 100 s"], published=published)
    view, flow = Canvas(80, 16), Canvas(22, 6)
    WIDGETS["Island"]().paint(view, model)
    WIDGETS["BatteryFlow"]().paint(flow, model)
    rows = {line.split()[0]: line for line in view.lines() if line[:9].strip()}
    assert "STALE 1m" in rows["SoC"]
    assert "STALE, as of the last reading" in rows["Runtime"]
    assert "STALE 1m" in rows["Bus"]
    nodes = len(published.snapshot.nodes)
    assert f"of {nodes} may run, {nodes} do not answer" in rows["Nodes"]
    assert flow.lines()[5].startswith("lasts ")
    assert flow.lines()[5].rstrip().endswith("STALE")
    fresh = Canvas(80, 16)
    WIDGETS["Island"]().paint(fresh, models["outage, as it is"])
    assert "STALE" not in "\n".join(fresh.lines())
