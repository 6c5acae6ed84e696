"""A gateway whose devices are objects in memory: real ticks, link, roles, audit; for tests of commands.

`python small_gateway.py DIRECTORY SOCKET [ROLES-JSON]` serves until it is ended; in tests it is also run in process.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy  # noqa: F401  here, not in a thread while a test compares numbers

from dispatch.control.controller import Controller
from dispatch.model.clock import ClockState
from dispatch.model.equipment import Battery, Meter, Node, Pcs, Switch
from dispatch.model.events import Event
from dispatch.model.islanding import NodeOrder
from dispatch.model.readings import reading, status
from dispatch.model.reasons import Reason
from dispatch.wording.catalogue import words
from drivers.clock import SystemClock
from drivers.modbus.errors import ConnectionLost
from gateway.api.peer import Peer
from gateway.api.protocol import Welcome
from gateway.api.roles import Roles
from gateway.bootstrap import site_limits
from gateway.composition import Gateway, compose_gateway
from gateway.previous_run import read_previous_run
from gateway.prices_in_force import PricesInForce
from gateway.proofs_in_force import ProofsInForce
from gateway.site.loader import compose
from gateway.site.schema import RolesConfig, Site
from storage.audit import AuditLog
from storage.recorder import Recorder

ROOT = Path(__file__).resolve().parents[2]  # in PYTHONPATH where this is run as a script
LOAD_W = 20_000.0
SITE: dict[str, Any] = {
    "site": {"name": "Small"},
    "gateway": {"rate_hz": 10},
    "io": {"deadline_s": 0.04, "stale_after_s": 1.5},
    "grid": {"fuse_a": 160, "contracted_peak_w": 30_000, "export_limit_w": 20_000, "meter_delay_max_s": 0.1},
    "reserve": {"hours": 1.0, "critical_load_w": 10_000},
    "plan": {"enabled": False},
    "battery": [{"id": "bat1", "energy_kwh": 100}],
    "pcs": [
        {"id": "pcs1", "battery": "bat1", "charge_w": 60_000, "discharge_w": 60_000, "url": "tcp://127.0.0.1:1"},
    ],
    "meter": [{"id": "grid", "url": "tcp://127.0.0.1:1"}],
    "switch": [{"id": "pcc", "url": "tcp://127.0.0.1:1"}],
    "node": [{"id": "gpu-01", "source": "modbus", "unit": 1}, {"id": "here", "source": "psutil"}],
    "orders": {"default_s": 900, "max_s": 3600},
    "twin": {},
}


class Result(msgspec.Struct):
    """What a driver says of a command."""

    written: bool
    w: float | None
    note: str = ""
    held: bool = True


@dataclass
class Devices:
    """The site as it really is. `writes`: (loop time, W) of every setpoint written."""

    pcs_w: float = 0.0
    frozen_w: float | None = None  # what the grid meter goes on saying, whatever the PCS does
    soc_pct: float = 60.0
    offline: set[str] = field(default_factory=set)
    refusing: set[str] = field(default_factory=set)  # nodes that answer, but take no order
    writes: list[tuple[float, float]] = field(default_factory=list)
    caps: list[float | None] = field(default_factory=list)

    def drivers(self) -> list[Any]:
        """One driver per device of SITE."""
        meter = SmallDevice("grid", "meter", self, self._meter)
        switch = _Switch(
            "pcc", "switch", self, lambda: Switch("pcc", position=status("closed"), grid_voltage=status("present"))
        )
        here = SmallDevice("here", "node", self, lambda: Node("here", w=reading(90.0)))
        return [meter, _Pcs("pcs1", "pcs", self, self._pcs), switch, _Node("gpu-01", "node", self, self._node), here]

    def _meter(self) -> Meter:
        return Meter("grid", w=reading(LOAD_W - self.pcs_w if self.frozen_w is None else self.frozen_w))

    def _pcs(self) -> tuple[Pcs, Battery]:
        pcs = Pcs(
            "pcs1",
            w=reading(self.pcs_w),
            state=status("running"),
            connection=status("connected"),
            mode=status("grid_following"),
            control=status("remote"),
        )
        return pcs, Battery("bat1", soc_pct=reading(self.soc_pct), temp_c=reading(20.0))

    def _node(self) -> Node:
        cap_w = self.caps[-1] if self.caps else None
        return Node("gpu-01", w=reading(4_000.0 if cap_w is None else min(4_000.0, cap_w)))


class SmallDevice:
    """A driver whose device is a function; commands are its sub-classes'."""

    def __init__(self, id: str, kind: str, site: Devices, make: Callable[[], Any]) -> None:
        self.id, self.kind, self.site, self._make = id, kind, site, make

    def check(self) -> None:
        if self.id in self.site.offline:
            raise ConnectionLost(self.id, "unplugged")

    async def read(self) -> Any:
        self.check()
        return self._make()

    async def close(self) -> None:
        """Nothing to hang up."""


class _Pcs(SmallDevice):
    async def command(self, w: float | None, now_s: float) -> Result:
        self.check()
        if w is None or w == self.site.pcs_w:
            return Result(False, w)
        self.site.pcs_w = w
        self.site.writes.append((asyncio.get_running_loop().time(), w))
        return Result(True, w, "changed")

    async def start(self) -> None:
        """Nothing stands still here."""
        self.check()


class _Node(SmallDevice):
    async def order(self, order: NodeOrder) -> str:
        self.check()
        if self.id in self.site.refusing:
            raise ConnectionLost(self.id, "takes no order")
        self.site.caps.append(order.cap_w)
        return ""


class _Switch(SmallDevice):
    async def order(self, action: str) -> None:
        self.check()


class SetClock(SystemClock):
    """The machine's clock, whose calendar a test may set ahead."""

    ahead_s = 0.0

    def utc_s(self) -> float:
        """POSIX seconds."""
        return super().utc_s() + self.ahead_s


def as_words(reason: Any) -> str:
    """A reason in an answer of a gateway."""
    return words(msgspec.convert(reason, Reason))


def executable(directory: Path) -> Path:
    """`skerry` as one executable file there, as a site has it in /opt."""
    path = directory / "skerry"
    path.write_text(f'#!/bin/sh\nexec env PYTHONPATH={ROOT} {sys.executable} -P -m console.cli.main "$@"\n')
    path.chmod(0o755)
    return path


Beside = Callable[[], Coroutine[Any, Any, None]]


@dataclass
class Running:
    """A gateway that ticks."""

    gateway: Gateway
    devices: Devices
    audit: AuditLog
    socket: Path
    directory: Path
    events: list[Event]
    anchored: list[str]
    clock: SetClock


def small_site(directory: Path, **sections: Any) -> Site:
    """SITE with some sections replaced."""
    return compose(directory / "site.toml", SITE | sections)


@contextlib.asynccontextmanager
async def running(
    directory: Path,
    socket: Path,
    roles: Roles | None = None,
    beside: Sequence[Beside] = (),
    devices: Devices | None = None,
    prices: PricesInForce | None = None,
    clock_state: Callable[[], ClockState] = ClockState,
    after_tick: Sequence[Callable[[int], None]] = (),
    commanded: bool = True,
    proofs: ProofsInForce | None = None,
    **sections: Any,
) -> AsyncIterator[Running]:
    """Serve from a state directory; ticks have begun when it is entered. `beside`: more that works outside the tick.

    `after_tick`: called with the number of ticks after each.
    `commanded`: wait for the first setpoint, too.
    """
    site, clock, devices = small_site(directory, **sections), SetClock(), devices or Devices()
    recorder = Recorder(directory, site.storage, "boot", clock=clock)
    anchored: list[str] = []

    def welcome(peer: Peer) -> Welcome:
        said = ("Small", "Europe/Berlin", peer.user, os.getpid(), clock.utc_s(), 1.0, True, 10.0)
        return Welcome(1, *said, site_limits(site))

    left = read_previous_run(directory, clock.utc_s())
    gateway = compose_gateway(
        site=site,
        state_dir=directory,
        clock=clock,
        drivers=devices.drivers(),
        controller=Controller(site.dispatch),
        recorder=recorder,
        audit=AuditLog(directory, f"boot/{os.getpid()}", clock, anchored.append),
        prices=prices or PricesInForce(),
        roles=roles or Roles(site.roles, os.getuid()),
        left=left,
        socket=socket,
        welcome=welcome,
        clock_state=clock_state,
        after_tick=after_tick,
        proofs=proofs,
    )
    events = _heard(gateway)
    await gateway.link.start()
    gateway.adopt(left)
    more = [(f"test {n}", run) for n, run in enumerate(beside)]
    ticking = asyncio.create_task(gateway.loop.run([*gateway.background, *more]))
    while (published := await gateway.loop.next_tick()).decision.battery_w is None and commanded:
        assert published.snapshot.seq < 100, words(published.decision.reason)
    try:
        yield Running(gateway, devices, gateway.audit, socket, directory, events, anchored, clock)
    finally:
        gateway.log.refuse_all()
        gateway.loop.stop()
        await asyncio.wait([ticking])
        gateway.finish_commands()
        await asyncio.to_thread(gateway.audit.close)
        await asyncio.to_thread(recorder.close)
        await gateway.close_devices()
        await gateway.end_plans()
        await gateway.link.close()
        ticking.result()  # raises what made it fail


def _heard(gateway: Gateway) -> list[Event]:
    """Every event that is announced to the consoles from now on."""
    events: list[Event] = []
    announce = gateway.events._announce

    def heard(event: Event) -> None:
        events.append(event)
        announce(event)

    gateway.events._announce = heard
    return events


async def _serve(directory: Path, socket: Path, roles: RolesConfig | None) -> None:
    async with running(directory, socket, Roles(roles, os.getuid())) as there:
        os.chmod(socket, 0o666)  # the matrix asks what roles decide, not what the socket's mode does
        print(json.dumps({"pid": os.getpid(), "socket": str(there.socket)}), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    given = msgspec.json.decode(sys.argv[3], type=RolesConfig) if len(sys.argv) > 3 else None
    asyncio.run(_serve(Path(sys.argv[1]), Path(sys.argv[2]), given))
