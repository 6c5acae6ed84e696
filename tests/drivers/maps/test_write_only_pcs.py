"""A PCS whose setpoint registers can only be written: what was written is never told as read back."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from small_site import a_snapshot, site_config

from dispatch.alarms.device_conditions import pcs_conditions
from dispatch.alarms.facts import Facts
from dispatch.wording.catalogue import words
from drivers.clock import VirtualClock
from drivers.config import PcsDevice
from drivers.maps.loader import bundled, load
from drivers.maps.pcs import MapPcs
from drivers.maps.recipe_writer import RecipeWriter
from drivers.modbus.errors import DeviceError
from drivers.modbus.transport import ModbusLink
from gateway.setpoint_sender import SetpointSender
from tests.drivers.maps.pcs_twins import FoxTwin
from tests.drivers.maps.register_double import RegisterDouble

WRITE_ONLY = {"foxess-h3", "foxess-h3-pro", "sma-sunny-island", "sma-sunny-boy-storage"}


class Rig:
    def __init__(self) -> None:
        self.twin, self.clock = FoxTwin(), VirtualClock()

    async def start(self) -> Rig:
        await self.twin.server.start()
        link = ModbusLink(self.twin.server.host, self.twin.server.port, deadline_s=5.0, backoff_max_s=0.2, device="p")
        config = PcsDevice(
            id="pcs1", battery="bat1", charge_w=10e3, discharge_w=10e3, url="tcp://x:1", map=self.twin.name
        )
        self.driver = MapPcs(config, load(self.twin.name), link, self.twin.main.unit, self.clock)
        self.sender = SetpointSender(self.driver, self.clock, DeviceError, lambda *_: None, lambda *_: None)
        return self

    async def alarms(self, w: float) -> dict[str, bool | None]:
        """What the alarms say after a reading, an order and a reading."""
        await self.driver.read()
        await self.sender.deliver(w)
        self.clock.advance(2.0)
        pcs, _ = await self.driver.read()
        written = {} if self.sender.written_w is None else {"pcs1": self.sender.written_w}
        found = dict(pcs_conditions(pcs, a_snapshot(), None, Facts(config=site_config(), written_w=written)))
        self.said = {id: words(c.detail) for id, c in found.items() if c.detail is not None}
        return {id: condition.active for id, condition in found.items()}


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    running = await Rig().start()
    yield running
    await running.driver.close()
    await running.twin.server.stop()


@pytest.mark.parametrize("w", [4000.0, -4000.0, 0.0])
async def test_what_was_written_is_followed_and_not_told_as_read_back(rig: Rig, w: float) -> None:
    alarms = await rig.alarms(w)
    assert rig.twin.battery_w == w
    pcs, _ = await rig.driver.read()
    assert pcs.w.good == w
    assert pcs.setpoint_w.good is pcs.setpoint_enabled.good is None
    assert (pcs.revert_after_s.good, pcs.revert_by_map) == (60, True)
    result = await rig.driver.command(w, rig.clock.mono_s())
    assert (result.w, result.held, rig.sender.written_w, rig.sender.read_back) == (w, False, w, False)
    assert alarms["setpoint-not-followed:pcs1"] is False
    assert alarms["setpoint-mismatch:pcs1"] is None  # nothing tells
    assert all(address < 44000 for address, _ in rig.twin.main.reads)


async def test_a_device_that_takes_a_write_and_does_not_follow_is_alarmed_by_its_power(rig: Rig) -> None:
    rig.twin.deaf = True
    alarms = await rig.alarms(4000.0)
    assert rig.twin.writes()
    assert rig.twin.battery_w == 0.0
    assert alarms["setpoint-not-followed:pcs1"] is True
    assert rig.said["setpoint-not-followed:pcs1"] == "setpoint 4.0 kW, measured 0.0 kW"


@pytest.mark.parametrize("name", [name for name in bundled() if load(name).recipe is not None])
async def test_which_maps_read_a_setpoint_back(name: str) -> None:
    device_map = load(name)
    assert device_map.recipe is not None
    device = RegisterDouble()
    writer = RecipeWriter(device_map, device_map.recipe, device, charge_rated_w=9e3, discharge_rated_w=9e3, revert_s=60)
    measured = {"pv_w": 0.0, "rated_w": 9e3, **{f"ac_out_w_l{n}": 0.0 for n in (1, 2, 3)}}
    first = await writer.hold(3000.0, measured, 0.0)
    later = await writer.hold(3000.0, measured, device_map.recipe.settle_s + 1)
    assert first.w == 3000.0
    assert later.held is (name not in WRITE_ONLY)
    assert writer.held_w == (None if name in WRITE_ONLY else 3000.0)
