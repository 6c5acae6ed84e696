"""The twin's devices with registers of their own, on the wire: seen by pymodbus' client, and by our own drivers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

import msgspec
import pytest
from meter_cases import BATTERIES, MeterCase
from meter_cases import CASES as METER_CASES
from pcs_cases import seen
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.client.mixin import ModbusClientMixin
from twin_sites import METERS as TWIN_METERS
from twin_sites import PCS, running, sections

from dispatch.config.battery_ratings import ac_of_dc_w
from drivers.clock import VirtualClock
from drivers.config import BatteryDevice, IoConfig, MeterDevice, PcsDevice
from drivers.devices import make_drivers
from drivers.maps.loader import bundled, load
from drivers.maps.reader import MapReader
from drivers.maps.schema import DEVICE
from drivers.maps.vocabulary import OWN
from drivers.modbus.address import Address
from drivers.modbus.errors import DeviceError
from drivers.twin.families.family import Installed
from drivers.twin.faults import Fault
from drivers.twin.mapped_meter import mapped_battery_images, mapped_meter_images
from drivers.twin.mapped_pcs import FAMILIES
from drivers.twin.physics import TwinSite
from drivers.twin.registers import Image
from drivers.twin.server import TwinServer

METERS = [name for name in bundled() if load(name).info.kind == "meter"]
GX = msgspec.structs.replace(PCS, map="victron-gx", unit=100, units={"vebus": 227, "battery": 225})


class Served(NamedTuple):
    """Devices behind one port; the site behind them stands still unless the test moves it."""

    site: TwinSite
    host: str
    port: int


def site_of(load_w: float, pcs: PcsDevice = PCS, **twin: Any) -> TwinSite:
    parts = {**sections(pcs_lag_s=0.0, **twin), "pcs": (pcs,), "pv": (), "nodes": (), "switches": ()}
    return TwinSite.from_sections(**parts, load_w=lambda _: load_w)


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Any]]:
    """serve(site, images, name) -> Served."""
    running: list[TwinServer] = []

    async def start(site: TwinSite, images: dict[int, Image], name: str) -> Served:
        server = TwinServer({unit: (name, image) for unit, image in images.items()}, site)
        running.append(server)
        return Served(site, *await server.start())

    yield start
    for server in running:
        await server.stop()


@pytest.fixture
async def gx(serve: Callable[..., Any]) -> AsyncIterator[tuple[Served, Any]]:
    """A GX and pymodbus' client."""
    site = site_of(21_000.0, GX)
    served = await serve(site, FAMILIES["victron-gx"](Installed(site.pcs[0], site, GX.units)).images(), "pcs1")
    client = AsyncModbusTcpClient(served.host, port=served.port, retries=0, timeout=5.0)
    assert await client.connect()
    yield served, client
    client.close()


async def asked(client: Any, unit: int, address: int, kind: str, function: int = 3, order: str = "big") -> float:
    """One number, as pymodbus' client decodes it."""
    data_type = ModbusClientMixin.DATATYPE[kind]
    read = client.read_holding_registers if function == 3 else client.read_input_registers
    answer = await read(address, count=data_type.value[1], device_id=unit)
    assert not answer.isError(), answer
    number: float = client.convert_from_registers(answer.registers, data_type, word_order=order)
    return number


async def told(client: Any, unit: int, address: int, values: list[int]) -> bool:
    """Write signed numbers by function 16; whether they were taken."""
    words = [value & 0xFFFF for value in values]
    return not (await client.write_registers(address, words, device_id=unit)).isError()


@pytest.mark.parametrize("name", METERS)
async def test_every_meter_is_read_by_a_stranger_and_by_its_driver(serve: Callable[..., Any], name: str) -> None:
    site = site_of(-21_000.0)  # more PV than load: export
    site.advance(600.0, 5.0)
    meter = site.meters[0]
    served = await serve(site, mapped_meter_images(load(name), meter, {DEVICE: 7}, 166e3), "grid")
    config = MeterDevice(id="grid", url="twin", unit=7, map=name)
    at = Address("tcp", served.host, served.port)
    (driver,) = make_drivers([config], [], [], [], [], IoConfig(deadline_s=5.0), lambda *_: (at, 7))
    read: Any = await driver.read()
    ours = await MapReader(driver.link, {DEVICE: 7}, load(name)).read("fast", "slow", "once")
    await driver.close()

    ours = {value: number for value, number in ours.items() if not value.startswith(OWN)}
    case = MeterCase(METER_CASES[name])
    assert ours.keys() == case.values.keys()
    client = AsyncModbusTcpClient(served.host, port=served.port, retries=0, timeout=5.0)
    assert await client.connect()
    for value, place in case.values.items():
        theirs = await seen(client, case, place)
        assert ours[value] == (theirs if isinstance(theirs, str) else pytest.approx(theirs)), value
    client.close()

    now = meter.reading
    assert read.w.good == pytest.approx(-21_000, abs=5)
    assert [r.good for r in read.w_phases] == pytest.approx(meter.phases_w, abs=5)
    assert [r.good for r in read.v] == pytest.approx([now.v] * 3, abs=0.1)
    assert [r.good for r in read.a] == pytest.approx([abs(w) / now.v for w in meter.phases_w], abs=0.1)
    assert read.hz.good == (pytest.approx(now.hz, abs=0.06) if "hz" in ours else None)
    if "export_wh" in ours:
        assert read.export_wh.good == pytest.approx(3_500, abs=500)  # some count in whole kWh
        assert read.import_wh.good == 0


@pytest.mark.parametrize("name", BATTERIES)
async def test_the_bms_of_a_simulated_battery_is_read_alike_by_a_stranger(serve: Callable[..., Any], name: str) -> None:
    site = site_of(0.0)
    site.pcs[0].control.setpoint_w = 9_000.0
    site.pcs[0].control.enable(True)
    site.advance(30.0)
    pack = site.pcs[0].battery
    served = await serve(site, mapped_battery_images(load(name), pack, {DEVICE: 3}), "bat1")
    at = Address("tcp", served.host, served.port)
    config = BatteryDevice(id="bat1", energy_kwh=100.0, url="twin", unit=3, map=name)
    *_, driver = make_drivers([], [], [], [], [], IoConfig(deadline_s=5.0), lambda *_: (at, 3), batteries=[config])
    read: Any = await driver.read()
    ours = await MapReader(driver.link, {DEVICE: 3}, load(name)).read("fast", "slow", "once")
    await driver.close()
    case, ours = MeterCase(BATTERIES[name], 3), {k: v for k, v in ours.items() if not k.startswith(OWN)}
    assert ours.keys() == case.values.keys()
    client = AsyncModbusTcpClient(served.host, port=served.port, retries=0, timeout=5.0)
    assert await client.connect()
    for value, place in case.values.items():
        theirs = await seen(client, case, place)
        assert ours[value] == (pytest.approx(theirs) if isinstance(theirs, float) else theirs), value
    client.close()
    assert read.soc_pct.good == pytest.approx(pack.soc_pct, abs=0.5)
    assert read.charge_limit_w.good == pytest.approx(60_000 * 0.94, rel=0.01)
    assert read.discharge_limit_w.good == pytest.approx(60_000 / 0.94, rel=0.01)


async def test_the_gx_obeys_the_power_at_its_input_in_external_control_only(gx: tuple[Served, Any]) -> None:
    (site, _, _), client = gx
    site.advance(5.0)
    assert site.grid_w == pytest.approx(0, abs=1)  # by itself it holds the meter at 0 W
    assert await asked(client, 227, 31, "UINT16") == 10
    assert await told(client, 100, 2902, [3])
    site.advance(2.0)
    assert site.pcs[0].w == 0
    assert await asked(client, 227, 31, "UINT16") == 8
    for w in (9_000, -6_000, 0):
        assert await told(client, 227, 37, [-w // 3, 0, 0, -w // 3, -w // 3])
        site.advance(2.0)
        assert site.pcs[0].w == pytest.approx(w, abs=1)
        assert 3 * await asked(client, 227, 12, "INT16") * 10 == pytest.approx(-w, abs=15)
        assert await asked(client, 225, 256, "INT32") == pytest.approx(-site.pcs[0].battery.dc_w, abs=1)
        assert await asked(client, 227, 31, "UINT16") == 252
    assert await asked(client, 225, 266, "UINT16") / 10 == pytest.approx(site.pcs[0].battery.soc_pct, abs=0.06)
    assert await asked(client, 100, 843, "UINT16") == 55
    volts, amps = await asked(client, 225, 259, "UINT16") / 100, await asked(client, 225, 307, "UINT16") / 10
    assert volts * amps == pytest.approx(60_000 * 0.94, rel=0.01)


async def test_charging_and_feeding_in_can_be_disabled(gx: tuple[Served, Any]) -> None:
    (site, _, _), client = gx
    await told(client, 100, 2902, [3])
    for w, flags, free in (
        (-6_000, [1, 0], False),
        (-6_000, [0, 0], True),
        (6_000, [0, 1], False),
        (6_000, [0, 0], True),
    ):
        await told(client, 227, 37, [-w // 3, *flags, -w // 3, -w // 3])
        site.advance(2.0)
        assert site.pcs[0].w == pytest.approx(w if free else 0, abs=1)


@pytest.mark.parametrize(("changes", "after_s"), [({}, 60), ({"silence_s": 10}, 10), ({"personality": "no-revert"}, 0)])
async def test_after_its_silence_the_gx_lets_go(
    serve: Callable[..., Any], changes: dict[str, Any], after_s: float
) -> None:
    site = site_of(0.0, GX, **{k: v for k, v in changes.items() if k == "personality"})
    images = FAMILIES["victron-gx"](Installed(site.pcs[0], site, GX.units, changes.get("silence_s"))).images()
    served = await serve(site, images, "pcs1")
    client = AsyncModbusTcpClient(served.host, port=served.port, retries=0, timeout=5.0)
    assert await client.connect()
    await told(client, 100, 2902, [3])
    await told(client, 227, 37, [-2000, 0, 0, -2000, -2000])
    for _ in range(3):  # written again in time it goes on
        site.advance(8.0, 0.1)
        await told(client, 227, 40, [-2000])
    site.advance((after_s or 600) - 0.5, 0.1)
    assert site.pcs[0].w == pytest.approx(6_000, abs=1)
    site.advance(2.0, 0.1)
    assert site.pcs[0].w == pytest.approx(0 if after_s else 6_000, abs=1)
    assert await asked(client, 227, 31, "UINT16") == (8 if after_s else 252)
    client.close()


async def test_the_gx_without_its_grid_and_in_local_control(gx: tuple[Served, Any]) -> None:
    (site, _, _), client = gx
    assert await asked(client, 227, 29, "UINT16") == 0
    assert not await told(client, 227, 62, [1])  # VE.Bus reset: the twin has no such register to write
    assert not await told(client, 100, 2902, [4])
    site.pcs[0].local = True
    assert not await told(client, 100, 2902, [3])
    site.pcs[0].local = False
    site.pcs[0].grid_lost, site.pcs[0].forming = True, True
    site.t_s += 1.0
    assert await asked(client, 227, 29, "UINT16") == 240
    assert await asked(client, 100, 826, "INT16") == 240
    assert await asked(client, 227, 31, "UINT16") == 9


async def test_its_driver_commands_the_gx(gx: tuple[Served, Any]) -> None:
    (site, host, port), _ = gx
    clock = VirtualClock()
    at = Address("tcp", host, port)
    (driver,) = make_drivers([], [GX], [], [], [], IoConfig(deadline_s=5.0), lambda *_: (at, 100), clock)
    command: Any = driver
    for w in (6_000.0, -9_000.0, 0.0):
        await driver.read()
        await command.command(w, clock.mono_s())
        site.advance(2.0)
        clock.advance(2.0)
        pcs, battery = await command.read()
        assert site.pcs[0].w == pytest.approx(w, abs=3)
        assert pcs.w.good == pytest.approx(w, abs=30)
        assert (pcs.connection.good, pcs.mode.good, pcs.state.good) == ("connected", "grid_following", "running")
    assert battery.soc_pct.good == pytest.approx(site.pcs[0].battery.soc_pct, abs=0.1)
    assert battery.discharge_limit_w.good == pytest.approx(60_000 / 0.94, rel=0.01)
    await driver.close()  # the mode that was found
    site.advance(5.0)
    assert site.grid_w == pytest.approx(0, abs=1)


async def test_the_goodwe_keeps_its_mode_for_ever(serve: Callable[..., Any]) -> None:
    pcs = msgspec.structs.replace(PCS, map="goodwe-et", unit=247, units={}, accept_no_revert=True, cap_w=9_000.0)
    site = site_of(21_000.0, pcs)
    served = await serve(
        site, FAMILIES["goodwe-et"](Installed(site.pcs[0], site, {DEVICE: 247}, 10.0)).images(), "pcs1"
    )
    client = AsyncModbusTcpClient(served.host, port=served.port, retries=0, timeout=5.0)
    assert await client.connect()
    site.advance(5.0)
    assert site.grid_w == pytest.approx(0, abs=1)  # its own mode
    for mode, w in ((11, -5_000), (12, 5_000), (8, 0)):
        assert await told(client, 247, 47511, [mode, abs(w)])
        site.advance(2.0)
        ac_w = ac_of_dc_w(site.pcs[0].battery.config, w)  # the battery's power is asked
        assert site.pcs[0].w == pytest.approx(ac_w, abs=1)
        assert await asked(client, 247, 35137, "INT32") == pytest.approx(ac_w, abs=1)
        assert await asked(client, 247, 35182, "INT32") == pytest.approx(w, abs=1)
    assert not await told(client, 247, 47511, [13, 0])
    assert await asked(client, 247, 37007, "UINT16") == 55
    client.close()

    clock = VirtualClock()
    at = Address("tcp", served.host, served.port)
    store = BatteryDevice(id="bat1", energy_kwh=100.0)
    (driver,) = make_drivers(
        [], [pcs], [], [], [], IoConfig(deadline_s=5.0), lambda *_: (at, 247), clock, batteries=[store]
    )
    command: Any = driver
    for w in (-6_000.0, 4_000.0):
        await driver.read()
        await command.command(w, clock.mono_s())
        site.advance(2.0)
        clock.advance(2.0)
        assert (await command.read())[0].w.good == pytest.approx(w, abs=2)
    site.advance(3_600.0, 1.0)  # nobody writes
    assert site.pcs[0].w == pytest.approx(4_000, abs=1)
    await driver.close()
    site.advance(5.0)
    assert site.grid_w == pytest.approx(0, abs=1)


async def test_a_device_that_reports_nothing(gx: tuple[Served, Any]) -> None:
    (site, host, port), _ = gx
    at = Address("tcp", host, port)
    (driver,) = make_drivers([], [GX], [], [], [], IoConfig(deadline_s=5.0), lambda *_: (at, 100), VirtualClock())
    site.faults.put(Fault("not_implemented", "pcs1"))
    with pytest.raises(DeviceError):
        await driver.read()
    await driver.close()


async def test_a_twin_serves_what_the_site_file_names() -> None:
    meters = (msgspec.structs.replace(TWIN_METERS[0], map="janitza-umg", unit=9), TWIN_METERS[1])
    async with running({"pcs": (GX,), "meters": meters}) as twin:
        assert [twin.endpoints[name][2] for name in ("grid", "load", "pcs1")] == [9, 1, 100]

        def at(id: str, url: str, unit: int) -> tuple[Address, int]:
            host, port, served = twin.endpoints[id]
            return Address("tcp", host, port), served

        drivers = make_drivers(meters, [GX], [], [], [], IoConfig(deadline_s=5.0), at, VirtualClock())
        grid, load_meter, (pcs, _) = [await driver.read() for driver in drivers]
        for driver in drivers:
            await driver.close()
    assert (grid.hz.good, load_meter.hz.good, pcs.hz.good) == (pytest.approx(50, abs=0.1),) * 3
