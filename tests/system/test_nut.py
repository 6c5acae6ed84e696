"""A UPS and a node on two PDUs, served by Debian's own upsd: readings, changes, what is lost and found again."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import nut_server
import pytest
from nut_server import DEVICES, NutSite
from waiting import LIMIT_S, until_done

from drivers.config import IoConfig
from drivers.devices import make_drivers
from drivers.modbus.address import Address
from drivers.modbus.errors import ConnectionLost, DeviceError
from drivers.node_config import NodeDevice
from drivers.nut.config import PduDevice, UpsDevice
from drivers.nut.protocol import Refused


@pytest.fixture(scope="module")
def nut() -> Iterator[NutSite]:
    if why := nut_server.missing():
        pytest.skip(f"no NUT: {why}")
    with tempfile.TemporaryDirectory(prefix="sk", dir="/tmp") as name:
        site = NutSite(Path(name))
        try:
            site.start()
            yield site
        finally:
            site.stop()


@pytest.fixture
async def drivers(nut: NutSite) -> AsyncIterator[list[Any]]:
    """Of a node and a UPS."""
    made = make_drivers(
        [], [], [], [],
        [NodeDevice(id="gpu-01", source="nut", outlets=("pdu-a:1", "pdu-b:1"))],
        IoConfig(backoff_max_s=0.2), lambda _id, _url, _unit: (Address("tcp", ""), 0),
        ups=[UpsDevice(id="ups1", url=nut.url("su700"), deadline_s=10)],
        pdus=[PduDevice(id=name, url=nut.url(name), deadline_s=10) for name in ("pdu-a", "pdu-b")],
    )  # fmt: skip
    yield made
    for driver in made:
        await driver.close()


async def until(condition: Callable[[Any], bool], driver: Any) -> Any:
    """Read until it is so; a driver that has just begun gives nothing yet."""
    async with asyncio.timeout(LIMIT_S):
        while not condition(read := await until_done(driver.read, DeviceError)):  # noqa: ASYNC110  it is a poll
            await asyncio.sleep(0.2)
    return read


async def refused(code: str, driver: Any) -> None:
    """Read until upsd refuses by this word."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            try:
                await driver.read()
            except Refused as error:
                if error.code == code:
                    return
            await asyncio.sleep(0.2)


async def test_what_upsd_serves_is_read(drivers: list[Any], nut: NutSite) -> None:
    node, ups = drivers
    read = await until(lambda ups: ups.status.good is not None, ups)
    assert [r.good for r in (read.status, read.w, read.load_pct, read.charge_pct, read.runtime_s)] == [
        "OL", 1230.5, 41.0, 97.0, 1680.0,
    ]  # fmt: skip
    assert (await until_done(node.read, DeviceError)).w.good == 765.5
    variables = await ups._server.variables("ups1", "su700", 10.0)
    assert variables["ups.mfr"] == 'Maker "A" \\ B'


async def test_a_change_is_seen(drivers: list[Any], nut: NutSite) -> None:
    ups = drivers[1]
    nut.say("su700", DEVICES["su700"].replace("OL", "OB DISCHRG LB"))
    read = await until(lambda ups: bool(ups.says("OB")), ups)
    assert read.says("LB")
    nut.say("su700", DEVICES["su700"])
    await until(lambda ups: ups.status.good == "OL", ups)


async def test_a_driver_that_hangs_or_dies_takes_its_readings_with_it(drivers: list[Any], nut: NutSite) -> None:
    node, ups = drivers
    nut.signal("su700", signal.SIGSTOP)
    try:
        await refused("DATA-STALE", ups)
    finally:
        nut.signal("su700", signal.SIGCONT)
    await until(lambda ups: ups.status.good == "OL", ups)
    nut.end("pdu-b")
    await refused("DRIVER-NOT-CONNECTED", node)


async def test_an_upsd_that_is_started_again_is_found(drivers: list[Any], nut: NutSite) -> None:
    ups = drivers[1]
    await until_done(ups.read, DeviceError)
    nut.end("upsd")
    with pytest.raises(ConnectionLost):
        await ups.read()
    nut.start_upsd()
    await until(lambda ups: ups.status.good == "OL", ups)


async def test_a_name_that_ups_conf_does_not_have(drivers: list[Any], nut: NutSite) -> None:
    with pytest.raises(Refused, match="UNKNOWN-UPS"):
        await drivers[1]._server.variables("ups1", "other", 10.0)
