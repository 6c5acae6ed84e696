"""A gateway to be killed: devices in memory in a state of the site, given by name; says when it has ticked, and what.

`python killed_gateway.py DIRECTORY SOCKET STATE PCS_W`
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
from small_gateway import LOAD_W, Devices, running

from dispatch.model.equipment import Battery, Meter, Pcs, Switch
from dispatch.model.readings import reading, status

TICKS = 12  # at 10 Hz: before the gateway says what it has written
STATES = {  # switch, grid voltage, mode and state of the PCS
    "grid-tied": ("closed", "present", "grid_following", "running"),
    "islanded": ("open", "absent", "grid_forming", "running"),
    "synchronising": ("open", "present", "grid_forming", "running"),
    "opening": ("moving", "present", "grid_following", "running"),
    "blackout": ("open", "absent", "grid_following", "off"),
}


class Site(Devices):
    """The devices of a site that is in one of STATES."""

    state = "grid-tied"

    def _meter(self) -> Meter:
        meter = super()._meter()
        off = STATES[self.state][0] == "open"
        return msgspec.structs.replace(meter, w=reading(0.0)) if off else meter

    def _pcs(self) -> tuple[Pcs, Battery]:
        pcs, battery = super()._pcs()
        _, _, mode, state = STATES[self.state]
        dead = state == "off"
        volts = reading(0.0 if dead else 230.0)
        changed = {"mode": status(mode), "state": status(state), "v": volts, "hz": reading(0.0 if dead else 50.0)}
        return msgspec.structs.replace(pcs, **changed), battery

    def drivers(self) -> list[Any]:
        found = super().drivers()
        position, voltage, *_ = STATES[self.state]
        switch = next(d for d in found if d.kind == "switch")
        switch._make = lambda: Switch("pcc", position=status(position), grid_voltage=status(voltage))
        return found


async def serve(directory: Path, socket: Path, state: str, pcs_w: float) -> None:
    devices = Site(pcs_w=LOAD_W if STATES[state][2] == "grid_forming" else pcs_w)
    devices.state = state
    async with running(directory, socket, devices=devices, commanded=False) as there:
        for _ in range(TICKS):
            published = await there.gateway.loop.next_tick()
            if devices.writes:
                break
        said = {
            "island": published.decision.island.value,
            "writes_w": [w for _, w in devices.writes],
            "asked_w": published.decision.battery_w,
            "orders": len(there.gateway.orders.active),
            "reserved": [r.id for r in there.gateway.reservations.standing()],
            "cpu_s": time.process_time(),
        }
        print(json.dumps(said), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], float(sys.argv[4])))
