"""The page of metrics, judged by Prometheus' own parser, and its server under requests that are slow, long or many."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families
from published import PUBLISHED, Events
from waiting import until

from dispatch.model.equipment import Meter, Node
from dispatch.model.readings import Quality, Reading, reading
from gateway.outputs import metrics_server
from gateway.outputs.figures import QUANTITIES
from gateway.outputs.metrics_page import name_of, page
from gateway.outputs.metrics_server import MOST_CONNECTIONS, MetricsServer, status_of
from gateway.outputs.running import LatestTick, MetricsPage
from gateway.outputs.trouble import OutputTrouble
from gateway.site.output_sections import MetricsConfig


def samples(text: str) -> dict[tuple[str, str], float]:
    """By name and device."""
    return {
        (sample.name, sample.labels.get("device", "") + sample.labels.get("phase", "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_page_is_read_by_prometheus_own_parser_in_base_units() -> None:
    found = samples(page(PUBLISHED, "Hall 1", "9.9", 0.1, 256))
    assert found["skerry_grid_power_watts", "grid"] == 21_400.0
    assert found["skerry_grid_import_joules_total", "grid"] == 3_600_000.0  # 1000 Wh
    assert found["skerry_battery_soc_ratio", "bat1"] == pytest.approx(0.543)
    assert found["skerry_grid_voltage_volts", "gridL2"] == 231.0
    assert found["skerry_pcs_setpoint_watts", "pcs1"] == 12_000.0
    assert found["skerry_import_price_euros_per_kilowatt_hour", ""] == 0.182


def test_a_stale_or_missing_reading_is_left_out_and_never_zero() -> None:
    text = page(PUBLISHED, "Hall", "1", 0.0, 256)
    assert "pv1" not in text  # its reading is stale
    assert "skerry_load_power_watts" not in text  # the balance needs it
    lost = msgspec.structs.replace(PUBLISHED.snapshot, grid=Meter("grid"))
    assert "skerry_grid" not in page(msgspec.structs.replace(PUBLISHED, snapshot=lost), "Hall", "1", 0.0, 256)


def test_ages_count_from_the_reading_until_now() -> None:
    old = Reading(5.0, 2.0, Quality.GOOD)
    snapshot = msgspec.structs.replace(PUBLISHED.snapshot, grid=Meter("grid", w=old))
    text = page(msgspec.structs.replace(PUBLISHED, snapshot=snapshot), "Hall", "1", 0.5, 256)
    assert 'skerry_reading_age_seconds{site="Hall",device="grid",reading="grid_power_w"} 2.5' in text


def test_of_a_tick_long_ago_only_its_age_is_told() -> None:
    names = {name for name, _ in samples(page(PUBLISHED, "Hall", "1", 60.0, 256))}
    assert names == {"skerry_info", "skerry_tick_age_seconds"}


def test_nodes_are_bounded_and_those_left_out_are_counted() -> None:
    nodes = tuple(Node(f"n{n}", w=reading(100.0 + n)) for n in range(5))
    published = msgspec.structs.replace(PUBLISHED, snapshot=msgspec.structs.replace(PUBLISHED.snapshot, nodes=nodes))
    found = samples(page(published, "Hall", "1", 0.0, 2))
    assert [device for name, device in found if name == "skerry_node_power_watts"] == ["n0", "n1"]
    assert found["skerry_nodes_left_out", ""] == 3.0


def test_names_follow_prometheus_rules_and_are_one_family_each() -> None:
    names = [name_of(quantity)[0] for quantity in QUANTITIES]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"skerry_[a-z]+(_[a-z]+)*", name) for name in names)
    text = page(PUBLISHED, 'A "site" \\ of\nmine', "1", 0.0, 256)
    declared = re.findall(r"^# TYPE (\S+)", text, re.M)
    assert len(set(declared)) == len(declared)
    (info,) = next(f for f in text_string_to_metric_families(text) if f.name == "skerry_info").samples
    assert info.labels["site"] == 'A "site" \\ of\nmine'


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        (b"GET /metrics?x=1 HTTP/1.0\r\n\r\n", 200),
        (b"HEAD /metrics HTTP/1.1\r\n\r\n", 200),
        (b"GET / HTTP/1.1\r\n\r\n", 404),
        (b"POST /metrics HTTP/1.1\r\n\r\n", 405),
        (b"\x16\x03\x01\r\n\r\n", 400),
        (b"GET /metrics HTTP/2\r\n\r\n", 400),
    ],
)
def test_only_the_page_is_served(head: bytes, status: int) -> None:
    assert status_of(head) == status


@pytest.fixture
async def server() -> AsyncIterator[MetricsServer]:
    made = MetricsServer(("127.0.0.1", 0), lambda: "x 1\n", OutputTrouble(Events()))
    task = asyncio.create_task(made.run())
    await until(lambda: made.port)
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def asked(server: MetricsServer, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    return answer


async def test_the_page_comes_whole_and_a_head_without_it(server: MetricsServer) -> None:
    answer = await asked(server, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n")
    assert b"text/plain; version=0.0.4" in answer
    assert answer.endswith(b"\r\n\r\nx 1\n")
    assert (await asked(server, b"HEAD /metrics HTTP/1.1\r\n\r\n")).endswith(b"\r\n\r\n")
    assert b"405" in await asked(server, b"DELETE /metrics HTTP/1.1\r\n\r\n")


async def test_long_slow_and_many_requests_are_bounded(server: MetricsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert b"431" in await asked(server, b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n")
    held = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(MOST_CONNECTIONS)]
    await until(lambda: server._open == MOST_CONNECTIONS)
    assert b"503" in await asked(server, b"")
    for _, writer in held:
        writer.close()
    await until(lambda: server._open == 0)
    monkeypatch.setattr(metrics_server, "DEADLINE_S", 0.05)
    assert await asked(server, b"GET /metr") == b""  # ended without an answer


async def test_an_address_that_is_taken_is_told_once_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_server, "AGAIN_S", 0.01)
    taken = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
    port, events = taken.sockets[0].getsockname()[1], Events()
    trouble = OutputTrouble(events)
    made = MetricsServer(("127.0.0.1", port), lambda: None, trouble)
    task = asyncio.create_task(made.run())
    await until(lambda: trouble.failures.get("metrics"))
    taken.close()
    await taken.wait_closed()
    await until(lambda: made.port)
    assert [subject for subject, _ in events.told] == ["metrics", "metrics"]
    assert "503" in (await asked(made, b"GET /metrics HTTP/1.1\r\n\r\n")).decode()  # no tick yet
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


class Ticking:
    """A loop and a clock that stand."""

    def __init__(self) -> None:
        self.published, self.now_s, self.speed = None, PUBLISHED.snapshot.mono_s, 10.0

    def mono_s(self) -> float:
        return self.now_s

    def utc_s(self) -> float:
        return self.now_s


def test_the_page_is_made_once_a_tick_and_ages_are_machine_time() -> None:
    loop = Ticking()
    made = MetricsPage(MetricsConfig(), "Hall", LatestTick(loop, loop))  # type: ignore[arg-type]
    assert made.now() is None
    loop.published = PUBLISHED  # type: ignore[assignment]
    first = made.now()
    assert made.now() is first
    loop.now_s += 600.0  # a minute on a twin that runs ten times as fast
    late = made.now()
    assert late is not None
    assert 'skerry_tick_age_seconds{site="Hall"} 60.0' in late
    assert "skerry_grid" not in late
