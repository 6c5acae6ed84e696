"""The GPUs of a node as drawn: limits set and enforced, GPUs that do not answer, the node's note."""

from __future__ import annotations

import pytest

from console.tui.canvas import Canvas
from console.tui.compute import Compute, gpu_cell
from dispatch.model.equipment import Gpu, Node
from dispatch.model.readings import Reading, reading


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
