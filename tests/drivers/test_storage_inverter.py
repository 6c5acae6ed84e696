"""Inverters of before the 700 series: 124 sets their battery's power. Register images and the twin's personality."""

from __future__ import annotations

import asyncio
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

from drivers.clock import VirtualClock
from drivers.config import IoConfig, PcsDevice, PvDevice
from drivers.devices import make_drivers
from drivers.modbus.address import Address
from drivers.modbus.errors import ReadbackMismatch, WrongDevice
from drivers.modbus.transport import ModbusLink
from drivers.pcs import PcsDriver
from drivers.pv import PvDriver
from drivers.setpoint_points import StorageRates, rates_w
from drivers.sunspec.model import encode, model
from drivers.sunspec.modules import powers_of
from drivers.twin.devices import pcs_image
from drivers.twin.server import TwinServer

CONFIG = PcsDevice(id="pcs1", battery="bat1", charge_w=60e3, discharge_w=60e3, url="twin", revert_s=60)
INVERTER = {
    "W": 500, "W_SF": 1, "Hz": 4999, "Hz_SF": -2, "PhVphA": 2301, "V_SF": -1, "TmpCab": 315, "Tmp_SF": -1,
    "St": 4, "Evt1": 0,
}  # fmt: skip
NAMEPLATE = {"WRtg": 100, "WRtg_SF": 2, "MaxChaRte": 80, "MaxChaRte_SF": 2, "WHRtg": 110, "WHRtg_SF": 2}
STORAGE = {
    "WChaMax": 100, "WChaMax_SF": 2, "StorCtl_Mod": 0, "ChaState": 5512, "ChaState_SF": -2, "ChaSt": 6,
    "OutWRte": 10_000, "InWRte": 10_000, "InOutWRte_RvrtTms": 3600, "ChaGriSet": 0, "InOutWRte_SF": -2,
}  # fmt: skip
POINTS = ("StorCtl_Mod", "OutWRte", "InOutWRte_RvrtTms", "ChaGriSet")


def inverter_image(status_model: int = 103, **storage: Any) -> list[int]:
    """A hybrid of 10 kW; pysunspec2 lays it out."""
    status = INVERTER if status_model < 110 else {"W": 5000.0, "St": 4, "PhVphA": 230.1}
    return image(
        model_words(1, **COMMON),
        model_words(status_model, **status),
        model_words(120, **NAMEPLATE),
        model_words(124, **(STORAGE | storage)),
    )


class Rig:
    """An inverter on loopback and its driver."""

    def __init__(self, registers: list[int]) -> None:
        self.registers, self.device = registers, FakeDevice({40000: registers})
        self.server, self.clock = ToxicServer(self.device), VirtualClock()

    def at(self, point: str) -> int:
        return address_of(self.registers, 124, point)

    def take_writes(self) -> list[tuple[str, list[int]]]:
        names = {self.at(point): point for point in POINTS}
        writes = [(names[address], values) for address, values in self.device.writes]
        self.device.writes.clear()
        return writes


@asynccontextmanager
async def rig_with(registers: list[int]) -> AsyncIterator[Rig]:
    rig = Rig(registers)
    await rig.server.start()
    link = ModbusLink(rig.server.host, rig.server.port, deadline_s=5.0, backoff_max_s=0.2, device="pcs1")
    rig.driver = PcsDriver(CONFIG, link, 1, rig.clock)
    yield rig
    await rig.driver.close()
    await rig.server.stop()


@pytest.mark.parametrize("status_model", [101, 102, 103, 111, 112, 113])
async def test_reads_inverter_and_battery(status_model: int) -> None:
    async with rig_with(inverter_image(status_model)) as rig:
        pcs, battery = await rig.driver.read()
    assert battery is not None
    assert (pcs.w.good, pcs.state.good, pcs.v.good) == (5000, "running", pytest.approx(230.1))
    assert (pcs.charge_limit_w.good, pcs.discharge_limit_w.good) == (8_000, 10_000)
    assert (pcs.setpoint_enabled.good, pcs.revert_after_s.good) == (0, 3600)
    assert (battery.soc_pct.good, battery.energy_wh.good, battery.state.good) == (55.12, 11_000, "holding")
    assert battery.temp_c.good is battery.charge_limit_w.good is None


async def test_order_of_writes_and_one_request_for_the_pair() -> None:
    async with rig_with(inverter_image()) as rig:
        charge = await rig.driver.command(-5_000, now_s=0)
        assert (charge.action, charge.w, charge.held, charge.note) == ("armed", -5_000, True, "")
        forced = [0x10000 - 5000, 5000]
        assert rig.take_writes() == [
            ("InOutWRte_RvrtTms", [60]), ("ChaGriSet", [1]), ("OutWRte", forced), ("StorCtl_Mod", [3]),
        ]  # fmt: skip
        assert not (await rig.driver.command(-5_000, now_s=29.9)).written
        assert (await rig.driver.command(-5_000, now_s=30)).action == "renewed"
        assert rig.take_writes() == [("InOutWRte_RvrtTms", [60]), ("OutWRte", forced), ("StorCtl_Mod", [3])]
        assert (await rig.driver.command(2_500, now_s=31)).action == "changed"
        assert rig.take_writes() == [
            ("InOutWRte_RvrtTms", [60]), ("OutWRte", [2500, 0x10000 - 2500]), ("StorCtl_Mod", [3]),
        ]  # fmt: skip
        pcs, _ = await rig.driver.read()
        assert (pcs.setpoint_w.good, pcs.setpoint_enabled.good) == (2_500, 1)


async def test_limits_of_the_device_and_its_resolution() -> None:
    async with rig_with(inverter_image(InOutWRte_SF=0, OutWRte=100, InWRte=100)) as rig:
        clipped = await rig.driver.command(-9_000, now_s=0)
        assert (clipped.w, clipped.held) == (-8_000, False)
        assert "clipped to -8000 W" in clipped.note
        rounded = await rig.driver.command(1_234, now_s=1)  # 1 % of 10 kW
        assert (rounded.w, rounded.held) == (1_200, True)


async def test_another_range_is_told_and_written_again() -> None:
    async with rig_with(inverter_image()) as rig:
        await rig.driver.command(3_000, now_s=0)
        rig.take_writes()
        rig.device[rig.at("OutWRte") + 1] = 10_000  # charging by others is free again
        pcs, _ = await rig.driver.read()
        assert pcs.setpoint_enabled.good == 0
        again = await rig.driver.command(3_000, now_s=1)
        assert again.note.startswith(
            "the device held OutWRte 30.0 %, InWRte 100.0 %, charge and discharge active; ours"
        )
        assert [name for name, _ in rig.take_writes()] == ["InOutWRte_RvrtTms", "OutWRte", "StorCtl_Mod"]


@pytest.mark.parametrize(
    ("point", "told"), [("InOutWRte_RvrtTms", "its reversion"), ("ChaGriSet", "charging from the grid")]
)
async def test_what_may_be_refused_is_told(point: str, told: str) -> None:
    async with rig_with(inverter_image()) as rig:
        await rig.driver.read()
        refused = rig.at(point)

        async def exchange(frame: bytes, inner: Any = rig.device.exchange) -> bytes:
            rig.device.refuse = {refused: 2} if frame[7] != 3 else {}
            return await inner(frame)

        rig.device.exchange = exchange  # type: ignore[method-assign]
        result = await rig.driver.command(-4_000, now_s=0)
        assert result.held
        assert f"{told} cannot be set" in result.note


async def test_an_inverter_that_does_not_let_its_battery_charge_from_the_grid_is_told() -> None:
    async with rig_with(inverter_image()) as rig:
        await rig.driver.read()
        at = rig.at("ChaGriSet")

        def keep(address: int, values: list[int]) -> None:
            rig.device[at] = 0

        rig.device.on_write = keep
        result = await rig.driver.command(-4_000, now_s=0)
        assert (result.held, "do not allow charging from the grid" in result.note) == (True, True)
        assert (await rig.driver.command(4_000, now_s=1)).note == ""


async def test_without_a_timer_or_a_rating() -> None:
    async with rig_with(inverter_image(InOutWRte_RvrtTms=None)) as rig:
        result = await rig.driver.command(1_000, now_s=0)
        assert (result.held, result.note) == (True, "this device has no reversion timer")
    async with rig_with(inverter_image(WChaMax=0)) as rig:
        with pytest.raises(WrongDevice, match="no power in percent of WChaMax"):
            await rig.driver.command(1_000, now_s=0)
    async with rig_with(image(model_words(1), model_words(103, **INVERTER))) as rig:
        with pytest.raises(WrongDevice, match="no SunSpec model 701, only 1, 103"):
            await rig.driver.read()


@given(w=st.floats(-2e5, 2e5), most_w=st.integers(1, 65_000), scale=st.integers(-2, 0))
def test_a_power_survives_its_registers(w: float, most_w: int, scale: int) -> None:
    """What reads back is what was asked within half a step, and asking for that again changes nothing."""
    rates = StorageRates()
    held: dict[str, Any] = dict.fromkeys(rates.points) | {
        "WChaMax": most_w, "InOutWRte_SF": scale, "OutWRte": 100.0, "InWRte": 100.0, "StorCtl_Mod": (),
    }  # fmt: skip
    near_w = rates.nearest_w(held, w)
    assert near_w is not None
    assert near_w == pytest.approx(min(max(w, -most_w), most_w), abs=most_w * 10**scale / 200 + 1e-6)
    assert rates.nearest_w(held, near_w) == near_w
    (pair,) = rates.value(held, near_w)
    assert all(encode(model(124).points[name], value, scale) for name, value in pair.items())
    assert rates_w(held | rates.expected(held, near_w)) == (pytest.approx(near_w), 1.0)


def module_values(*modules: tuple[str | None, float | None]) -> dict[str, Any]:
    return {
        f"module.{n}.{point}": value
        for n, (name, w) in enumerate(modules, start=1)
        for point, value in (("IDStr", name), ("DCW", w))
    }


def test_pv_and_storage_of_a_hybrid() -> None:
    named = module_values(("MPPT 1", 3000.0), ("StCha 2", 0.0), ("StDisCha 3", 700.0))
    assert powers_of(named, 3, "Stranger") == (3000, 700)
    at_night = module_values(("MPPT 1", None), ("StCha 2", 500.0), ("StDisCha 3", None))
    assert powers_of(at_night, 3, "Stranger") == (None, -500)
    nameless = module_values((None, 2000.0), (None, 1000.0), (None, 400.0), (None, 0.0))
    assert powers_of(nameless, 4, "Fronius") == (3000, -400)
    assert powers_of(nameless, 4, "Stranger") is None  # may well have four strings of panels


PV = {"id": "pv1", "url": "tcp://x:1", "peak_w": 12e3}
DER_STORAGE = image(model_words(1, **COMMON), model_words(701, W=5000, InvSt=3), model_words(713, SoC=50))


@pytest.mark.parametrize("registers", [inverter_image(), inverter_image(113), DER_STORAGE], ids=["103", "113", "701"])
@pytest.mark.parametrize(
    ("changes", "twice"), [({}, True), ({"instance": 1}, True), ({"unit": 2}, False), ({"map": "goodwe-et"}, False)]
)
async def test_a_hybrid_whose_powers_are_not_told_apart_does_not_count_twice(
    registers: list[int], changes: dict[str, Any], twice: bool
) -> None:
    """`changes`: of the PCS; where it is another device, the PV counts, and that it holds the storage is told once."""
    server = ToxicServer(FakeDevice({40000: registers}))
    await server.start()
    address = Address("tcp", server.host, server.port)
    given = PcsDevice(
        **{"id": "pcs1", "battery": "b", "charge_w": 9e3, "discharge_w": 9e3, "url": "tcp://x:1"} | changes
    )
    _, pv = make_drivers(
        [], [given], [PvDevice(**PV)], [], [], IoConfig(deadline_s=5.0), lambda _, __, unit: (address, unit)
    )
    assert isinstance(pv, PvDriver)
    if twice:
        with pytest.raises(WrongDevice, match=r"its power is in that of pcs1.*remove this \[\[pv\]\]"):
            await pv.read()
    else:
        assert [(await pv.read()).w.good for _ in range(2)] == [5000, 5000]
        told = [text for _, text in pv.notices.take()]
        assert told == ["its power contains that of its storage: SunSpec model 160 does not tell them apart"]
    await pv.close()
    await server.stop()


async def test_an_inverter_without_storage_is_told_nothing() -> None:
    inverter = image(model_words(1, **COMMON), model_words(103, **INVERTER))
    server = ToxicServer(FakeDevice({40000: inverter}))
    await server.start()
    link = ModbusLink(server.host, server.port, deadline_s=5.0, backoff_max_s=0.2, device="pv1")
    driver = PvDriver(PvDevice(**PV), link, 1)
    assert (await driver.read()).w.good == 5000
    assert driver.notices.take() == []
    await driver.close()
    await server.stop()


# ── the twin's personality, on the wire ─────────────────────────────────────────────────────────────────────────────


class TwinRig:
    """The twin's storage inverter on loopback; its time passes only by `passes`."""

    def __init__(self) -> None:
        self.site = site_of(20_000.0, personality="legacy-storage")
        self.site.advance(0.1)
        self.server = TwinServer({1: ("pcs1", pcs_image(self.site.pcs[0], self.site))}, self.site)
        self.now_s = 0.0

    async def passes(self, seconds: float) -> float:
        """Let time pass; the power of the PCS then."""
        self.site.advance(seconds)
        self.now_s += seconds
        return self.site.pcs[0].w

    async def commanded(self, w: float) -> str:
        """Read it and command it, as at a tick; what was told."""
        await self.driver.read()
        return (await self.driver.command(w, self.now_s)).note


@pytest.fixture
async def twin() -> AsyncIterator[TwinRig]:
    rig = TwinRig()
    host, port = await rig.server.start()
    link = ModbusLink(host, port, deadline_s=5.0, backoff_max_s=0.2, device="pcs1")
    rig.host, rig.port, rig.link = host, port, link
    rig.driver = PcsDriver(CONFIG, link, 1, VirtualClock())
    yield rig
    await rig.driver.close()
    await rig.server.stop()


async def test_follows_in_both_directions_and_reverts_on_silence(twin: TwinRig) -> None:
    for w in (20_000, -15_000, 0, -60_000):
        assert await twin.commanded(w) == ""
        assert await twin.passes(5) == pytest.approx(w, abs=50)
        pcs, _ = await twin.driver.read()
        assert (pcs.w.good, pcs.setpoint_w.good) == (pytest.approx(w, abs=50), pytest.approx(w, abs=6))
    for _ in range(5):  # renewed in time it lasts
        await twin.passes(25)
        assert await twin.commanded(-60_000) == ""
    assert twin.site.pcs[0].w == pytest.approx(-60_000, abs=50)
    assert await twin.passes(65) == pytest.approx(0, abs=50)
    pcs, _ = await twin.driver.read()
    assert pcs.setpoint_enabled.good == 0
    assert "neither limit active; ours was -60000 W: written again" in await twin.commanded(-60_000)
    assert await twin.passes(5) == pytest.approx(-60_000, abs=50)


async def test_a_timer_that_somebody_else_has_left_does_not_end_ours(twin: TwinRig) -> None:
    storage, control = twin.site.pcs[0].storage, twin.site.pcs[0].control
    assert storage is not None
    control.revert_s = 15
    storage.set_out(0)
    storage.set_mode(2)
    await twin.passes(1)
    await twin.commanded(10_000)
    assert control.revert_s == 60
    assert await twin.passes(28) == pytest.approx(10_000, abs=50)
    control.revert_s = 15  # and again, while we hold: it is not left until our timer is half over
    await twin.passes(0.2)
    assert await twin.commanded(10_000) == ""
    assert control.revert_s == 60
    assert await twin.passes(28) == pytest.approx(10_000, abs=50)


async def test_left_to_itself_it_may_revert_without_a_word(twin: TwinRig) -> None:
    await twin.commanded(10_000)
    await twin.driver.command(None, twin.now_s)  # off the grid, say
    await twin.passes(65)
    assert await twin.commanded(10_000) == ""


async def test_pv_of_a_hybrid_whose_modules_tell_it_counts_beside_its_storage(twin: TwinRig) -> None:
    await twin.commanded(5_000)
    await twin.passes(5)
    pv = PvDriver(PvDevice(**PV), twin.link, 1, same_as="pcs1")
    assert (await pv.read()).w.good is not None
    assert (await twin.driver.read())[0].w.good == pytest.approx(5_000, abs=50)


async def test_a_stranger_reads_the_same(twin: TwinRig) -> None:
    """pysunspec2's client beside ours, every point of every model."""
    await twin.commanded(-20_000)
    await twin.passes(5)
    stranger = SunSpecModbusClientDeviceTCP(slave_id=1, ipaddr=twin.host, ipport=twin.port, timeout=30.0)
    await asyncio.to_thread(stranger.scan)
    assert [key for key in stranger.models if isinstance(key, int)] == [1, 103, 120, 124, 160]
    device = twin.driver._device
    for model_id, (group,) in ((key, value) for key, value in stranger.models.items() if isinstance(key, int)):
        theirs = {name: point.cvalue for name, point in group.points.items()}
        for n, module in enumerate(group.groups.get("module", []), start=1):
            theirs |= {f"module.{n}.{name}": point.cvalue for name, point in module.points.items()}
        numbers = [name for name in theirs if not name.endswith(("ID", "L", "Pad", "_SF"))]
        ours = await device.read(model_id, tuple(numbers))
        for name in numbers:
            if isinstance(ours[name], (int, float)):
                assert ours[name] == pytest.approx(theirs[name]), (model_id, name)
            elif ours[name] is None:
                assert not theirs[name], (model_id, name)
    stored = await device.read(160, ("module.3.DCW", "module.4.DCW", "module.4.IDStr"))
    assert (stored["module.4.DCW"], stored["module.4.IDStr"]) == (0, "StDisCha 4")
    assert stored["module.3.DCW"] == pytest.approx(20_000 * 0.94, abs=20)
    await asyncio.to_thread(stranger.close)


@pytest.mark.parametrize("timer", [0xFFFF, 0, 60])
async def test_a_setpoint_that_a_killed_gateway_left_is_ended_with_a_timer_or_without(timer: int) -> None:
    """Found: it was said to be switched off, and nothing was written."""
    left = {"OutWRte": 5_000, "InWRte": -5_000, "StorCtl_Mod": 3, "InOutWRte_RvrtTms": timer}
    async with rig_with(inverter_image(**left)) as rig:
        assert await rig.driver.release() == (
            "its limits of charging and discharging, a setpoint of 5 kW, were switched off"
        )
        assert rig.take_writes() == [("StorCtl_Mod", [0])]
        assert await rig.driver.release() == "holds no limits of charging and discharging"
        assert rig.take_writes() == []


async def test_limits_that_leave_a_range_are_somebody_elses() -> None:
    async with rig_with(inverter_image(OutWRte=5_000, InWRte=2_000, StorCtl_Mod=3)) as rig:
        assert "which Skerry never sets: left as they are" in await rig.driver.release()
        assert rig.take_writes() == []
    async with rig_with(inverter_image(OutWRte=5_000, StorCtl_Mod=2)) as rig:
        assert "left as they are" in await rig.driver.release()
        assert rig.take_writes() == []


async def test_an_inverter_that_keeps_its_setpoint_is_not_said_to_be_released() -> None:
    left = {"OutWRte": 5_000, "InWRte": -5_000, "StorCtl_Mod": 3}
    async with rig_with(inverter_image(**left)) as rig:
        rig.device.on_write = lambda address, _: rig.device.registers.update({address: 3})
        with pytest.raises(ReadbackMismatch, match="wrote no bit, reads back charge, discharge"):
            await rig.driver.release()
