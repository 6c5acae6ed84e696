"""Limits of PV inverters: 123 and 704 on register images, and the twin's inverter on the wire."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sunspec2.modbus.client import SunSpecModbusClientDeviceTCP
from sunspec_image import COMMON, address_of, image, model_words
from toxic import FakeDevice, ToxicServer
from twin_sites import site_of

from drivers.config import PvDevice
from drivers.maps.found_modes import FoundModes
from drivers.modbus.errors import ReadbackMismatch, WrongDevice
from drivers.modbus.transport import ModbusLink
from drivers.pv import PvDriver
from drivers.setpoint_points import ImmediateLimit
from drivers.twin.devices import pv_image
from drivers.twin.server import TwinServer

CONFIG = PvDevice(id="pv1", peak_w=20_000, url="twin", curtail=True)
INVERTER = {"W": 1200, "W_SF": 1, "St": 4}
SETTINGS = {"WMax": 200, "WMax_SF": 2}
IMMEDIATE = {
    "WMaxLimPct": 10_000, "WMaxLimPct_RvrtTms": 3600, "WMaxLim_Ena": 0, "WMaxLimPct_SF": -2, "Conn": 1,
}  # fmt: skip
DER = {
    "WMaxLimPctEna": 0, "WMaxLimPct": 1000, "WMaxLimPctRvrt": 1000, "WMaxLimPctEnaRvrt": 0, "WMaxLimPctRvrtTms": 0,
    "WMaxLimPctRvrtRem": 0, "WMaxLimPct_SF": -1,
}  # fmt: skip


class Rig:
    def __init__(self, registers: list[int], config: PvDevice, fallback_w: float) -> None:
        self.registers, self.device = registers, FakeDevice({40000: registers})
        self.server, self.config, self.fallback_w = ToxicServer(self.device), config, fallback_w

    async def start(self) -> Rig:
        await self.server.start()
        link = ModbusLink(self.server.host, self.server.port, deadline_s=5.0, backoff_max_s=0.2, device="pv1")
        self.driver = PvDriver(self.config, link, 1, self.fallback_w)
        return self

    def take_writes(self, model_id: int) -> list[tuple[str, list[int]]]:
        points = IMMEDIATE if model_id == 123 else DER
        names = {address_of(self.registers, model_id, p): p for p in points}
        writes = [(names[address], values) for address, values in self.device.writes]
        self.device.writes.clear()
        return writes


@asynccontextmanager
async def rig_with(*models: list[int], config: PvDevice = CONFIG, fallback_w: float = math.inf) -> AsyncIterator[Rig]:
    rig = await Rig(image(model_words(1, **COMMON), model_words(103, **INVERTER), *models), config, fallback_w).start()
    yield rig
    await rig.driver.close()
    await rig.server.stop()


async def test_by_123_the_timer_goes_first_and_the_end_lifts_it() -> None:
    async with rig_with(model_words(121, **SETTINGS), model_words(123, **IMMEDIATE)) as rig:
        pv = await rig.driver.read()
        assert (pv.w.good, pv.limit_w.good) == (12_000, 20_000)
        assert not (await rig.driver.command(None, now_s=0)).written
        result = await rig.driver.command(7_001.9, now_s=1)
        assert (result.action, result.held, result.w) == ("armed", True, 7_000)
        assert rig.take_writes(123) == [
            ("WMaxLimPct_RvrtTms", [60]), ("WMaxLimPct", [3500]), ("WMaxLim_Ena", [1]),
        ]  # fmt: skip
        assert not (await rig.driver.command(7_001.9, now_s=30.9)).written
        assert (await rig.driver.command(7_001.9, now_s=31)).action == "renewed"
        assert [name for name, _ in rig.take_writes(123)] == ["WMaxLimPct_RvrtTms", "WMaxLimPct", "WMaxLim_Ena"]
        assert (await rig.driver.read()).limit_w.good == 7_000
        assert (await rig.driver.command(None, now_s=32)).action == "released"
        assert rig.take_writes(123) == [("WMaxLim_Ena", [0])]
        assert not (await rig.driver.command(None, now_s=33)).written
        assert (await rig.driver.read()).limit_w.good == 20_000


@pytest.mark.parametrize(("fallback_w", "reverts"), [(math.inf, [1000, 0, 0, 60]), (5_000, [250, 1, 0, 60])])
async def test_by_704_with_what_it_reverts_to(fallback_w: float, reverts: list[int]) -> None:
    der = model_words(702, WMax=200, W_SF=2), model_words(704, **DER)
    async with rig_with(*der, fallback_w=fallback_w) as rig:
        result = await rig.driver.command(7_000, now_s=0)
        assert (result.held, result.w) == (True, 7_000)
        assert rig.take_writes(704) == [("WMaxLimPctRvrt", reverts), ("WMaxLimPct", [350]), ("WMaxLimPctEna", [1])]
        assert (await rig.driver.command(0, now_s=31)).w == 0
        assert rig.take_writes(704) == [("WMaxLimPctRvrtTms", [0, 60]), ("WMaxLimPct", [0]), ("WMaxLimPctEna", [1])]
        await rig.driver.command(None, now_s=32)
        assert rig.take_writes(704) == [("WMaxLimPctEna", [0])]


# as a killed gateway has left them: by 123 the limit itself, by 704 what that has reverted to
LEFT_123 = IMMEDIATE | {"WMaxLimPct": 3500, "WMaxLimPct_RvrtTms": 60, "WMaxLim_Ena": 1}
LEFT_704 = DER | {
    "WMaxLimPctEna": 1, "WMaxLimPct": 250, "WMaxLimPctRvrt": 250, "WMaxLimPctEnaRvrt": 1, "WMaxLimPctRvrtTms": 60,
}  # fmt: skip
LEFT = (
    [model_words(121, **SETTINGS), model_words(123, **LEFT_123)],
    [model_words(702, WMax=200, W_SF=2), model_words(704, **LEFT_704)],
)


@pytest.mark.parametrize("left", LEFT)
async def test_what_a_killed_gateway_has_left_is_lifted(left: list[list[int]]) -> None:
    async with rig_with(*left, fallback_w=5_000) as rig:
        assert not (await rig.driver.command(None, now_s=0)).written, "nothing is known before it was read"
        assert (await rig.driver.read()).limit_w.good in (7_000, 5_000)
        assert (await rig.driver.command(None, now_s=1)).action == "released"
        assert (await rig.driver.read()).limit_w.good == 20_000
        assert rig.device.writes, "one request"
        rig.device.writes.clear()
        assert not (await rig.driver.command(None, now_s=2)).written


TIMERLESS = IMMEDIATE | {"WMaxLimPct_RvrtTms": 0xFFFF}  # not implemented


async def test_a_limit_without_a_timer_is_known_again_after_a_kill_and_lifted_by_release_or_the_next_start() -> None:
    """Found: the next gateway took it for somebody else's, and the inverter stayed limited for ever."""
    disk: list[bytes] = []

    async def save(content: bytes) -> str:
        disk.append(content)
        return ""

    async with rig_with(model_words(121, **SETTINGS), model_words(123, **TIMERLESS)) as rig:

        def started() -> PvDriver:
            link = ModbusLink(rig.server.host, rig.server.port, deadline_s=5.0, backoff_max_s=0.2, device="pv1")
            return PvDriver(CONFIG, link, 1, found=FoundModes(disk[-1] if disk else None, save))

        for end in ("next", "release"):
            killed = started()
            rig.device.on_write = lambda *_: None if disk else pytest.fail("written before it is on record")
            assert "no reversion timer" in (await killed.command(7_000, now_s=0)).note
            assert disk[-1] != b"{}"
            await killed.link.close()
            rig.device.writes.clear()
            after = started()
            assert after.taken_over
            assert (await after.read()).limit_w.good == 7_000
            if end == "next":
                assert (await after.command(None, now_s=1)).action == "released"
            else:
                assert await after.release() == "its limit of 7 kW was lifted"
            assert rig.take_writes(123) == [("WMaxLim_Ena", [0])]
            assert (disk[-1], after.taken_over, (await after.read()).limit_w.good) == (b"{}", False, 20_000)
            assert await after.release() == "holds no limit"
            await after.link.close()


async def test_a_limit_that_cannot_be_lifted_stays_on_record() -> None:
    async with rig_with(model_words(121, **SETTINGS), model_words(123, **TIMERLESS)) as rig:
        await rig.driver.command(7_000, now_s=0)
        rig.device.on_write = lambda address, _: rig.device.registers.update({address: 1})
        with pytest.raises(ReadbackMismatch, match="but 7000 W read back"):
            await rig.driver.release()
        assert rig.driver.taken_over


@pytest.mark.parametrize("timer", [3_600, None])
async def test_a_limit_of_somebody_else_is_left_and_told(timer: int | None) -> None:
    foreign = IMMEDIATE | {"WMaxLimPct": 7_000, "WMaxLim_Ena": 1, "WMaxLimPct_RvrtTms": timer}
    async with rig_with(model_words(121, **SETTINGS), model_words(123, **foreign)) as rig:
        await rig.driver.read()
        result = await rig.driver.command(None, now_s=0)
        assert not result.written
        assert result.note == "a limit of 14000 W that Skerry did not set: left as it is"
        assert rig.device.writes == []


async def test_an_inverter_that_is_not_to_be_limited_is_asked_nothing_more() -> None:
    config = PvDevice(id="pv1", peak_w=20_000, url="twin")
    async with rig_with(model_words(123, **IMMEDIATE), config=config) as rig:
        await rig.driver.read()
        rig.device.reads.clear()
        assert (await rig.driver.read()).limit_w.value is None
        assert len(rig.device.reads) == 1


async def test_what_is_missing_is_told_and_the_power_is_read_all_the_same() -> None:
    async with rig_with() as rig:
        assert (await rig.driver.read()).w.good == 12_000
        with pytest.raises(WrongDevice, match="neither SunSpec model 704 nor 123"):
            await rig.driver.command(5_000, now_s=0)
    async with rig_with(model_words(123, **IMMEDIATE)) as rig:
        assert (await rig.driver.read()).w.good == 12_000
        with pytest.raises(WrongDevice, match=r"rated power.*set rated_w"):
            await rig.driver.command(5_000, now_s=0)
    async with rig_with(model_words(121, **SETTINGS), model_words(123, **IMMEDIATE), model_words(124)) as rig:
        with pytest.raises(WrongDevice, match="a hybrid, whose limit would hold for its battery"):
            await rig.driver.command(5_000, now_s=0)
    rated = PvDevice(id="pv1", peak_w=20_000, rated_w=10_000, url="twin", curtail=True)
    async with rig_with(model_words(123, **IMMEDIATE), config=rated) as rig:
        assert (await rig.driver.command(5_000, now_s=0)).w == 5_000
        assert ("WMaxLimPct", [5000]) in rig.take_writes(123)


async def test_a_limit_lifted_by_somebody_else_is_told_and_written_again() -> None:
    async with rig_with(model_words(121, **SETTINGS), model_words(123, **IMMEDIATE)) as rig:
        await rig.driver.command(5_000, now_s=0)
        rig.device[address_of(rig.registers, 123, "WMaxLim_Ena")] = 0
        await rig.driver.read()
        assert "held 25.0 %, disabled; ours was 5000 W" in (await rig.driver.command(5_000, now_s=1)).note


@given(w=st.floats(0, 5e4), full_w=st.floats(1, 4e4), scale=st.integers(-2, 0))
def test_a_limit_is_never_above_what_was_asked(w: float, full_w: float, scale: int) -> None:
    limit = ImmediateLimit(full_w)
    held: dict[str, Any] = {"WMaxLimPct": 100.0, "WMaxLim_Ena": "disabled", "WMaxLimPct_SF": scale}
    found_w = limit.nearest_w(held, w)
    assert found_w is not None
    assert min(w, full_w) - full_w * 10**scale / 100 <= found_w <= min(w, full_w) + 1e-6 * full_w
    assert limit.nearest_w(held, found_w) == found_w


async def test_the_twins_inverter_obeys_and_reverts_and_a_stranger_reads_the_same() -> None:
    site = site_of(20_000.0)
    site.advance(1.0)
    sun = site.pv[0]
    server = TwinServer({1: ("pv1", pv_image(sun, site))}, site)
    host, port = await server.start()
    driver = PvDriver(CONFIG, ModbusLink(host, port, deadline_s=5.0, backoff_max_s=0.2, device="pv1"), 1)
    await driver.read()
    assert (await driver.command(2_000, now_s=1)).held
    site.advance(2.0)
    assert sun.w == pytest.approx(2_000, abs=2)
    assert sun.sun_w > 5_000
    pv = await driver.read()
    assert (pv.w.good, pv.state.good, pv.limit_w.good) == (pytest.approx(2_000, abs=2), "throttled", 2_000)
    stranger = SunSpecModbusClientDeviceTCP(slave_id=1, ipaddr=host, ipport=port, timeout=30.0)
    await asyncio.to_thread(stranger.scan)
    await asyncio.to_thread(stranger.models[123][0].read)
    theirs = {name: point.cvalue for name, point in stranger.models[123][0].points.items()}
    assert (theirs["WMaxLimPct"], theirs["WMaxLim_Ena"], theirs["WMaxLimPct_RvrtTms"]) == (10, 1, 60)
    await asyncio.to_thread(stranger.close)
    site.advance(61)
    assert sun.limit.reversions == 1
    assert sun.w == sun.sun_w
    assert "disabled; ours was 2000 W" in (await driver.read() and await driver.command(2_000, now_s=64)).note
    await driver.command(None, now_s=65)
    site.advance(1)
    assert sun.w == sun.sun_w
    await driver.close()
    await server.stop()
