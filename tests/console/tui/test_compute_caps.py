"""What the view Compute says of a node's cap."""

from __future__ import annotations

import pytest
import scenes
from msgspec.structs import replace

from console.cli.status_text import lines
from console.display.cap_text import MOST_LINES, held_text
from console.display.viewmodel import Model, received
from console.tui.canvas import Canvas
from console.tui.compute import Compute, cap_text
from dispatch.model.equipment import Gpu, Limit, Node
from dispatch.model.power_caps import NodeCap
from dispatch.model.readings import reading


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


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        (Limit(reading(1_200.0), 500, 1_600), "BMC limit 1.2 kW"),
        (Limit(), "no BMC limit"),
        (Limit(why="its BMC switches the node off"), "BMC limit: its BMC switches the node off"),
    ],
)
def test_the_limit_that_a_bmc_follows_stands_beside_the_cap_that_is_asked(limit: Limit, said: str) -> None:
    recorded = scenes.read("outage")
    model = received(Model(welcome=recorded.welcome), recorded.published)
    assert model.published is not None
    assert cap_text(Node("n", limit=limit), model) == said
    capped = replace(model, published=replace(model.published, node_caps=(NodeCap("n", 1_200.0, None, None, 0),)))
    assert cap_text(Node("n", limit=limit), capped) == f"capped to 1.2 kW, {said}"


def test_status_tells_of_each_cap_what_is_asked_set_followed_and_drawn() -> None:
    gpus = (Gpu(0, "x", limit_w=reading(250.0), enforced_w=reading(200.0)), Gpu(1, "x", limit_w=reading(300.0)))
    assert held_text(Node("n", gpus=gpus)) == "GPUs set to 250 to 300 W (1 of them follow 200 W)"
    assert held_text(Node("n", gpus=gpus[1:])) == "GPUs set to 300 W"
    assert held_text(Node("n", gpus=(Gpu(0, "x"),))) == held_text(Node("n")) == "what is set is not read"
    recorded = scenes.read("outage")
    nodes = (Node("a", reading(1_150.0), limit=Limit(reading(1_200.0))), Node("b"))
    caps = [NodeCap("a", 1_200.0, 4.0, 4.0, 1), *(NodeCap("b", 900.0, None, None, 0) for _ in range(MOST_LINES))]
    snapshot = replace(recorded.published.snapshot, nodes=nodes)
    published = replace(recorded.published, snapshot=snapshot, node_caps=tuple(caps))
    told = list(lines(published, recorded.welcome))
    at = next(n for n, line in enumerate(told) if line.startswith("Capped"))
    assert told[at].split(maxsplit=1)[1] == "a to 1.2 kW: BMC limit 1.2 kW, draws 1.1 kW, a cap shows after 4 s"
    assert told[at + 1].strip() == "b to 0.9 kW: what is set is not read, what it draws is not known"
    assert told[at + MOST_LINES].strip() == "and 1 more"
