"""Nodes over the network in a gateway: read outside the tick, in the snapshot, lost with the reason."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import msgspec
import pytest
from http_server import HttpServer, response
from metrics_pages import dcgm, node_exporter
from node_readers import in_this_loop
from small_gateway import SITE, Devices
from test_slow_devices import Events
from waiting import LIMIT_S, until

from dispatch.alarms.conditions import conditions
from dispatch.alarms.facts import Facts
from dispatch.model.snapshot import Snapshot
from dispatch.wording.catalogue import words
from drivers.clock import SystemClock
from drivers.nodes.known_gpus import KnownGpus
from gateway.device_io import DeviceIo
from gateway.site.loader import compose


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.node_polling.ROUND_S", 0.1)
    monkeypatch.setattr("gateway.shown_nodes.ROUND_S", 0.1)


def io_of(raw: dict[str, Any], events: Events) -> tuple[DeviceIo, Any]:
    site = compose(Path("site.toml"), deepcopy(SITE) | raw)
    grid = [d for d in Devices().drivers() if d.kind != "node"]
    return DeviceIo(site, SystemClock(), grid, events, KnownGpus(), start_reader=in_this_loop), site


@contextlib.asynccontextmanager
async def reading(io: DeviceIo) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(work()) for name, work in io.background() if name in ("node reading", "ages of nodes")]
    assert len(tasks) == 2
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await io.close()


async def test_nodes_come_into_the_snapshot_and_are_lost_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = {f"/{name}": dcgm(name, [400.0] * 8) for name in ("gpu1", "gpu2")} | {"/own": node_exporter("own")}
    async with HttpServer(pages) as server:  # type: ignore[arg-type]
        raw = {
            "node": [{"id": "own", "source": "exporters", "exporters": [server.url("/own")], "period_s": 0.2}],
            "nodes": [
                {
                    "names": ["gpu[1-3]"],
                    "source": "exporters",
                    "exporters": [server.url("/") + "{name}"],
                    "period_s": 0.2,
                }
            ],
        }
        events = Events()
        io, site = io_of(raw, events)
        await io.first_contact()
        assert server.asked == []  # the first tick does not wait for them,
        assert not [d for d in io.snapshot(0).devices if d.kind == "node"]  # and calls none of them lost
        async with reading(io):
            await until(lambda: sum(d.reads > 0 for d in io.snapshot(1).devices if d.kind == "node") == 3)
            await until(lambda: sum(d.kind == "node" for d in io.snapshot(1).devices) == 4)
            snapshot = io.snapshot(2)
            assert [n.id for n in snapshot.nodes] == ["own", "gpu1", "gpu2", "gpu3"]
            assert [n.w.good for n in snapshot.nodes[1:]] == [3260.0, 3260.0, None]
            assert {d.id: d.online for d in snapshot.devices if d.kind == "node"} == {
                "own": True, "gpu1": True, "gpu2": True, "gpu3": False,
            }  # fmt: skip
            assert msgspec.msgpack.decode(msgspec.msgpack.encode(snapshot), type=Snapshot) == snapshot
            found = conditions(snapshot, None, Facts(config=site.dispatch))
            assert "answers HTTP 404" in words(found["device-lost:gpu3"].detail)

            del server.pages["/gpu1"]
            loop = asyncio.get_running_loop()
            real_s = loop.time
            monkeypatch.setattr(loop, "time", lambda: real_s() + 300.0)  # longer than what was read is used

            def lost() -> bool:
                (gpu1,) = (d for d in io.snapshot(3).devices if d.id == "gpu1")
                return io.snapshot(3).nodes[1].w.good is None and "answers HTTP 404" in gpu1.error

            await until(lost)


async def test_a_snapshot_has_the_same_objects_until_something_has_changed() -> None:
    async with HttpServer({"/own": node_exporter("own")}) as server:
        raw = {"node": [{"id": "own", "source": "exporters", "exporters": [server.url("/own")], "period_s": 60}]}
        io, _ = io_of(raw, Events())
        async with reading(io):
            await until(lambda: io.snapshot(1).nodes[0].memory_pct.value is not None)
            assert io.snapshot(2).nodes[0] is io.snapshot(3).nodes[0]


async def test_what_a_page_shows_is_in_a_snapshot_before_the_page_is_read_twice_more() -> None:
    """So a change is on a screen within two periods of a node, and a second for the rest of the way."""
    served, watts = 0, 400.0

    async def page(target: str, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        served += 1
        writer.write(response(dcgm("gpu1", [watts] * 8).encode()))

    async with HttpServer({"/gpu1": page}) as server:
        keys = {"source": "exporters", "exporters": [server.url("/gpu1")], "period_s": 0.3}
        io, _ = io_of({"node": [{"id": "gpu1", **keys}]}, Events())

        def shown() -> bool:
            return [gpu.w.good for gpu in io.snapshot(1).nodes[0].gpus] == [watts] * 8

        async with reading(io):
            for new in (400.0, 410.0, 400.0, 420.0):  # the first three readings are not like the one before
                watts, before = new, served
                await until(shown)
                assert served <= before + 2


async def test_a_node_that_hangs_does_not_hold_up_the_end(caplog: pytest.LogCaptureFixture) -> None:
    hangs = asyncio.Event()

    async def hang(target: str, writer: asyncio.StreamWriter) -> None:
        hangs.set()
        await asyncio.Event().wait()

    async with HttpServer({"/own": hang}) as server:
        keys = {"source": "exporters", "exporters": [server.url("/own")], "period_s": 0.2, "deadline_s": 10}
        io, _ = io_of({"node": [{"id": "own", **keys}]}, Events())
        async with reading(io):
            await asyncio.wait_for(hangs.wait(), LIMIT_S)
        assert "left" not in caplog.text


async def test_an_error_of_a_driver_and_what_it_has_to_tell_arrive_once() -> None:
    """A page is another host's from one reading to the next; a second node answers as the first."""
    async with HttpServer({"/a": node_exporter("one"), "/b": node_exporter("one")}) as server:
        nodes = [
            {"id": id, "source": "exporters", "exporters": [server.url(f"/{id}")], "period_s": 0.1} for id in ("a", "b")
        ]
        events = Events()
        io, _ = io_of({"node": nodes}, events)
        async with reading(io):
            await until(lambda: sum(d.reads > 0 for d in io.snapshot(1).devices) == 1)
            await until(
                lambda: any("b lost: b at" in text and "answers as host one, which" in text for text in events.texts)
            )
            server.pages |= {"/a": node_exporter("other")}
            told = "a answers as other now, as one before: renamed or replaced"
            await until(lambda: told in events.texts)
            reads = {d.id: d.reads for d in io.snapshot(2).devices}["a"]
            await until(lambda: {d.id: d.reads for d in io.snapshot(3).devices}["a"] > reads + 1)
            assert events.texts.count(told) == 1
