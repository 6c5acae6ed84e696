"""Sections of small sites for the twin's tests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from dispatch.config.schema import GridConfig
from drivers.config import BatteryDevice, MeterDevice, PcsDevice, PvDevice, SwitchDevice
from drivers.node_config import NodeDevice
from drivers.twin.announcement import Announcement
from drivers.twin.config import TwinConfig
from drivers.twin.physics import TwinSite
from drivers.twin.process import run_twin

TWIN = TwinConfig(seed=7, start_utc="2025-09-18T10:00:00Z", meter_delay_s=0.0, load_noise=0.0, host_node=False)
GRID = GridConfig(fuse_a=160, contracted_peak_w=36_000)
BATTERY = BatteryDevice(id="bat1", energy_kwh=100)
PCS = PcsDevice(id="pcs1", battery="bat1", charge_w=60_000, discharge_w=60_000, url="twin")
METERS = (MeterDevice(id="grid", url="twin"), MeterDevice(id="load", role="load", url="twin"))
PV = PvDevice(id="pv1", peak_w=20_000, url="twin")
SWITCH = SwitchDevice(id="pcc", url="twin")
NODES = tuple(NodeDevice(id=f"gpu-{n}", source="modbus", unit=n) for n in (1, 2))


def sections(**twin: Any) -> dict[str, Any]:
    """Everything `from_sections` and `run_twin` take."""
    return {
        "twin": msgspec.structs.replace(TWIN, **twin),
        "grid": GRID,
        "batteries": (BATTERY,),
        "pcs": (PCS,),
        "meters": METERS,
        "pv": (PV,),
        "switches": (SWITCH,),
        "nodes": NODES,
    }


def site_of(
    load_w: float | Callable[[float], float] | None = 20_000.0, *, without: tuple[str, ...] = (), **twin: Any
) -> TwinSite:
    """A site with a constant load, a load function, or (None) the bundled trace."""
    parts = sections(**twin)
    for name in without:
        parts[name] = ()
    function = (lambda _: load_w) if isinstance(load_w, float) else load_w
    return TwinSite.from_sections(**parts, load_w=function)


@asynccontextmanager
async def running(instead: Mapping[str, Any] = {}, **twin: Any) -> AsyncIterator[Announcement]:
    """A twin on the wire; every test has its own. `instead`: sections that are others than usual."""
    stop, announced = asyncio.Event(), asyncio.get_running_loop().create_future()
    task = asyncio.create_task(run_twin(**{**sections(**twin), **instead}, announce=announced.set_result, stop=stop))
    try:
        await asyncio.wait({task, announced}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
        yield announced.result()
    finally:
        stop.set()
        await task


async def order(twin: Announcement, **command: Any) -> dict[str, Any]:
    """Send one order to the control socket."""
    reader, writer = await asyncio.open_unix_connection(twin.control)
    writer.write(json.dumps(command).encode() + b"\n")
    reply = json.loads(await reader.readline())
    writer.close()
    return reply
