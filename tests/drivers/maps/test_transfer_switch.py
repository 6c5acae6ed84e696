"""Transfer switches by maps: the source, orders in remote control, and what a killed gateway leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from toxic import FakeDevice, ToxicServer
from transfer_switches import AtysPM, RemoteSwitch

from dispatch.model.equipment import Switch
from drivers.config import SwitchDevice
from drivers.maps import switch as switch_module
from drivers.maps.found_modes import FoundModes
from drivers.maps.loader import MapError, load, load_file
from drivers.maps.schema import DeviceMap
from drivers.maps.switch import MapSwitch
from drivers.modbus.errors import ConnectionLost, DeviceError, ReadbackMismatch, WrongDevice
from drivers.modbus.transport import ModbusLink

REMOTE_MAP = load_file(Path(__file__).parents[1] / "transfer-switch.toml")
CONFIG = SwitchDevice(id="ats", url="tcp://127.0.0.1:502", map="x")


@asynccontextmanager
async def served(
    device: FakeDevice, device_map: DeviceMap, found: FoundModes | None = None, deadline_s: float = 10.0
) -> AsyncIterator[tuple[MapSwitch, ToxicServer]]:
    async with ToxicServer(device) as server:
        link = ModbusLink(server.host, server.port, deadline_s=deadline_s, backoff_max_s=0.01, device="ats")
        driver = MapSwitch(CONFIG, device_map, link, 1, found)
        try:
            yield driver, server
        finally:
            await driver.link.close()


def shown(read: Switch) -> tuple[str | None, ...]:
    return read.source.good, read.position.good, read.control.good, read.command.good


async def test_an_atys_tells_which_source_feeds_the_site() -> None:
    device = AtysPM()
    async with served(device, load("socomec-atys-p-m")) as (driver, _):
        read = await driver.read()
        assert shown(read) == ("grid", "closed", "automatic", "none")
        assert (read.grid_voltage.good, read.genset_voltage.good) == ("present", "absent")
        assert (read.orders_in, read.rests_in) == ((), "automatic")
        device.grid(present=False)
        read = await driver.read()
        assert shown(read) == ("genset", "open", "automatic", "none")
        assert (read.grid_voltage.good, read.genset_voltage.good) == ("absent", "present")
        device[AtysPM.POSITION], device[AtysPM.MODE] = 1, 0x0000
        assert shown(await driver.read()) == ("none", "open", "local", "none")
        device[AtysPM.POSITION], device[AtysPM.MODE] = 0, 0x0040
        assert shown(await driver.read()) == (None, "moving", "inhibited", "none")
        device[AtysPM.POSITION] = 9
        assert (await driver.read()).position.good is None
        device.reads.clear()
        await driver.read()
        assert len(device.reads) == 1


async def test_a_switch_that_is_only_watched_is_never_written() -> None:
    device = AtysPM()
    async with served(device, load("socomec-atys-p-m")) as (driver, _):
        for action in ("open", "close"):
            with pytest.raises(WrongDevice, match=f"only watched.*{action} it at the switch"):
                await driver.order(action)
        await driver.order("none")
        assert device.writes == []


@pytest.mark.parametrize(("register", "holds"), [(0xC350, 0x54), (50004, 100)])
async def test_another_device_at_its_address_is_not_read(register: int, holds: int) -> None:
    """Not Socomec; Socomec, but a meter."""
    device = AtysPM()
    device[register] = holds
    async with served(device, load("socomec-atys-p-m")) as (driver, _):
        with pytest.raises(WrongDevice, match="map socomec-atys-p-m expects"):
            await driver.read()


async def test_after_a_silence_the_identity_is_checked_before_values_are_used() -> None:
    device = AtysPM()
    async with served(device, load("socomec-atys-p-m"), deadline_s=0.2) as (driver, server):
        server.toxic = "hang"
        with pytest.raises(DeviceError):
            await driver.read()
        server.toxic, device[50004] = "", 100
        for _ in range(3):
            with pytest.raises(DeviceError):
                await driver.read()
    async with served(device, load("socomec-atys-p-m")) as (driver, server):
        device[50004] = 300
        assert (await driver.read()).source.good == "grid"
        server.toxic = "close"
        with pytest.raises(DeviceError):
            await driver.read()
        server.toxic, device[50004] = "", 100
        with pytest.raises(WrongDevice, match="expects 300"):
            await until_told(driver)


async def until_told(driver: MapSwitch) -> Switch:
    """The first reading that is not refused for want of a connection."""
    while True:
        try:
            return await driver.read()
        except ConnectionLost:
            await asyncio.sleep(0.01)


async def test_an_order_takes_remote_control_and_its_withdrawal_gives_it_back() -> None:
    device, kept = RemoteSwitch(), []

    async def save(content: bytes) -> str:
        kept.append((len(device.writes), content))
        return ""

    found = FoundModes(None, save)
    async with served(device, REMOTE_MAP, found) as (driver, _):
        read = await driver.read()
        assert shown(read) == ("grid", "closed", "automatic", "none")
        assert (read.orders_in, read.rests_in, read.takes_orders) == (("remote", "automatic"), "automatic", True)
        await driver.order("open")
        assert device.writes == [(33, [1]), (32, [2])]
        assert kept[0][0] == 0, "what was found is kept before the first write"
        assert shown(await driver.read()) == ("none", "open", "remote", "open")
        await driver.order("close")
        assert device.writes[2:] == [(32, [1])]
        assert shown(await driver.read()) == ("grid", "closed", "remote", "close")
        await driver.order("none")
        assert device.writes[3:] == [(33, [0])]
        assert shown(await driver.read()) == ("grid", "closed", "automatic", "none")
        assert found.devices == ()
        assert not driver.taken_over
        assert device[RemoteSwitch.START] == 0


@pytest.mark.parametrize("action", ["open", "close"])
async def test_a_switch_in_local_control_is_not_ordered(action: str) -> None:
    device = RemoteSwitch()
    device.handle()
    async with served(device, REMOTE_MAP) as (driver, _):
        assert not (await driver.read()).takes_orders
        with pytest.raises(WrongDevice, match="its control is local: not ordered; set it to automatic"):
            await driver.order(action)
        assert device.writes == []


async def test_without_remote_control_there_is_no_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(switch_module, "MODE_S", 0.05)
    device = RemoteSwitch()
    device.takes_mode = False
    found = FoundModes()
    async with served(device, REMOTE_MAP, found) as (driver, _):
        with pytest.raises(ReadbackMismatch, match="remote control was written, and it is in automatic control"):
            await driver.order("open")
        assert device.writes == [(33, [1])]
        await driver.read()
        assert found.devices == (), "it is as it was found"


async def test_what_does_not_go_back_to_automatic_is_told_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(switch_module, "MODE_S", 0.05)
    monkeypatch.setattr(switch_module, "PUT_RIGHT_S", 0.0)
    device, found = RemoteSwitch(), FoundModes()
    async with served(device, REMOTE_MAP, found) as (driver, _):
        await driver.order("open")
        device.on_write = lambda address, values: device.registers.update({33: 1})
        with pytest.raises(ReadbackMismatch, match="automatic control was written, and it is in remote control"):
            await driver.order("none")
        read = await driver.read()
        assert (read.control.good, read.command.good) == ("remote", "none"), "an alarm, not an order that stands"
        device.on_write = lambda address, values: None
        await driver.read()
        assert (await driver.read()).control.good == "automatic"
        assert found.devices == ()


async def killed(device: RemoteSwitch, action: str) -> FoundModes:
    """A gateway that was killed after an order; its record as the next one reads it."""
    disk: list[bytes] = []

    async def save(content: bytes) -> str:
        disk.append(content)
        return ""

    async with served(device, REMOTE_MAP, FoundModes(None, save)) as (driver, _):
        await driver.order(action)
    device.writes.clear()
    return FoundModes(disk[-1])


async def test_after_a_kill_the_next_gateway_puts_a_closed_switch_right() -> None:
    device = RemoteSwitch()
    found = await killed(device, "close")
    async with served(device, REMOTE_MAP, found) as (driver, _):
        await driver.read()
        assert device.writes == [(33, [0])]
        assert shown(await driver.read()) == ("grid", "closed", "automatic", "none")
        assert found.devices == ()
        assert [n.text for n in driver.notices.take()] == ["in automatic control, as it was found before an order"]


async def test_after_a_kill_the_next_gateway_takes_over_an_open_switch() -> None:
    device = RemoteSwitch()
    found = await killed(device, "open")
    async with served(device, REMOTE_MAP, found) as (driver, _):
        assert shown(await driver.read()) == ("none", "open", "remote", "open")
        assert device.writes == []
        await driver.order("close")
        await driver.order("none")
        assert device.writes == [(32, [1]), (33, [0])]
        assert found.devices == ()


async def test_release_gives_automatic_control_back() -> None:
    device = RemoteSwitch()
    found = await killed(device, "close")
    async with served(device, REMOTE_MAP, found) as (driver, _):
        assert driver.taken_over
        assert await driver.release() == "back in automatic control"
        assert device.writes == [(33, [0])]
        assert found.devices == ()
        assert await driver.release() == "in automatic control"
        assert device.writes == [(33, [0])]


async def test_the_end_of_the_gateway_gives_automatic_control_back_on_the_grid_only() -> None:
    for action, writes in (("close", [(33, [0])]), ("open", [])):
        device, found = RemoteSwitch(), FoundModes()
        async with served(device, REMOTE_MAP, found) as (driver, _):
            await driver.order(action)
            device.writes.clear()
            await driver.close()
            assert device.writes == writes
            assert bool(found.devices) == (action == "open")


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"writes": {}}, "has no command"),
        ({"info": msgspec.structs.replace(REMOTE_MAP.info, verified="unverified")}, "is unverified"),
        (
            {"writes": {"command": msgspec.structs.replace(REMOTE_MAP.writes["command"], synchro_check="")}},
            "names no synchro-check",
        ),
    ],
)
async def test_what_a_map_does_not_say_is_not_ordered(changed: dict[str, object], why: str) -> None:
    device = RemoteSwitch()
    async with served(device, msgspec.structs.replace(REMOTE_MAP, **changed)) as (driver, _):
        assert (await driver.read()).orders_in == ()
        with pytest.raises(WrongDevice, match=why):
            await driver.order("open")
        assert device.writes == []


def test_contacts_that_contradict_each_other_are_no_source() -> None:
    device_map = load("siemens-atc6300")
    words = {"closed", "open"}
    assert {v for n in ("grid_contact", "genset_contact") for v in device_map.values[n].bits.values()} <= words
    sample = switch_module.Sample({"grid_contact": "closed", "genset_contact": "closed"})
    assert switch_module.source_of(sample) == "unknown"
    assert switch_module.position_of(device_map, sample) == "moving"
    told = switch_module.Sample({"source": "grid", "grid_contact": "open", "genset_contact": "closed"})
    assert switch_module.source_of(told) == "unknown"


@pytest.mark.parametrize(
    ("grid", "genset", "off", "source"),
    [
        ("open", "open", "closed", "none"),
        ("open", "open", "open", "unknown"),  # on its way, or nothing but zeros is answered
        ("closed", "open", "closed", "unknown"),
        ("open", "closed", "open", "genset"),
        ("open", "open", None, "none"),  # a switch that does not tell it
    ],
)
def test_a_position_between_the_sources_is_one_that_its_own_contact_tells(
    grid: str, genset: str, off: str | None, source: str
) -> None:
    sample = switch_module.Sample({"grid_contact": grid, "genset_contact": genset, "off_contact": off})
    assert switch_module.source_of(sample) == source


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('32\nwords = { 1 = "close", 2 = "open" }', '32\nwords = { 1 = "close" }', "not all words"),
        ('1 = "close", 2 = "open" }', '1 = "close", 2 = "genset" }', "'genset'"),
        ("[write.command]\naddress = 32", "[write.start]\naddress = 30", "no such write of a switch"),
        ("[write.command]\naddress = 32", "[write.command]\naddress = 31", "protected 31..31 (starts the generator)"),
        ("[value.source]", "[value.x_source]", "no value source or grid_contact or position"),
        ("[value.source]", "[value.grid_contact]", "one of grid_contact and genset_contact"),
        ("[value.source]", "[value.off_contact]", "without the other contacts"),
    ],
)
def test_what_a_map_of_a_switch_must_not_say(tmp_path: Path, old: str, new: str, says: str) -> None:
    text = REMOTE_MAP.path.read_text()
    assert text.count(old) == 1
    path = tmp_path / "transfer-switch.toml"
    path.write_text(text.replace(old, new))
    with pytest.raises(MapError) as caught:
        load_file(path)
    assert any(says in str(fault) for fault in caught.value.faults), str(caught.value)
