"""A UPS and a node on a PDU in a gateway: read once a second, in the snapshot, lost with an alarm that says why."""

from __future__ import annotations

import asyncio
from copy import deepcopy
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fake_upsd import PDU, UPS, FakeUpsd
from small_gateway import SITE, Devices
from test_slow_devices import Events
from waiting import until

from dispatch.alarms.conditions import conditions
from dispatch.alarms.facts import Facts
from dispatch.model.snapshot import Snapshot
from dispatch.wording.catalogue import words
from drivers.clock import SystemClock
from drivers.devices import make_drivers
from drivers.modbus.address import Address
from drivers.nodes.known_gpus import KnownGpus
from gateway.device_io import DeviceIo
from gateway.site.loader import compose


async def test_a_ups_and_a_node_on_two_feeds(monkeypatch: pytest.MonkeyPatch) -> None:
    upsd = FakeUpsd(su700=dict(UPS), a=dict(PDU), b=dict(PDU))
    await upsd.start()
    raw: dict[str, Any] = deepcopy(SITE) | {
        "ups": [{"id": "ups1", "url": upsd.url("su700"), "deadline_s": 10}],
        "pdu": [{"id": name, "url": upsd.url(name), "deadline_s": 10} for name in "ab"],
        "node": [{"id": "gpu-01", "source": "nut", "outlets": ["a:1", "b:3"]}],
    }
    site = compose(Path("site.toml"), raw)
    drivers = make_drivers(
        [], [], [], [], site.node, site.io, lambda *a: (Address("tcp", ""), 0), ups=site.ups, pdus=site.pdu
    )
    events = Events()
    grid = [d for d in Devices().drivers() if d.kind != "node"]
    io = DeviceIo(site, SystemClock(), [*grid, *drivers], events, KnownGpus())
    await io.first_contact()
    first = io.snapshot(1)
    assert (first.ups[0].charge_pct.good, first.nodes[0].w.good) == (97.0, 765.5)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(first), type=Snapshot).ups == first.ups
    upsd.devices |= {"su700": "DATA-STALE", "b": "DRIVER-NOT-CONNECTED"}
    loop = asyncio.get_running_loop()
    real_s = loop.time
    monkeypatch.setattr(loop, "time", lambda: real_s() + 60.0)  # their readings are stale by then
    polling = asyncio.create_task(dict(io.background())["node polling"]())
    await until(lambda: all("upsd answers" in d.error for d in io.snapshot(2).devices if d.kind in ("ups", "node")))
    lost = io.snapshot(3)
    assert (lost.ups[0].says("OB"), lost.nodes[0].w.good) == (None, None)
    found = conditions(lost, None, Facts(config=site.dispatch))
    assert "upsd answers DATA-STALE: its driver gets no data from the device" in words(found["device-lost:ups1"].detail)
    assert "upsd answers DRIVER-NOT-CONNECTED" in words(found["device-lost:gpu-01"].detail)
    assert found["ups-on-battery:ups1"].active is None
    polling.cancel()
    await asyncio.wait({polling})
    await io.close()
    await upsd.stop()
