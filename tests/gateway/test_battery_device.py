"""A battery whose BMS is a device of its own, beside a PCS that tells no SoC: site file, readings, control."""

from __future__ import annotations

from collections.abc import AsyncIterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import msgspec
import pytest
from small_gateway import SITE, Devices
from test_slow_devices import Events
from toxic import FakeDevice, ToxicServer
from waiting import until

from dispatch.alarms.conditions import conditions
from dispatch.alarms.facts import Facts
from dispatch.control.controller import Controller
from dispatch.model.decision import Decision
from dispatch.model.equipment import Battery, DeviceHealth, Meter, Pcs
from dispatch.model.readings import reading
from dispatch.model.snapshot import Snapshot
from dispatch.wording.catalogue import words
from drivers.clock import SystemClock, VirtualClock
from drivers.devices import make_drivers
from drivers.modbus.address import Address
from drivers.nodes.known_gpus import KnownGpus
from gateway.commissioning.device_findings import battery_read_by
from gateway.device_io import DeviceIo
from gateway.site import loader
from gateway.site.loader import SiteFileError
from gateway.site.schema import Site
from tests.drivers.maps.pcs_twins import SinexcelTwin

SLOW = {"deadline_s": 10.0}  # the machine of the tests may be busy
BMS = {"url": "tcp://127.0.0.1:1504", "map": "pylontech-powercube-m2", "isolation_min_ohm": 100_000.0}
CLOSED, RESISTANCE = 0x110F, 0x1148


def site_with(pcs: dict[str, Any] | None = None, **battery: Any) -> Site:
    """A Sinexcel with a Pylontech; a change to None leaves the key out."""
    given = {"id": "bat1", "energy_kwh": 50, **BMS, **SLOW, **battery}
    document = {
        "version": 1,
        "site": {"name": "s", "timezone": "Europe/Berlin"},
        "grid": {"fuse_a": 63, "contracted_peak_w": 20e3},
        "battery": [{key: value for key, value in given.items() if value is not None}],
        "pcs": [
            {
                "id": "pcs1", "battery": "bat1", "charge_w": 30e3, "discharge_w": 30e3, "url": "tcp://127.0.0.1:1502",
                "map": "sinexcel-pws2", **SLOW, **(pcs or {}),
            }
        ],
        "meter": [{"id": "grid", "url": "tcp://127.0.0.1:1503"}],
    }  # fmt: skip
    return loader.compose(Path("site.toml"), document)


@pytest.mark.parametrize(
    ("changes", "key", "part"),
    [
        ({"map": None, "url": None}, "battery[0].map", "map sinexcel-pws2 of pcs[0] tells no SoC"),
        ({"url": None}, "battery[0].url", "where the BMS is"),
        ({"map": None}, "battery[0].map", "the device map by which the BMS"),
        ({"map": "eastron-sdm630"}, "battery[0].map", "a map of kind battery; this is one of kind meter"),
        ({"map": "pylontech"}, "battery[0].map", "pylontech-powercube-m2"),
        ({"url": "twin"}, "battery[0].url", "the address of a BMS"),
        ({"map": None, "url": None, "serial": "1"}, "battery[0].serial", "no such key without map"),
        ({"serial": "1"}, "battery[0].serial", "reads no serial number to compare"),
        ({"url": "serial:///dev/ttyS0", "unit": 0}, "battery[0].unit", "a unit, 1..255"),
        ({"url": "tcp://127.0.0.1"}, "battery[0].url", "a port"),
    ],
)
def test_what_a_site_file_must_say(changes: dict[str, Any], key: str, part: str) -> None:
    with pytest.raises(SiteFileError) as error:
        site_with(**changes)
    found = [f"{e.key}: {e.expected}" for e in error.value.errors]
    assert any(line.startswith(key) and part in line for line in found), found


def test_a_pcs_that_tells_the_soc_needs_no_other_device() -> None:
    hybrid = {"map": "goodwe-et", "unit": 247, "accept_no_revert": True, "cap_w": 6e3}
    site = site_with(hybrid, map=None, url=None)
    assert (site.bms, battery_read_by(site, "pcs1"), battery_read_by(site, "bat1")) == ((), "bat1", "")
    apart = site_with(hybrid)
    assert (battery_read_by(apart, "pcs1"), battery_read_by(apart, "bat1")) == ("", "bat1")


class Rig:
    """PCS and BMS on loopback, the drivers of the site, a controller."""

    def __init__(self) -> None:
        self.pcs = SinexcelTwin()
        words = {0x1100: 0x0800, 0x1103: 7000, 0x1106: 250, 0x1107: 57, 0x110B: 4000, 0x110D: 0xFFFF, 0x110E: 0xF448}
        words |= {CLOSED: 3, 0x1110: 3351, 0x1111: 3302, 0x1114: 271, 0x1115: 238, 0x1120: 99, RESISTANCE: 850}
        block = [words.get(address, 0) for address in range(0x1100, 0x1150)]
        self.bms = FakeDevice({0x1100: block}, 1)
        self.server = ToxicServer(self.bms)
        self.clock, self.site, self.seq = VirtualClock(), site_with(), 0
        self.controller = Controller(self.site.dispatch)

    async def start(self) -> Rig:
        await self.server.start()
        await self.pcs.server.start()
        self.pcs.obey()
        at = {"pcs1": self.pcs.server, "bat1": self.server}
        self.drivers: list[Any] = make_drivers(
            [], self.site.pcs, [], [], [], self.site.io,
            lambda name, _, unit: (Address("tcp", at[name].host, at[name].port), unit),
            self.clock, batteries=self.site.battery,
        )  # fmt: skip
        return self

    async def read(self) -> tuple[Pcs, Battery]:
        (pcs, none), battery = [await driver.read() for driver in self.drivers]
        assert none is None, "the PCS tells nothing of the battery"
        return pcs, battery

    async def run(self, ticks: int = 24) -> Decision:
        """25 kW of load for so many ticks of half a second; the last decision."""
        for _ in range(ticks):
            pcs, battery = await self.read()
            self.seq += 1
            grid = Meter("grid", reading(25e3 + self.seq % 7 - self.pcs.battery_w), v=(reading(230.0),) * 3)
            now_s = self.clock.mono_s()
            snapshot = Snapshot(self.seq, 1.76e9 + now_s, now_s, grid, pcs=(pcs,), batteries=(battery,))
            decision = self.controller.step(snapshot, None)
            await self.drivers[0].command(decision.setpoints[0].w, now_s)
            self.clock.advance(0.5)
        return decision


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    running = await Rig().start()
    yield running
    for driver in running.drivers:
        await driver.close()
    await running.server.stop()
    await running.pcs.server.stop()


async def test_its_bms_tells_soc_cells_and_states(rig: Rig) -> None:
    pcs, battery = await rig.read()
    assert (battery.id, battery.soc_pct.good, battery.temp_c.good, battery.cell_v_min.good) == ("bat1", 57, 25, 3.302)
    assert (battery.contactor.good, battery.isolation.good, battery.isolation_ohm.good) == ("closed", "ok", 850e3)
    assert battery.discharge_limit_w.good == pytest.approx(30 * 700)  # 30 A at 700 V
    assert pcs.discharge_limit_w.good == pytest.approx(40 * 700 * 0.94), "its own limit, at the AC terminals"


async def test_the_peak_is_held_and_the_reason_names_the_bms(rig: Rig) -> None:
    await rig.run()
    assert rig.pcs.battery_w >= 4_900
    rig.bms[0x110E] = 0x10000 - 500  # 5 A
    limited = await rig.run()
    assert rig.pcs.battery_w == pytest.approx(5 * 700 * 0.94, abs=100)
    assert "BMS of bat1 allows 5 A, which is 3.3 kW" in words(limited.reason)


async def test_an_open_contactor_and_earth_contact_are_kept(rig: Rig) -> None:
    await rig.run()
    rig.bms[RESISTANCE] = 60
    held = await rig.run(4)
    assert rig.pcs.battery_w == 0
    assert "bat1 has 60 kOhm to earth, at least 100 kOhm needed" in words(held.reason)
    rig.bms[CLOSED] = 0
    opened = await rig.run(2)
    assert opened.setpoints[0].w is None
    assert "the contactor of bat1 is open" in words(opened.reason)
    rig.bms[RESISTANCE], rig.bms[CLOSED] = 850, 3
    await rig.run()
    assert rig.pcs.battery_w >= 4_900


async def test_a_gateway_reads_it_and_misses_it(rig: Rig) -> None:
    raw: dict[str, Any] = deepcopy(SITE)
    raw["battery"] = [raw["battery"][0] | BMS | SLOW]
    site = loader.compose(Path("site.toml"), raw)
    ours = make_drivers(
        [], [], [], [], [], site.io, lambda *_: (Address("tcp", rig.server.host, rig.server.port), 1),
        batteries=site.battery,
    )  # fmt: skip
    io = DeviceIo(site, SystemClock(), [*Devices().drivers(), *ours], Events(), KnownGpus())
    await io.first_contact()
    await until(lambda: io.snapshot(1).batteries[0].soc_pct.good == 57)
    health = next(d for d in io.snapshot(2).devices if d.id == site.battery[0].id)
    assert (health.kind, health.battery, health.online) == ("battery", site.battery[0].id, True)
    lost = msgspec.structs.replace(health, online=False)
    silent = msgspec.structs.replace(
        io.snapshot(3), batteries=(Battery(health.id),), devices=(lost, DeviceHealth("pcs1", "pcs", True, 0.1, 9, 0, 0))
    )
    found = conditions(silent, None, Facts(config=site.dispatch))
    assert found[f"device-lost:{health.id}"].active
    assert not found[f"reading-missing:{health.id}"].active, "a silent BMS is lost, not one that answers without SoC"
    await io.close()
