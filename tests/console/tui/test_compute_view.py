"""The GPUs of a node as drawn: limits set and enforced, GPUs that do not answer, the node's note."""

from __future__ import annotations

import pytest

from console.display.ups_text import ups_texts
from console.tui.canvas import Canvas
from console.tui.compute import ORDERS, Compute, draw_ups, gpu_cell, in_order
from dispatch.model.equipment import Gpu, Node, NodePower, Ups
from dispatch.model.readings import Quality, Reading, Status, reading, status


def gpu(index: int = 0, w: float | None = 300.0, limit_w: float = 500.0, enforced_w: float = 500.0) -> Gpu:
    return Gpu(
        index,
        "H200",
        w=reading(w),
        limit_w=reading(limit_w),
        util_pct=reading(98.0),
        temp_c=reading(55.0),
        uuid="GPU-5f1c2a3b-0d4e",
        enforced_w=reading(enforced_w),
    )


@pytest.mark.parametrize(
    ("shown", "line"),
    [
        (gpu(), " 0  300/500 W    98 %  55 °C"),
        (gpu(enforced_w=400.0), " 0  300/400 W set 500  98 %  55 °C"),
        (gpu(3, 1200.0, 1400.0, 1000.0), " 3 1200/1000 W set 1400  98 %  55 °C"),
        (gpu(w=None), " 0    —/500 W    98 %  55 °C"),
        (Gpu(3, "H200", uuid="GPU-5f1c2a3b-0d4e"), " 3    — W  GPU-5f1c2a3b does not answer"),
        (Gpu(11, ""), "11    — W  it does not answer"),
    ],
)
def test_a_gpu(shown: Gpu, line: str) -> None:
    canvas = Canvas(80, 1)
    gpu_cell(canvas, 0, 0, shown)
    assert "".join(canvas.text[0]).rstrip() == line
    assert len(line) < 40, "two to a row of 80 columns"


def test_what_is_wrong_stands_above_the_gpus() -> None:
    canvas = Canvas(80, 3)
    node = Node("gpu-01", w=Reading(), gpus=(gpu(), Gpu(1, "")), note="GPU 1: GPU is lost; " + "x" * 80)
    Compute.detail(object.__new__(Compute), canvas, 0, node, None)  # type: ignore[arg-type]
    assert "".join(canvas.text[0]).startswith(" GPUs of gpu-01  GPU 1: GPU is lost; xxx")
    assert "1    — W  it does not answer" in "".join(canvas.text[1])


@pytest.mark.parametrize(
    ("ups", "line"),
    [
        (
            Ups("ups1", status("OL CHRG"), reading(1_230.0), reading(41.0), reading(97.0), reading(1_680.0)),
            "ups1 on line, charging · battery 97 % · 28 min by its own estimate · 1.2 kW · load 41 %",
        ),
        (Ups("ups1", status("OB LB"), charge_pct=reading(9.0)), "ups1 ON BATTERY, BATTERY LOW · battery 9 %"),
        (Ups("ups1", Status("OL", 75.0, Quality.STALE)), "ups1 on line 75s ago"),
        (Ups("ups1", status("OL ECO")), "ups1 on line, ECO"),
        (Ups("ups1"), "ups1 status not known"),
    ],
)
def test_a_ups(ups: Ups, line: str) -> None:
    assert " · ".join(ups_texts(ups)) == line
    canvas = Canvas(80, 2)
    draw_ups(canvas, 0, ups)
    Compute.detail(object.__new__(Compute), canvas, 1, ups, None)  # type: ignore[arg-type]
    row, detail = ("".join(text).rstrip() for text in canvas.text)
    assert row.startswith(" ups1 ")
    assert " UPS " in row
    assert detail.strip() == line[:78] or detail.strip().startswith(line[:70])


def node(id: str, w: float | None, *gpus: Gpu) -> Node:
    return Node(id, w=reading(w), gpus=gpus)


def test_nodes_by_power_lost_first_and_by_name() -> None:
    nodes = [node("b", 500.0), node("c", None), node("a", 900.0), node("d", 800.0, Gpu(0, "lost"))]
    assert ["".join(n.id for n in in_order(nodes, order)) for order in ORDERS] == ["bcad", "adbc", "cdba", "abcd"]
    assert list(ORDERS) == ["site file", "power", "lost", "name"]


def test_each_power_says_how_it_was_got_and_how_old_it_is() -> None:
    powers = (
        NodePower("2 outlets", Reading(), 10.0),
        NodePower("RAPL + 8 GPUs (dcgm-exporter)", Reading(2410.0, 12.0, Quality.GOOD), 30.0),
        NodePower("estimate by CPU use + 8 GPUs (dcgm-exporter)", Reading(2500.0, 95.0, Quality.STALE), 30.0),
    )
    shown = Node("gpu01", w=powers[1].w, source=powers[1].source, gpus=(gpu(),), gpus_total=1, powers=powers)
    canvas = Canvas(80, 6)
    Compute.detail(object.__new__(Compute), canvas, 0, shown, None)  # type: ignore[arg-type]
    lines = ["".join(row).rstrip() for row in canvas.text]
    assert lines[2:5] == [
        "       — kW  2 outlets, measured every 10 s, not known",
        " →   2.4 kW  RAPL + 8 GPUs (dcgm-exporter), measured every 30 s, 12s old",
        "     2.5 kW  estimate by CPU use + 8 GPUs (dcgm-exporter), measured every 30 s…",
    ]
