"""A simulated site whose PCS is of one family, its driver, and a stranger with pymodbus' client; one clock for all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from pcs_cases import (
    Case,
)
from pymodbus.client import AsyncModbusTcpClient
from twin_sites import BATTERY, PCS, sections

from drivers.clock import VirtualClock
from drivers.config import BatteryDevice, IoConfig, PvDevice
from drivers.devices import make_drivers
from drivers.maps.found_modes import FoundModes
from drivers.maps.loader import load
from drivers.maps.schema import DEVICE
from drivers.modbus.address import Address
from drivers.modbus.errors import DeviceError
from drivers.twin.devices import pcs_image
from drivers.twin.families.family import Installed
from drivers.twin.mapped_pcs import FAMILIES
from drivers.twin.physics import TwinSite
from drivers.twin.server import TwinServer

OWN_LOAD_W = 3000.0
STORE = BatteryDevice(id=BATTERY.id, energy_kwh=BATTERY.energy_kwh)


class Rig:
    """A simulated site whose PCS is of one family, its driver, and a stranger."""

    def __init__(self, case: Case, *, sun: bool = False, **changes: Any) -> None:
        self.sun = sun  # with PV at the inverter itself
        self.case, self.clock, self.found = case, VirtualClock(), FoundModes()
        given = {
            "charge_w": 10_000.0, "discharge_w": 10_000.0, "map": case.map, "unit": case.unit,
            "units": dict(case.units), "accept_no_revert": True, "cap_w": 9_000.0,
            "connect_delay_s": 1e-6, "spacing_s": 1e-6, **changes,  # no waiting
        }  # fmt: skip
        self.config = msgspec.structs.replace(PCS, **given)
        self.port = 0

    async def switch_on(self, **twin: Any) -> None:
        """The device starts, as delivered; also again, at the same port."""
        pv = (
            (PvDevice(id="pv1", peak_w=20_000, url="twin", map=self.case.map, unit=self.case.unit),) if self.sun else ()
        )
        twin = {"personality": self.case.personality, "pcs_lag_s": 0.0, **twin}
        parts = {**sections(**twin), "pcs": (self.config,), "pv": pv, "nodes": (), "switches": ()}
        self.site = TwinSite.from_sections(**parts, load_w=lambda _: OWN_LOAD_W)
        self.site.t_s = self.clock.mono_s()
        ids = {DEVICE: self.case.unit, **self.case.units}
        panels = self.site.pv[0] if self.sun else None
        if self.case.map:
            installed = Installed(self.site.pcs[0], self.site, ids, twin.get("silence_s"), panels)
            self.family = FAMILIES[self.case.map](installed)
            self.images = self.family.images()
        else:
            self.images = {self.case.unit: pcs_image(self.site.pcs[0], self.site)}
        self.server = TwinServer({unit: ("pcs1", image) for unit, image in self.images.items()}, self.site)
        self.host, self.port = await self.server.start(self.port)

    async def switch_off(self) -> None:
        """The device loses its supply; the driver notices it."""
        self.stranger.close()
        await self.server.stop()
        with pytest.raises(DeviceError):
            await self.driver.read()

    async def start(self, **twin: Any) -> Rig:
        await self.switch_on(**twin)
        self.connect()
        self.stranger = AsyncModbusTcpClient(self.host, port=self.port, retries=0, timeout=5.0)
        assert await self.stranger.connect()
        await self.passes(1.0)
        return self

    def connect(self) -> None:
        """A new driver, as of a gateway that starts. Every map counts as proven."""
        at = Address("tcp", self.host, self.port)
        (self.driver,) = make_drivers(
            [], [self.config], [], [], [], IoConfig(deadline_s=5.0), lambda *_: (at, self.case.unit), self.clock,
            found_modes=self.found, proven=lambda *_: True, batteries=[STORE],
        )  # fmt: skip

    async def passes(self, s: float, step_s: float = 0.5) -> None:
        self.site.advance(s, step_s)
        self.clock.advance(s)

    async def command(self, w: float) -> None:
        """One order after a fresh reading, and the time that device and readings need to show it."""
        await self.driver.read()
        await self.driver.command(w, self.clock.mono_s())
        await self.passes(2.0)

    @property
    def w(self) -> float:
        """What its battery really gives."""
        return self.site.pcs[0].w

    @property
    def reverts_s(self) -> float:
        """After which silence it reverts, by the driver's own knowledge. Of a GX 10 s were seen, 60 are documented."""
        recipe = load(self.case.map).recipe if self.case.map else None
        return self.case.reverts_s if recipe is None else recipe.revert_s

    @property
    def renewed_within_s(self) -> float:
        """How old the last renewal can be."""
        recipe = load(self.case.map).recipe if self.case.map else None
        if recipe is None:
            return self.case.reverts_s / 2
        return min(recipe.renew_s, recipe.heartbeat.every_s if recipe.heartbeat else recipe.renew_s)

    @property
    def own_w(self) -> object:
        return pytest.approx(self.case.own_w, abs=1)

    async def end(self, *, killed: bool) -> None:
        """The gateway ends, or was killed and `skerry devices release` cleans up after it. Then a new one starts."""
        if killed:
            await self.driver.link.close()
            self.connect()
            await self.driver.release()
        else:
            await self.driver.close()
            self.connect()

    async def stop(self) -> None:
        self.stranger.close()
        await self.server.stop()


@asynccontextmanager
async def on(case: Case, *, sun: bool = False, **twin: Any) -> AsyncIterator[Rig]:
    """A running rig."""
    running = await Rig(case, sun=sun).start(**twin)
    try:
        yield running
    finally:
        await running.driver.link.close()
        await running.stop()
