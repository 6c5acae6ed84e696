"""Contacts at a Modbus I/O module on loopback: open and closed at rest, two inputs, far apart, not there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from toxic import FakeDevice, ToxicServer
from waiting import until_done

from drivers.config import IoConfig
from drivers.contacts.config import ContactDevice
from drivers.devices import make_drivers
from drivers.modbus.address import Address
from drivers.modbus.errors import ConnectionLost, DeviceError, DeviceException


@pytest.fixture
def module() -> FakeDevice:
    """Registers 10..13 and 100 of unit 1."""
    return FakeDevice({10: [0b0100, 0b0001, 0, 0], 100: [0]}, unit=1)


@pytest.fixture
async def server(module: FakeDevice) -> AsyncIterator[ToxicServer]:
    running = ToxicServer(module)
    await running.start()
    yield running
    await running.stop()


def driver_of(server: ToxicServer, **keys: Any) -> Any:
    given = {"id": "epo", "purpose": "epo", "url": "x", "address": 10, "input": "holding"} | keys
    (driver,) = make_drivers(
        [], [], [], [], [], IoConfig(deadline_s=20.0),
        lambda _id, _url, unit: (Address("tcp", server.host, server.port), unit),
        contacts=[ContactDevice(**given)],
    )  # fmt: skip
    return driver


async def state(driver: Any) -> str | None:
    read: str | None = (await until_done(driver.read, ConnectionLost)).state.good
    await driver.close()
    return read


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"bit": 2}, "inactive"),  # closed at rest, and closed
        ({"bit": 3}, "active"),  # open: by the contact, or by a broken wire
        ({"bit": 2, "normally": "open"}, "active"),
        ({"bit": 3, "normally": "open"}, "inactive"),
        ({"bit": 2, "second_address": 10, "second_bit": 3}, "inactive"),
        ({"bit": 3, "second_address": 10, "second_bit": 2}, "active"),
        ({"bit": 2, "second_address": 11, "second_bit": 0}, "broken"),  # both closed
        ({"bit": 3, "second_address": 12, "second_bit": 0}, "broken"),  # both open
        ({"address": 11, "bit": 0, "second_address": 10, "second_bit": 0}, "inactive"),
        ({"bit": 2, "second_address": 100}, "inactive"),
        ({"address": 100, "bit": 0, "second_address": 10, "second_bit": 2}, "active"),
    ],
)
async def test_what_the_inputs_mean(server: ToxicServer, keys: dict[str, Any], said: str) -> None:
    assert await state(driver_of(server, **keys)) == said


@pytest.mark.parametrize("input", ["coil", "discrete"])
@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"address": 11}, "inactive"),  # 1: closed
        ({"address": 10}, "active"),
        ({"address": 11, "second_address": 12}, "inactive"),
        ({"address": 12, "second_address": 11}, "active"),
        ({"address": 12, "second_address": 13}, "broken"),
    ],
)
async def test_coils_and_discrete_inputs(server: ToxicServer, input: str, keys: dict[str, Any], said: str) -> None:
    assert await state(driver_of(server, input=input, **keys)) == said


@pytest.mark.parametrize("toxic", ["wrong_function", "bad_byte_count", "truncated", "wrong_unit", "short", "extra"])
async def test_a_wrong_answer_is_no_state(server: ToxicServer, toxic: str) -> None:
    driver = driver_of(server, input="discrete", address=11, deadline_s=0.2)
    await until_done(driver.read, DeviceError)
    server.toxic = toxic
    with pytest.raises(DeviceError):
        await driver.read()
    await driver.close()


async def test_neighbouring_inputs_take_one_request(server: ToxicServer, module: FakeDevice) -> None:
    driver = driver_of(server, bit=2, second_address=11)
    await until_done(driver.read, ConnectionLost)
    assert module.reads == [(10, 2)]
    await driver.close()


async def test_an_input_that_is_not_there(server: ToxicServer) -> None:
    driver = driver_of(server, address=50)
    with pytest.raises(DeviceException, match="illegal data address"):
        await driver.read()
    await driver.close()
    with pytest.raises(DeviceError, match="closed"):
        await driver.read()
