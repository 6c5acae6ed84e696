"""Limits of PV in a gateway: decided, sent to inverters that may be limited, lifted at the end."""

from __future__ import annotations

import asyncio
from copy import deepcopy
from pathlib import Path
from typing import Any

import msgspec
from small_gateway import SITE, Devices, SmallDevice
from test_slow_devices import Events
from waiting import until

from dispatch.control.controller import Controller
from dispatch.model.decision import PvLimit
from dispatch.model.equipment import Pv
from dispatch.model.readings import reading
from dispatch.model.reasons import plain
from drivers.clock import SystemClock
from drivers.modbus.errors import ConnectionLost
from drivers.nodes.known_gpus import KnownGpus
from drivers.setpoint import CommandResult
from gateway.device_io import DeviceIo
from gateway.site.loader import compose


class Inverter(SmallDevice):
    """Takes limits as the driver does, unless it is unplugged."""

    limits: list[float | None]

    async def command(self, w: float | None, now_s: float) -> CommandResult:
        if self.id in self.site.offline:
            raise ConnectionLost(self.id, "unplugged")
        self.limits.append(w)
        return CommandResult("released") if w is None else CommandResult("changed", w=w, held=True)


async def test_limits_are_sent_and_lifted_at_the_end() -> None:
    pv = {"peak_w": 20_000, "url": "tcp://127.0.0.1:1"}
    raw: dict[str, Any] = deepcopy(SITE) | {
        "pv": [{"id": "pv1", "curtail": True, **pv}, {"id": "pv2", "unit": 2, **pv}]
    }
    site = compose(Path("site.toml"), raw)
    small, events = Devices(), Events()
    inverters = [Inverter(id, "pv", small, lambda id=id: Pv(id, w=reading(5_000.0))) for id in ("pv1", "pv2")]
    for inverter in inverters:
        inverter.limits = []
    io = DeviceIo(site, SystemClock(), [*small.drivers(), *inverters], events, KnownGpus())
    await io.first_contact()
    decision = Controller(site.dispatch).step(io.snapshot(1), None)
    assert decision.pv_limits == (), "the net load is not known yet"
    limits = tuple(PvLimit(id, 4_000.0, plain("test")) for id in ("pv1", "pv2"))
    sending = asyncio.create_task(dict(io.background())["limits of pv1"]())
    io.submit(msgspec.structs.replace(decision, pv_limits=limits), [])
    await until(lambda: io.snapshot(2).devices[-2].writes == 1)
    assert [inverter.limits for inverter in inverters] == [[4_000.0], []]
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    await io.lift_limits()
    assert inverters[0].limits == [4_000.0, None]
    assert "pv1 limit lifted" in events.texts
    small.offline.add("pv1")
    await io.lift_limits()
    assert any("limit NOT lifted, its own timer has to end it" in text for text in events.texts)
    await io.close()
