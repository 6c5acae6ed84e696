"""Several units behind one host and port: one connection, in turn, and none of them waits for another's back-off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from sunspec_image import COMMON, image, model_words, pcs_image
from toxic import FakeDevice, ToxicServer, Units
from waiting import until, until_done

from drivers.config import IoConfig, MeterDevice, PcsDevice, PvDevice
from drivers.devices import Driver, make_drivers
from drivers.modbus.address import Address
from drivers.modbus.errors import ConnectionLost, DeviceError, Timeout
from drivers.modbus.line import Line
from drivers.modbus.transport import ModbusLink

SILENCE_S = 0.3  # the deadline where silence is waited for
DEADLINE_S = 20.0  # elsewhere: longer than a busy machine takes
BASE = 40_000


def power_of(model_id: int, w: int) -> list[int]:
    return image(model_words(1, **COMMON), model_words(model_id, W=w, W_SF=0, **({"St": 4} if model_id == 103 else {})))


class Site:
    """A PV inverter of unit 1, two meters of units 2 and 255, one server."""

    def __init__(self) -> None:
        self.units = Units(
            FakeDevice({BASE: power_of(103, 4210)}, unit=1),
            FakeDevice({BASE: power_of(203, 12_340)}, unit=2),
            FakeDevice({BASE: power_of(203, 777)}, unit=255),
            FakeDevice({BASE: power_of(203, 888)}, unit=0),
        )
        self.server = ToxicServer(self.units)
        self.drivers: list[Any] = []

    def make(
        self,
        deadline_s: float = DEADLINE_S,
        pv_deadline_s: float | None = None,
        pv_connect_delay_s: float = 0.0,
        pcs: Sequence[PcsDevice] = (),
    ) -> list[Any]:
        """The drivers: grid and load meter, and the inverter with keys of its own."""
        pv = PvDevice(
            id="pv1", url="x", peak_w=1e4, unit=1, deadline_s=pv_deadline_s, connect_delay_s=pv_connect_delay_s
        )
        self.drivers = make_drivers(
            [MeterDevice(id="grid", url="x", unit=2), MeterDevice(id="load", url="x", unit=255)],
            pcs,
            [pv],
            [],
            [],
            IoConfig(deadline_s=deadline_s, backoff_max_s=0.2),
            lambda _id, _url, unit: (Address("tcp", self.server.host, self.server.port), unit),
        )
        return self.drivers


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    running = Site()
    await running.server.start()
    yield running
    for driver in running.drivers:
        await driver.close()
    await running.server.stop()


async def power(driver: Driver) -> float | None:
    return (await until_done(driver.read, DeviceError)).w.good  # type: ignore[union-attr]


async def test_units_share_the_one_connection_that_the_device_takes(site: Site) -> None:
    site.server.max_open = 1
    drivers = site.make()
    assert await asyncio.gather(*map(power, drivers)) == [12_340, 777, 4210]
    assert (site.server.connections, site.server.most_open) == (1, 1)
    site.units.asked.clear()
    await asyncio.gather(*(driver.read() for driver in drivers for _ in range(5)))
    assert sorted(site.units.asked) == sorted([2, 255, 1] * 5)


@pytest.mark.parametrize("unit", [0, 255])
async def test_units_0_and_255(site: Site, unit: int) -> None:
    (driver,) = make_drivers(
        [MeterDevice(id="grid", url="x", unit=unit)], [], [], [], [], IoConfig(deadline_s=DEADLINE_S),
        lambda _id, _url, unit: (Address("tcp", site.server.host, site.server.port), unit),
    )  # fmt: skip
    site.drivers = [driver]
    assert await power(driver) == (888 if unit == 0 else 777)


async def test_requests_go_in_turn(site: Site) -> None:
    """While a slow answer is out, the others queue up; each then gets its turn before anyone gets a second one."""
    line = Line(Address("tcp", site.server.host, site.server.port), backoff_max_s=0.2)
    links = {
        unit: ModbusLink(site.server.host, site.server.port, deadline_s=5.0, backoff_max_s=0.2, line=line)
        for unit in (1, 2, 255)
    }
    await links[1].read(1, BASE, 2)
    site.units.asked.clear()

    async def keep_reading(unit: int) -> None:
        for _ in range(4):
            await links[unit].read(unit, BASE, 2)

    await asyncio.gather(*map(keep_reading, links))
    assert [set(site.units.asked[n : n + 3]) for n in range(0, 12, 3)] == [{1, 2, 255}] * 4
    for link in links.values():
        await link.close()


async def test_a_deadline_begins_when_the_request_goes_out(site: Site) -> None:
    """Three answers of 0.6 deadlines each: the last caller waits for 1.8, and is answered."""
    drivers = site.make(deadline_s=1.0)
    await asyncio.gather(*map(power, drivers))
    site.server.toxic, site.server.late_s = "late", 0.6
    reads = await asyncio.gather(*(driver.read() for driver in drivers))
    assert [read.w.good for read in reads] == [12_340, 777, 4210]


async def test_a_hung_unit_keeps_the_others_for_no_longer_than_its_deadline(site: Site) -> None:
    grid, load, pv = site.make(pv_deadline_s=SILENCE_S)
    await asyncio.gather(*map(power, site.drivers))
    site.units.hung.add(1)
    site.units.asked.clear()
    for _ in range(12):
        task = asyncio.create_task(pv.read())
        await asyncio.sleep(0)
        reads = await asyncio.gather(grid.read(), load.read())
        assert [read.w.good for read in reads] == [12_340, 777]
        (result,) = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(result, (Timeout, ConnectionLost))
    asked = "".join("!" if unit == 1 else "." for unit in site.units.asked)
    assert "!!" not in asked, "none waits for two of its silences in a row"
    assert 0 < asked.count("!") < 12, "its back-off spares the others"
    site.units.hung.clear()
    assert await power(pv) == 4210


async def test_a_pcs_is_not_commanded_anew_because_another_unit_hangs(site: Site) -> None:
    """Its connection is replaced each time; that it is the same device, which holds what it held, is only read."""
    site.units.devices[3] = device = FakeDevice({BASE: pcs_image()}, unit=3)
    pcs = PcsDevice(id="pcs1", battery="bat1", charge_w=6e4, discharge_w=6e4, url="x", unit=3)
    _, _, driver, pv = site.make(pv_deadline_s=SILENCE_S, pcs=[pcs])
    await power(pv)
    await driver.read()
    assert (await driver.command(5_000, now_s=0)).held
    device.writes.clear()
    site.units.hung.add(1)
    for n in range(4):
        before = site.server.connections
        while site.server.connections == before:
            await asyncio.gather(pv.read(), driver.read(), return_exceptions=True)
        assert (await driver.read())[0].setpoint_w.good == 5_000
        assert (await driver.command(5_000, now_s=n / 10)).held
    assert device.writes == []
    for writer in list(site.server._writers):  # now the device itself ends it: it may have restarted
        writer.transport.abort()
    result = await until_done(lambda: driver.command(5_000, now_s=1), DeviceError)
    assert (result.action, result.held) == ("armed", True)
    assert len(device.writes) > 3


async def test_a_late_answer_of_one_unit_is_never_taken_for_anothers(site: Site) -> None:
    grid, load, pv = site.make(pv_deadline_s=SILENCE_S)
    await asyncio.gather(*map(power, site.drivers))
    for _ in range(3):
        site.server.toxic, site.server.late_s = "late", 1.2 * SILENCE_S
        with pytest.raises(DeviceError):
            await pv.read()
        site.server.toxic = ""
        assert [await power(d) for d in (grid, load, pv)] == [12_340, 777, 4210]


async def test_the_connection_stays_until_the_last_of_its_devices_is_closed(site: Site) -> None:
    grid, load, pv = site.make()
    await asyncio.gather(*map(power, site.drivers))
    await pv.close()
    await pv.close()
    with pytest.raises(ConnectionLost, match="closed"):
        await pv.read()
    assert (await grid.read()).w.good == 12_340
    await grid.close()
    await load.close()
    await until(lambda: not site.server._writers)
    assert site.server.connections == 1


async def test_a_device_of_its_own_deadline(site: Site) -> None:
    """Its answers take longer than the site's deadline, a tenth of its own."""
    _, _, pv = site.make(deadline_s=SILENCE_S, pv_deadline_s=20 * SILENCE_S)
    await power(pv)
    site.server.toxic, site.server.late_s = "late", 2 * SILENCE_S
    assert (await pv.read()).w.good == 4210


async def test_a_device_that_wants_to_be_left_alone_after_a_connect(site: Site) -> None:
    grid, _, _ = site.make(pv_connect_delay_s=0.2)
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    assert await power(grid) == 12_340
    assert loop.time() - began_s >= 0.2
