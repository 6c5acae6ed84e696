"""No view and no status text shows a value of a device that is not read as if it were fresh.

Nothing is listed here: each source in turn goes stale or missing, all of its values change, and whatever then differs
on a screen shows one of them. What differs must be marked: by ink and by a word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
import scenes
from test_any_size import WIDGETS
from test_fields_apart import flow_widths

from console.cli import status_text
from console.display.ink import Ink
from console.display.viewmodel import Model, lost, received
from console.tui.canvas import Canvas
from dispatch.model.equipment import Gpu, aged
from dispatch.model.islanding import IslandState
from dispatch.model.readings import Quality, Reading, Status, reading
from gateway.api.protocol import Published

replace = msgspec.structs.replace
SOURCES = ("grid", "load", "pcs", "batteries", "pv", "switches", "nodes", "ups")
MARKS = ("STALE", "SUSPECT", "missing", "not known", "not read", "unread", "not closed", "not answer",
         "by meter", "by its meter", " ago", "—")  # fmt: skip
MARKING = (Ink.DIM, Ink.HIGH, Ink.MEDIUM, Ink.LOW, Ink.REVERSE)  # REVERSE: the selected line, which has its word
SIZES = {name: (widths[0], 6) for name, widths in flow_widths().items()}
SIZES |= dict.fromkeys(("MonthPanel", "TopNodes", "GatewayPanel"), (38, 6))
SIZES |= dict.fromkeys(("StateLine", "OrderLine", "NextLine", "AlarmLine", "Footer"), (80, 1))
BODY = (80, 16)
OTHER_WORDS = {"open": "closed", "closed": "open", "present": "absent", "remote": "local", "OL": "OB"}
Changed = Callable[[Any], Any]


def changed(part: Any, change: Changed) -> Any:
    """A part with every reading and state in it changed, and those inside its GPUs, phases and powers."""
    if isinstance(part, (Reading, Status)):
        return part if part.value is None else change(part)
    if isinstance(part, tuple):
        return tuple(changed(one, change) for one in part)
    if isinstance(part, msgspec.Struct):
        return replace(part, **{name: changed(getattr(part, name), change) for name in part.__struct_fields__})
    return part


def another_value(read: Reading | Status) -> Any:
    """The same with a value that no digit of it shares."""
    if isinstance(read, Status):
        return replace(read, value=OTHER_WORDS.get(read.value or "", "other"))
    assert read.value is not None
    return replace(read, value=read.value * 1.31 + 7.3)


def no_value(read: Reading | Status) -> Any:
    return type(read)()


def with_source(published: Published, source: str, change: Changed, *, online: bool = False) -> Published:
    """The same with one source changed, and its devices not online."""
    snapshot = published.snapshot
    part = change(getattr(snapshot, source))
    ids = {one.id for one in (part if isinstance(part, tuple) else (part,))}
    devices = tuple(replace(d, online=online or (d.online and d.id not in ids)) for d in snapshot.devices)
    return replace(published, snapshot=replace(snapshot, devices=devices, **{source: part}))


def old(part: Any) -> Any:
    """The same 100 s later, not read again."""
    if isinstance(part, tuple):
        return tuple(aged(one, 100.0, Quality.STALE) for one in part)
    return aged(part, 100.0, Quality.STALE)


def doubted(part: Any) -> Any:
    """The same with every value doubted: the device answers, and what it says is not believed."""
    if isinstance(part, tuple):
        return tuple(aged(one, 2.0, Quality.SUSPECT) for one in part)
    return aged(part, 2.0, Quality.SUSPECT)


def one_lost(part: Any) -> Any:
    """Of several the first has no value."""
    return (changed(part[0], no_value), *part[1:]) if isinstance(part, tuple) else changed(part, no_value)


def with_gpus(published: Published) -> Published:
    """The same with two GPUs on the first node, each with all its readings."""
    read = {name: reading(v) for name, v in (("w", 301.0), ("util_pct", 92.0), ("temp_c", 61.0), ("limit_w", 700.0))}
    gpus = tuple(Gpu(n, "H200", uuid=f"GPU-{n}", **read) for n in (0, 1))
    first, *others = published.snapshot.nodes
    nodes = (replace(first, gpus=gpus), *others)
    return replace(published, snapshot=replace(published.snapshot, nodes=nodes))


def a_model(scene_name: str) -> Model:
    scene = scenes.read(scene_name)
    model = Model(welcome=scene.welcome, plan=scene.plan, events=scene.events, trend=scene.trend, role="engineer")
    return received(model, with_gpus(scene.published))


def drawn(published: Published, like: Model) -> dict[str, Canvas]:
    """Every widget."""
    model, found = replace(like, published=published), {}
    for name, widget in WIDGETS.items():
        found[name] = Canvas(*SIZES.get(name, BODY))
        made = widget()
        made.paint(found[name], model)
        if made.fresh_only and model.stale:
            found[name].dim()
    return found


def status(published: Published, like: Model) -> list[str]:
    assert like.welcome is not None
    return list(status_text.lines(published, like.welcome))


def differing(before: Canvas, after: Canvas) -> Iterator[tuple[int, list[int]]]:
    """Rows whose text differs, and the columns in which it does."""
    for y, (was, now) in enumerate(zip(before.text, after.text, strict=True)):
        if columns := [x for x in range(after.width) if was[x] != now[x]]:
            yield y, columns


def marked(text: str) -> bool:
    return any(mark in text for mark in MARKS)


def unmarked(published: Published, other: Published, like: Model, *, by_row: bool) -> Iterator[str]:
    """What differs between two screens and is not marked. by_row: each row has its own word, not only the widget; the
    rows of the grid all follow from its switch.
    """
    before, after = drawn(published, like), drawn(other, like)
    for name, canvas in after.items():
        for y, columns in differing(before[name], canvas):
            row = "".join(canvas.text[y])
            if not by_row and any(canvas.ink[y][x] not in MARKING for x in columns if canvas.text[y][x] != " "):
                yield f"{name}, no ink: {row.rstrip()!r}"
            if not marked(row if by_row and name != "GridFlow" else " ".join(canvas.lines())):
                yield f"{name}, no word: {row.rstrip()!r}"
    known = status(published, like)
    yield from (f"status: {line!r}" for line in status(other, like) if line not in known and not marked(line))


def parts(published: Published) -> list[str]:
    return [name for name in SOURCES if getattr(published.snapshot, name)]


@pytest.mark.parametrize("scene", ["order", "outage"])
def test_a_value_that_is_not_fresh_is_marked(scene: str) -> None:
    model = a_model(scene)
    assert model.published is not None
    found = []
    for source in parts(model.published):
        first = with_source(model.published, source, old)
        second = with_source(first, source, lambda part: changed(part, another_value))
        found += [f"{source}: {fault}" for fault in unmarked(first, second, model, by_row=False)]
    assert found == []


@pytest.mark.parametrize("scene", ["order", "outage"])
def test_a_value_that_is_doubted_is_marked(scene: str) -> None:
    """A device that answers, and whose figures are not believed: what is shown is the last that was."""
    model = a_model(scene)
    assert model.published is not None
    found = []
    for source in parts(model.published):
        first = with_source(model.published, source, doubted, online=True)
        second = with_source(first, source, lambda part: changed(part, another_value), online=True)
        found += [f"{source}: {fault}" for fault in unmarked(first, second, model, by_row=False)]
    assert found == []


@pytest.mark.parametrize("scene", ["order", "outage"])
def test_without_a_gateway_every_panel_of_figures_says_so_by_a_word(scene: str) -> None:
    """Dimming alone is not seen in one colour, nor by everybody. Whatever a last snapshot gave is changed."""
    model = replace(lost(a_model(scene), "no answer"), age_s=30.0)
    assert model.published is not None
    other = model.published
    for source in parts(other):
        other = with_source(other, source, lambda part: changed(part, another_value), online=True)
    interval, devices = other.interval, tuple(replace(d, online=False) for d in other.snapshot.devices)
    other = replace(
        other,
        interval=replace(interval, energy_wh=interval.energy_wh + 2_700, left_w=interval.left_w + 7_300),
        month_peak_w=other.month_peak_w + 7_700,
        loop=replace(other.loop, overruns=7, consoles=9),
        snapshot=replace(other.snapshot, devices=devices),
        tariff=replace(other.tariff, now_eur_per_kwh=0.777),
    )
    found = list(unmarked(model.published, other, model, by_row=False))
    assert [fault for fault in found if not fault.startswith("status")] == []  # which answers only with a gateway


ARROWS_AND_BARS = ("· · · · ·", "▕·", "─────────", "───   ───")  # that a value is missing has its shape there


@pytest.mark.parametrize("scene", ["calm", "outage"])
def test_a_figure_that_lacks_a_member_says_so(scene: str) -> None:
    """A sum or a count without one of its members is another figure than the sum."""
    model = a_model(scene)
    assert model.published is not None
    found = []
    for source in parts(model.published):
        lost = with_source(model.published, source, one_lost, online=True)
        found += [
            f"{source}: {fault}"
            for fault in unmarked(model.published, lost, model, by_row=True)
            if not any(shape in fault for shape in ARROWS_AND_BARS)
        ]
    # a lost node leaves its place among the largest, and the count of nodes has its own form: 7/8 nodes
    assert [fault for fault in found if "TopNodes" not in fault and "/8 nodes" not in fault] == []


RIDE_FIGURES = ("runtime_s", "low_s", "draw_w", "most_w", "shutdown_in_s")


@pytest.mark.parametrize("source", ["pcs", "batteries"])
def test_what_is_estimated_from_a_lost_device_is_marked(source: str) -> None:
    """The controller's estimates stand while PCS or battery do not answer."""
    model = a_model("outage")
    assert model.published is not None
    silent = with_source(model.published, source, old)
    ride = silent.decision.ride
    assert ride is not None
    given = {name: value for name in RIDE_FIGURES if (value := getattr(ride, name)) is not None}
    assert given.keys() >= {"runtime_s", "low_s", "shutdown_in_s"}
    other = replace(ride, **{name: value * 1.6 for name, value in given.items()})
    changed_ride = replace(silent, decision=replace(silent.decision, ride=other))
    assert list(unmarked(silent, changed_ride, model, by_row=True)) == []


def test_what_silent_nodes_do_is_what_they_were_asked() -> None:
    model = a_model("outage")
    assert model.published is not None
    asked = drawn(with_source(model.published, "nodes", one_lost), model)["ComputeFlow"].lines()[5]
    assert asked.startswith("asked: capped"), asked
    assert drawn(model.published, model)["ComputeFlow"].lines()[5].startswith("capped")


def test_off_the_grid_without_a_contact_no_limit_of_import_is_shown() -> None:
    model = a_model("outage")
    assert model.published is not None
    assert model.published.decision.island is IslandState.ISLANDED
    lines = drawn(with_source(model.published, "switches", one_lost), model)["GridFlow"].lines()
    assert lines[3].startswith("switch not closed")


def test_a_gap_in_the_interval_is_shown_beside_its_mean() -> None:
    model = a_model("calm")
    assert model.published is not None
    interval = model.published.interval
    gap = replace(model.published, interval=replace(interval, unknown_s=42.0))
    never = replace(model.published, interval=replace(interval, never_read=True))
    charts = {name: Canvas(80, 4) for name in ("whole", "gap", "never")}
    for name, published in (("whole", model.published), ("gap", gap), ("never", never)):
        WIDGETS["ImportChart"]().paint(charts[name], replace(model, published=published))
    whole, part, none = ("\n".join(charts[name].lines()) for name in charts)
    assert "gap" not in whole
    assert "interval~" not in whole
    assert "Import kW gap 42s" in part
    assert "interval~" in part
    assert "Import kW unread" in none
    assert none.count("—") == 2, "neither a mean nor what is left of it"
    assert "room for — kW" in "\n".join(status(never, model))
    assert "42 s of it not measured" in "\n".join(status(gap, model))
