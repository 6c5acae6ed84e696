"""Meters by map on the wire: every map's values in both directions, and what devices do otherwise."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from toxic import FakeDevice, ToxicServer

from dispatch.model.equipment import Meter
from dispatch.model.readings import Quality
from drivers.config import IoConfig, MeterDevice
from drivers.devices import make_drivers
from drivers.maps import device as map_device
from drivers.maps.loader import bundled, load
from drivers.maps.requests import plan
from drivers.maps.schema import DEVICE, DeviceMap
from drivers.modbus.address import Address
from drivers.modbus.errors import DeviceError, DeviceException, Timeout, WrongDevice
from drivers.register_view import register_values
from drivers.twin.mapped_meter import images_of

METERS = [name for name in bundled() if load(name).info.kind == "meter"]
VALUES = {
    "w": -68_760.0, "w_l1": -70_000.0, "w_l2": 1_240.0, "w_l3": 0.0, "v_l1": 230.1, "v_l2": 229.9, "v_l3": 231.0,
    "a_l1": 304.3, "a_l2": 5.4, "a_l3": 0.0, "hz": 50.0, "import_wh": 7_000_000.0, "export_wh": 120_000.0,
}  # fmt: skip


NOTHING = dict.fromkeys(("hz", "import_wh", "export_wh"))  # what a map may lack


def device_of(device_map: DeviceMap, values: Mapping[str, float], unit: int = 1) -> FakeDevice:
    """The device with these values, as the twin encodes them."""
    known = {name: partial(float, number) for name, number in values.items()}
    (image,) = images_of(device_map, known, "pcc", {DEVICE: unit}, 1e6).values()
    registers = list(image.start)
    image.refresh(registers, 0.0)
    return FakeDevice({image.base: registers}, unit)


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Any]]:
    """serve(device, name, **keys) -> (server, driver); everything is closed afterwards."""
    running: list[tuple[ToxicServer, Any]] = []

    async def start(device: FakeDevice, name: str, beside: Path | None = None, **keys: Any) -> tuple[ToxicServer, Any]:
        server = ToxicServer(device)
        await server.start()
        config = MeterDevice(id="pcc", url=f"tcp://{server.host}:{server.port}", map=name, **keys)
        (driver,) = make_drivers(
            [config],
            [],
            [],
            [],
            [],
            IoConfig(deadline_s=5.0),
            lambda *_: (Address("tcp", server.host, server.port), 1),
            beside=beside,
        )
        running.append((server, driver))
        return running[-1]

    yield start
    for server, driver in running:
        await driver.close()
        await server.stop()


def figures(meter: Meter) -> dict[str, float | None]:
    found = {"w": meter.w.good, "hz": meter.hz.good, "import_wh": meter.import_wh.good}
    found["export_wh"] = meter.export_wh.good
    for letter, readings in (("v", meter.v), ("a", meter.a), ("w", meter.w_phases)):
        found |= {f"{letter}_l{n}": reading.good for n, reading in enumerate(readings, 1)}
    return found


@pytest.mark.parametrize("name", METERS)
async def test_a_meter_is_read_as_it_is(serve: Callable[..., Any], name: str) -> None:
    device_map = load(name)
    device = device_of(device_map, VALUES)
    _, driver = await serve(device, name)
    expected: dict[str, Any] = {value: VALUES[value] for value in VALUES if value in device_map.values}
    assert figures(await driver.read()) == pytest.approx(NOTHING | expected, rel=1e-6)
    device.reads.clear()
    meter = await driver.read()
    assert len(device.reads) == len(plan(device_map, {"fast"}))  # identity and slow values are not read again
    assert (driver.kind, meter.id, meter.w.quality) == ("meter", "pcc", Quality.GOOD)
    device.registers |= device_of(device_map, VALUES | {"w": 12_340.0}).registers
    assert (await driver.read()).w.good == pytest.approx(12_340.0, rel=1e-6)


async def test_a_meter_that_counts_export_as_positive_is_turned(serve: Callable[..., Any]) -> None:
    _, driver = await serve(device_of(load("janitza-umg"), VALUES), "janitza-umg", invert=True, role="load")
    meter = await driver.read()
    assert driver.kind == "load_meter"
    assert (meter.w.good, meter.import_wh.good, meter.export_wh.good) == (68_760, 120_000, 7_000_000)
    assert [w.good for w in meter.w_phases] == [70_000, -1_240, 0]


async def test_what_is_not_a_number_is_missing(serve: Callable[..., Any]) -> None:
    device_map = load("janitza-umg")
    device = device_of(device_map, VALUES)
    _, driver = await serve(device, "janitza-umg")
    device.registers |= device_of(device_map, VALUES | {"w": math.nan, "hz": math.inf, "w_l2": -math.inf}).registers
    meter = await driver.read()
    assert (meter.w.good, meter.hz.good, meter.w_phases) == (None, None, ())
    assert meter.v[0].good == pytest.approx(230.1, rel=1e-6)


@pytest.mark.parametrize("name", [name for name in METERS if load(name).identity])
async def test_another_device_is_never_used(serve: Callable[..., Any], name: str) -> None:
    device_map = load(name)
    device = device_of(device_map, VALUES)
    device[device_map.identity[0].address] = 0x4142
    _, driver = await serve(device, name)
    with pytest.raises(WrongDevice, match=f"map {name} expects"):
        await driver.read()
    reads = {address for address, _ in device.reads}
    assert reads <= {one.address for one in device_map.identity}


async def test_the_identity_is_checked_on_every_new_connection(serve: Callable[..., Any]) -> None:
    device_map = load("siemens-pac2200")
    device = device_of(device_map, VALUES)
    server, driver = await serve(device, "siemens-pac2200")
    await driver.read()
    device[64001] = 43
    await driver.read()  # not asked again on the same connection
    server.toxic = "close"
    with pytest.raises(DeviceError):
        await driver.read()
    server.toxic = ""
    with pytest.raises(WrongDevice, match=r"register 64001: holds 43, but map siemens-pac2200 expects 42"):
        await driver.read()


async def test_silence_is_an_error_and_no_value(serve: Callable[..., Any]) -> None:
    server, driver = await serve(device_of(load("janitza-umg"), VALUES), "janitza-umg", deadline_s=0.3)
    server.toxic = "hang"
    with pytest.raises(Timeout):
        await driver.read()


async def test_what_the_device_refuses_is_left_out_and_told(serve: Callable[..., Any]) -> None:
    device = device_of(load("janitza-umg"), VALUES)
    device.refuse[19042] = 2  # reactive power
    device.refuse[19050] = 2  # frequency
    _, driver = await serve(device, "janitza-umg")
    meter = await driver.read()
    assert (meter.w.good, meter.hz.good, meter.v[2].good) == (-68_760, None, 231.0)
    assert sorted(notice.text.split(" cannot")[0] for notice in driver.notices.take()) == ["hz", "var"]
    device.reads.clear()
    asked = device.asked
    await driver.read()
    assert device.asked - asked == len(device.reads)  # it is not asked for again


async def test_what_the_device_gave_and_refuses_later_has_no_value_until_it_gives_it_again(
    serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy inverter refuses what it has: its last value must not stay, and one refusal must not end it for good."""
    monkeypatch.setattr(map_device, "SLOW_S", 0.0)
    device_map = load("siemens-pac3200")
    assert device_map.values["import_wh"].poll == "slow"
    device = device_of(device_map, VALUES)
    _, driver = await serve(device, "siemens-pac3200")
    assert (await driver.read()).import_wh.good == VALUES["import_wh"]
    places = [device_map.values[name].address for name in ("hz", "import_wh")]
    device.refuse.update(dict.fromkeys(places, 2))
    for _ in range(2):
        meter = await driver.read()
        assert (meter.w.good, meter.v[2].good) == (VALUES["w"], VALUES["v_l3"])
        assert (meter.hz.good, meter.import_wh.good, meter.export_wh.good) == (None, None, VALUES["export_wh"])
    told = sorted(notice.text.split(" cannot")[0] for notice in driver.notices.take())
    assert told == ["hz", "import_wh"]  # once
    device.refuse.clear()
    meter = await driver.read()
    assert (meter.hz.good, meter.import_wh.good) == (VALUES["hz"], VALUES["import_wh"])


async def test_a_meter_without_its_power_is_an_error(serve: Callable[..., Any]) -> None:
    device = device_of(load("janitza-umg"), VALUES)
    device.refuse[19026] = 2
    _, driver = await serve(device, "janitza-umg")
    with pytest.raises(DeviceException, match="exception 2"):
        await driver.read()


async def test_a_device_that_gives_fewer_registers_is_read_in_parts(serve: Callable[..., Any]) -> None:
    device = device_of(load("janitza-umg"), VALUES)
    device.max_count = 30
    _, driver = await serve(device, "janitza-umg")
    assert (await driver.read()).export_wh.good == 120_000


async def test_no_value_is_parted_by_the_most_registers_of_the_site_file(serve: Callable[..., Any]) -> None:
    """A value whose halves come from two requests could be of two moments."""
    device_map = load("janitza-umg")
    device = device_of(device_map, VALUES)
    _, driver = await serve(device, "janitza-umg", max_registers=5)
    assert figures(await driver.read())["w_l1"] == -70_000
    assert max(count for _, count in device.reads) <= 5
    halves = {value.address + 1 for value in device_map.values.values() if value.address is not None}
    assert halves.isdisjoint(address for address, _ in device.reads)


async def test_the_registers_that_were_read_are_explained(serve: Callable[..., Any]) -> None:
    _, driver = await serve(device_of(load("socomec-countis-e3"), VALUES), "socomec-countis-e3")
    await driver.read()
    words = driver.link.traffic.registers()
    shown = {one.name: (one.address, one.value, one.quantity) for one in register_values(driver, words, 0.0)}
    assert shown["w"] == (0xC568, -68_760, "W")
    assert shown["import_wh"] == (0xC702, 7_000_000, "Wh")
    assert shown["hz"] == (0xC55E, 50, "Hz")


def map_of_my_own(directory: Path) -> None:
    text = load("janitza-umg").path.read_text().replace('name = "janitza-umg"', 'name = "mine"')
    (directory / "mine.toml").write_text(text)


async def test_a_map_beside_the_site_file(serve: Callable[..., Any], tmp_path: Path) -> None:
    map_of_my_own(tmp_path)
    _, driver = await serve(device_of(load("janitza-umg"), VALUES), "./mine.toml", tmp_path / "site.toml")
    assert (await driver.read()).w.good == -68_760
