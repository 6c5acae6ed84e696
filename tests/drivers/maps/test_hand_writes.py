"""What a device map lets a person write: within its limits, read back; and whatever else is asked for, refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from toxic import FakeDevice, ToxicServer, Units

from drivers.config import MeterDevice
from drivers.maps.hand_writes import by_hand
from drivers.maps.loader import MapError, load_file
from drivers.maps.meter import MapMeter
from drivers.modbus.errors import ReadbackMismatch
from drivers.modbus.transport import ModbusLink
from gateway.errors import CommandRefused
from gateway.register_access import RegisterAccess

DEADLINE_S = 20.0  # longer than a busy machine takes
MAP = """
[map]
name = "my-meter"
title = "A meter"
kind = "meter"
sources = ["made up"]
no_identity = "it tells none"
[access]
refresh_s = 0.2
[value.w]
address = 10
type = "s16"
unit = "W"
[write.ct_ratio]
address = 20
type = "u16"
scale = 0.5
unit = "1"
min = 1
max = 1000
by_hand = true
[write.display]
address = 21
words = { 0 = "off", 1 = "on" }
by_hand = true
[write.address]
address = 22
unit = "1"
min = 1
max = 247
[protected]
ranges = [[30, 40, "trip curves"]]
"""


@pytest.fixture
async def meter(tmp_path: Path) -> AsyncIterator[tuple[FakeDevice, RegisterAccess]]:
    path = tmp_path / "my-meter.toml"
    path.write_text(MAP)
    device = FakeDevice({10: [500], 20: [80, 0, 7]}, unit=1)
    async with ToxicServer(Units(device)) as server:
        link = ModbusLink(server.host, server.port, deadline_s=DEADLINE_S, backoff_max_s=0.1, device="grid")
        driver = MapMeter(MeterDevice(id="grid", url="twin"), load_file(path), link, 1)
        assert (await driver.read()).w.good == 500
        yield device, RegisterAccess([driver])
        await driver.close()


async def test_named_values_are_written_and_read_back(meter: tuple[FakeDevice, RegisterAccess]) -> None:
    device, access = meter
    written = await access.write("grid", "ct_ratio", 100.0, setpoints=False)
    assert (written.before, written.after) == (40.0, 100.0)
    assert device.writes == [(20, [200])]
    written = await access.write("grid", "display", "on", setpoints=True)
    assert (written.before, written.after) == ("off", "on")


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("address", 3.0, r"not written by hand: only ct_ratio, display may be \(device map my-meter"),
        ("w", 3.0, "only ct_ratio, display"),
        ("35", 3.0, "only ct_ratio, display"),
        ("ct_ratio", 0.0, "expected a number from 1 to 1000"),
        ("ct_ratio", float("nan"), "expected a number from 1 to 1000"),
        ("ct_ratio", "much", "expected a number from 1 to 1000"),
        ("ct_ratio", 1.3, "in steps of 0.5"),
        ("display", 1.0, "expected one of off, on"),
    ],
)
async def test_everything_else_is_refused_and_nothing_written(
    meter: tuple[FakeDevice, RegisterAccess], name: str, value: float | str, why: str
) -> None:
    device, access = meter
    with pytest.raises(CommandRefused, match=why):
        await access.write("grid", name, value, setpoints=True)
    assert device.writes == []


async def test_what_the_device_does_not_keep_is_told(meter: tuple[FakeDevice, RegisterAccess]) -> None:
    device, access = meter
    device.on_write = lambda address, values: device.registers.update({20: 80})
    with pytest.raises(CommandRefused, match=r"wrote 100.0, reads back 40.0") as caught:
        await access.write("grid", "ct_ratio", 100.0, setpoints=False)
    assert isinstance(caught.value.__context__, ReadbackMismatch)


@pytest.mark.parametrize(
    ("was", "broken", "told"),
    [
        ("address = 20", "address = 35", "protected 30..40"),
        ("max = 1000\n", "", "min and max, or words"),
    ],
)
def test_a_map_that_gives_away_too_much_is_refused(tmp_path: Path, was: str, broken: str, told: str) -> None:
    path = tmp_path / "my-meter.toml"
    path.write_text(MAP.replace(was, broken, 1))
    with pytest.raises(MapError, match=told):
        load_file(path)


def test_what_the_recipe_writes_is_not_given_to_people(tmp_path: Path) -> None:
    from drivers.maps.loader import BUNDLED

    text = (BUNDLED / "victron-gx.toml").read_text()
    more = '\n[write.mode]\nat = "system"\naddress = 2902\nwords = { 1 = "own" }\nby_hand = true\n'
    path = tmp_path / "victron-gx.toml"
    path.write_text(text + more)
    with pytest.raises(MapError, match="a register that the recipe does not write"):
        load_file(path)
    assert by_hand(load_file(BUNDLED / "victron-gx.toml")) == ["minimum_soc"]
