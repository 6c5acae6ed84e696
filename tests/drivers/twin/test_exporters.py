"""The twin's nodes as pages of exporters: read as real ones are, their power is that of the twin's load."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.launcher import with_exporters
from dispatch.model.equipment import Node
from drivers.config import IoConfig
from drivers.devices import make_drivers
from drivers.http.errors import HttpError
from drivers.node_config import NodeDevice
from drivers.nodes.metrics import pattern_of, understood
from drivers.nodes.node_figures import NodeFigures
from drivers.twin.exporters import TwinExporters
from drivers.twin.load import TwinNode
from gateway.site.loader import compose, parse

DEMO = Path(__file__).resolve().parents[3] / "console" / "demo.toml"


def twin_node(w: float, busy: int) -> TwinNode:
    node = TwinNode(8)
    node.w, node.gpus_busy, node.cpu_pct, node.memory_pct = w, busy, 40.0, 25.0
    return node


def test_the_power_that_is_read_is_that_of_the_twin() -> None:
    now_s = 1000.0
    exporters = TwinExporters([twin_node(1000.0, 0), twin_node(5000.0, 5)], clock=lambda: now_s)
    read = NodeFigures(NodeDevice(id="gpu-02", source="exporters"), 2.0)
    for now_s in (1000.0, 1002.0):
        for kind in ("host", "gpu"):
            for figures in understood(pattern_of("").samples(exporters.page(f"/{kind}/gpu-02") or "")):
                read.take(figures, now_s)
    node = read.node(now_s, [], [])
    assert node.w.good == pytest.approx(5000.0, rel=1e-3)
    assert node.source == "RAPL + 8 GPUs (dcgm-exporter)"
    assert [node.gpus_busy.good, node.memory_pct.good, node.cpu_pct.good] == pytest.approx([5.0, 25.0, 40.0], abs=0.1)
    assert (node.gpus[0].w.good or 0) > 2 * (node.gpus[7].w.good or 0)


async def test_its_pages_are_served() -> None:
    exporters = TwinExporters([twin_node(1000.0, 0)])
    port = await exporters.start(0)
    pages = [(f"gpu-0{n}", f"http://127.0.0.1:{port}/gpu/gpu-0{n}") for n in (1, 2)]
    nodes = [NodeDevice(id=id, source="exporters", exporters=(page,), deadline_s=10) for id, page in pages]
    first, second = make_drivers([], [], [], [], nodes, IoConfig(), lambda *_: ("", 0, 0))
    try:
        node = await first.read()
        assert isinstance(node, Node)
        assert len(node.gpus) == 8
        with pytest.raises(HttpError, match="HTTP 404"):
            await second.read()
    finally:
        await first.close()
        await second.close()
        await exporters.stop()


def test_the_demo_with_64_nodes_is_a_site_without_errors() -> None:
    text = with_exporters(DEMO.read_text(encoding="utf-8"), 64, 9400)
    site = compose(Path("demo.toml"), parse(Path("demo.toml"), text), text)
    assert len(site.every_node) == 65
    assert [n.source for n in site.node] == ["psutil"]
    assert site.twin is not None
    assert (site.twin.nodes, site.twin.exporters_port, site.twin.seed) == (64, 9400, 7)
    assert site.every_node[1].exporters == ("http://127.0.0.1:9400/host/gpu-01", "http://127.0.0.1:9400/gpu/gpu-01")
