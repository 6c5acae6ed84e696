"""What comes over HTTP: metrics pages of exporters, answers of Prometheus; and the files that name nodes and tokens."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any

import metrics_pages
from fuzzing import Parser, simple

from dispatch.model.equipment import Node
from dispatch.model.readings import Quality
from drivers.http.client import HttpClient, _authorization
from drivers.http.config import PrometheusServer
from drivers.http.errors import NotTrusted
from drivers.http.page import Access, Answer
from drivers.http.plain import PlainAnswer
from drivers.http.plain_link import BadAnswer, Link
from drivers.modbus.errors import DeviceError
from drivers.node_config import NodeDevice
from drivers.nodes.exporter_node import ExporterNode, Witnesses
from drivers.nodes.group import NodeGroup
from drivers.nodes.host_names import Identities
from drivers.nodes.metrics import pattern_of
from drivers.nodes.page_layout import PageLayout, Unlike
from drivers.nodes.prometheus_node import Prometheus, PrometheusNode
from drivers.notices import Notices
from drivers.twin.exporters import TwinExporters
from drivers.twin.load import TwinNode
from gateway.site.node_names import with_names

CONFIG = NodeDevice(id="gpu01", source="exporters")
ALONE = Witnesses(Notices())
SERVER = PrometheusServer(id="p", url="http://p:9090")
REPLY = (
    b'{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"DCGM_FI_DEV_POWER_USAGE",'
    b'"instance":"gpu01:9400","gpu":"0","UUID":"GPU-a"},"values":[[1435781430.781,"395"],[1435781460.781,"400"]]}]}}'
)


class Served:
    """In place of a fetcher: always the same answer."""

    def __init__(self, body: bytes) -> None:
        self.client, self.url, self.where, self.body = HttpClient(), "http://gpu01/metrics", "gpu01 at url", body

    async def get(self, query: Any = ()) -> Answer:
        return Answer(self.body, "text/plain", 1435781470.0)

    def failed(self, why: str) -> None:
        """Nothing is left alone here."""


def is_possible(node: Node) -> None:
    """What is shown of a node are numbers that can be."""
    for reading in (node.w, *(power.w for power in node.powers), *(gpu.w for gpu in node.gpus)):
        assert reading.value is None or 0 <= reading.value < 1e6
        assert reading.quality is Quality.MISSING or (reading.age_s is not None and math.isfinite(reading.age_s))
        assert reading.age_s is None or reading.age_s >= 0
    assert len(node.gpus) <= 64
    assert len(node.note) <= 240


async def read_twice(driver: ExporterNode | PrometheusNode) -> None:
    try:
        for _ in range(2):
            is_possible(await driver.read())
    finally:
        await driver.close()


def page(data: bytes, _: Path) -> None:
    async def fed() -> None:
        await read_twice(ExporterNode(CONFIG, [Served(data)], Identities(), ALONE))  # type: ignore[list-item]

    asyncio.run(fed())


def layout(data: bytes, _: Path) -> None:
    """What a layout gives of its page, and of the one without its last bytes, is what the pattern finds there."""
    pattern = pattern_of("")
    made = PageLayout(data, pattern, pattern.samples(data.decode(errors="replace")))
    for page in (data, data[:-3] + b"\n", data.replace(b"1", b"23")):
        if (values := made.values(page)) is not None:
            assert made.samples(values) == pattern.samples(page.decode(errors="replace"))


def reply(data: bytes, _: Path) -> None:
    async def fed() -> None:
        server = Prometheus(SERVER, Served(data))  # type: ignore[arg-type]
        await read_twice(PrometheusNode(CONFIG, server, Identities(), ALONE))

    asyncio.run(fed())


def plain_answer(data: bytes, _: Path) -> None:
    async def fed() -> None:
        link = Link()
        link.get_buffer(-1)[: len(data)] = data
        link.buffer_updated(len(data))
        link.eof_received()
        answer = PlainAnswer(link, await link.until(b"\r\n\r\n", 4096))
        async for piece in answer.iter_chunked(512):
            assert 0 < len(piece) <= 512

    asyncio.run(fed())


def token(data: bytes, directory: Path) -> None:
    file = directory / "token"
    file.write_bytes(data)
    file.chmod(0o600)
    (value,) = _authorization("n", Access(authorization=file)).values()
    assert value.isprintable()


def names(data: bytes, directory: Path) -> None:
    (directory / "nodes.txt").write_bytes(data)
    (group,), errors = with_names([NodeGroup(source="exporters", names_file="nodes.txt")], directory / "site.toml")
    assert not errors
    assert len({name.casefold() for name in group.names}) == len(group.names) <= 1000


def pages() -> list[bytes]:
    return [
        metrics_pages.dcgm("gpu01", [400.0, 3.5]).encode(),
        (metrics_pages.dcgm_mig("gpu01", 212.0) + metrics_pages.dcgm_active("gpu01", (0.5, 1), ("7", "a/b"))).encode(),
        metrics_pages.dcgm_time_slices("gpu01", 400.0, {"a/x": 60.0, "a/y": 15.0}, each=True).encode(),
        metrics_pages.cgroup_exporter({"12": 3.5}).encode(),
        metrics_pages.slurm_job_exporter({"12": 3.5}).encode(),
        metrics_pages.cadvisor({"physics/train-0": 3.5}).encode(),
        metrics_pages.node_exporter("gpu01", meter_w=900.0).encode(),
        metrics_pages.nvidia_smi([28.07]).encode(),
        metrics_pages.amd("gpu01", [748.0], "amd_").encode(),
    ]


def asked_of_the_twin(data: bytes, _: Path) -> None:
    answer = TwinExporters([TwinNode(8)])._answer(data)
    assert answer.startswith((b"HTTP/1.1 200 OK", b"HTTP/1.1 404 Not Found"))


PARSERS = (
    Parser(
        "answer of HTTP/1.1",
        ("drivers.http.plain:PlainAnswer.__init__",),
        lambda: [
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\na 1\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;x=1\r\na 1\n\r\n0\r\nEnd: 1\r\n\r\n",
            b"HTTP/1.0 503 Busy\r\n\r\nlater",
        ],
        simple(plain_answer),
        errors=(BadAnswer, ConnectionError),
        share=0.3,
    ),
    Parser(
        "request to the twin's exporters",
        ("drivers.twin.exporters:TwinExporters._answer",),
        lambda: [b"GET /gpu/gpu-01 HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /host/n1?collect[]=cpu HTTP/1.1\r\n\r\n"],
        simple(asked_of_the_twin),
        share=0.3,
    ),
    Parser(
        "metrics page",
        ("drivers.nodes.exporter_node:_Page.read", "drivers.nodes.exporter_node:_Page._found"),
        pages,
        simple(page),
        errors=(DeviceError,),
        share=0.3,
    ),
    Parser(
        "layout of a metrics page",
        ("drivers.nodes.page_layout:_beginning",),
        pages,
        simple(layout),
        errors=(Unlike,),
        share=0.3,
    ),
    Parser(
        "answer of Prometheus",
        ("drivers.nodes.prometheus_node:Prometheus._query",),
        lambda: [REPLY, b'{"status":"error","errorType":"bad_data","error":"no"}'],
        simple(reply),
        errors=(DeviceError,),
        tree="json",
        share=0.3,
    ),
    Parser(
        "authorization file",
        ("drivers.http.secret_file:first_line",),
        lambda: [b"Bearer abc\n", b"Basic dTpw"],
        simple(token),
        errors=(NotTrusted,),
        share=0.3,
    ),
    Parser(
        "names of nodes",
        ("gateway.site.node_names:_names_of_file",),
        lambda: [b"gpu[001-064,070]  # rack 1\nlogin1\n"],
        simple(names),
        share=0.3,
    ),
)
