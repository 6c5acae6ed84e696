"""Lists sort, page, filter and say what of them is out of sight; the log shows one kind, its times are the site's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
import scenes

from console.display.formats import local_times
from console.display.viewmodel import Model, received
from console.tui.canvas import Canvas
from console.tui.compute import Compute
from console.tui.devices import Devices
from console.tui.event_log import EventLog
from dispatch.model.equipment import DeviceHealth, Gpu, LinkHealth, Node
from dispatch.model.events import Event
from dispatch.model.jobs import QueueNow, RunningJob
from dispatch.model.readings import reading
from dispatch.model.reasons import plain


@pytest.fixture(scope="module")
def model() -> Model:
    """Thirty nodes, devices of different speed, a log of three kinds."""
    scene = scenes.read("calm")
    utc_s = scene.published.snapshot.utc_s
    nodes = tuple(Node(f"gpu-{n:02d}", w=reading(1000.0 + 7 * n % 11)) for n in range(30))
    devices = tuple(
        DeviceHealth(id, "meter", online, 0.1, 9, failures, 0, link=LinkHealth("x:1", round_trip_ms=ms))
        for id, online, failures, ms in (("b", True, 0, 9.0), ("a", True, 5, None), ("c", False, 2, 40.0))
    )
    snapshot = msgspec.structs.replace(scene.published.snapshot, nodes=nodes, devices=devices)
    kinds = ("device", "command", "plan")
    events = tuple(Event(utc_s - 100 + n, kinds[n % 3], "info", f"s{n:02d}", f"text {n}") for n in range(60))
    model = received(Model(welcome=scene.welcome), msgspec.structs.replace(scene.published, snapshot=snapshot))
    return msgspec.structs.replace(model, events=events)


def drawn(view: Any, model: Model, size: tuple[int, int] = (80, 16)) -> list[str]:
    """What the list draws; `move` and the like need its model."""
    view.set_reactive(type(view).model, model)
    canvas = Canvas(*size)
    view.paint(canvas, model)
    return [line.rstrip() for line in canvas.lines()]


def column(lines: Sequence[str], name: str) -> list[str]:
    return [line.split()[0] for line in lines if line.startswith(f" {name}")]


def test_a_list_that_is_cut_says_how_many_more_and_pages(model: Model) -> None:
    view = Compute()
    lines = drawn(view, model)
    shown = len(column(lines, "gpu-"))
    assert f"+{30 - shown} more" in "\n".join(lines)
    view.page(1)
    assert drawn(view, model)[0].endswith(f"{shown} of 30")
    view.page(-1)
    view.page(-1)
    assert drawn(view, model)[0].endswith("1 of 30")
    view.move(10**6)
    assert "more" not in "\n".join(drawn(view, model))


def test_a_filter_stays_in_sight_with_its_count(model: Model) -> None:
    view = Compute()
    view.filter_text = "gpu-1"
    lines = drawn(view, model, (80, 24))
    assert column(lines, "gpu-") == [f"gpu-{n}" for n in range(10, 20)]
    assert "/gpu-1  10 of 30" in "\n".join(lines)
    view.filter_text = "nowhere"
    assert "/nowhere  0 of 30" in "\n".join(drawn(view, model))


def test_devices_in_each_order(model: Model) -> None:
    view, seen = Devices(), []
    for _ in Devices.orders:
        lines = drawn(view, model, (80, 20))
        seen.append("".join(line[1] for line in lines[1:4]))
        assert ("sorted by" in "\n".join(lines)) == (view.order != Devices.orders[0])
        view.sort_next()
    assert seen == ["bac", "abc", "cab", "cba", "acb"]
    assert view.order == Devices.orders[0]


def test_the_log_by_kind_and_order(model: Model) -> None:
    view = EventLog()
    assert "newer" not in "\n".join(drawn(view, model, (80, 20)))  # at the newest it follows
    view.move(4)
    assert "4 newer: home follows" in "\n".join(drawn(view, model, (80, 20)))
    view.move(-4)
    for kind in ("command", "device", "plan", "why"):
        view.next_kind()
        lines = drawn(view, model, (80, 20))
        assert f"only {kind}" in "\n".join(lines) or kind == "why"
        kinds = {line[18:26].split()[0] for line in lines[1:10] if line[18:26].strip()}
        assert kinds == {kind} or kind == "why"
    view = EventLog()
    view.sort_next()
    assert "s00" in drawn(view, model, (80, 20))[1]


def test_times_in_texts_of_the_record_are_the_sites() -> None:
    text = "grid event e1: import at most 30.0 kW from 2026-11-03 13:00:00Z to 2026-11-03 14:00:00Z: accepted"
    assert local_times(text, "Europe/Oslo") == (
        "grid event e1: import at most 30.0 kW from 2026-11-03 14:00:00 CET to 2026-11-03 15:00:00 CET: accepted"
    )
    assert local_times("nothing of 2026-11-03 13:00:00", "Europe/Oslo") == "nothing of 2026-11-03 13:00:00"
    assert local_times("at 9999-99-99 99:99:99Z", "Europe/Oslo") == "at 9999-99-99 99:99:99Z"


def test_a_node_opens_on_its_gpus_and_these_on_its_jobs(model: Model) -> None:
    assert model.published is not None
    gpus = tuple(Gpu(n, "H200", w=reading(300.0 + n), enforced_w=reading(500.0)) for n in range(3))
    nodes = (Node("gpu-01", w=reading(900.0), gpus=gpus, gpus_total=3), Node("gpu-02", w=reading(100.0)))
    job = RunningJob("77", "train", "ann", "running", 3, 8, None, ("gpu-01",), plain("its power is capped"))
    published = msgspec.structs.replace(
        model.published,
        snapshot=msgspec.structs.replace(model.published.snapshot, nodes=nodes),
        queues=(QueueNow(scheduler="s", running=1, jobs=(job,), read_utc_s=1.0),),
    )
    model = msgspec.structs.replace(model, published=published)
    view = Compute()
    drawn(view, model)
    assert (view.opened, view.open_selected()) == ("", "gpu-01")
    text = "\n".join(drawn(view, model))
    assert "302" in text
    assert "GPUs of gpu-01 · enter its jobs" in text
    view.filter_text = "nowhere"
    assert "0 of 3" in "\n".join(drawn(view, model))
    assert view.open_selected() == "gpu-01"
    text = "\n".join(drawn(view, model))
    assert "77  train  ann  3 GPUs" in text
    assert "its power is capped" in text
    assert view.open_selected() == ""
    assert [view.close_opened(), view.opened, view.close_opened(), view.opened] == [True, "gpu-01", True, ""]
    assert not view.close_opened()
    view.move(1)
    view.open_selected()
    assert "gpu-02: no GPU · enter its jobs" in "\n".join(drawn(view, model))
    view.open_selected()
    assert "gpu-02: no job holds it" in "\n".join(drawn(view, model))
