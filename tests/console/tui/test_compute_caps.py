"""What the view Compute says of a node's cap."""

from __future__ import annotations

import pytest
import scenes
from msgspec.structs import replace

from console.display.viewmodel import Model, received
from console.tui.canvas import Canvas
from console.tui.compute import Compute, cap_text
from dispatch.model.equipment import Gpu, Node
from dispatch.model.power_caps import NodeCap


@pytest.mark.parametrize(
    ("cap", "said"),
    [
        (None, ""),
        (NodeCap("other", 2_000.0, None, None, 0), ""),
        (NodeCap("n", 2_000.0, None, None, 0), "capped to 2.0 kW"),
        (NodeCap("n", 2_000.0, 4.0, 4.2, 1), "capped to 2.0 kW; a cap shows after 4 s (1 seen)"),
        (NodeCap("n", 2_000.0, 4.0, 12.0, 5), "capped to 2.0 kW; a cap shows after 4 to 12 s (5 seen)"),
    ],
)
def test_a_cap_and_after_what_time_it_shows(cap: NodeCap | None, said: str) -> None:
    recorded = scenes.read("outage")
    model = received(Model(welcome=recorded.welcome), recorded.published)
    assert model.published is not None
    published = replace(model.published, node_caps=() if cap is None else (cap,))
    model = replace(model, published=published)
    assert cap_text(Node("n"), model) == said
    view, canvas = Compute(), Canvas(80, 8)
    view.detail(canvas, 0, Node("n", gpus=(Gpu(0, "x"),), gpus_total=1), model)
    assert canvas.lines()[0].startswith(" GPUs of n")
    assert canvas.lines()[0].rstrip().endswith(said or "GPUs of n")
