"""A PCS by a device map in a site: what its owner must say, control of it, and its release after a kill."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from dispatch.control.controller import Controller
from dispatch.model.equipment import Meter
from dispatch.model.readings import Quality, Reading
from dispatch.model.snapshot import Snapshot
from dispatch.plausibility.bounds import SiteBounds
from drivers.clock import VirtualClock
from drivers.devices import make_drivers
from drivers.maps.pcs import MapPcs
from drivers.modbus.address import Address
from gateway.commissioning.release import Released, release
from gateway.found_mode_record import FILE, found_modes_not_read, open_found_modes
from gateway.site import loader
from gateway.site.loader import SiteFileError
from gateway.site.schema import Site
from tests.drivers.maps.pcs_twins import GoodWeTwin, VictronTwin

PCS = {
    "id": "pcs1", "battery": "bat1", "charge_w": 8e3, "discharge_w": 8e3, "url": "tcp://127.0.0.1:1502",
    "unit": 247, "map": "goodwe-et", "accept_no_revert": True, "cap_w": 6e3,
}  # fmt: skip


def site_with(**changes: Any) -> Site:
    """A site with one mapped PCS; a change to None leaves the key out."""
    pcs = {key: value for key, value in {**PCS, **changes}.items() if value is not None}
    document = {
        "version": 1,
        "site": {"name": "s", "timezone": "Europe/Berlin"},
        "grid": {"fuse_a": 63, "contracted_peak_w": 20e3},
        "battery": [{"id": "bat1", "energy_kwh": 20}],
        "pcs": [pcs],
        "meter": [{"id": "grid", "url": "tcp://127.0.0.1:1503"}],
    }
    return loader.compose(Path("site.toml"), document)


@pytest.fixture
async def twin() -> AsyncIterator[GoodWeTwin]:
    running = GoodWeTwin()
    await running.server.start()
    running.obey()
    yield running
    await running.server.stop()


def driver_of(site: Site, twin: GoodWeTwin, state_dir: Path, clock: VirtualClock | None = None) -> MapPcs:
    found, _ = open_found_modes(state_dir)
    (driver,) = make_drivers(
        [], site.pcs, [], [], [], site.io, resolver(twin), clock or VirtualClock(), found_modes=found
    )
    assert isinstance(driver, MapPcs)
    return driver


def resolver(twin: GoodWeTwin) -> Any:
    return lambda device, url, unit: (Address("tcp", twin.server.host, twin.server.port), unit)


async def released(site: Site, twin: GoodWeTwin, state_dir: Path) -> Released:
    """As `skerry devices release` does it."""
    found, _ = open_found_modes(state_dir)
    untouched = set() if found.unknown else {"pcs1"} - set(found.devices)
    drivers = make_drivers([], site.pcs, [], [], [], site.io, resolver(twin), VirtualClock(), found_modes=found)
    (result,) = await release(drivers, untouched)
    await drivers[0].close()
    return result


WRONG = [
    ({"accept_no_revert": None}, "pcs[0].accept_no_revert", "for ever"),
    ({"cap_w": None}, "pcs[0].cap_w", "a cap"),
    ({"map": "goodwe"}, "pcs[0].map", "goodwe-et"),
    ({"map": "janitza-umg"}, "pcs[0].map", "kind pcs"),
    ({"map": "victron-gx"}, "pcs[0].units", "vebus"),
    ({"map": "victron-gx", "units": {"vebus": 227, "battery": 225, "x": 1}}, "pcs[0].units.x", "a unit of the map"),
]


def test_two_pcs_that_write_the_same_register_are_refused() -> None:
    """The second would find the mode that the first has written, and leave the system in it."""
    gx = {**PCS, "map": "victron-gx", "unit": 100}
    pcs = [
        {**gx, "id": f"pcs{n}", "battery": f"bat{n}", "units": {"vebus": 226 + n, "battery": 224 + n}} for n in (1, 2)
    ]
    document = {
        "version": 1,
        "site": {"name": "s", "timezone": "Europe/Berlin"},
        "grid": {"fuse_a": 63, "contracted_peak_w": 20e3},
        "battery": [{"id": "bat1", "energy_kwh": 20}, {"id": "bat2", "energy_kwh": 20}],
        "pcs": pcs,
        "meter": [{"id": "grid", "url": "tcp://127.0.0.1:1503"}],
    }
    with pytest.raises(SiteFileError) as refused:
        loader.compose(Path("site.toml"), document)
    assert any("pcs1 writes register 2902 of unit 100, too" in str(error) for error in refused.value.errors)
    pcs[1]["url"] = "tcp://127.0.0.1:1504"
    loader.compose(Path("site.toml"), document)


@pytest.mark.parametrize(("changes", "key", "expected"), WRONG)
def test_what_the_site_file_must_say(changes: dict[str, Any], key: str, expected: str) -> None:
    with pytest.raises(SiteFileError) as refused:
        site_with(**changes)
    assert [e for e in refused.value.errors if e.key == key and expected in e.expected], refused.value.errors


def test_nothing_above_its_cap_is_planned_with() -> None:
    (pcs,) = site_with().dispatch.pcs
    assert (pcs.charge_w, pcs.discharge_w) == (6e3, 6e3)
    (free,) = site_with(cap_w=None, map=None, accept_no_revert=None).dispatch.pcs
    assert (free.charge_w, free.discharge_w) == (8e3, 8e3)


def test_what_it_does_by_itself_above_its_cap_is_believed() -> None:
    """In its own mode a device knows no cap; without its power it could never be taken over."""
    bounds = SiteBounds(site_with(cap_w=2e3).dispatch)
    allowed = bounds.pcs_w("pcs1", forming=False)
    assert allowed is not None
    assert allowed.low <= -8e3
    assert allowed.high >= 8e3
    assert bounds.grid_w(pv_known=True).low <= -8e3


async def test_the_controller_holds_the_peak_with_it(twin: GoodWeTwin, tmp_path: Path) -> None:
    site, clock, load_w = site_with(), VirtualClock(), 24_000.0
    driver, controller = driver_of(site, twin, tmp_path, clock), Controller(site.dispatch)
    for seq in range(120):
        pcs, battery = await driver.read()
        assert battery is not None
        grid = Meter(
            "grid",
            w=Reading(load_w + 37 * (seq % 7) - twin.battery_w, 0.0, Quality.GOOD),
            v=(Reading(230.0, 0.0, Quality.GOOD),) * 3,
        )
        snapshot = Snapshot(
            seq=seq, utc_s=1.76e9 + clock.mono_s(), mono_s=clock.mono_s(), grid=grid, pcs=(pcs,), batteries=(battery,)
        )
        (setpoint,) = controller.step(snapshot, None).setpoints
        await driver.command(setpoint.w, clock.mono_s())
        clock.advance(0.5)
    assert load_w - twin.battery_w <= 20_000
    assert twin.main[47511] == 12
    await driver.close()


async def test_how_it_was_found_is_on_disk_before_the_first_write(twin: GoodWeTwin, tmp_path: Path) -> None:
    driver = driver_of(site_with(), twin, tmp_path)
    seen: list[bytes] = []
    twin.main.on_write = lambda address, values: seen.append((tmp_path / FILE).read_bytes())
    await driver.read()
    await driver.command(2000, 0.0)
    assert b'"pcs1"' in seen[0]
    await driver.close()


async def test_a_killed_gateway_is_released_once(twin: GoodWeTwin, tmp_path: Path) -> None:
    site = site_with()
    driver = driver_of(site, twin, tmp_path)
    await driver.read()
    await driver.command(2000, 0.0)
    await driver.link.close()  # as by kill -9: nothing more is written
    assert twin.main[47511] == 12
    assert (await released(site, twin, tmp_path)).text == "left as it was found"
    assert (twin.main[47511], twin.main[47512]) == (1, 0)
    twin.writes()
    assert (await released(site, twin, tmp_path)).text == "not commanded, as the state directory has it"
    assert twin.writes() == []


async def test_one_that_does_not_answer_stays_on_record(
    twin: GoodWeTwin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.commissioning.release.TRY_S", 0.2)
    site = site_with(deadline_s=0.1)
    driver = driver_of(site, twin, tmp_path)
    await driver.read()
    await driver.command(2000, 0.0)
    await driver.link.close()
    twin.server.toxic = "hang"
    assert not (await released(site, twin, tmp_path)).ok
    twin.server.toxic = ""
    assert (await released(site, twin, tmp_path)).ok
    assert twin.main[47511] == 1


async def test_where_the_record_is_damaged_it_is_released_by_its_map(twin: GoodWeTwin, tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"{")
    twin.main[47511], twin.main[47512] = 12, 2000
    assert (await released(site_with(), twin, tmp_path)).ok
    assert twin.main[47511] == 1


async def test_a_directory_that_takes_nothing_does_not_stop_control(tmp_path: Path) -> None:
    twin = VictronTwin()
    await twin.server.start()
    twin.obey()
    site = site_with(map="victron-gx", unit=100, units=twin.units)
    found = found_modes_not_read("the disk does not answer")
    (driver,) = make_drivers([], site.pcs, [], [], [], site.io, resolver(twin), VirtualClock(), found_modes=found)  # type: ignore[arg-type]
    assert isinstance(driver, MapPcs)
    await driver.read()
    result = await driver.command(2000, 0.0)
    assert "how it was found is not on disk: the disk does not answer" in result.note
    assert twin.battery_w == pytest.approx(2000, abs=10)
    await driver.close()
    assert twin.devices[100][2902] == 1  # this run still knows
    await twin.server.stop()
