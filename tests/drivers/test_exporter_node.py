"""Nodes read from real pages over loopback, and from a Prometheus: identity, partial failure, ages, shared queries."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import metrics_pages
import pytest
from fake_upsd import FakeUpsd
from http_server import HttpServer, response
from metrics_pages import dcgm, node_exporter

from dispatch.model.equipment import Gpu, Node
from drivers.config import IoConfig
from drivers.devices import Driver, make_drivers
from drivers.http.config import PrometheusServer
from drivers.http.errors import HttpError
from drivers.modbus.errors import ConnectionLost, DeviceError, WrongDevice
from drivers.node_config import NodeDevice
from drivers.nodes.gpu_slots import GpuSlots
from drivers.nodes.host_names import Identities
from drivers.nodes.known_gpus import MOST_SEEN
from drivers.nodes.metrics import WANTED
from drivers.nodes.metrics_text import MetricsPattern
from drivers.nodes.observed import ObservedNodes
from drivers.nut.config import PduDevice

Make = Callable[..., list[Driver]]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    """Makes drivers, closed at the end."""
    made: list[Driver] = []

    def drivers(*nodes: NodeDevice, **others: Any) -> list[Driver]:
        beside = Path("/nowhere/site.toml")
        found = make_drivers([], [], [], [], nodes, IoConfig(), lambda *_: ("", 0, 0), beside=beside, **others)
        made.extend(found)
        return found

    yield drivers
    for driver in made:
        await driver.close()


def node(id: str, *urls: str, **keys: Any) -> NodeDevice:
    return NodeDevice(id=id, source="exporters", exporters=urls, **keys)


async def read(driver: Driver) -> Node:
    found = await driver.read()
    assert isinstance(found, Node)
    return found


async def test_a_node_of_two_pages(make: Make) -> None:
    pages = {"/metrics": node_exporter("gpu01", idle_s=0.0), "/gpu": dcgm("gpu01", [400.0] * 8)}
    async with HttpServer(pages) as server:  # type: ignore[arg-type]
        (driver,) = make(node("gpu01", server.url(), server.url("/gpu")))
        found = await read(driver)
        assert len(found.gpus) == 8
        assert found.gpus_busy.good == 8.0
        assert found.memory_pct.good == 50.0
        await read(driver)
        asked = [target for target in server.asked if target.startswith("/metrics")]
        assert asked[0] == "/metrics"
        assert set(parse_qs(urlsplit(asked[1]).query)["collect[]"]) == {"cpu", "hwmon", "meminfo", "rapl", "uname"}


async def test_an_exporter_of_jobs_answers_though_no_job_runs(make: Make) -> None:
    async with HttpServer({"/jobs": metrics_pages.slurm_job_exporter({}), "/gpu": dcgm("gpu01", [400.0])}) as server:
        (driver,) = make(node("gpu01", server.url("/gpu"), server.url("/jobs")))
        found = await read(driver)
        assert (found.note, found.job_use) == ("", None)
        server.pages["/jobs"] = metrics_pages.slurm_job_exporter({"12": 4.0})
        assert (await read(driver)).note == ""


async def test_a_page_with_the_same_bytes_is_not_taken_apart_again_and_counts_as_read(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []
    real = MetricsPattern.samples

    def counted(self: MetricsPattern, text: str) -> Any:
        taken.append(len(text))
        return real(self, text)

    monkeypatch.setattr(MetricsPattern, "samples", counted)
    async with HttpServer({"/gpu": dcgm("gpu01", [400.0] * 8)}) as server:
        (driver,) = make(node("gpu01", server.url("/gpu")))
        first = await read(driver)
        once = len(taken)
        again = await read(driver)
        assert len(taken) == once
        assert [g.w.value for g in again.gpus] == [g.w.value for g in first.gpus] == [400.0] * 8
        assert max(g.w.age_s or 0.0 for g in again.gpus) < 30.0
        server.pages["/gpu"] = dcgm("gpu01", [300.0] * 8)
        assert [g.w.value for g in (await read(driver)).gpus] == [300.0] * 8
        assert len(taken) > once
        twice = len(taken)
        server.pages["/gpu"] = dcgm("gpu01", [200.0] * 8)
        assert [g.w.value for g in (await read(driver)).gpus] == [200.0] * 8
        assert len(taken) == twice  # only its values are other ones
        server.pages["/gpu"] = dcgm("gpu01", [100.0] * 9)
        assert [g.w.value for g in (await read(driver)).gpus] == [100.0] * 9
        assert len(taken) > twice


@pytest.mark.parametrize(("headers", "w"), [(b"", None), (b"Content-Length: %d\r\n", 400.0)])
async def test_a_last_line_that_may_be_cut_is_not_read(make: Make, headers: bytes, w: float | None) -> None:
    """Where only the end of the connection ends a page, nobody knows whether 400 was to be 4000."""
    page = dcgm("gpu01", [400.0]).partition("DCGM_FI_DEV_POWER_USAGE{")
    cut = f"{page[0]}{page[1]}{page[2].partition(chr(10))[0]}".encode()

    async def sent(target: str, writer: asyncio.StreamWriter) -> None:
        length = headers % len(cut) if headers else b""
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n" + length + b"\r\n" + cut)
        await writer.drain()
        writer.close()

    async with HttpServer({"/gpu": sent}) as server:
        (driver,) = make(node("gpu01", server.url("/gpu")))
        (gpu,) = (await read(driver)).gpus
        assert gpu.w.value == w


async def test_a_node_that_names_other_gpus_each_time_is_not_remembered_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("drivers.nodes.host_names.KEPT", 100)
    slots, identities = GpuSlots(0), Identities()
    identities.claim("other", ["GPU kept"], 1e6)
    for n in range(300):
        count = 64 if n == 0 else 63  # never as many again as are expected
        uuids = [f"GPU-{n}-{index}" for index in range(count)]
        gpus, _, _ = slots.see(tuple(Gpu(index, "H100", uuid=uuid) for index, uuid in enumerate(uuids)))
        assert len(gpus) == 64
        assert identities.claim("n1", uuids, -1.0) == ""  # lapsed at once
    assert len(slots._known.record.seen) <= MOST_SEEN
    assert len(identities._owners) <= 200
    assert "which is node other" in identities.claim("n1", ["GPU kept"], 30.0)


async def test_a_node_exporter_without_a_collector_is_asked_for_all(make: Make) -> None:
    async def page(target: str, writer: asyncio.StreamWriter) -> None:
        refused = response(b"missing collector: rapl", "400 Bad Request")
        writer.write(refused if "?" in target else response(node_exporter("gpu01").encode()))

    async with HttpServer({"/metrics": page}) as server:
        (driver,) = make(node("gpu01", server.url()))
        for _ in range(3):
            assert (await read(driver)).memory_pct.good == 50.0
        assert ["?" in target for target in server.asked] == [False, True, False, False]


async def test_one_page_that_fails_is_named_and_the_other_read(make: Make) -> None:
    async with HttpServer({"/gpu": dcgm("gpu01", [400.0])}) as server:
        (driver,) = make(node("gpu01", server.url(), server.url("/gpu")))
        found = await read(driver)
        assert (len(found.gpus), found.w.value) == (1, None)  # the host may draw anything
        assert f"gpu01 at {server.url()}: answers HTTP 404" in found.note


async def test_a_page_of_gpus_that_was_never_read_leaves_the_power_missing(make: Make) -> None:
    """The host's counters alone would be a part of the node's power."""
    joules = iter((0.0, 1000.0, 2000.0))

    async def host(target: str, writer: asyncio.StreamWriter) -> None:
        writer.write(response(node_exporter("gpu01", joules=(next(joules),), idle_s=0.0).encode()))

    async with HttpServer({"/metrics": host}) as server:
        (driver,) = make(node("gpu01", server.url(), server.url("/gpu")))
        await read(driver)
        await asyncio.sleep(0.6)  # longer than the least time between two readings of a counter
        found = await read(driver)
        assert found.w.value is None
        assert found.powers[0].source == "RAPL"


def counting() -> Callable[[str, asyncio.StreamWriter], Awaitable[None]]:
    """The page of a host whose counters count 1 kJ at each reading."""
    joules = itertools.count(0.0, 1000.0)

    async def host(target: str, writer: asyncio.StreamWriter) -> None:
        writer.write(response(node_exporter("", joules=(next(joules),), idle_s=0.0).encode()))

    return host


async def test_a_page_without_power_that_never_answers_keeps_no_power_back(make: Make) -> None:
    """Host and GPUs are told by the others; or at other nodes the page of that port and path tells of jobs alone."""
    jobs = metrics_pages.cgroup_exporter({"7": 3.0})
    here = {"/metrics": counting(), "/gpu": dcgm("", [400.0])}
    async with HttpServer(here) as gpu01, HttpServer({"/metrics": counting()}) as cpu01:  # type: ignore[arg-type]
        with_gpu = node("gpu01", gpu01.url(), gpu01.url("/gpu"), gpu01.url("/jobs"))
        alone = node("cpu01", cpu01.url(), cpu01.url("/of/cpu01/jobs"))
        another = node("cpu02", cpu01.url("/of/cpu02/jobs"))
        drivers = make(with_gpu, alone, another)
        for driver in drivers[:2]:
            await driver.read()
        await asyncio.sleep(0.6)
        found = [await read(driver) for driver in drivers[:2]]
        assert found[0].w.good is not None
        assert "/jobs: answers HTTP 404" in found[0].note
        assert found[1].w.value is None, "it could be the page of its GPUs"
        cpu01.pages["/of/cpu02/jobs"] = jobs
        await read(drivers[2])
        del cpu01.pages["/of/cpu02/jobs"]
        await asyncio.sleep(0.6)
        found[1] = await read(drivers[1])
        assert found[1].w.good is not None


async def test_none_of_its_pages_is_an_error_and_then_left_alone(make: Make) -> None:
    async with HttpServer({"/metrics": "<html>a login page</html>"}) as server:
        (driver,) = make(node("gpu01", server.url()))
        with pytest.raises(
            HttpError, match=r"holds none of the metrics of node_exporter.*it begins with '<html>a login"
        ):
            await driver.read()
        with pytest.raises(ConnectionLost, match="next try in 2 s; check the address, and which metrics"):
            await driver.read()
        assert len(server.asked) == 1


async def test_another_exporter_at_the_same_address_is_found(make: Make) -> None:
    async with HttpServer({"/gpu": dcgm("gpu01", [400.0])}) as server:
        (driver,) = make(node("gpu01", server.url("/gpu")))
        await read(driver)
        server.pages["/gpu"] = metrics_pages.nvidia_smi([250.0])
        assert (await read(driver)).gpus[0].w.good == 250.0


async def test_the_wrong_machine_is_refused_and_a_renamed_one_is_told(make: Make) -> None:
    async with HttpServer({"/metrics": node_exporter("gpu02.cluster.example"), "/b": node_exporter("b")}) as server:
        strict, free = make(node("gpu01", server.url(), hostname="gpu01"), node("b", server.url("/b")))
        with pytest.raises(WrongDevice, match="answers as gpu02, expected gpu01"):
            await strict.read()
        await read(free)
        server.pages["/b"] = node_exporter("c")
        await read(free)
        assert [n.text for n in free.notices.take()] == ["answers as c now, as b before: renamed or replaced"]  # type: ignore[attr-defined]


async def test_one_machine_is_never_two_nodes(make: Make) -> None:
    """By its host name and by its GPUs; machines that all call themselves localhost are not one."""
    pages = {
        "/a": node_exporter("same"), "/b": node_exporter("same"),
        "/c": dcgm("x", [400.0]), "/d": dcgm("x", [400.0]),
        "/e": node_exporter("localhost"), "/f": node_exporter("localhost"),
    }  # fmt: skip
    async with HttpServer(pages) as server:  # type: ignore[arg-type]
        a, b, c, d, e, f = make(*(node(path[1:], server.url(path)) for path in pages))
        for first, second, words in ((a, b, "host same"), (c, d, "GPU GPU-")):
            await read(first)
            with pytest.raises(
                WrongDevice, match=f"answers as {words}.*which is node {first.id}: nothing of it is used"
            ):
                await second.read()
        await read(e)
        await read(f)


async def test_a_node_that_is_no_longer_listed_gives_way_to_the_machine_under_its_new_name() -> None:
    """Renamed in a list that changes; the old name may still lead to the machine."""
    async with HttpServer({"/": node_exporter("gpu065")}) as server:
        made = ObservedNodes(Path(), {}, ())
        old, new = made.driver(node("gpu003", server.url("/"))), made.driver(node("gpu065", server.url("/")))
        await read(old)
        with pytest.raises(WrongDevice, match="which is node gpu003"):
            await new.read()
        made.give_way(("gpu003",))
        await read(new)
        await read(new)
        assert [n.text for n in new.notices.take()] == [
            "is the machine that was gpu003, which is no longer listed: renamed"
        ]
        with pytest.raises(WrongDevice, match="which is node gpu065"):
            await old.read()
        await old.close()
        await new.close()


async def test_a_gpu_that_moves_to_another_node_counts_there_once_its_former_node_is_no_longer_said_to_have_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pages = {"/a": dcgm("a", [100.0, 200.0]), "/b": dcgm("b", [300.0])}
    async with HttpServer(pages) as server:  # type: ignore[arg-type]
        made = ObservedNodes(Path(), {}, ())
        a, b = made.driver(node("a", server.url("/a"))), made.driver(node("b", server.url("/b")))
        await read(a)
        await read(b)
        moved = metrics_pages.uuid_of("a", 1)
        server.pages["/a"] = dcgm("a", [100.0])
        server.pages["/b"] = dcgm("b", [300.0]).replace(metrics_pages.uuid_of("b", 0), moved)
        assert (await read(a)).w.good is None  # a GPU is missing: no part of the sum is shown as the node's power
        with pytest.raises(WrongDevice, match=f"GPU {moved}, which is node a"):
            await b.read()
        loop = asyncio.get_running_loop()
        real_s = loop.time
        monkeypatch.setattr(loop, "time", lambda: real_s() + a.stale_after_s)
        assert (await read(b)).gpus[0].uuid == moved
        assert [n.text for n in b.notices.take()] == [
            f"GPUs: GPU 0 ({moved[:12]}) is new in place of {metrics_pages.uuid_of('b', 0)[:12]}"
        ]
        await a.close()
        await b.close()


async def test_outlets_go_before_counters_and_a_lost_pdu_does_not_cost_the_gpus(make: Make) -> None:
    upsd = FakeUpsd(pdu={"outlet.1.realpower": "310", "outlet.2.realpower": "455.5"})
    await upsd.start()
    pdus = [PduDevice(id="p", url=f"nut://127.0.0.1:{upsd.port}/pdu")]
    async with HttpServer({"/gpu": dcgm("gpu01", [200.0])}) as server:
        (driver,) = make(node("gpu01", server.url("/gpu"), outlets=("p:1", "p:2")), pdus=pdus)
        found = await read(driver)
        assert (found.w.good, found.source) == (765.5, "2 outlets")
        assert found.powers[1].w.good == 260.0
        await upsd.stop()
        await asyncio.sleep(0.51)  # longer than nodes share an answer of the PDU
        found = await read(driver)
        assert found.w.good == 260.0
        assert len(found.gpus) == 1


# ── Prometheus ──────────────────────────────────────────────────────────────────────────────────────────────────────


class FakePrometheus:
    """Answers /api/v1/query for range selectors as Prometheus does: from pages, scraped at times of its own clock."""

    def __init__(self, pages: dict[str, list[tuple[float, str]]]) -> None:
        """`pages`: by instance each scrape: its time, the page."""
        self.pages, self.now_s, self.queries = pages, 1_000_000.0, list[str]()
        self.answer: bytes | None = None

    async def __call__(self, target: str, writer: asyncio.StreamWriter) -> None:
        query = parse_qs(urlsplit(target).query)["query"][0]
        self.queries.append(query)
        date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(self.now_s))
        body = self.answer or json.dumps({"status": "success", "data": self._data(query)}).encode()
        writer.write(response(body, kind="application/json", Date=date))

    def _data(self, query: str) -> dict[str, Any]:
        if not query.startswith("{__name__"):
            idle = [{"metric": {"instance": i}, "value": [self.now_s, "40"]} for i in self.pages if "9100" in i]
            return {"resultType": "vector", "result": idle}
        series: dict[str, tuple[dict[str, str], list[list[Any]]]] = {}
        for instance, scrapes in self.pages.items():
            for at_s, page in scrapes:
                for s in MetricsPattern(WANTED).samples(page):
                    metric = {"__name__": s.name, "instance": instance, "job": "x", **s.labels}
                    series.setdefault(str(metric), (metric, []))[1].append([at_s, f"{s.value:g}"])
        return {"resultType": "matrix", "result": [{"metric": m, "values": v} for m, v in series.values()]}


async def test_nodes_of_a_prometheus_share_a_query_and_have_the_age_of_their_samples(make: Make) -> None:
    prometheus = FakePrometheus(
        {
            "gpu01.cluster.example:9400": [
                (999_960.0, dcgm("gpu01", [400.0] * 2)),
                (999_990.0, dcgm("gpu01", [410.0] * 2)),
            ],
            "gpu01.cluster.example:9100": [(999_975.0, node_exporter("gpu01", joules=(0.0,)))],
            "gpu02:9100": [(999_980.0, node_exporter("gpu02"))],
        }
    )
    async with HttpServer({"/api/v1/query": prometheus}) as server:
        config = PrometheusServer(id="prom", url=server.url("/"))
        nodes = [NodeDevice(id=id, source="prometheus", prometheus="prom") for id in ("gpu01", "gpu02", "gpu03")]
        drivers = make(*nodes, prometheus=[config])
        gpu01, gpu02 = await read(drivers[0]), await read(drivers[1])
        assert len(prometheus.queries) == 2  # the samples of all three, and how idle their CPUs are
        assert 'instance=~"(?:gpu01|gpu02|gpu03)(?:[.:].*)?"' in prometheus.queries[0]
        assert gpu01.gpus[0].w.good == 410.0
        assert gpu01.gpus[0].w.age_s == pytest.approx(10.0, abs=1.0)
        assert gpu01.cpu_pct.value == 60.0
        assert gpu01.powers[-1].period_s == 30.0
        assert gpu02.memory_pct.age_s == pytest.approx(20.0, abs=1.0)
        with pytest.raises(
            WrongDevice, match="has no sample of it in its window: no value of the label begins with 'gpu03'"
        ):
            await drivers[2].read()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            b'{"status":"error","errorType":"bad_data","error":"unknown function"}',
            "refuses the query: unknown function",
        ),
        (
            b'{"status":"success","data":{"resultType":"scalar","result":[1,"2"]}}',
            "its answer is not one of Prometheus",
        ),
        (b"[]", "its answer is not one of Prometheus"),
        (b"\xff\xfe", "its answer is not one of Prometheus"),
    ],
)
async def test_an_answer_that_is_none_is_an_error_of_all_its_nodes(make: Make, answer: bytes, words: str) -> None:
    prometheus = FakePrometheus({})
    prometheus.answer = answer
    async with HttpServer({"/api/v1/query": prometheus}) as server:
        config = PrometheusServer(id="prom", url=server.url(""))
        nodes = [NodeDevice(id=id, source="prometheus", prometheus="prom") for id in ("a", "b")]
        for driver in make(*nodes, prometheus=[config]):
            with pytest.raises(DeviceError) as raised:
                await driver.read()
            assert words in str(raised.value)
        assert len(server.asked) == 1
