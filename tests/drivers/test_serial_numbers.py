"""A device with another serial number than the site file names is neither read nor written."""

from __future__ import annotations

import tomllib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from sunspec_image import COMMON, image, model_words, pcs_image
from toxic import FakeDevice, ToxicServer
from waiting import until_done

from dispatch.model.equipment import DeviceIdentity
from drivers.config import BatteryDevice, IoConfig, MeterDevice, PcsDevice, PvDevice, SwitchDevice
from drivers.devices import make_drivers
from drivers.modbus.address import Address
from drivers.modbus.errors import ConnectionLost, DeviceError, WrongDevice
from drivers.serial_numbers import check_serial, serial_key

BASE, SERIAL = 40_000, 40_000 + 2 + 2 + 16 + 16 + 8 + 8  # SunSpec model 1: SN is 50 registers behind its header
METER = {"W": 1234, "W_SF": 1, "Hz": 4998, "Hz_SF": -2, "PhVphA": 2301, "V_SF": -1}
INVERTER = {"W": 421, "W_SF": 1, "St": 4}
OTHER = [0x3038, 0x3135]  # "0815"; the doubles tell "4711"
AT = {"id": "one", "url": "twin"}
PCS = AT | {"battery": "bat1", "charge_w": 60e3, "discharge_w": 60e3}
SUNSPEC: dict[str, tuple[type, dict[str, Any], list[int]]] = {
    "pcs": (PcsDevice, PCS, pcs_image()),
    "meter": (MeterDevice, AT, image(model_words(1, **COMMON), model_words(203, **METER))),
    "pv": (PvDevice, AT | {"peak_w": 10e3}, image(model_words(1, **COMMON), model_words(103, **INVERTER))),
}
MAP = """
[map]
name = "mine"
title = "Device of the tests"
kind = "{kind}"
verified = "vectors"
sources = ["tests/drivers/test_serial_numbers.py"]
no_identity = "it is a double"
[value.serial]
address = 100
type = "string"
size = 2
poll = "once"
[value.{value}]
address = 10
"""
POWER = 'type = "u16"\nunit = "W"\n'
MAPPED: dict[str, tuple[type, dict[str, Any], str, str]] = {
    "meter": (MeterDevice, AT, "w", POWER),
    "pv": (PvDevice, AT | {"peak_w": 10e3}, "w", POWER),
    "battery": (BatteryDevice, AT | {"energy_kwh": 10}, "soc_pct", 'type = "u16"\nunit = "%"\n'),
    "switch": (SwitchDevice, AT, "position", 'type = "enum"\nwords = { 50 = "closed", 0 = "open" }\n'),
}
GROUP = {"meter": "meters", "pcs": "pcs", "pv": "pv", "switch": "switches", "battery": "batteries"}
Serve = Callable[..., Any]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """serve(kind, config, device, beside) -> (server, driver), each on a port of its own."""
    async with AsyncExitStack() as open_until_then:

        async def start(
            kind: str, config: Any, device: FakeDevice, beside: Path | None = None
        ) -> tuple[ToxicServer, Any]:
            server = await open_until_then.enter_async_context(ToxicServer(device))
            groups: dict[str, Any] = {"meters": [], "pcs": [], "pv": [], "switches": [], "nodes": []}
            io = IoConfig(deadline_s=20.0, backoff_max_s=0.02)
            place = Address("tcp", server.host, server.port), 1
            (driver,) = make_drivers(**groups | {GROUP[kind]: [config]}, io=io, resolve=lambda *_: place, beside=beside)
            open_until_then.push_async_callback(driver.close)
            return server, driver

        yield start


def hold(device: FakeDevice, at: int, words: list[int]) -> None:
    device.registers |= {at + n: word for n, word in enumerate(words)}


async def exchanged(server: ToxicServer, device: FakeDevice, at: int, words: list[int]) -> None:
    """Another device takes the address over: connections end, and its serial number is another."""
    await server.stop()
    hold(device, at, words)
    await server.start()


async def refused(driver: Any) -> str:
    """What a reading says of the device that answers."""

    async def ask() -> str:
        try:
            await driver.read()
        except WrongDevice as error:
            return str(error)
        raise AssertionError("it was read")

    return await until_done(ask, ConnectionLost)


@pytest.mark.parametrize("kind", SUNSPEC)
async def test_a_sunspec_device_must_be_the_one_of_the_site_file(serve: Serve, kind: str) -> None:
    make, keys, words = SUNSPEC[kind]
    device = FakeDevice({BASE: words})
    server, driver = await serve(kind, make(**keys, serial="4711"), device)
    await driver.read()
    assert driver.identity.serial == "4711"
    await exchanged(server, device, SERIAL, OTHER)
    said = await refused(driver)
    assert "one at 127.0.0.1" in said
    assert "tells serial number 0815, expected serial number 4711: not read, not written" in said
    assert "after an exchange set serial in the site file" in said
    device.reads.clear()
    await refused(driver)
    assert len(device.reads) == 1, "of another device no values are asked"
    await exchanged(server, device, SERIAL, [0x3437, 0x3131])
    await until_done(driver.read, DeviceError)


async def test_another_pcs_is_given_no_order_at_all(serve: Serve) -> None:
    device = FakeDevice({BASE: pcs_image()})
    hold(device, SERIAL, OTHER)
    _, driver = await serve("pcs", PcsDevice(**PCS, serial="4711"), device)
    for attempt in (
        lambda: driver.command(5_000.0, 0.0),
        driver.release,
        driver.start,
        lambda: driver.write_value("704.WSet", 1_000.0),
        lambda: driver.command(5_000.0, 1.0),
    ):
        with pytest.raises(WrongDevice, match="tells serial number 0815, expected serial number 4711"):
            await attempt()
    assert device.writes == []


async def test_a_commanded_pcs_that_is_exchanged_is_not_written_any_more(serve: Serve) -> None:
    device = FakeDevice({BASE: pcs_image()})
    server, driver = await serve("pcs", PcsDevice(**PCS, serial="4711"), device)
    await driver.read()
    assert (await driver.command(5_000.0, 0.0)).held
    device.writes.clear()
    await exchanged(server, device, SERIAL, OTHER)
    with pytest.raises(WrongDevice):
        await until_done(lambda: driver.command(-5_000.0, 1.0), ConnectionLost)
    assert device.writes == []


async def test_a_device_that_withholds_its_serial_number_is_asked_again(serve: Serve) -> None:
    """Busy, it refuses model 1; it may be any device then."""
    make, keys, words = SUNSPEC["meter"]
    device = FakeDevice({BASE: words})
    server, driver = await serve("meter", make(**keys, serial="4711"), device)
    await driver.read()
    device.refuse[SERIAL] = 6
    await exchanged(server, device, SERIAL, [])
    assert "tells no serial number, expected serial number 4711" in await refused(driver)
    del device.refuse[SERIAL]
    assert (await driver.read()).w.good == 12_340


async def test_without_the_key_another_sunspec_device_with_another_map_is_told(serve: Serve) -> None:
    make, keys, words = SUNSPEC["pv"]
    device = FakeDevice({BASE: words})
    server, driver = await serve("pv", make(**keys), device)
    await driver.read()
    driver.notices.take()
    stranger = image(model_words(1, **COMMON | {"SN": "0815"}), [64_870, 1, 7], model_words(103, **INVERTER))
    await exchanged(server, device, BASE, stranger)
    await until_done(driver.read, DeviceError)
    told = [notice.text for notice in driver.notices.take()]
    assert "another device answers: Stranger PCS 60 0815, was Stranger PCS 60 4711" in told
    assert driver.identity.serial == "0815", "what it was proven as is compared with this"


@pytest.mark.parametrize("kind", MAPPED)
@pytest.mark.parametrize("key", ["4711", ""])
async def test_a_device_with_a_map(serve: Serve, tmp_path: Path, kind: str, key: str) -> None:
    make, keys, value, form = MAPPED[kind]
    (tmp_path / "mine.toml").write_text(MAP.format(kind=kind, value=value) + form)
    device = FakeDevice({10: [50], 100: [0x3437, 0x3131]})
    config = make(**keys, map="./mine.toml", serial=key)
    server, driver = await serve(kind, config, device, tmp_path / "site.toml")
    await driver.read()
    await exchanged(server, device, 100, OTHER)
    if key:
        assert "tells serial number 0815, expected serial number 4711" in await refused(driver)
        device.reads.clear()
        await refused(driver)
        assert {address for address, _ in device.reads} == {100}
        await exchanged(server, device, 100, [0x3437, 0x3131])
    await until_done(driver.read, DeviceError)
    told = [notice.text for notice in driver.notices.take() if "another device" in notice.text]
    assert told == ([] if key else ["another device answers: 0815, was 4711"])


def test_the_key_that_is_printed_is_toml_and_fits() -> None:
    for serial in ("4711", 'A "b" \\ c', "Zähler 1"):
        line = serial_key(DeviceIdentity(serial=serial))
        key = tomllib.loads(line)["serial"]
        check_serial("here", key, serial)
    assert serial_key(DeviceIdentity(maker="M")) == serial_key(None) == ""
    check_serial("here", "", "4711")
