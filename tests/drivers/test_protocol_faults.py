"""25 faults of the protocol in each kind of device: no wrong value is read, no write is taken for done that was not.

A device changes its values before each reading, so that an answer that is late or of another request shows. Some cells
in `make test`; `make protocol-faults` tries all, with 50 seeds.
"""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from sunspec_image import COMMON, address_of, image, model_words, pcs_image
from toxic import HARMLESS, OTHERS, TOXICS, FakeDevice, ToxicServer
from waiting import until_done

from benchmarks.reliability import tell
from dispatch.model.islanding import NodeOrder
from dispatch.model.readings import Reading
from drivers.clock import VirtualClock
from drivers.config import MeterDevice, PcsDevice, PvDevice, SwitchDevice
from drivers.maps.loader import load
from drivers.maps.switch import MapSwitch
from drivers.meter import MeterDriver
from drivers.modbus.errors import DeviceError
from drivers.modbus.transport import ModbusLink
from drivers.node_config import NodeDevice
from drivers.nodes.modbus_node import NodeDriver
from drivers.pcs import PcsDriver
from drivers.pv import PvDriver

FAULTS = (*TOXICS, *HARMLESS, *OTHERS)
SEEDS = int(os.environ.get("SKERRY_SOAK_SEEDS", "0"))  # 0: a sixth of the faults for each device, once
DEADLINE_S = 0.06
READINGS = 3  # while a fault lasts
METER = image(model_words(1, **COMMON), model_words(203, W=0, W_SF=1, Hz=0, Hz_SF=-2))
PV = image(model_words(1, **COMMON), model_words(103, W=0, W_SF=1, St=4))
PCS = pcs_image()


@dataclass
class Rig:
    """One device on loopback and its driver."""

    server: ToxicServer
    device: FakeDevice
    driver: Any
    change: Callable[[random.Random], dict[str, float | str]]  # other values in the registers; what they mean
    shown: Callable[[Any], dict[str, Reading]]  # of a reading
    write: Callable[[random.Random], Any] | None = None  # True if it says that the device holds the value
    holds: Callable[[], bool] = lambda: True  # whether it does hold what was written last


def meter_rig(server: ToxicServer, device: FakeDevice, link: ModbusLink) -> Rig:
    base = min(device.registers)
    w, hz = (address_of(METER, 203, point, base) for point in ("W", "Hz"))

    def change(chance: random.Random) -> dict[str, float | str]:
        watts, hertz = chance.randrange(-3_000, 3_000), chance.randrange(4_900, 5_100)
        device[w], device[hz] = watts, hertz
        return {"w": watts * 10.0, "hz": round(hertz / 100, 2)}

    driver = MeterDriver(MeterDevice(id="grid", url="twin"), link, 1)
    return Rig(server, device, driver, change, lambda read: {"w": read.w, "hz": read.hz})


def pv_rig(server: ToxicServer, device: FakeDevice, link: ModbusLink) -> Rig:
    w = address_of(PV, 103, "W", min(device.registers))

    def change(chance: random.Random) -> dict[str, float | str]:
        device[w] = watts = chance.randrange(3_000)
        return {"w": watts * 10.0}

    driver = PvDriver(PvDevice(id="pv1", url="twin", peak_w=5_000), link, 1)
    return Rig(server, device, driver, change, lambda read: {"w": read.w})


def pcs_rig(server: ToxicServer, device: FakeDevice, link: ModbusLink) -> Rig:
    w, v, held = (address_of(PCS, model, point) for model, point in ((701, "W"), (701, "LNV"), (704, "WSet")))
    enabled, clock = address_of(PCS, 704, "WSetEna"), VirtualClock()
    config = PcsDevice(id="pcs1", battery="bat1", charge_w=60e3, discharge_w=60e3, url="twin", revert_s=60)
    driver, asked = PcsDriver(config, link, 1, clock), [0]

    def setpoint() -> int:
        return struct.unpack(">i", struct.pack(">HH", device[held], device[held + 1]))[0]

    def change(chance: random.Random) -> dict[str, float | str]:
        clock.advance(1.0)
        watts, volts = chance.randrange(-3_000, 3_000), chance.randrange(2_000, 2_600)
        device[w], device[v] = watts, volts
        return {"w": watts * 10.0, "v": round(volts / 10, 1), "setpoint_w": setpoint() * 10.0}

    async def write(chance: random.Random) -> bool:
        asked[0] = chance.randrange(-3_000, 3_000)
        return bool((await driver.command(asked[0] * 10.0, clock.mono_s())).held)

    def shown(read: Any) -> dict[str, Reading]:
        return {"w": read[0].w, "v": read[0].v, "setpoint_w": read[0].setpoint_w}

    return Rig(server, device, driver, change, shown, write, lambda: setpoint() == asked[0] and device[enabled] == 1)


def switch_rig(server: ToxicServer, device: FakeDevice, link: ModbusLink) -> Rig:
    device_map, asked = load("skerry-switch"), [0]
    command = device_map.writes["command"]
    driver = MapSwitch(SwitchDevice(id="pcc", url="twin"), device_map, link, 1)

    def change(chance: random.Random) -> dict[str, float | str]:
        device[8], closed = chance.randrange(3_000), chance.randrange(2)
        device[2], device[3], device[4] = 1 + closed, closed, 1 - closed
        return {"transfer_ms": float(device[8]), "position": ("open", "closed")[closed]}

    async def write(chance: random.Random) -> bool:
        asked[0] = chance.choice(list(command.words))
        await driver.order(command.words[asked[0]])
        return True

    def shown(read: Any) -> dict[str, Reading]:
        return {"transfer_ms": read.transfer_ms, "position": read.position}

    return Rig(server, device, driver, change, shown, write, lambda: device[command.address] == asked[0])


def node_rig(server: ToxicServer, device: FakeDevice, link: ModbusLink) -> Rig:
    driver, asked = NodeDriver(NodeDevice(id="gpu-01", source="modbus", url="twin"), link, 1), [0]

    def change(chance: random.Random) -> dict[str, float | str]:
        watts = chance.randrange(1 << 19)
        device[2], device[3] = watts >> 16, watts
        return {"w": float(watts)}

    async def write(chance: random.Random) -> bool:
        asked[0] = chance.randrange(5_000)
        await driver.order(NodeOrder("gpu-01", cap_w=float(asked[0])))
        return True

    holds = lambda: device[7] == asked[0]  # the cap  # noqa: E731
    return Rig(server, device, driver, change, lambda read: {"w": read.w}, write, holds)


ROLES: dict[str, tuple[dict[int, list[int]], Callable[[ToxicServer, FakeDevice, ModbusLink], Rig]]] = {
    "meter": ({40000: METER}, meter_rig),
    "load meter at base 0": ({0: METER}, meter_rig),
    "pcs": ({40000: PCS}, pcs_rig),
    "pv": ({50000: PV}, pv_rig),
    "switch": ({0: [0x534B, 1, *[0] * 8]}, switch_rig),
    "node": ({0: [0x534E, 1, *[0] * 8]}, node_rig),
}


async def read_rightly(rig: Rig, chance: random.Random) -> None:
    """Once: what comes is what is there. Raises DeviceError where nothing comes."""
    there = rig.change(chance)
    found = rig.shown(await rig.driver.read())
    assert {name: _rounded(found[name].good) for name in there} == there


def _rounded(value: Any) -> Any:
    return round(value, 3) if isinstance(value, float) else value


async def written_rightly(rig: Rig, chance: random.Random) -> None:
    """Once: what is said to be held is held. Raises DeviceError where that is not said."""
    if rig.write is not None and await rig.write(chance):
        assert rig.holds()


async def tried(rig: Rig, fault: str, chance: random.Random) -> None:
    """One fault, from some request on, in the middle of a reading or write or between two; then all is well again."""
    rig.server.chance = chance
    rig.server.begins_in, rig.server.next_toxic = chance.randrange(6), fault
    for act in chance.choices((read_rightly, written_rightly), k=READINGS):
        try:
            await act(rig, chance)
        except DeviceError:
            continue
    rig.server.begins_in, rig.server.toxic = None, ""
    for act in (read_rightly, written_rightly, read_rightly):
        await until_done(lambda act=act: act(rig, chance), DeviceError)


def test_there_are_25_faults() -> None:
    assert len({*FAULTS}) == 25


@pytest.mark.timeout(300 + 60 * SEEDS)
@pytest.mark.parametrize("role", ROLES)
async def test_no_fault_gives_a_wrong_value(role: str, capfd: pytest.CaptureFixture[str]) -> None:
    blocks, rig_of = ROLES[role]
    device = FakeDevice({base: list(words) for base, words in blocks.items()})
    faults = FAULTS if SEEDS else FAULTS[list(ROLES).index(role) :: len(ROLES)]
    async with ToxicServer(device) as server:
        server.late_s = 1.5 * DEADLINE_S
        link = ModbusLink(server.host, server.port, deadline_s=DEADLINE_S, backoff_max_s=0.02, device=role)
        rig = rig_of(server, device, link)
        for seed in range(max(SEEDS, 1)):
            for fault in faults:
                chance = random.Random(f"{role} {fault} {seed}")
                try:
                    await tried(rig, fault, chance)
                except Exception as error:
                    raise AssertionError(f"{role}, {fault}, seed {seed}") from error
        await rig.driver.close()
    assert capfd.readouterr().err == ""
    tell("cells", max(SEEDS, 1) * len(faults))
    tell("seeds", SEEDS, "max")
    tell("wrong values or writes", 0)
